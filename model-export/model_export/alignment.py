"""From attention over tokens to links over words.

A word is a maximal run of non-whitespace (`str.split`). A token belongs to the word in which its span starts once
leading whitespace is trimmed. The weight between two words is the sum over the source word's tokens, averaged over the
target word's tokens: a sum on the source side, so that a word cut into many pieces does not lose to one that is whole.
The end-of-sentence row and column are left out. Spans count code points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_export.vocabulary import BYTES, END, SPECIAL


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


def source_spans(tokenizer: Tokenizer, text: str) -> list[Span]:
    """The span of each source token, without the end of sentence."""
    return [Span(*offsets) for offsets in tokenizer.encode(text, add_special_tokens=False).offsets]


def target_spans(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, list[Span]]:
    """The text `vocabulary.decode` gives, and the span of each id before the end token.

    Pieces are appended one by one. Bytes that follow one another are one piece, whose span each of them gets; bytes
    that are no UTF-8 become one replacement character each, as in the tokenizer's own decoder.
    """
    kept = list(ids[: ids.index(END)] if END in ids else ids)
    text, spans = "", [Span(0, 0)] * len(kept)
    waiting: list[int] = []  # positions in `kept` of a run of bytes

    def append(positions: Sequence[int], piece: str) -> None:
        nonlocal text
        for position in positions:
            spans[position] = Span(len(text), len(text) + len(piece))
        text += piece

    def end_bytes() -> None:
        if waiting:
            append(waiting, _from_utf8(bytes(kept[i] - len(SPECIAL) for i in waiting)))
            waiting.clear()

    for position, token in enumerate(kept):
        if token < len(SPECIAL):
            spans[position] = Span(len(text), len(text))
        elif token < len(SPECIAL) + len(BYTES):
            waiting.append(position)
        else:
            end_bytes()
            append([position], str(tokenizer.id_to_token(token)).replace("\u2581", " "))
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


def links(
    tokenizer: Tokenizer, source: str, target_ids: Sequence[int], attention: NDArray[np.float32]
) -> list[tuple[int, int]]:
    """(source word, target word) for each target word that has a token, by target word.

    `attention` [target tokens, source tokens] may still hold the end row and must hold the end column.
    """
    text, spans = target_spans(tokenizer, target_ids)
    target_words = word_indexes(text, spans)
    source_words = word_indexes(source, source_spans(tokenizer, source))
    if not target_words or not words(text) or not source_words:
        return []
    weights = word_weights(attention[: len(spans), : len(source_words)], source_words, target_words)
    return [(int(weights[j].argmax()), j) for j in sorted(set(target_words))]


def pharaoh(pairs: Sequence[tuple[int, int]]) -> str:
    """`source-target` pairs of 0-based words, split by one space."""
    return " ".join(f"{i}-{j}" for i, j in sorted(pairs, key=lambda pair: (pair[1], pair[0])))
