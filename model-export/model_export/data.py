"""Parallel text: reading it, turning it into ids, and cutting it into batches of about equal size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import zstandard
from tokenizers import Tokenizer
from torch import Tensor

from model_export.vocabulary import END, PAD, START

Pair = tuple[str, str]


def read_lines(path: Path, first: int = 0, count: int | None = None) -> Iterator[tuple[int, str]]:
    """Lines `first` to `first + count` of a UTF-8 file, plain or `.zst`, each with its number from 1."""
    number = first
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        lines = io.TextIOWrapper(stream, encoding="utf-8", newline="\n")
        try:
            for number, line in enumerate(islice(lines, first, None if count is None else first + count), first + 1):
                yield number, line.rstrip("\n")
        except UnicodeDecodeError as fault:
            raise ValueError(f"{path}: not UTF-8 soon after line {number}: {fault.reason}") from fault
        except zstandard.ZstdError as fault:
            raise ValueError(f"{path}: not readable as zstd after line {number}: {fault}") from fault


def read_pairs(path: Path, first: int = 0, count: int | None = None, swap: bool = False) -> list[Pair]:
    """Lines `first` to `first + count` of a two-column file (`.tsv` or `.tsv.zst`) as (source, target)."""
    pairs = []
    for number, line in read_lines(path, first, count):
        columns = line.split("\t")
        if len(columns) != 2:
            raise ValueError(f"{path}:{number}: expected 2 columns split by one TAB, found {len(columns)}")
        pairs.append((columns[1], columns[0]) if swap else (columns[0], columns[1]))
    return pairs


@dataclass(frozen=True)
class Batch:
    """Padded ids: source [B, S] ends with the end token, previous [B, T] starts with the start token."""

    source: Tensor
    mask: Tensor
    previous: Tensor
    target: Tensor

    @property
    def target_tokens(self) -> int:
        return int((self.target != PAD).sum())


def pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of ids as one int64 tensor [B, longest], PAD on the right."""
    padded = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(padded)


def make_batch(sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Batch:
    """Ids without special tokens, as `Tokenizer.encode` gives them, made into one padded batch."""
    source = pad([[*ids, END] for ids in sources])
    return Batch(
        source=source,
        mask=source != PAD,
        previous=pad([[START, *ids] for ids in targets]),
        target=pad([[*ids, END] for ids in targets]),
    )


class Corpus:
    """Encoded pairs of one file, kept as flat arrays (2 bytes a token while the vocabulary is below 65,536)."""

    def __init__(self, tokenizer: Tokenizer, pairs: Sequence[Pair], longest: int) -> None:
        sources = [e.ids for e in tokenizer.encode_batch_fast([s for s, _ in pairs], add_special_tokens=False)]
        targets = [e.ids for e in tokenizer.encode_batch_fast([t for _, t in pairs], add_special_tokens=False)]
        self.pairs = [
            (np.asarray(s, dtype=np.uint16), np.asarray(t, dtype=np.uint16))
            for s, t in zip(sources, targets, strict=True)
            if 0 < len(s) < longest and 0 < len(t) < longest
        ]

    def __len__(self) -> int:
        return len(self.pairs)


def batches(corpora: Sequence[Corpus], tokens: int, seed: int) -> Iterator[Batch]:
    """One shuffled pass over all pairs; a batch holds at most `tokens` padded tokens on its longer side.

    Pairs of about the same length go together, so little is padding; the same seed gives the same order.
    """
    pairs = [pair for corpus in corpora for pair in corpus.pairs]
    random = np.random.default_rng(seed)
    noise = random.random(len(pairs))
    order = sorted(range(len(pairs)), key=lambda i: (max(map(len, pairs[i])), len(pairs[i][0]), noise[i]))
    cuts: list[list[int]] = [[]]
    for index in order:
        width = max(map(len, pairs[index])) + 1
        if cuts[-1] and (len(cuts[-1]) + 1) * width > tokens:
            cuts.append([])
        cuts[-1].append(index)
    for cut in random.permutation(len(cuts)):
        chosen = [pairs[i] for i in cuts[cut]]
        yield make_batch([s.tolist() for s, _ in chosen], [t.tolist() for _, t in chosen])
