"""Does a bundle keep the graph contract? One line for each check, with the largest difference that was measured.

Everything has to agree to TOLERANCE inside one graph, unless it computes in 16 bits, where sums depend on how a product
is split up; the graph and PyTorch's model have to agree to BETWEEN. With 8-bit weights, and with 16 bits in any case,
a comparison across programs (the graph and PyTorch, which wrote the golden file) or kinds of processor is looser: the
last bit of a float32 sum decides now and then how an activation is rounded, and from there on the rounding is another
draw. So there the graph is built once more with float32 products of the same rounded weights and held against PyTorch
to BETWEEN; the rounding graph itself may be ROUNDING away on average, and a share of OTHERS of the sentences may go
another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from model_export import marian
from model_export.bundle import (
    BundleError,
    best_weights,
    calibrate,
    faults,
    golden_row,
    read_golden,
    read_json,
    rounded,
)
from model_export.data import make_batch, mask_of
from model_export.eight_bit_system import EightBit
from model_export.half import Half
from model_export.runtime import SIXTEEN, BundleRuntime, Rebuilt, Reference
from model_export.search import Hypothesis, Steps
from model_export.system import System
from model_export.systems import SYSTEMS

TOLERANCE = 1e-4
BETWEEN = 3e-4  # of two programs: logits are tens, and a float32 sum of as many products in another order is so far off
ROUNDING = 0.05
OTHERS = 0.25
BEAMS = (1, 4)
GOLDEN = "golden file reproduced"
MOST_STEPS = 60  # longer sentences are not driven step by step: the runs grow with the square of their length


class Check(NamedTuple):
    """One property: how far off it is at most (with 8 bits: on average), and what is not as it should be at all."""

    name: str
    difference: float
    faults: list[str]
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        return not self.faults and self.difference <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok    " if self.holds else "FAILED"
        kind = "mean" if self.tolerance == ROUNDING else "largest"
        return "; ".join([f"{verdict} {self.name}: {kind} difference {self.difference:.1e}", *self.faults])


def verify(folder: Path, checkpoint: Path | System | None = None, say: Callable[[str], None] = print) -> None:
    """Checks the files, then the model; raises BundleError with everything that does not hold.

    `checkpoint` is training's folder, its weights file, a MarianMT folder, or the system itself; without it the graph
    is compared with PyTorch by the golden file alone, which PyTorch wrote.
    """
    found = faults(folder)
    if found:
        raise BundleError(f"{folder} cannot be used: " + "; ".join(found))
    say(f"ok     files: {len(read_json(folder)['files'])} as listed in bundle.json")
    failed = []
    for check in checks(folder, checkpoint):
        say(str(check))
        if not check.holds:
            failed.append(check.name)
    if failed:
        raise BundleError(f"{folder} does not keep the contract: " + "; ".join(failed))


def checks(folder: Path, checkpoint: Path | System | None = None) -> Iterator[Check]:
    """All checks of the model, over the golden sentences."""
    runtime = BundleRuntime(folder)
    texts = [row[0] for row in read_golden(folder)]
    if not texts:
        yield Check(GOLDEN, 0.0, ["golden.tsv holds no sentence"])
        return
    sources = [runtime.source_ids(text) for text in texts]
    steps = runtime.run(sources, runtime.beam_size)
    found = runtime.best(sources, steps)
    parts = {name: part for name, part in steps._asdict().items() if part is not None}
    yield Check("no NaN", 0.0, [name for name, part in parts.items() if part.isnan().any()])
    if runtime.publishes:
        yield _rows(found)
    yield _padding(runtime, sources, steps, found)
    alone = runtime.best(sources, runtime.run(sources, runtime.beam_size, best=1))
    yield _compare("the best alone = the best of all", found, alone, _inside(runtime))
    kept = [_chosen(runtime, source, h) for source, h in zip(sources, found, strict=True)]
    yield _teacher_forced(runtime, sources, found, kept)
    yield _step_driven(runtime, sources)
    yield _golden(folder, runtime)
    if checkpoint is not None:
        model = checkpoint if isinstance(checkpoint, System) else reference(folder, checkpoint)
        if isinstance(model, EightBit | Half):
            rebuilt = Rebuilt(folder, model.system)
            exact = _pytorch_search(rebuilt, Reference(folder, model.system), sources, runtime.beam_size)
            yield exact._replace(name="ONNX = PyTorch, with float32 products", tolerance=BETWEEN)
        for beam_size in BEAMS:
            yield _between(_pytorch_search(runtime, Reference(folder, model), sources, beam_size))
        yield _between(_pytorch_forward(runtime, model, sources, found, kept))


def reference(folder: Path, checkpoint: Path) -> System:
    """The PyTorch model of `checkpoint`, training's folder or a MarianMT one, with weights as the bundle has them."""
    manifest = read_json(folder)
    model, attention = manifest["model"], manifest["attention"]
    weights = model.get("weights", "float16")
    if (checkpoint / "config.json").is_file():
        found = rounded(marian.read(checkpoint, attention["layer"], attention["heads"]).system, weights)
        if isinstance(found, EightBit):
            calibrate(found, folder, [row[0] for row in read_golden(folder)])
        return found
    entry = SYSTEMS.get(model.get("system", ""))
    if entry is None:
        raise BundleError(f"model.system should be one of {', '.join(SYSTEMS)}: was {model.get('system')!r}")
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in model["sizes"].items()}
    system = entry.system(entry.sizes(**sizes))
    saved = torch.load(best_weights(checkpoint), map_location="cpu", weights_only=True)["model"]
    try:
        system.load_state_dict(saved)
    except RuntimeError as fault:
        raise BundleError(f"{checkpoint} does not hold the bundle's weights: {fault}") from fault
    return rounded(system, weights)


def _furthest(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    return max((float((a - b).abs().max()) for a, b in zip(found, expected, strict=True) if a.numel()), default=0.0)


def _mean(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Of each token's difference; of rows [T, S], of each row's largest one."""
    apart = [(a - b).abs() for a, b in zip(found, expected, strict=True) if a.numel()]
    by_token = [a.amax(dim=1) if a.dim() > 1 else a for a in apart]
    return float(torch.cat(by_token).mean()) if by_token else 0.0


def _compare(name: str, found: Sequence[Hypothesis], expected: Sequence[Hypothesis], rounds: str = "") -> Check:
    """Tokens equal; log-probabilities and attention no further apart than the difference given.

    `rounds`: to what the two round, when they are of different programs.
    """
    wrong = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a.ids != b.ids]
    pairs = [(a, b) for i, (a, b) in enumerate(zip(found, expected, strict=True)) if i not in wrong]
    rows = [(a.attention, b.attention) for a, b in pairs if a.attention is not None and b.attention is not None]
    measure = _mean if rounds else _furthest
    difference = max(
        measure([a.log_probs for a, _ in pairs], [b.log_probs for _, b in pairs]),
        measure([a for a, _ in rows], [b for _, b in rows]),
    )
    fault = f"tokens differ in sentences {[i + 1 for i in wrong]}"
    return _rounded(Check(name, difference, [fault] if wrong else []), len(wrong) / len(found), rounds)


def _rounded(check: Check, others: float, rounds: str) -> Check:
    """`check` as 8-bit rounding bounds it; `others` is the share of sentences that went another way, its faults."""
    if not rounds:
        return check
    name = f"{check.name} ({rounds}: {others:.0%} of the sentences differ)"
    return Check(name, check.difference, check.faults if others > OTHERS else [], ROUNDING)


def _between(check: Check) -> Check:
    """`check` of two programs, each of which is about as far from exact sums as half of BETWEEN allows."""
    return check._replace(tolerance=max(check.tolerance, BETWEEN))


def _rows(found: Sequence[Hypothesis]) -> Check:
    sums = [h.attention.sum(dim=1) for h in found if h.attention is not None]
    return Check("rows sum to 1", _furthest(sums, [torch.ones_like(s) for s in sums]), [])


def _padding(runtime: BundleRuntime, sources: list[list[int]], steps: Steps, found: list[Hypothesis]) -> Check:
    """A sentence alone gives what it gives in the padded batch; on padding the batch's weights are exactly 0."""
    alone = [runtime.best([source], runtime.run([source], runtime.beam_size))[0] for source in sources]
    check = _compare("padded batch = single sentence", found, alone, _inside(runtime))
    padding = ~mask_of(sources)[None, :, None, :]  # [1, B, 1, S]
    if steps.attention is None or not bool((steps.attention * padding).any()):
        return check
    return check._replace(faults=["padding is not exactly 0"])


def _inside(runtime: BundleRuntime) -> str:
    """To what a graph rounds so that two runs of it differ: 8-bit products are exact."""
    return runtime.rounds if runtime.rounds == SIXTEEN else ""


def _chosen(runtime: BundleRuntime, source: list[int], hypothesis: Hypothesis) -> int:
    """How many of its tokens the model chose: not the end that a search with `end_at_limit` puts at the limit."""
    limit = runtime.rules.limits(mask_of([source]), torch.zeros(1, 0), runtime.limits["max_target_tokens"])
    return len(hypothesis.ids) - (runtime.rules.end_at_limit and len(hypothesis.ids) >= int(limit[0]))


def _first(hypothesis: Hypothesis, count: int) -> Hypothesis:
    """Its first `count` tokens."""
    attention = None if hypothesis.attention is None else hypothesis.attention[:count]
    return Hypothesis(hypothesis.ids[:count], hypothesis.log_probs[:count], attention, hypothesis.score)


def _teacher_forced(
    runtime: BundleRuntime, sources: list[list[int]], found: list[Hypothesis], kept: list[int]
) -> Check:
    """The whole translation given as the prefix goes through the same steps."""
    prefix = [h.ids[:count] for h, count in zip(found, kept, strict=True)]
    forced = runtime.best(sources, runtime.run(sources, 1, prefix), prefix)
    return _compare(
        "in-loop attention = teacher-forced attention",
        [_first(h, count) for h, count in zip(found, kept, strict=True)],
        [_first(h, count) for h, count in zip(forced, kept, strict=True)],
        _inside(runtime),
    )


def _step_driven(runtime: BundleRuntime, sources: list[list[int]]) -> Check:
    """Greedy, each word from a run of its own that is given the words before."""
    whole = runtime.best(sources, runtime.run(sources, 1))
    wrong, apart = [], []
    for number, (source, expected) in enumerate(zip(sources, whole, strict=True), 1):
        if len(expected.ids) > MOST_STEPS:
            continue
        for t, token in enumerate(expected.ids[: _chosen(runtime, source, expected)]):
            prefix = [expected.ids[:t]]
            steps = runtime.run([source], 1, prefix if t else (), max_target_length=t + 2)
            [driven] = runtime.best([source], steps, prefix, max_target_length=t + 2)
            if driven.ids[t] != token:
                wrong.append(f"sentence {number} goes another way at word {t + 1}")
                break
            apart.append(abs(float(driven.log_probs[t] - expected.log_probs[t])))
    inside = _inside(runtime)
    difference = (fmean if inside else max)(apart or [0.0])
    return _rounded(Check("loop = step by step", difference, wrong), len(wrong) / len(sources), inside)


def _golden(folder: Path, runtime: BundleRuntime) -> Check:
    wrong = []
    found: list[list[Tensor]] = []
    expected: list[list[Tensor]] = []
    rows = read_golden(folder)
    for row in rows:
        if len(row) != 5:
            return Check(GOLDEN, 0.0, [f"{row[0]!r} has {len(row)} columns, expected 5"])
        [translated] = runtime.translate([row[0]])
        now = golden_row(translated)
        if now[:2] != row[:2]:
            wrong.append(f"{row[0]!r} gave {now[1]!r}, expected {row[1]!r}")
            continue
        found.append(_numbers(now))
        expected.append(_numbers(row))
        sizes = [tuple(parts[-1][1].shape) for parts in (found, expected)]
        if sizes[0] != sizes[1]:
            return Check(GOLDEN, 0.0, [f"{row[0]!r} gave weights {sizes[0]}, expected {sizes[1]}"])
        # bits are rounded otherwise here than in PyTorch: the file's links are those of its own weights
        read = expected[-1][1] if runtime.rounds else translated.hypothesis.attention
        links = "" if read is None or not read.numel() else runtime.links(row[0], translated.hypothesis.ids, read)
        if links != row[2]:
            return Check(GOLDEN, 0.0, [f"{row[0]!r} gave links {links!r}, expected {row[2]!r}"])
    measure = _mean if runtime.rounds else _furthest
    difference = max(measure([f[i] for f in found], [e[i] for e in expected]) for i in range(2))
    return _rounded(Check(GOLDEN, difference, wrong), len(wrong) / len(rows), runtime.rounds)


def _numbers(row: list[str]) -> list[Tensor]:
    """Score [1] and weights [T, S] of a golden row; rows of unequal length count as none."""
    weights = [[float(number) for number in part.split(",")] for part in row[4].split(";") if part]
    even = len({len(part) for part in weights}) == 1
    return [torch.tensor([float(row[3])]), torch.tensor(weights if even else [])]


def _pytorch_search(runtime: BundleRuntime, model: Reference, sources: list[list[int]], beam_size: int) -> Check:
    return _compare(
        f"ONNX = PyTorch, beam {beam_size}",
        runtime.best(sources, runtime.run(sources, beam_size)),
        runtime.best(sources, model.run(sources, beam_size)),
        runtime.rounds,
    )


@torch.no_grad()
def _pytorch_forward(
    runtime: BundleRuntime, model: System, sources: list[list[int]], found: list[Hypothesis], kept: list[int]
) -> Check:
    """Attention and log-probabilities of PyTorch's forward pass over the translations found."""
    special, shift = runtime.subwords.special, runtime.rules.shift
    batch = make_batch([s[:-1] for s in sources], [h.ids for h in found], special)  # one position more than needed
    logits, attention = model(batch.source, batch.mask, batch.previous)  # [B, T + 1, V], [B, T + 1, S]
    log_probs = model.log_probs(logits)
    expected = []
    for row, (h, count) in enumerate(zip(found, kept, strict=True)):
        rows = None
        if attention is not None and h.attention is not None:
            read_at = [t if t == len(h.ids) - 1 else t + shift for t in range(count)]
            rows = attention[row, read_at, : h.attention.shape[1]]
        expected.append(Hypothesis(h.ids[:count], log_probs[row, range(count), h.ids[:count]], rows, 0.0))
    return _compare(
        "in-loop attention = PyTorch's forward pass",
        [_first(h, count) for h, count in zip(found, kept, strict=True)],
        expected,
        runtime.rounds,
    )
