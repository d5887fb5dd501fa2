"""Does a bundle keep the graph contract? One line for each check, with the largest difference that was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model_export.bundle import BundleError, best_weights, faults, golden_row, golden_sentences, read_golden, read_json
from model_export.data import make_batch, pad
from model_export.rnnsearch import RNNsearch, Sizes
from model_export.runtime import BundleRuntime
from model_export.search import Hypothesis, Steps, beam_search
from model_export.vocabulary import PAD

TOLERANCE = 1e-4
BEAMS = (1, 4)


class Check(NamedTuple):
    """One property: how far off it is at most, and what is not as it should be at all."""

    name: str
    difference: float
    faults: list[str]

    @property
    def holds(self) -> bool:
        return not self.faults and self.difference <= TOLERANCE

    def __str__(self) -> str:
        verdict = "ok    " if self.holds else "FAILED"
        return "; ".join([f"{verdict} {self.name}: largest difference {self.difference:.1e}", *self.faults])


def verify(folder: Path, checkpoint: Path | None = None, say: Callable[[str], None] = print) -> None:
    """Checks the files, then the model; raises BundleError with everything that does not hold.

    `checkpoint` is training's folder or its weights file; without it nothing is compared with PyTorch.
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


def checks(folder: Path, checkpoint: Path | None = None) -> Iterator[Check]:
    """All checks of the model, over the golden sentences."""
    runtime = BundleRuntime(folder)
    sources = [runtime.source_ids(sentence) for sentence in golden_sentences()]
    steps = runtime.run(sources, runtime.beam_size)
    found = runtime.best(sources, steps)
    yield Check("no NaN", 0.0, [name for name, part in steps._asdict().items() if part.isnan().any()])
    yield _rows(found)
    yield _padding(runtime, sources, steps, found)
    yield _teacher_forced(runtime, sources, found)
    yield _golden(folder, runtime)
    if checkpoint is not None:
        model = reference(folder, checkpoint)
        for beam_size in BEAMS:
            yield _pytorch_search(runtime, model, sources, beam_size)
        yield _pytorch_forward(model, sources, found)


def reference(folder: Path, checkpoint: Path) -> RNNsearch:
    """The PyTorch model with the weights as the bundle stores them, rounded to float16."""
    weights = torch.load(best_weights(checkpoint), map_location="cpu", weights_only=True)["model"]
    sizes = Sizes(
        vocabulary=weights["decoder.output_bias"].shape[0],
        embedding=weights["decoder.embedding.weight"].shape[1],
        encoder=weights["encoder.gru.weight_hh_l0"].shape[1],
        decoder=weights["decoder.from_state.weight"].shape[1],
        attention=weights["decoder.attention.query.weight"].shape[0],
    )
    if sizes.vocabulary != read_json(folder)["vocabulary"]["target_size"]:
        raise BundleError(f"{checkpoint} has {sizes.vocabulary} words, the bundle another number: not its weights")
    model = RNNsearch(sizes)
    model.load_state_dict({name: value.half().float() for name, value in weights.items()})
    return model.eval()


def _furthest(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    return max((float((a - b).abs().max()) for a, b in zip(found, expected, strict=True) if a.numel()), default=0.0)


def _compare(name: str, found: Sequence[Hypothesis], expected: Sequence[Hypothesis]) -> Check:
    """Tokens equal; log-probabilities and attention no further apart than the difference given."""
    wrong = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a.ids != b.ids]
    pairs = [(a, b) for i, (a, b) in enumerate(zip(found, expected, strict=True)) if i not in wrong]
    difference = max(
        _furthest([a.log_probs for a, _ in pairs], [b.log_probs for _, b in pairs]),
        _furthest([a.attention for a, _ in pairs], [b.attention for _, b in pairs]),
    )
    return Check(name, difference, [f"tokens differ in sentences {[i + 1 for i in wrong]}"] if wrong else [])


def _rows(found: Sequence[Hypothesis]) -> Check:
    sums = [h.attention.sum(dim=1) for h in found]
    return Check("rows sum to 1", _furthest(sums, [torch.ones_like(s) for s in sums]), [])


def _padding(runtime: BundleRuntime, sources: list[list[int]], steps: Steps, found: list[Hypothesis]) -> Check:
    """A sentence alone gives what it gives in the padded batch; on padding the batch's weights are exactly 0."""
    alone = [runtime.best([source], runtime.run([source], runtime.beam_size))[0] for source in sources]
    check = _compare("padded batch = single sentence", found, alone)
    padding = (pad(sources) == PAD)[None, :, None, :]  # [1, B, 1, S]
    return check if not bool((steps.attention * padding).any()) else Check(*check[:2], ["padding is not exactly 0"])


def _teacher_forced(runtime: BundleRuntime, sources: list[list[int]], found: list[Hypothesis]) -> Check:
    """The whole translation given as the prefix goes through the same steps."""
    forced = runtime.best(sources, runtime.run(sources, 1, [h.ids for h in found]))
    return _compare("in-loop attention = teacher-forced attention", found, forced)


def _golden(folder: Path, runtime: BundleRuntime) -> Check:
    difference, wrong = 0.0, []
    rows = read_golden(folder)
    for row in rows:
        if len(row) != 5:
            wrong.append(f"{row[0]!r} has {len(row)} columns, expected 5")
            continue
        [translated] = runtime.translate([row[0]])
        now = golden_row(translated)
        if now[:3] != row[:3]:
            wrong.append(f"{row[0]!r} gave {now[1:3]}, expected {row[1:3]}")
            continue
        found, expected = _numbers(now), _numbers(row)
        if len(found) != len(expected):
            wrong.append(f"{row[0]!r} gave {len(found) - 1} weights, expected {len(expected) - 1}")
            continue
        difference = max(difference, *(abs(a - b) for a, b in zip(found, expected, strict=True)))
    if not rows:
        wrong.append("golden.tsv holds no sentence")
    return Check("golden file reproduced", difference, wrong)


def _numbers(row: list[str]) -> list[float]:
    return [float(number) for number in [row[3], *row[4].replace(";", ",").split(",")]]


def _pytorch_search(runtime: BundleRuntime, model: RNNsearch, sources: list[list[int]], beam_size: int) -> Check:
    source = pad(sources)
    expected = beam_search(model, source, source != PAD, beam_size, runtime.limits["max_target_tokens"])
    return _compare(
        f"ONNX = PyTorch, beam {beam_size}",
        runtime.best(sources, runtime.run(sources, beam_size)),
        runtime.best(sources, expected),
    )


@torch.no_grad()
def _pytorch_forward(model: RNNsearch, sources: list[list[int]], found: list[Hypothesis]) -> Check:
    """Attention and log-probabilities of PyTorch's forward pass over the translations found."""
    batch = make_batch([s[:-1] for s in sources], [h.ids[:-1] for h in found])
    logits, attention = model(batch.source, batch.mask, batch.previous)  # [B, T, V], [B, T, S]
    log_probs = torch.log_softmax(logits, dim=-1)
    expected = [
        h._replace(
            log_probs=log_probs[row, range(len(h.ids)), h.ids],
            attention=attention[row, : len(h.ids), : h.attention.shape[1]],
        )
        for row, h in enumerate(found)
    ]
    return _compare("in-loop attention = PyTorch's forward pass", found, expected)
