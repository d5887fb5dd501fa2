"""BLEU and chrF of a bundle over a two-column file, through ONNX Runtime: what the product would have given."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import sacrebleu

from model_export.data import read_pairs
from model_export.runtime import BundleRuntime

BATCH_ROWS, BATCH_TOKENS = 64, 2048
PROGRESS_SECONDS = 2.0


class Score(NamedTuple):
    length_penalty: float
    bleu: float
    chrf: float


def score(
    folder: Path,
    file: Path,
    *,
    swap: bool = False,
    lines: int | None = None,
    penalties: Sequence[float] = (),
    beam_size: int | None = None,
    skip: Path | None = None,
    tokenised: bool = False,
) -> tuple[list[Score], int, int]:
    """A score for each length penalty (the bundle's own when none is given), the sentences, and the beam size.

    `tokenised` compares as papers of old do: Moses tokens in lower case (sacremoses), which gives higher figures.
    `skip` names a file of two 0/1 columns, one line for each line of `file`: only lines that have `0 0` there count.
    """
    runtime = BundleRuntime(folder, beam_size=beam_size)
    pairs = read_pairs(file, count=lines, swap=swap)
    if skip is not None:
        marks = read_pairs(skip, count=lines)
        if len(marks) != len(pairs):
            raise ValueError(f"{skip}: expected a line for each of {file}'s {len(pairs)}, found {len(marks)}")
        pairs = [pair for pair, mark in zip(pairs, marks, strict=True) if mark == ("0", "0")]
    if not pairs:
        raise ValueError(f"{file}: no line to score")
    penalties = penalties or [runtime.length_penalty]
    found = translations(runtime, [source for source, _ in pairs], penalties)
    references = [[target for _, target in pairs]]
    options = {}
    if tokenised:
        language = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["languages"]["target"]
        references = [moses(references[0], language)]
        found = [moses(texts, language) for texts in found]
        options = {"tokenize": "none", "force": True}
    scores = [
        Score(
            penalty,
            round(sacrebleu.corpus_bleu(texts, references, **options).score, 2),
            round(sacrebleu.corpus_chrf(texts, references).score, 2),
        )
        for penalty, texts in zip(penalties, found, strict=True)
    ]
    return scores, len(pairs), runtime.beam_size


def moses(texts: Sequence[str], language: str) -> list[str]:
    """Texts in lower case, Moses' tokens split by spaces."""
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    clean, cut = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
    return [cut.tokenize(clean.normalize(text.lower()), return_str=True, escape=False) for text in texts]


def translations(runtime: BundleRuntime, texts: Sequence[str], penalties: Sequence[float]) -> list[list[str]]:
    """The translations of `texts` under each penalty; the graph runs once."""
    sources = [runtime.source_ids(text) for text in texts]
    found = [[""] * len(texts) for _ in penalties]
    progress = Progress(len(texts))
    for rows in batches([len(source) for source in sources]):
        batch = [sources[row] for row in rows]
        steps = runtime.run(batch, runtime.beam_size)
        for translations, penalty in zip(found, penalties, strict=True):
            for row, hypothesis in zip(rows, runtime.best(batch, steps, length_penalty=penalty), strict=True):
                translations[row] = runtime.subwords.decode(hypothesis.ids)
        progress.add(len(rows))
    progress.end()
    return found


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows, longest first, cut into batches of bounded rows and padded tokens."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and (len(batch) == BATCH_ROWS or (len(batch) + 1) * lengths[batch[0]] > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


class Progress:
    """One line on standard error, from the third second on."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._shown = total, 0, False
        self._began = self._last = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS:
            self._last, self._shown = now, True
            left = (now - self._began) / self._done * (self._total - self._done)
            line = f"{self._done:,} of {self._total:,} sentences, about {left:.0f} s left"
            print(f"\r{line:<70}" if sys.stderr.isatty() else line, end="", file=sys.stderr, flush=True)
            if not sys.stderr.isatty():
                print(file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown and sys.stderr.isatty():
            print(f"\r{'':<70}\r", end="", file=sys.stderr, flush=True)
