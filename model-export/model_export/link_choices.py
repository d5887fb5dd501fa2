"""Ways of reading hard links off a model's attention, each scored against gold links.

The target is given, not translated: a forced pass whose prefix is the target's ids and the end token, so that every row
is the attention of a known word. What follows is a `Choice`; `alignment.links` and the Java side make the one called
DEFAULT.

Letters in the shape comments:
    T target tokens, S source tokens, without their end tokens   W source words, V target words
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from model_export import marian
from model_export.aer import LENGTHS, SYMMETRISATIONS, Agreement, GoldPair, Links, length_class, turned
from model_export.alignment import Attended, Choice, Span, choice_of, source_spans, word_indexes
from model_export.bundle import BundleError, faults, read_json
from model_export.runtime import BundleRuntime
from model_export.score import Progress, batches

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
LOW = 0.3  # the largest threshold for a source word's choice
LONGEST = 256  # tokens of a side


def all_choices(thresholds: Sequence[float] = THRESHOLDS) -> list[Choice]:
    """Every choice, DEFAULT first; argmax of a sum is argmax of the mean, and is left out.

    Of those where both sides choose, the ones that are ever best: no end renormalised, no sum, and a source word's
    threshold low.
    """
    ends: tuple[Literal["dropped", "kept", "renormalised"], ...] = ("dropped", "kept", "renormalised")
    shifts: tuple[Literal[0, 1], ...] = (0, 1)
    merges: tuple[Literal["mean", "max", "sum"], ...] = ("mean", "max", "sum")
    joins: tuple[Literal["intersection", "grow-diag"], ...] = ("intersection", "grow-diag")
    rules, low = (None, *thresholds), (None, *(t for t in thresholds if t <= LOW))
    every = (Choice(*axes) for axes in itertools.product(ends, shifts, merges, rules))
    single = [choice for choice in every if (choice.merge, choice.threshold) != ("sum", None)]
    return single + [Choice(*axes) for axes in itertools.product(ends[:2], shifts, merges[:2], rules, joins, low)]


class Line(NamedTuple):
    """One line of the table; `default` marks what the product publishes."""

    name: str
    agreement: Agreement
    default: bool


@dataclass
class Report:
    """Every choice's agreement over the pairs that were scored, and why others were not."""

    lines: list[Line]
    scored: int
    by_length: list[Line] = field(default_factory=list)  # the product's, by the source's words
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> pairs


def score_choices(
    gold: Sequence[GoldPair], folder: Path, choices: Sequence[Choice] | None = None, reverse: Path | None = None
) -> Report:
    """Each choice over `gold`, the bundle's own when None; with `reverse`, of the other direction, also both as one.

    Thresholds of target words alone are not symmetrised. A pair that either bundle cannot take is left out for both.
    """
    models = [ForcedBundle(folder)] + ([ForcedBundle(reverse)] if reverse else [])
    if reverse and read_json(folder)["languages"] != _exchanged(read_json(reverse)["languages"]):
        raise ValueError(f"{reverse} should translate the other way round from {folder}: it does not")
    usable, left_out = _usable(gold, models)
    if not usable:
        raise ValueError("no pair can be scored: " + reasons(left_out))
    found: dict[str, Agreement] = {}
    of_length: dict[str, Agreement] = {}
    default = str(models[0].choice)
    for pair, attended in _attended(usable, models):
        for name, links in _all_links(attended, choices or [models[0].choice]):
            found[name] = found.get(name, Agreement()).plus(links, pair)
            if name == default:
                length = length_class(len(pair.source.split()))
                of_length[length] = of_length.get(length, Agreement()).plus(links, pair)
    lines = [Line(name, counts, name == default) for name, counts in found.items()]
    by_length = [Line(f"{name} words", of_length[name], False) for name in LENGTHS if name in of_length]
    return Report(lines, len(usable), by_length, left_out)


def _exchanged(languages: dict[str, str]) -> dict[str, str]:
    return {"source": languages["target"], "target": languages["source"]}


def reasons(left_out: dict[str, int]) -> str:
    return "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def _all_links(attended: Sequence[Attended], choices: Sequence[Choice]) -> Iterator[tuple[str, Links]]:
    """Every line's name and links of one pair; `attended` has an entry for each direction."""
    for choice in choices:
        forward = choice.links(attended[0])
        yield str(choice), forward
        if len(attended) > 1:
            backward = turned(choice.links(attended[1]))
            yield f"{choice}, reverse", backward
            if choice.threshold is None or choice.joined:
                for name, symmetrised in SYMMETRISATIONS.items():
                    yield f"{choice}, {name}", symmetrised(forward, backward)


class ForcedBundle:
    """A bundle that is given both sides."""

    def __init__(self, folder: Path) -> None:
        found = faults(folder)
        if found:
            raise BundleError(f"{folder} cannot be used: " + "; ".join(found))
        self._runtime = BundleRuntime(folder)
        self.choice = choice_of(read_json(folder))

    def source_ids(self, text: str) -> list[int]:
        """Ids of a source text, the end token last, however many they are."""
        return [*self._runtime.subwords.source_ids([text])[0], self._runtime.subwords.special.end]

    def target_ids(self, text: str) -> list[int]:
        return [*self._runtime.subwords.target_ids([text])[0], self._runtime.subwords.special.end]

    def fault(self, source: str, target: str) -> str | None:
        """Why the bundle cannot take the pair; None when it can."""
        sources, targets = len(self.source_ids(source)), len(self.target_ids(target))
        longest = self._runtime.limits["max_source_tokens"], self._runtime.limits["max_target_tokens"]
        if min(sources, targets) < 2:
            return "without a text on both sides"
        if sources > longest[0] or targets > longest[1]:
            return f"longer than the bundle's {longest[0]} source or {longest[1]} target tokens"
        return None

    def attention(self, pairs: Sequence[tuple[str, str]]) -> list[Attended]:
        """One forced pass over a batch of (source, target)."""
        sources, targets = [self.source_ids(s) for s, _ in pairs], [self.target_ids(t) for _, t in pairs]
        followed = self._runtime.best(sources, self._runtime.run(sources, 1, targets), targets)
        found = []
        for row, (source, target) in enumerate(pairs):
            if followed[row].ids != targets[row]:
                raise ValueError("the bundle did not follow the target it was given: its graph breaks the contract")
            attention = followed[row].attention
            if attention is None:
                raise ValueError("the bundle publishes no attention: it has no links to score")
            weights = attention.numpy()  # [T + 1, S + 1]
            found.append(Attended(weights, self._source_words(source), self._target_words(target)))
        return found

    def _source_words(self, text: str) -> list[int]:
        return word_indexes(text, source_spans(self._runtime.subwords, text))

    def _target_words(self, text: str) -> list[int]:
        offsets = self._runtime.subwords.target.encode(text, add_special_tokens=False).offsets
        return word_indexes(text, [Span(*o) for o in offsets])


class ForcedCheckpoint:
    """A MarianMT checkpoint that is given both sides: the attention of every layer and head, from PyTorch."""

    def __init__(self, folder: Path) -> None:
        read = marian.read(folder)
        self._system, self._subwords, self._longest = read.system, read.subwords, min(read.positions, LONGEST)
        sizes = read.system.sizes
        self.places = [
            (layer, head) for layer in range(sizes.decoder_layers) for head in (*range(sizes.heads), None)
        ]  # head None: the mean of all

    def ids(self, source: str, target: str) -> tuple[list[int], list[int]]:
        special = self._subwords.special
        [sources], [targets] = self._subwords.source_ids([source]), self._subwords.target_ids([target])
        return [*sources, special.end], [*targets, special.end]

    def takes(self, pair: GoldPair) -> bool:
        sources, targets = self.ids(pair.source, pair.target)
        return 2 <= len(sources) <= self._longest and 2 <= len(targets) <= self._longest

    @torch.no_grad()
    def attention(self, pair: GoldPair) -> dict[tuple[int, int | None], Attended]:
        """[T + 1, S + 1] of each place."""
        sources, targets = self.ids(pair.source, pair.target)
        previous = torch.tensor([[self._subwords.special.start, *targets[:-1]]])
        mask = torch.ones(1, len(sources), dtype=torch.bool)
        _, weights = self._system.attentions(torch.tensor([sources]), mask, previous)
        offsets = self._subwords.target.encode(pair.target, add_special_tokens=False).offsets
        words = (
            word_indexes(pair.source, source_spans(self._subwords, pair.source)),
            word_indexes(pair.target, [Span(*o) for o in offsets]),
        )
        of_place = {
            (layer, head): weights[layer][0].mean(0) if head is None else weights[layer][0, head]
            for layer, head in self.places
        }
        return {place: Attended(rows.numpy(), *words) for place, rows in of_place.items()}


def score_places(gold: Sequence[GoldPair], folder: Path, choices: Sequence[Choice]) -> Report:
    """Each choice at each layer and head of the MarianMT checkpoint in `folder`."""
    model = ForcedCheckpoint(folder)
    usable = [pair for pair in gold if model.takes(pair)]
    if not usable:
        raise ValueError("no pair can be scored: each is empty or too long for the checkpoint")
    found: dict[str, Agreement] = {}
    progress = Progress(len(usable))
    for pair in usable:
        for (layer, head), attended in model.attention(pair).items():
            for choice in choices:
                name = f"layer {layer}, {'all heads' if head is None else f'head {head}'}, {choice}"
                found[name] = found.get(name, Agreement()).plus(choice.links(attended), pair)
        progress.add(1)
    progress.end()
    left_out = {"empty or too long": len(gold) - len(usable)} if len(gold) > len(usable) else {}
    return Report([Line(name, counts, False) for name, counts in found.items()], len(usable), left_out=left_out)


def _usable(gold: Sequence[GoldPair], models: Sequence[ForcedBundle]) -> tuple[list[GoldPair], dict[str, int]]:
    """The pairs every model can take, and how many cannot be scored for which reason."""
    usable, left_out = [], dict[str, int]()
    for pair in gold:
        directions = ((pair.source, pair.target), (pair.target, pair.source))
        faulty = [model.fault(*texts) for model, texts in zip(models, directions, strict=False)]
        if any(text.split(" ") != text.split() for text in directions[0] if text.strip()):
            faulty.insert(0, "whose words are split by more than single spaces")
        reason = next((reason for reason in faulty if reason), None)
        if reason is None:
            usable.append(pair)
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    return usable, left_out


def _attended(pairs: Sequence[GoldPair], models: Sequence[ForcedBundle]) -> Iterator[tuple[GoldPair, list[Attended]]]:
    """Each pair with its attention in every direction; like lengths share a batch, so the pairs' order is lost."""
    progress = Progress(len(pairs))
    for rows in batches(
        [max(len(models[0].source_ids(pair.source)), len(models[0].target_ids(pair.target))) for pair in pairs]
    ):
        batch = [pairs[row] for row in rows]
        directions = [[(pair.source, pair.target) for pair in batch], [(pair.target, pair.source) for pair in batch]]
        found = [model.attention(texts) for model, texts in zip(models, directions, strict=False)]
        for pair, *attended in zip(batch, *found, strict=True):
            yield pair, attended
        progress.add(len(rows))
    progress.end()
