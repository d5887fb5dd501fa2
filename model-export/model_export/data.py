"""Parallel text: reading it, turning it into ids, and cutting it into batches of about equal size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from torch import Tensor

from model_export.vocabulary import SpecialIds, Subwords

Pair = tuple[str, str]
Ids = NDArray[Any]  # uint16 or uint32
TokenLinks = NDArray[Any]  # [L, 2] of uint8 or uint16, source and target token
Encoded = tuple[Ids, Ids, TokenLinks | None]  # source and target ids, and links between them

IGNORED = -100  # a target position that counts for nothing, cross_entropy's default


def read_lines(path: Path, first: int = 0, count: int | None = None) -> Iterator[tuple[int, str]]:
    """Lines `first` to `first + count` of a UTF-8 file, plain or `.zst`, each with its number from 1."""
    number = first
    with path.open("rb") as raw:
        packed = path.suffix == ".zst"
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw)) if packed else raw
        try:
            for number, line in enumerate(islice(lines, first, None if count is None else first + count), first + 1):
                yield number, line.decode("utf-8").rstrip("\n")
        except UnicodeDecodeError as fault:
            raise ValueError(f"{path}:{number}: not UTF-8: {fault.reason}, byte {fault.start + 1}") from fault
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
    """Padded ids: source [B, S] ends with the end token, previous [B, T] starts with the start token.

    `links` holds, for each pair, its (source, target) token links to be taught [L, 2], None where there are none.
    """

    source: Tensor
    mask: Tensor
    previous: Tensor
    target: Tensor
    target_tokens: int
    links: tuple[TokenLinks | None, ...] = ()


def pad(rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    """Rows of ids as one int64 tensor [B, longest], `padding` on the right."""
    padded = np.full((len(rows), max(map(len, rows))), padding, dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(padded)


def mask_of(rows: Sequence[Sequence[int]]) -> Tensor:
    """[B, longest], true where `pad` put an id of the row."""
    lengths = torch.tensor([len(row) for row in rows])
    return torch.arange(int(lengths.max())) < lengths[:, None]


def make_batch(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    special: SpecialIds,
    links: Sequence[TokenLinks | None] = (),
) -> Batch:
    """Ids without special tokens, as `Subwords` gives them, made into one padded batch."""
    ended = [[*ids, special.end] for ids in sources]
    return Batch(
        source=pad(ended, special.pad),
        mask=mask_of(ended),
        previous=pad([[special.start, *ids] for ids in targets], special.pad),
        target=pad([[*ids, special.end] for ids in targets], IGNORED),
        target_tokens=sum(len(ids) + 1 for ids in targets),
        links=tuple(links),
    )


class Corpus:
    """Encoded pairs of one file, kept as flat arrays (2 bytes a token while the vocabulary is below 65,536)."""

    def __init__(
        self,
        subwords: Subwords,
        pairs: Sequence[Pair],
        longest: int,
        links: Sequence[TokenLinks | None] | None = None,
        turned: bool = False,
    ) -> None:
        """`turned` adds every pair the other way round as well, which needs one tokenizer for both sides."""
        kind = np.uint16 if max(subwords.sizes) < 1 << 16 else np.uint32
        sources = subwords.source_ids([s for s, _ in pairs])
        targets = subwords.target_ids([t for _, t in pairs])
        self.pairs: list[Encoded] = [
            (np.asarray(s, dtype=kind), np.asarray(t, dtype=kind), k)
            for s, t, k in zip(sources, targets, links or [None] * len(pairs), strict=True)
            if 0 < len(s) < longest and 0 < len(t) < longest
        ]
        if turned:
            self.pairs += [(t, s, None if k is None else k[:, ::-1]) for s, t, k in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)


def joined(pairs: Sequence[Encoded], share: float, longest: int, seed: int) -> list[Encoded]:
    """The pairs, a random `share` of them one after the other in texts of random lengths below `longest` tokens.

    Kondo, Hotate, Hirasawa, Kaneko, Komachi, "Sentence Concatenation Approach to Data Augmentation for Neural Machine
    Translation", NAACL 2021 student workshop, section 3: what training never saw as long as that is translated badly.
    A text of which some pair has no links has none.
    """
    random = np.random.default_rng(seed)
    taken = random.random(len(pairs)) < share
    found = [pair for pair, take in zip(pairs, taken, strict=True) if not take]
    text: list[Encoded] = []
    room = 0
    for index in random.permutation(np.flatnonzero(taken)):
        pair = pairs[index]
        longer = max(len(pair[0]), len(pair[1]))
        if text and longer > room:
            found.append(_one(text))
            text = []
        room = (room if text else int(random.integers(longest))) - longer
        text.append(pair)
    return [*found, _one(text)] if text else found


def _one(text: Sequence[Encoded]) -> Encoded:
    sources, targets = np.concatenate([s for s, _, _ in text]), np.concatenate([t for _, t, _ in text])
    before, links = np.zeros(2, np.uint16), list[NDArray[np.uint16]]()
    for source, target, pairs in text:
        if pairs is None:
            return sources, targets, None
        links.append(pairs + before)
        before += np.array((len(source), len(target)), np.uint16)
    return sources, targets, np.concatenate(links)


def batches(
    corpora: Sequence[Corpus],
    tokens: int,
    seed: int,
    special: SpecialIds,
    share_joined: float = 0.0,
    longest: int = 0,
) -> Iterator[Batch]:
    """One shuffled pass over all pairs, `share_joined` of them `joined`; a batch holds at most `tokens` padded tokens
    on its longer side.

    Pairs of about the same length go together, so little is padding; the same seed gives the same order.
    """
    pairs = [pair for corpus in corpora for pair in corpus.pairs]
    if share_joined:
        pairs = joined(pairs, share_joined, longest, seed)
    random = np.random.default_rng(seed)
    noise = random.random(len(pairs))
    widths = [max(len(s), len(t)) for s, t, _ in pairs]
    order = sorted(range(len(pairs)), key=lambda i: (widths[i], len(pairs[i][0]), noise[i]))
    cuts: list[list[int]] = [[]]
    for index in order:
        if cuts[-1] and (len(cuts[-1]) + 1) * (widths[index] + 1) > tokens:
            cuts.append([])
        cuts[-1].append(index)
    for cut in random.permutation(len(cuts)):
        chosen = [pairs[i] for i in cuts[cut]]
        yield make_batch(
            [s.tolist() for s, _, _ in chosen], [t.tolist() for _, t, _ in chosen], special, [k for _, _, k in chosen]
        )
