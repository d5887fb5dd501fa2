"""From attention over tokens to links over words.

A word is a maximal run of non-whitespace (`str.split`). A token belongs to the word in which its span starts once
leading whitespace is trimmed. The weight between two words is the sum over the source word's tokens, averaged over the
target word's tokens: a sum on the source side, so that a word cut into many pieces does not lose to one that is whole.
The end-of-sentence row and column are left out, unless a `Choice` says otherwise. Spans count code points.

Letters in the shape comments:
    T target tokens, S source tokens, without their end tokens   W source words, V target words
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """

    end: Literal["dropped", "renormalised", "kept"] = "dropped"
    shift: Literal[0, 1] = 0
    merge: Literal["mean", "sum", "max"] = "mean"
    threshold: float | None = None

    def __str__(self) -> str:
        rule = "argmax" if self.threshold is None else f">= {self.threshold:g}"
        return f"end {self.end}, shift {self.shift}, {self.merge}, {rule}"

    def links(self, attended: Attended) -> frozenset[tuple[int, int]]:
        if not attended.source_words:
            return frozenset()
        weights = self._merged(attended)  # [V, W], or [V, W + 1] when the end is kept
        words = max(attended.source_words) + 1
        found = set()
        for word in set(attended.target_words):
            best = int(weights[word].argmax())
            if best == words:
                continue
            if self.threshold is None:
                found.add((best, word))
            else:
                found.update((i, word) for i in np.flatnonzero(weights[word, :words] >= self.threshold).tolist())
        return frozenset(found)

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
        return {"end": self.end, "merge": self.merge, "threshold": self.threshold}


DEFAULT = Choice()


def choice_named(text: str) -> Choice:
    """`end,merge,threshold` as in `dropped,mean,0.2`; the threshold may be `argmax`."""
    parts = text.split(",")
    if len(parts) == 3 and parts[0] in ("dropped", "renormalised", "kept") and parts[1] in ("mean", "sum", "max"):
        try:
            return Choice(parts[0], 0, parts[1], None if parts[2] == "argmax" else float(parts[2]))  # type: ignore[arg-type]
        except ValueError:
            pass
    raise ValueError(f"links should be END,MERGE,THRESHOLD as in dropped,mean,0.2 or kept,max,argmax: was {text}")


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
