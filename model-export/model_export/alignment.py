"""From attention over tokens to links over words.

A word is a maximal run of non-whitespace (`str.split`). A token belongs to the word in which its span starts once
leading whitespace is trimmed. The weight between two words is the sum over the source word's tokens, averaged over the
target word's tokens: a sum on the source side, so that a word cut into many pieces does not lose to one that is whole.
The end-of-sentence row and column are left out, unless a `Choice` says otherwise. Spans count code points.

Letters in the shape comments:
    T target tokens, S source tokens, without their end tokens   W source words, V target words
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_export.aer import SYMMETRISATIONS
from model_export.vocabulary import BYTE, Subwords


class Span(NamedTuple):
    """Code points `start` to `end` (not included) of a text."""

    start: int
    end: int


def words(text: str) -> list[Span]:
    """Where the words of `text.split()` stand."""
    found, position = [], 0
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        found.append(Span(start, position))
    return found


def word_indexes(text: str, tokens: Sequence[Span]) -> list[int]:
    """The word each token belongs to; a token with nothing after it belongs to the last word."""
    spans = words(text)
    indexes = []
    for token in tokens:
        rest = text[token.start :]
        start = token.start + len(rest) - len(rest.lstrip())
        indexes.append(next((i for i, word in enumerate(spans) if start < word.end), len(spans) - 1))
    return indexes


def source_spans(subwords: Subwords, text: str) -> list[Span]:
    """The span of each source token, without the end of sentence."""
    return [Span(*offsets) for offsets in subwords.source.encode(text, add_special_tokens=False).offsets]


def target_spans(subwords: Subwords, ids: Sequence[int]) -> tuple[str, list[Span]]:
    """The text `Subwords.decode` gives, and the span of each id before the end token.

    Pieces are appended one by one. Bytes that follow one another are one piece, whose span each of them gets; bytes
    that are no UTF-8 become one replacement character each, as in the tokenizer's own decoder.
    """
    special = subwords.special
    kept = list(ids[: ids.index(special.end)] if special.end in ids else ids)
    text, spans = "", [Span(0, 0)] * len(kept)
    waiting: list[int] = []  # positions in `kept` of a run of bytes
    waiting_bytes: list[int] = []

    def append(positions: Sequence[int], piece: str) -> None:
        nonlocal text
        for position in positions:
            spans[position] = Span(len(text), len(text) + len(piece))
        text += piece

    def end_bytes() -> None:
        if waiting:
            append(waiting, _from_utf8(bytes(waiting_bytes)))
            waiting_bytes.clear()
            waiting.clear()

    for position, token in enumerate(kept):
        piece = subwords.piece(token)
        byte = BYTE.fullmatch(piece)
        if token in special:
            spans[position] = Span(len(text), len(text))
        elif byte:
            waiting.append(position)
            waiting_bytes.append(int(byte[1], 16))
        else:
            end_bytes()
            append([position], piece.replace("\u2581", " "))
    end_bytes()
    lead, length = len(text) - len(text.lstrip()), len(text.strip())
    return text.strip(), [Span(*(min(max(0, edge - lead), length) for edge in span)) for span in spans]


def _from_utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "\ufffd" * len(data)


def word_weights(
    attention: NDArray[np.float32], source_words: Sequence[int], target_words: Sequence[int]
) -> NDArray[np.float32]:
    """Weights [target words, source words] from `attention` [target tokens, source tokens] and each token's word."""
    rows, columns = max(target_words, default=-1) + 1, max(source_words, default=-1) + 1
    belongs = np.zeros((rows, len(target_words)), np.float32)
    belongs[list(target_words), range(len(target_words))] = 1
    gathers = np.zeros((len(source_words), columns), np.float32)
    gathers[range(len(source_words)), list(source_words)] = 1
    merged: NDArray[np.float32] = belongs @ attention @ gathers / np.maximum(1, belongs.sum(1, keepdims=True))
    return merged


class Attended(NamedTuple):
    """A forced pass's attention [T + 1, S + 1], end row and column last, and the word of each token."""

    weights: NDArray[np.float32]
    source_words: list[int]  # S
    target_words: list[int]  # T


@dataclass(frozen=True)
class Choice:
    """How links come from attention. A source word's weight is always the sum over its tokens.

    - end: the column of the source's end is `dropped`; or dropped and each row `renormalised` to sum to 1; or `kept`
      as a word of its own, so that a target word whose largest weight is there gets no link.
    - shift: 0 takes the row of the step that writes a token, 1 the row of the next step, whose input it is.
    - merge: over a target word's tokens, the mean, sum or largest weight.
    - threshold: None links a target word to its heaviest source word, the first on a tie; a number links it to every
      source word of at least this weight.
    - joined: both sides choose, and their links become one set as those of two directions do. A target word chooses its
      heaviest source word, if that has at least `threshold`; a source word the target word that gives it the most, the
      first on a tie, if that is at least `source_threshold`. The rows are those of one model: Jalili Sabet et al.,
      "SimAlign", Findings of EMNLP 2020, section 2.2, take the intersection so; growing it is Koehn, Och, Marcu 2003's.
    """

    end: Literal["dropped", "renormalised", "kept"] = "dropped"
    shift: Literal[0, 1] = 0
    merge: Literal["mean", "sum", "max"] = "mean"
    threshold: float | None = None
    joined: Literal["intersection", "grow-diag"] | None = None
    source_threshold: float | None = None

    def __str__(self) -> str:
        rule = _rule(self.threshold)
        if self.joined:
            rule = f"{self.joined} of {rule} and {_rule(self.source_threshold)}"
        return f"end {self.end}, shift {self.shift}, {self.merge}, {rule}"

    @property
    def name(self) -> str:
        """What `choice_named` makes this choice of, whatever its shift."""

        def rule(threshold: float | None) -> str:
            return "argmax" if threshold is None else f"{threshold:g}"

        both = [self.joined, rule(self.source_threshold)] if self.joined else []
        return ",".join([self.end, self.merge, rule(self.threshold), *both])

    def links(self, attended: Attended) -> frozenset[tuple[int, int]]:
        if not attended.source_words:
            return frozenset()
        weights = self._merged(attended)  # [V, W], or [V, W + 1] when the end is kept
        words = max(attended.source_words) + 1
        targets = sorted(set(attended.target_words))
        found = set()
        for word in targets:
            best = int(weights[word].argmax())
            if best == words:
                continue
            if self.threshold is None or (self.joined and weights[word, best] >= self.threshold):
                found.add((best, word))
            elif not self.joined:
                found.update((i, word) for i in np.flatnonzero(weights[word, :words] >= self.threshold).tolist())
        if self.joined is None:
            return frozenset(found)
        chosen = set()
        for word in set(attended.source_words):
            best = targets[int(weights[targets, word].argmax())]
            if self.source_threshold is None or weights[best, word] >= self.source_threshold:
                chosen.add((word, best))
        return SYMMETRISATIONS[self.joined](frozenset(found), frozenset(chosen))

    def _merged(self, attended: Attended) -> NDArray[np.float32]:
        source_words, target_words = attended.source_words, attended.target_words
        rows = attended.weights[self.shift : self.shift + len(target_words)]  # [T, S + 1]
        if self.end == "kept":
            source_words = [*source_words, max(source_words) + 1]
        else:
            rows = rows[:, : len(source_words)]  # [T, S]
        if self.end == "renormalised":
            rows = rows / np.maximum(rows.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        if self.merge == "max":
            tokens = word_weights(rows, source_words, range(len(target_words)))  # [T, W]
            largest = np.zeros((max(target_words, default=-1) + 1, tokens.shape[1]), np.float32)  # [V, W]
            np.maximum.at(largest, target_words, tokens)
            return largest
        merged = word_weights(rows, source_words, target_words)  # [V, W]
        if self.merge == "mean":
            return merged
        return merged * np.bincount(target_words).astype(np.float32)[:, None]

    def manifest(self) -> dict[str, str | float | None]:
        """What a bundle records as `attention.links`; the shift is the graph's."""
        both = {"joined": self.joined, "source_threshold": self.source_threshold} if self.joined else {}
        return {"end": self.end, "merge": self.merge, "threshold": self.threshold, **both}


def _rule(threshold: float | None) -> str:
    return "argmax" if threshold is None else f">= {threshold:g}"


DEFAULT = Choice()


def choice_named(text: str) -> Choice:
    """`end,merge,threshold` as in `dropped,mean,0.2`, or with `joined,source threshold` after it.

    A threshold may be `argmax`, which is none.
    """
    end, merge, threshold, *both = text.split(",") if text.count(",") in (2, 4) else ("", "", "")
    joined, source_threshold = both or (None, "argmax")
    if (
        end in ("dropped", "renormalised", "kept")
        and merge in ("mean", "sum", "max")
        and joined in (None, "intersection", "grow-diag")
    ):
        try:
            rules = _threshold(threshold), joined, _threshold(source_threshold)
            return Choice(end, 0, merge, *rules)  # type: ignore[arg-type]
        except ValueError:
            pass
    raise ValueError(
        "links should be END,MERGE,THRESHOLD or END,MERGE,THRESHOLD,JOINED,SOURCE_THRESHOLD as in dropped,mean,0.2, "
        f"kept,max,argmax or dropped,mean,0.3,grow-diag,0.1: was {text}"
    )


def _threshold(text: str) -> float | None:
    if text == "argmax":
        return None
    threshold = float(text)
    if not math.isfinite(threshold):
        raise ValueError(f"a threshold should be a number: was {text}")
    return threshold


def choice_of(manifest: dict[str, Any]) -> Choice:
    """The choice a bundle records, DEFAULT where it records none."""
    return Choice(**manifest["attention"].get("links", {}))


def links(
    subwords: Subwords, source: str, target_ids: Sequence[int], attention: NDArray[np.float32], choice: Choice = DEFAULT
) -> list[tuple[int, int]]:
    """(source word, target word) as `choice` has it, by target word.

    `attention` [target tokens, source tokens] may still hold the end row and must hold the end column.
    """
    text, spans = target_spans(subwords, target_ids)
    target_words = word_indexes(text, spans)
    source_words = word_indexes(source, source_spans(subwords, source))[: attention.shape[1] - 1]  # a source may be cut
    if not target_words or not words(text) or not source_words:
        return []
    found = choice.links(Attended(attention[: len(spans), : len(source_words) + 1], source_words, target_words))
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def pharaoh(pairs: Sequence[tuple[int, int]]) -> str:
    """`source-target` pairs of 0-based words, split by one space."""
    return " ".join(f"{i}-{j}" for i, j in sorted(pairs, key=lambda pair: (pair[1], pair[0])))
