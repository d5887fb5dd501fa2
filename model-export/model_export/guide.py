"""Teaching attention: links from an unsupervised aligner, and the loss that a model learns them by.

Garg, Peitz, Nallasamy, Paulik, "Jointly Learning to Align and Translate with Transformer Models", EMNLP 2019, section
4: the published heads are taught the symmetrised links of an aligner. Here the row that is taught a token's links is
that of the step which has the token as input (Chen et al., "Accurate Word Alignment Induction from Neural Machine
Translation", EMNLP 2020, section 3.1), so a bundle made of such a model publishes with `shift` 1.

The aligner is eflomal (Oestling and Tiedemann 2016), run as a program; it is not part of this project's installation.
It links units, which are words and punctuation marks without their case: it has seen more of each than of subwords, and
their links fit any vocabulary.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from model_export.aer import grow_diag
from model_export.alignment import Span
from model_export.config import Config
from model_export.data import IGNORED, Batch, Pair, read_pairs
from model_export.vocabulary import Subwords

ALIGNER = "eflomal-align"
LONGEST = 256  # units or tokens of a side that has links: a link is two bytes
Pairs = NDArray[np.uint8]  # [L, 2], source and target unit, or token
Form = Literal["plain", "apart", "lower"]  # as it is; its units split by spaces, as in gold sets; that in lower case
FORMS: tuple[Form, ...] = ("plain", "apart", "lower")


_UNIT = re.compile(r"[^\W_]+|[^\w\s]|_")
_APOSTROPHES = "'\u2019\u02bc"


def units(text: str) -> list[Span]:
    """Words and punctuation marks; an apostrophe between letters goes with the shorter side, as in l' and 's."""
    found: list[Span] = []
    parts = [Span(*match.span()) for match in _UNIT.finditer(text)]
    waiting = iter(range(len(parts)))
    for i in waiting:
        part = parts[i]
        if text[part.start] in _APOSTROPHES and _between_letters(text, part):
            left, right = found[-1], parts[i + 1]
            if left.end - left.start <= right.end - right.start:
                found[-1] = Span(left.start, part.end)
            else:
                found.append(Span(part.start, right.end))
                next(waiting)
        else:
            found.append(part)
    return found


def _between_letters(text: str, mark: Span) -> bool:
    return text[mark.start - 1 : mark.start].isalnum() and text[mark.end : mark.end + 1].isalnum()


def _plain_units(text: str) -> list[str]:
    """The units as the aligner sees them."""
    alike = dict.fromkeys(map(ord, _APOSTROPHES), "'")
    return [text[a:b].lower().translate(alike) for a, b in units(text)]


@dataclass(frozen=True)
class Links:
    """Links of the lines of training files, between units; (file, line) are looked up in `lines`."""

    rows: dict[tuple[str, int], Pairs]

    def of(self, file: str, first: int, count: int, swap: bool) -> list[Pairs | None]:
        """Links of `count` lines from `first` on as (source, target); None where a line has none."""
        found = (self.rows.get((file, line)) for line in range(first, first + count))
        return [row[:, ::-1] if swap and row is not None else row for row in found]


def read_links(path: Path) -> Links:
    """Links as `make_links` wrote them: links of a line's columns as they stand in its file; ValueError without."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: `model-export guide` makes it, or set training.guide to 0")
    try:
        return _read(path)
    except (EOFError, KeyError, OSError, TypeError, zipfile.BadZipFile) as fault:
        raise ValueError(f"{path} holds no links between words: `model-export guide` makes such a file") from fault


def _read(path: Path) -> Links:
    rows: dict[tuple[str, int], Pairs] = {}
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile(path)
    with np.load(path) as saved:
        for number, file in enumerate(saved["files_of_units"].tolist()):
            lines, ends, links = (saved[f"{part}_{number}"] for part in ("lines", "ends", "links"))
            for line, part in zip(lines.tolist(), np.split(links, ends[:-1]), strict=True):
                rows[file, line] = part
    return Links(rows)


def make_links(config: Config, data: Path, folder: Path, lines: int) -> int:
    """Aligns `lines` lines of each training file, from its `first` on; writes `links.npz`; gives the lines aligned."""
    if shutil.which(ALIGNER) is None:
        raise ValueError(f"{ALIGNER} is missing: pip install eflomal (it needs a C compiler)")
    found: dict[str, list[tuple[int, list[str], list[str]]]] = {}
    for file in config.train:
        columns = enumerate(read_pairs(data / file.file, file.first, lines), file.first)
        both = ((line, _plain_units(s), _plain_units(t)) for line, (s, t) in columns)
        found[file.file] = [(line, s, t) for line, s, t in both if 0 < len(s) < LONGEST and 0 < len(t) < LONGEST]
    every = [row for rows in found.values() for row in rows]
    forward, backward = _align([row[1] for row in every], [row[2] for row in every])
    links = [grow_diag(f, b) for f, b in zip(forward, backward, strict=True)]
    arrays: dict[str, NDArray[np.generic]] = {"files_of_units": np.array(list(found))}
    start = 0
    for number, rows in enumerate(found.values()):
        parts = [np.array(sorted(part), np.uint8).reshape(-1, 2) for part in links[start : start + len(rows)]]
        arrays[f"lines_{number}"] = np.array([row[0] for row in rows], np.int64)
        arrays[f"ends_{number}"] = np.cumsum([len(part) for part in parts])
        arrays[f"links_{number}"] = np.concatenate(parts) if parts else np.zeros((0, 2), np.uint8)
        start += len(rows)
    np.savez_compressed(folder / "links.npz", **arrays)  # type: ignore[arg-type]
    return len(every)


def of_tokens(
    subwords: Subwords, pairs: Sequence[Pair], links: Sequence[Pairs | None], forms: Sequence[Form]
) -> tuple[list[Pair], list[Pairs | None]]:
    """The pairs, and links between their tokens of those between their units; None for a pair that is too long.

    `forms` is how each pair that has links is to be written.
    """
    texts, between = list[Pair](), list[Pairs | None]()
    for pair, linked, form in zip(pairs, links, forms, strict=True):
        parts = [_Parts(text, units(text)) for text in pair] if linked is not None else []
        if form != "plain":
            parts = [part.apart(lower_case=form == "lower") for part in parts]
        source, target = [part.text for part in parts] or pair
        texts.append((source, target))
        between.append(
            None
            if linked is None
            else _between(linked, parts[0].of_tokens(subwords.source), parts[1].of_tokens(subwords.target))
        )
    return texts, between


class _Parts(NamedTuple):
    """A text and where its units stand in it."""

    text: str
    units: Sequence[Span]

    def apart(self, lower_case: bool) -> _Parts:
        """The units, split by spaces."""
        parts, found, start = [self.text[a:b] for a, b in self.units], list[Span](), 0
        if lower_case:
            parts = [part.lower() for part in parts]
        for part in parts:
            found.append(Span(start, start + len(part)))
            start += len(part) + 1
        return _Parts(" ".join(parts), found)

    def of_tokens(self, tokenizer: Tokenizer) -> list[int]:
        """The unit that each token begins in, once leading whitespace is trimmed, or the one before it."""
        found, unit = list[int](), 0
        for start, end in tokenizer.encode(self.text, add_special_tokens=False).offsets:
            begins = end - len(self.text[start:end].lstrip())
            while unit < len(self.units) - 1 and self.units[unit + 1].start <= begins:
                unit += 1
            found.append(unit)
        return found


def _between(linked: Pairs, sources: Sequence[int], targets: Sequence[int]) -> Pairs | None:
    """Links of tokens, of those of the units that they belong to."""
    if max(len(sources), len(targets)) >= LONGEST:
        return None
    drawn = np.zeros((LONGEST, LONGEST), bool)
    drawn[linked[:, 0], linked[:, 1]] = True
    return np.argwhere(drawn[sources][:, targets]).astype(np.uint8)


def _align(
    sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]
) -> tuple[list[frozenset[tuple[int, int]]], list[frozenset[tuple[int, int]]]]:
    with tempfile.TemporaryDirectory(prefix="guide-") as room:
        names = [str(Path(room) / name) for name in ("source", "target", "forward", "backward")]
        for name, rows in zip(names, (sources, targets), strict=False):
            Path(name).write_text("".join(" ".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
        source, target, forward, backward = names
        subprocess.run([ALIGNER, "--overwrite", "-s", source, "-t", target, "-f", forward, "-r", backward], check=True)
        return _pharaoh(Path(forward)), _pharaoh(Path(backward))


def _pharaoh(path: Path) -> list[frozenset[tuple[int, int]]]:
    rows = []
    for line in path.read_text(encoding="ascii").splitlines():
        links = (link.split("-") for link in line.split())
        rows.append(frozenset((int(i), int(j)) for i, j in links))
    return rows


def guide_loss(attention: Tensor, links: Sequence[Pairs | None]) -> Tensor:
    """Mean cross-entropy of the linked tokens' rows; a token's links share its probability evenly.

    attention [B, T, S]: row t + 1 reads target token t, so it is taught token t's links.
    """
    return _cross_entropy(_linked(attention.shape, links), attention)


def alignment_loss(attention: Tensor, batch: Batch) -> Tensor:
    """The same, where a token without a link is taught the source's end; pairs without links take no part."""
    goal = _linked(attention.shape, batch.links)  # [B, T, S]
    ends = batch.mask.sum(1) - 1  # [B]
    lengths = (batch.target != IGNORED).sum(1)  # [B], of what is read: the start and T - 1 tokens
    for row, pairs, length, end in zip(goal, batch.links, lengths.tolist(), ends.tolist(), strict=True):
        if pairs is not None:
            row[1:length, end] = (row[1:length].sum(1) == 0).float()
    return _cross_entropy(goal, attention)


def _linked(shape: Sequence[int], links: Sequence[Pairs | None]) -> Tensor:
    goal = torch.zeros(*shape)
    for row, pairs in zip(goal, links, strict=True):
        if pairs is not None and len(pairs):
            source, target = torch.from_numpy(pairs.astype(np.int64)).unbind(1)
            row[target + 1, source] = 1
    return goal


def _cross_entropy(goal: Tensor, attention: Tensor) -> Tensor:
    count = goal.sum(2, keepdim=True)  # [B, T, 1]
    goal = (goal / count.clamp(min=1)).to(attention.device)
    rows = (count > 0).sum().clamp(min=1).to(attention.device)
    return -(goal * attention.float().clamp(min=1e-6).log()).sum() / rows
