"""Where a sentence's time goes.

The graph: ONNX Runtime's own profile on one thread, by part and by kind of work, in milliseconds of a sentence, beside
what the multiply-adds would take at the speed of one large product on the same core (the roofline: Williams, Waterman,
Patterson, "Roofline: An Insightful Visual Performance Model", CACM 2009, with the compute roof alone). With another
bundle, the two take turns.

The pipeline: processor time of each kind of thread while `bin/dragoman bench` does a round end to end.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from model_export.__main__ import OneLineParser, existing, positive
from numpy.typing import NDArray
from onnx import TensorProto, helper

from dragoman_bench.engines import WARM_UP_SECONDS, Engine
from dragoman_bench.texts import HOME, sentences

PROFILED = 8  # batches, short to long: ONNX Runtime keeps no more than a million events
PROFILES = 4  # runs with the profiler
HYPOTHESES, ROWS = 192, 64  # of a batch at most: what the pipeline takes on a CPU
LONGEST = 256
PARTS = {"encode.": "encoder", "model.": "decoder step", "step_": "search"}  # by the beginning of a node's name
KINDS = {
    "products, 8 bits": ("MatMulIntegerToFloat", "MatMulInteger", "DynamicQuantizeMatMul"),
    "products, 32 bits": ("Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
    "rounding to 8 bits": ("QuantizeLinear", "Abs", "ConstantOfShape"),
    "copies": ("Gather", "Concat", "Transpose", "Slice", "ScatterND", "Expand", "Split", "Identity", "GatherND"),
    "norms, activations, softmax": (
        *("SkipLayerNormalization", "LayerNormalization", "QuickGelu", "Sigmoid", "Softmax", "Tanh", "Relu", "Gelu"),
    ),
    "choice of words": ("LogSoftmax", "TopK", "GatherElements"),
}
OTHER = "other operators"
BETWEEN = "between the operators"
THREADS = {  # by the beginning of a thread's name, which Linux cuts at 15 characters
    "dragoman-model": "model workers",
    "dragoman-": "stream threads: tokenizing, records, transactions",
    "kafka-producer": "producers' network",
    "java": "the client: sending, reading",
    "C1 ": "JVM: compiler, collector",
    "C2 ": "JVM: compiler, collector",
    "VM ": "JVM: compiler, collector",
    "GC ": "JVM: compiler, collector",
}
BROKER = "broker"


Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


class Work(NamedTuple):
    """A kind of work in a part of the graph."""

    part: str
    kind: str


@dataclass(frozen=True)
class Profile:
    """Of one graph and beam size; times are processor milliseconds of a sentence."""

    total: float  # without profiling
    shares: dict[Work, float]  # they sum up to 1
    multiply_adds: dict[str, float]  # of a sentence, by kind

    def least(self, peaks: Mapping[str, float]) -> float:
        """Milliseconds that the multiply-adds take at `peaks`, multiply-adds a second by kind."""
        return sum(count / peaks[kind] * 1e3 for kind, count in self.multiply_adds.items())


def kind_of(operator: str) -> str:
    return next((kind for kind, operators in KINDS.items() if operator in operators), OTHER)


def part_of(node: str) -> str:
    return next((part for start, part in PARTS.items() if node.startswith(start)), "search")


def multiply_adds(event: Mapping[str, Any]) -> int:
    """Of a profiled product [..., M, K] times [..., K, N]: its output's size times K; 0 of what is no product."""
    if not kind_of(event["args"]["op_name"]).startswith("products"):
        return 0
    [first, *_] = (shape for entry in event["args"]["input_type_shape"] for shape in entry.values())
    [output, *_] = (shape for entry in event["args"]["output_type_shape"] for shape in entry.values())
    return int(math.prod(output)) * int(first[-1])


def read_profile(events: Iterable[Mapping[str, Any]], seconds: float, sentences: int, total: float) -> Profile:
    """`events` of ONNX Runtime's profile, of `sentences` that take `seconds` without it.

    The profiler takes some microseconds of its own for an operator, which count as the operator's: where all of them
    are longer than the run without it, each is taken to be longer by the same. Where they are shorter, the rest is
    between them.
    """
    found = [
        event
        for event in events
        if event.get("cat") == "Node"
        and event["name"].endswith("_kernel_time")
        and event["args"]["op_name"] not in ("Loop", "If")  # what they hold is counted itself
    ]
    rest = seconds - sum(event["dur"] for event in found) * 1e-6
    longer = max(0.0, -rest / max(1, len(found)))
    times: defaultdict[Work, float] = defaultdict(float)
    products: Counter[str] = Counter()
    for event in found:
        kind = kind_of(event["args"]["op_name"])
        times[Work(part_of(event["name"]), kind)] += max(0.0, event["dur"] * 1e-6 - longer)
        products[kind] += multiply_adds(event)
    times[Work("all", BETWEEN)] = max(0.0, rest)
    whole = sum(times.values())
    return Profile(
        total,
        {work: time / whole for work, time in times.items()},
        {kind: count / sentences for kind, count in products.items() if count},
    )


class Graph:
    """A bundle's graph in sessions of one thread, and the sentences as the pipeline would batch them."""

    def __init__(self, bundle: Path, sentences: Sequence[str], beam_size: int, room: Path) -> None:
        self._batches = batches(bundle, sentences, max(1, min(ROWS, HYPOTHESES // beam_size)))
        self._beam_size, self._sentences = beam_size, len(sentences)
        self._model, self._room = bundle / "model.onnx", room
        self._session = _session(str(self._model))
        self._times: list[float] = []

    def run(self) -> float:
        """Processor seconds of all sentences."""
        return self._run(self._session, self._batches)

    def time(self) -> None:
        self._times.append(self.run())

    def profile(self) -> Profile:
        """Of the quickest of some runs, beside the quickest without a profiler, in turns."""
        chosen = self._batches[len(self._batches) // PROFILED // 2 :: max(1, len(self._batches) // PROFILED)]
        plain, profiled = [], []
        for number in range(PROFILES):
            plain.append(self._run(self._session, chosen))
            options = onnxruntime.SessionOptions()
            options.enable_profiling = True
            options.profile_file_prefix = str(self._room / f"profile-{number}")
            session = _session(str(self._model), options)
            seconds = self._run(session, chosen)
            profiled.append((seconds, Path(session.end_profiling())))
        events = json.loads(min(profiled)[1].read_text(encoding="utf-8"))
        total = statistics.median(self._times) / self._sentences * 1e3
        return read_profile(events, min(plain), sum(len(ids) for ids, _ in chosen), total)

    def _run(self, session: onnxruntime.InferenceSession, batches: Sequence[Batch]) -> float:
        wants = [given.name for given in session.get_inputs()]
        start = time.process_time()
        for ids, mask in batches:
            given = {"source_ids": ids, "source_mask": mask, "target_prefix": np.zeros((len(ids), 0), np.int64)}
            given |= {"max_target_length": np.array(LONGEST), "beam_size": np.array(self._beam_size)}
            if "best" in wants:  # graphs made before it was an input find all
                given["best"] = np.array(1)
            session.run(None, given)
        return time.process_time() - start


def batches(bundle: Path, sentences: Sequence[str], rows: int) -> list[Batch]:
    """Ids and mask of so many sentences at most, short ones first, with the end token as a graph should get them."""
    from model_export.bundle import read_json, subwords_in

    special = read_json(bundle)["special_ids"]
    ids = sorted(([*one, special["end"]] for one in subwords_in(bundle).source_ids(list(sentences))), key=len)
    return [_batch(ids[i : i + rows], special["pad"]) for i in range(0, len(ids), rows)]


def _batch(ids: Sequence[Sequence[int]], pad: int) -> Batch:
    """Ids and mask [B, S]."""
    shape = len(ids), max(map(len, ids))
    batch, mask = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    for row, sentence in enumerate(ids):
        batch[row, : len(sentence)], mask[row, : len(sentence)] = sentence, 1
    return batch, mask


def _session(model: str | bytes, options: onnxruntime.SessionOptions | None = None) -> onnxruntime.InferenceSession:
    options = options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def peaks(rounds: int = 20) -> dict[str, float]:
    """Multiply-adds a second of one core in a product [512, 1024] x [1024, 1024], the best of `rounds`, by kind."""
    M, K = 512, 1024
    random = np.random.default_rng(7)
    floats, bytes_ = random.standard_normal((M, K), np.float32), random.integers(0, 255, (M, K), np.uint8)
    weights = random.standard_normal((K, K), np.float32)
    found = {}
    for kind, given in (("products, 8 bits", bytes_), ("products, 32 bits", floats)):
        session = _session(_product(given.dtype == np.uint8, weights))
        least = math.inf
        for _ in range(rounds):
            start = time.process_time()
            session.run(None, {"x": given})
            least = min(least, time.process_time() - start)
        found[kind] = M * K * K / least
    return found


def _product(eight_bits: bool, weights: NDArray[np.float32]) -> bytes:
    """A model: x times constant `weights`."""
    kind = TensorProto.UINT8 if eight_bits else TensorProto.FLOAT
    constants = [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    if eight_bits:
        integers = np.clip(np.rint(weights * 16), -64, 64).astype(np.int8)
        constants = [
            helper.make_tensor("w", TensorProto.INT8, integers.shape, integers.tobytes(), raw=True),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("zero", TensorProto.UINT8, [], [128]),
        ]
        inputs = ["x", "w", "one", "one", "zero"]
        node = helper.make_node("MatMulIntegerToFloat", inputs, ["y"], domain="com.microsoft")
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", kind, [None, weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model: bytes = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    return model


def thread_kind(name: str) -> str:
    return next((kind for start, kind in THREADS.items() if name.startswith(start)), BROKER)


def thread_seconds(process: int) -> dict[str, float]:
    """Processor seconds so far of a process's threads, by kind."""
    ticks = os.sysconf("SC_CLK_TCK")
    found: defaultdict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            stat = (task / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it ended meanwhile
            continue
        name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
        found[thread_kind(name)] += (int(rest[11]) + int(rest[12])) / ticks
    return dict(found)


@dataclass(frozen=True)
class Threads:
    """A round end to end; times are milliseconds of a sentence."""

    wall: float
    busy: dict[str, float]


def measure_threads(bundle: Path, file: Path, count: int, beam_size: int, rounds: int, log: Path) -> Threads:
    """The median round's wall time and the rounds' mean processor time by kind of thread, once the JVM has compiled."""
    command: list[str | Path] = [HOME / "bin/dragoman", "bench", "--on-request", "--bundle", bundle, "--file", file]
    command += ["--beam-size", str(beam_size)]
    with log.open("w") as err, Engine("dragoman", command, err) as engine:
        start = time.monotonic()
        while time.monotonic() - start < WARM_UP_SECONDS:
            engine.ask("pipeline", count)
        before = thread_seconds(engine.pid)
        walls = [engine.ask("pipeline", count).seconds for _ in range(rounds)]
        spent = {kind: now - before.get(kind, 0.0) for kind, now in thread_seconds(engine.pid).items()}
    busy = {kind: seconds / rounds / count * 1e3 for kind, seconds in sorted(spent.items(), key=lambda one: -one[1])}
    return Threads(statistics.median(walls) / count * 1e3, busy)


def page(
    profiles: Mapping[int, Sequence[Profile]],
    threads: Mapping[int, Threads],
    roof: Mapping[str, float],
    command: str,
    cores: int,
) -> str:
    """PROFILE.md; of each beam size one profile, or that of another bundle and then the bundle's."""
    speeds = ", ".join(f"{rate / 1e9:.0f} G a second in {kind}" for kind, rate in roof.items())
    parts = [
        "# Where a sentence's time goes\n",
        f"Made by `{command}`. The engine: one thread, batches as the pipeline takes them, milliseconds of processor"
        " for each sentence, split up as ONNX Runtime's profile has it, less the profiler's own time, the same for each"
        " operator. The roof: the graph's multiply-adds at the speed of one large product on the same core"
        f" ({speeds}).\n",
    ]
    for beam_size, found in profiles.items():
        parts += [f"## Beam {beam_size}, the engine\n", *_engine(found, roof), ""]
        if beam_size in threads:
            parts += [f"## Beam {beam_size}, end to end\n", *_threads(threads[beam_size], cores), ""]
    return "\n".join(parts)


def _engine(found: Sequence[Profile], roof: Mapping[str, float]) -> list[str]:
    works = sorted({work for profile in found for work in profile.shares}, key=lambda w: -found[-1].shares.get(w, 0))
    names = ["before", "now"] if len(found) == 2 else ["ms a sentence"]
    lines = [
        f"| part | work | {' | '.join(names)} | share |",
        f"| --- | --- |{' ---: |' * len(names)} ---: |",
    ]
    small = 0.005
    shown = [work for work in works if max(profile.shares.get(work, 0) for profile in found) >= small]
    rest = [work for work in works if work not in shown]
    rows = [(*work, [work]) for work in shown] + ([("all", f"what is under {small:.1%} each", rest)] if rest else [])
    for part, kind, those in rows:
        shares = [sum(profile.shares.get(work, 0) for work in those) for profile in found]
        times = " | ".join(f"{share * profile.total:.3f}" for share, profile in zip(shares, found, strict=True))
        lines.append(f"| {part} | {kind} | {times} | {shares[-1]:.1%} |")
    totals = " | ".join(f"**{profile.total:.3f}**" for profile in found)
    lines.append(f"| **all** | | {totals} | 100 % |")
    least = found[-1].least(roof)
    counts = " and ".join(f"{count / 1e6:.1f} M in {kind}" for kind, count in found[-1].multiply_adds.items())
    lines += ["", f"Multiply-adds of a sentence: {counts}. At the roof {least:.3f} ms, {least / found[-1].total:.0%}."]
    if len(found) == 2:
        lines[-1] += f" Before / now: **{found[0].total / found[1].total:.3f}**."
    return lines


def _threads(found: Threads, cores: int) -> list[str]:
    whole = sum(found.busy.values())
    lines = ["| threads | ms a sentence | share |", "| --- | ---: | ---: |"]
    lines += [f"| {kind} | {time:.3f} | {time / whole:.1%} |" for kind, time in found.busy.items()]
    idle = max(0.0, 1 - whole / (found.wall * cores))
    return [
        *lines,
        f"| **all** | **{whole:.3f}** | |",
        "",
        f"{found.wall:.3f} ms of {cores} cores a sentence, {idle:.0%} idle.",
    ]


def parser() -> OneLineParser:
    top = OneLineParser(prog="bench/profile", description="Where a sentence's time goes, in the graph and end to end.")
    top.add_argument("--bundle", default="fr-en", metavar="NAME", help="its name or folder (fr-en)")
    top.add_argument("--against", type=existing, metavar="BUNDLE", help="the engine of another bundle, in turns")
    top.add_argument("--text", type=existing, metavar="FILE", help="sentences, one a line (the samples)")
    top.add_argument("--sentences", type=positive, default=1024, metavar="N", help="how many of them (1024)")
    top.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds (5)")
    top.add_argument("--beam", type=positive, nargs="+", default=[4, 1], metavar="K", help="beam sizes (4 1)")
    top.add_argument("--out", type=Path, default=HOME / "bench", metavar="DIR", help="for PROFILE.md (bench/)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        _measure(options, sentences(options.text, options.sentences))
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as fault:
        print(f"bench/profile: {fault}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace, samples: Sequence[str]) -> None:
    known = HOME / "model-export/bundles" / options.bundle
    bundle = known if known.is_dir() else Path(options.bundle)
    if not (bundle / "bundle.json").is_file():
        raise ValueError(f"{options.bundle} is no bundle: see `bin/dragoman bundle list`, or name a folder with one")
    log = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman/bench/profile.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    profiles: dict[int, Sequence[Profile]] = {}
    threads: dict[int, Threads] = {}
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        room = Path(folder)
        file = room / "sentences.txt"
        file.write_text("".join(f"{sentence}\n" for sentence in samples), encoding="utf-8")
        for beam_size in options.beam:
            bundles = [options.against, bundle] if options.against else [bundle]
            graphs = [Graph(each, samples, beam_size, room) for each in bundles]
            for graph in graphs:
                graph.run()
            for _ in range(options.rounds):
                for graph in graphs:
                    graph.time()
            profiles[beam_size] = [graph.profile() for graph in graphs]
            threads[beam_size] = measure_threads(bundle, file, len(samples), beam_size, options.rounds, log)
        roof = peaks()
    command = "bench/profile" + (f" --text {options.text.name}" if options.text else "")
    command += f" --sentences {options.sentences} --rounds {options.rounds}"
    command += f" --against {options.against.name}" if options.against else ""
    written = page(profiles, threads, roof, command, len(os.sched_getaffinity(0)))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "PROFILE.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    sys.exit(main())
