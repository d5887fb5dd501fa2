"""What a sentence costs as things grow, each curve beside the order of growth that is to be expected of it.

A point is a process of `bin/dragoman bench --on-request` (or a broker, instances and a client) that does the same
sentences a few times; what is kept are the milliseconds a sentence of each time. The order of growth is the slope of a
straight line through the logarithms, by least squares: 0 is a cost that stays, 1 one that doubles when the other does.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from model_export.__main__ import OneLineParser, existing, positive

from dragoman_bench import checkpoint as made
from dragoman_bench.engines import Engine
from dragoman_bench.texts import HOME, sentences

ALLOWED = 0.15  # by how much a measured order may exceed the expected one: the machine's noise
PATIENCE = 60.0  # seconds for a server to come up


@dataclass(frozen=True)
class Growth:
    """A curve's name on the command line, what grows, the order expected at most and why."""

    name: str
    of: str
    order: float
    why: str
    smallest: float = 0.0  # the first x that the order is read from: fixed costs hide it below


GROWTHS = (
    Growth(
        "length",
        "subwords of a sentence",
        2.0,
        "there are as many steps as words, each over all words before it (1 while a layer's products outweigh that)",
    ),
    Growth("batch", "most sentences in a batch", 0.0, "the weights are read once a step for all of them"),
    Growth("vocabulary", "words of the vocabulary", 1.0, "a step's output is one product with all of them"),
    Growth("partitions", "partitions of each topic", 0.0, "batches form across them"),
    Growth("instances", "instances on this machine", 0.0, "they share the work; the cores stay as many"),
    Growth(
        "backlog",
        "sentences that wait",
        0.0,
        "what waits stays in Kafka; a start of the pipeline is in it",
        smallest=10_000,
    ),
)


@dataclass
class Curve:
    """Milliseconds a sentence, a list for each x."""

    name: str
    setting: str
    points: list[tuple[int, list[float]]] = field(default_factory=list)

    def order(self, smallest: float) -> float:
        """The slope of log(median cost) over log(x), of the points from `smallest` on."""
        chosen = [(x, statistics.median(costs)) for x, costs in self.points if x >= smallest]
        if len(chosen) < 2:
            return float("nan")
        return statistics.linear_regression([math.log(x) for x, _ in chosen], [math.log(c) for _, c in chosen]).slope


class Machine:
    """Starts processes for points; `room` is for files, `log` takes what they say on standard error."""

    def __init__(self, room: Path, log: IO[str], rounds: int, say: Callable[[str], None]) -> None:
        self.room, self.log, self.rounds, self.say = room, log, rounds, say

    def rounds_of(
        self, bundle: Path | str, sentences: Sequence[str], what: str, count: int, settings: Mapping[str, object]
    ) -> list[float]:
        """Milliseconds a sentence of each round, after one to warm up."""
        file = self.room / "sentences.txt"
        file.write_text("".join(f"{sentence}\n" for sentence in sentences), encoding="utf-8")
        command: list[str | Path] = [HOME / "bin/dragoman", "bench", "--on-request", "--bundle", bundle, "--file", file]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        texts = what != "backlog"
        with Engine("dragoman", command, self.log) as engine:
            engine.ask("pipeline" if what == "backlog" else what, min(count, len(sentences)))
            return [engine.ask(what, count, texts).seconds / count * 1e3 for _ in range(self.rounds)]

    @contextmanager
    def server(self, *command: str | Path, until: str) -> Iterator[str]:
        """A `bin/dragoman` command that runs until it is told to end; gives the line that holds `until`."""
        process = subprocess.Popen(
            [str(part) for part in (HOME / "bin/dragoman", *command)],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if until in line:
                    yield line.strip()
                    break
            else:
                raise RuntimeError(f"bin/dragoman {command[0]} ended before it was up; see {self.log.name}")
        finally:
            process.terminate()
            process.stdout.close()
            process.wait(PATIENCE)


def lengths(samples: Sequence[str], pieces: Callable[[str], int], length: int) -> list[str]:
    """Sentences of `length` subwords, or a few less: samples joined, and cut at a word."""
    words = " ".join(samples).split()
    found, start = [], 0
    for _ in range(len(samples)):
        chosen = [words[start % len(words)]]
        while pieces(" ".join(chosen)) < length:
            start += 1
            chosen.append(words[start % len(words)])
        if len(chosen) > 1 and pieces(" ".join(chosen)) > length:
            chosen.pop()
        found.append(" ".join(chosen))
    return found


def measure_length(machine: Machine, samples: Sequence[str]) -> Curve:
    from model_export.bundle import subwords_in

    subwords = subwords_in(HOME / "model-export/bundles/fr-en")
    curve = Curve("length", "the default bundle, beam 4, engine")
    for length in (5, 10, 20, 50, 100, 200):
        texts = lengths(samples, lambda text: len(subwords.source_ids([text])[0]), length)
        count = max(32, min(512, 4096 // length))
        texts = [texts[number % len(texts)] for number in range(count)]
        curve.points.append((length, machine.rounds_of("fr-en", texts, "engine", count, {})))
        machine.say(_line(curve))
    return curve


def measure_batch(machine: Machine, samples: Sequence[str]) -> Curve:
    curve = Curve("batch", "the default bundle, beam 4, engine")
    for rows in (1, 2, 4, 8, 16, 32, 64):
        costs = machine.rounds_of("fr-en", samples, "engine", 512, {"batch.max.rows": rows})
        curve.points.append((rows, costs))
        machine.say(_line(curve))
    return curve


def measure_vocabulary(machine: Machine, samples: Sequence[str]) -> Curve:
    curve = Curve("vocabulary", "the default bundle's layers, random 8-bit weights, 24 target tokens, greedy, engine")
    default = HOME / "model-export/checkpoints/fr-en"
    for words in (4_000, 8_000, 16_000, 32_000, 64_000):
        shape = made.Shape(words, width=256, inner=1024, heads=4, encoder_layers=4, decoder_layers=2)
        checkpoint = made.sized(default, machine.room / f"words-{words}", shape)
        bundle = made.bundle_of(checkpoint, "int8", 24, checkpoint.with_name(f"of-{words}"), machine.say)
        curve.points.append((words, machine.rounds_of(bundle, samples, "engine", 512, {"model.beam.size": 1})))
        machine.say(_line(curve))
    return curve


def measure_partitions(machine: Machine, samples: Sequence[str]) -> Curve:
    curve = Curve("partitions", "the default bundle, greedy, end to end")
    for partitions in (1, 2, 4, 8, 16, 32):
        settings = {"topic.partitions": partitions, "model.beam.size": 1}
        curve.points.append((partitions, machine.rounds_of("fr-en", samples, "pipeline", 1024, settings)))
        machine.say(_line(curve))
    return curve


def measure_backlog(machine: Machine, samples: Sequence[str], largest: int) -> Curve:
    curve = Curve("backlog", "a model of next to no size (1 + 1 layers of 32, 4 target tokens), greedy, end to end")
    default = HOME / "model-export/checkpoints/fr-en"
    shape = made.Shape(8_000, width=32, inner=32, heads=2, encoder_layers=1, decoder_layers=1)
    checkpoint = made.sized(default, machine.room / "small", shape)
    bundle = made.bundle_of(checkpoint, "float32", 4, checkpoint.with_name("of-small"), machine.say)
    for waiting in (10**power for power in range(3, 7)):
        if waiting <= largest:
            once = Machine(machine.room, machine.log, 1 if waiting > 100_000 else machine.rounds, machine.say)
            costs = once.rounds_of(bundle, samples, "backlog", waiting, {"model.beam.size": 1})
            curve.points.append((waiting, costs))
            machine.say(_line(curve))
    return curve


def measure_instances(machine: Machine, samples: Sequence[str]) -> Curve:
    curve = Curve("instances", "the default bundle, greedy, one model worker each, read by `bin/dragoman translate`")
    for instances in (1, 2, 3):
        with tempfile.TemporaryDirectory(dir=machine.room) as folder:
            curve.points.append((instances, list(_with_instances(machine, samples, instances, Path(folder)))))
        machine.say(_line(curve))
    return curve


def _with_instances(machine: Machine, samples: Sequence[str], instances: int, folder: Path) -> Iterator[float]:
    with machine.server("broker", "--port", "0", "--data", folder / "broker", until="127.0.0.1:") as line:
        address = next(word for word in line.replace(",", " ").split() if word.startswith("127.0.0.1:"))
        client = [str(HOME / "bin/dragoman"), "translate", "--bootstrap-server", address]
        create = [str(HOME / "bin/dragoman"), "topics", "create", "--bootstrap-server", address]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, stderr=machine.log)
        with ExitStack() as servers:
            for number in range(instances):
                settings = {"bootstrap.servers": address, "model.beam.size": 1, "model.workers": 1}
                settings["state.dir"] = folder / str(number)
                file = folder / f"{number}.properties"
                file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
                servers.enter_context(machine.server("run", "--config", file, until="reading"))
            few, many = 16, 2_048
            _timed(client, samples, many, machine.log)  # all instances warm and their shares settled
            for _ in range(machine.rounds):
                start = _timed(client, samples, few, machine.log)  # the client's own start
                yield (_timed(client, samples, many, machine.log) - start) / (many - few) * 1e3


def _timed(client: Sequence[str], samples: Sequence[str], count: int, log: IO[str]) -> float:
    text = "".join(f"{samples[number % len(samples)]}\n" for number in range(count))
    start = time.monotonic()
    done = subprocess.run(client, input=text, stdout=subprocess.PIPE, stderr=log, text=True, check=True)
    seconds = time.monotonic() - start
    if done.stdout.count("\n") != count:
        raise RuntimeError(f"{done.stdout.count(chr(10))} of {count} lines came back; see {log.name}")
    return seconds


def _line(curve: Curve) -> str:
    x, costs = curve.points[-1]
    return f"{curve.name} {x:,}: {statistics.median(costs):.3f} ms a sentence"


def page(curves: Sequence[Curve], plot: Path, command: str, cores: int) -> str:
    """SCALING.md."""
    parts = [
        "# What a sentence costs as things grow\n",
        f"Made by `{command}` on {cores} cores. Each point is a process of its own: the median of its rounds, the least"
        " and the most. *Order* is the slope through the logarithms: 0 is a cost that stays, 1 one that doubles with"
        f" what grows; up to {ALLOWED} above the expected order is taken for noise.\n",
        f"![Milliseconds a sentence]({plot.name})\n",
    ]
    known = {curve.name: curve for curve in curves}
    for growth in GROWTHS:
        curve = known.get(growth.name)
        if curve is None:
            continue
        order = curve.order(growth.smallest)
        verdict = "as expected or better" if order <= growth.order + ALLOWED else "**worse than expected**"
        measured = "of too few points" if math.isnan(order) else f"**{order:.2f}**, {verdict}"
        start = f", from {growth.smallest:,.0f} on" if growth.smallest else ""
        parts += [
            f"## {growth.of[0].upper()}{growth.of[1:]}\n",
            f"{curve.setting[0].upper()}{curve.setting[1:]}. Expected order: at most {growth.order:g}, because"
            f" {growth.why}. Measured{start}: {measured}.\n",
            f"| {growth.of} | ms a sentence | least, most |",
            "| ---: | ---: | --- |",
            *(
                f"| {x:,} | {statistics.median(costs):.3f} | {min(costs):.3f}, {max(costs):.3f} |"
                for x, costs in curve.points
            ),
            "",
        ]
    return "\n".join(parts)


def draw(curves: Sequence[Curve], plot: Path) -> None:
    """A panel for each curve, its expected order as a dashed line through the first point that counts."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "dragoman"
    from matplotlib import pyplot

    known = {curve.name: curve for curve in curves}
    shown = [growth for growth in GROWTHS if growth.name in known]
    rows = (len(shown) + 1) // 2
    figure, axes = pyplot.subplots(rows, 2, figsize=(9, 2.8 * rows), squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.remove()
    for axis, growth in zip(axes.flat, shown, strict=False):
        points = known[growth.name].points
        xs, costs = np.array([x for x, _ in points]), np.array([statistics.median(c) for _, c in points])
        axis.plot(xs, costs, "o-", color="tab:blue", markersize=4)
        counted = xs >= growth.smallest
        if counted.any():
            start = costs[counted][0], xs[counted][0]
            axis.plot(xs[counted], start[0] * (xs[counted] / start[1]) ** growth.order, "--", color="tab:grey")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(costs.min() / 3, costs.max() * 3)
        axis.set_xlabel(growth.of, fontsize=8)
        axis.set_ylabel("ms a sentence", fontsize=8)
        axis.tick_params(labelsize=7, which="both")
    figure.tight_layout()
    figure.savefig(plot, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)


def parser() -> OneLineParser:
    names = [growth.name for growth in GROWTHS]
    top = OneLineParser(prog="bench/scaling", description=(__doc__ or "").split("\n")[0])
    top.add_argument("--only", nargs="+", choices=names, default=names, metavar="CURVE", help=", ".join(names))
    top.add_argument("--text", type=existing, metavar="FILE", help="sentences, one a line (the samples)")
    top.add_argument("--rounds", type=positive, default=3, metavar="N", help="of each point (3)")
    top.add_argument(
        "--backlog", type=positive, default=1_000_000, metavar="N", help="the most sentences that wait (1000000)"
    )
    top.add_argument("--out", type=Path, default=HOME / "bench", metavar="DIR", help="for the results (bench/)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        _measure(options, sentences(options.text, 1024))
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as fault:
        print(f"bench/scaling: {fault}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace, samples: Sequence[str]) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman/bench"
    cache.mkdir(parents=True, exist_ok=True)
    file = options.out / "scaling.json"
    known = {}
    if file.exists():
        known = {state["name"]: Curve(**state) for state in json.loads(file.read_text(encoding="utf-8"))}
    with tempfile.TemporaryDirectory(prefix="scaling-") as room, (cache / "scaling.log").open("w") as log:
        machine = Machine(Path(room), log, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
        ways: dict[str, Callable[[], Curve]] = {
            "length": lambda: measure_length(machine, samples),
            "batch": lambda: measure_batch(machine, samples),
            "vocabulary": lambda: measure_vocabulary(machine, samples),
            "partitions": lambda: measure_partitions(machine, samples),
            "instances": lambda: measure_instances(machine, samples),
            "backlog": lambda: measure_backlog(machine, samples, options.backlog),
        }
        for name in options.only:
            known[name] = ways[name]()
            _write([known[growth.name] for growth in GROWTHS if growth.name in known], options.out)
    print((options.out / "SCALING.md").read_text(encoding="utf-8"))


def _write(curves: Sequence[Curve], out: Path) -> None:
    """After each curve, so that one that is broken off leaves the others."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "scaling.json").write_text(json.dumps([asdict(c) for c in curves], indent=1) + "\n", encoding="utf-8")
    plot = out / "SCALING.svg"
    draw(curves, plot)
    written = page(curves, plot, "bench/scaling", len(os.sched_getaffinity(0)))
    (out / "SCALING.md").write_text(written, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
