"""Teaching attention: links between subwords from an unsupervised aligner, and the loss that a model learns them by.

Garg, Peitz, Nallasamy, Paulik, "Jointly Learning to Align and Translate with Transformer Models", EMNLP 2019, section
4: the published heads are taught the symmetrised links of an aligner. Here the row that is taught a token's links is
that of the step which has the token as input (Chen et al., "Accurate Word Alignment Induction from Neural Machine
Translation", EMNLP 2020, section 3.1), so a bundle made of such a model publishes with `shift` 1.

The aligner is eflomal (Oestling and Tiedemann 2016), run as a program; it is not part of this project's installation.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_export.aer import grow_diag
from model_export.config import Config
from model_export.data import IGNORED, Batch, read_pairs
from model_export.vocabulary import Subwords

ALIGNER = "eflomal-align"
Pairs = NDArray[np.uint8]  # [L, 2], source and target token


@dataclass(frozen=True)
class Links:
    """Links of the lines of training files; (file, line) are looked up in `lines`."""

    rows: dict[tuple[str, int], Pairs]

    def of(self, file: str, first: int, count: int, swap: bool) -> list[Pairs | None]:
        """Links of `count` lines from `first` on as (source, target); None where a line has none."""
        found = (self.rows.get((file, line)) for line in range(first, first + count))
        return [row[:, ::-1] if swap and row is not None else row for row in found]


def read_links(path: Path, subwords: Subwords) -> Links:
    """Links as `make_links` wrote them: links of a line's columns as they stand in its file.

    Raises ValueError when there are none, or when they are between the tokens of another vocabulary than `subwords`.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: `model-export guide` makes it, or set training.guide to 0")
    try:
        return _read(path, subwords)
    except (EOFError, KeyError, OSError, TypeError, zipfile.BadZipFile) as fault:
        raise ValueError(f"{path} holds no links: `model-export guide` makes such a file") from fault


def _read(path: Path, subwords: Subwords) -> Links:
    rows: dict[tuple[str, int], Pairs] = {}
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile(path)
    with np.load(path) as saved:
        if "vocabulary" in saved and str(saved["vocabulary"]) != _digest(subwords):
            raise ValueError(
                f"{path} holds links between the tokens of another vocabulary: make them with `model-export guide`,"
                " for a bundle with --bundle"
            )
        for number, file in enumerate(saved["files"].tolist()):
            lines, ends, links = (saved[f"{part}_{number}"] for part in ("lines", "ends", "links"))
            for line, part in zip(lines.tolist(), np.split(links, ends[:-1]), strict=True):
                rows[file, line] = part
    return Links(rows)


def make_links(config: Config, data: Path, folder: Path, subwords: Subwords, lines: int) -> int:
    """Aligns `lines` lines of each training file, from its `first` on; writes `links.npz`; gives the lines aligned."""
    if shutil.which(ALIGNER) is None:
        raise ValueError(f"{ALIGNER} is missing: pip install eflomal (it needs a C compiler)")
    found: dict[str, list[tuple[int, list[int], list[int]]]] = {}
    for file in config.train:
        pairs = read_pairs(data / file.file, file.first, lines, file.swap)
        sources, targets = subwords.source_ids([s for s, _ in pairs]), subwords.target_ids([t for _, t in pairs])
        found[file.file] = [
            (file.first + number, *((t, s) if file.swap else (s, t)))
            for number, (s, t) in enumerate(zip(sources, targets, strict=True))
            if 0 < len(s) < config.training.longest and 0 < len(t) < config.training.longest
        ]
    every = [row for rows in found.values() for row in rows]
    forward, backward = _align([row[1] for row in every], [row[2] for row in every])
    links = [grow_diag(f, b) for f, b in zip(forward, backward, strict=True)]
    arrays: dict[str, NDArray[np.generic]] = {
        "files": np.array(list(found)),
        "vocabulary": np.array(_digest(subwords)),
    }
    start = 0
    for number, rows in enumerate(found.values()):
        parts = [np.array(sorted(part), np.uint8).reshape(-1, 2) for part in links[start : start + len(rows)]]
        arrays[f"lines_{number}"] = np.array([row[0] for row in rows], np.int64)
        arrays[f"ends_{number}"] = np.cumsum([len(part) for part in parts])
        arrays[f"links_{number}"] = np.concatenate(parts) if parts else np.zeros((0, 2), np.uint8)
        start += len(rows)
    np.savez_compressed(folder / "links.npz", **arrays)  # type: ignore[arg-type]
    return len(every)


def _digest(subwords: Subwords) -> str:
    both = subwords.source.to_str() + subwords.target.to_str()
    return hashlib.sha256(both.encode()).hexdigest()


def _align(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> tuple[list[frozenset[tuple[int, int]]], list[frozenset[tuple[int, int]]]]:
    with tempfile.TemporaryDirectory(prefix="guide-") as room:
        names = [str(Path(room) / name) for name in ("source", "target", "forward", "backward")]
        for name, rows in zip(names, (sources, targets), strict=False):
            Path(name).write_text("".join(" ".join(map(str, row)) + "\n" for row in rows), encoding="ascii")
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


def alignment_loss(attention: Tensor, batch: Batch, begins: Tensor) -> Tensor:
    """The same, where a token without a link is taught those of its word's nearest token before it that has one, or
    else after it, and of a word without a link the source's end; pairs without links take no part.

    begins [V] bool: the pieces that begin a word.
    """
    goal = _linked(attention.shape, batch.links)  # [B, T, S]
    ends = batch.mask.sum(1) - 1  # [B]
    for row, pairs, target, end in zip(goal, batch.links, batch.target, ends.tolist(), strict=True):
        if pairs is None:
            continue
        tokens = target[target != IGNORED][:-1]  # [T - 1], read by the rows from 1 on
        linked, first = (row.sum(1) > 0).tolist(), begins[tokens].tolist()
        for t in range(2, len(tokens) + 1):
            if not linked[t] and linked[t - 1] and not first[t - 1]:
                row[t], linked[t] = row[t - 1], True
        for t in range(len(tokens) - 1, 0, -1):
            if not linked[t] and linked[t + 1] and not first[t]:
                row[t], linked[t] = row[t + 1], True
        unlinked = [t for t in range(1, len(tokens) + 1) if not linked[t]]
        row[unlinked, end] = 1
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
