"""A MarianMT folder made into a bundle, and a training run made into a MarianMT folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model_export import marian
from model_export.alignment import DEFAULT, Choice
from model_export.bundle import Parts, best_weights, refuse_to_overwrite, rounded, rules_for, training_section, write
from model_export.config import Config
from model_export.system import System
from model_export.train import make_system, subwords_of
from model_export.transformer import Transformer

RECORD = "dragoman.json"  # beside a checkpoint: what its bundle's manifest says of its training
MOST_SOURCE_TOKENS = 512


def import_marian(
    folder: Path,
    target: Path,
    languages: tuple[str, str],
    verify: Callable[[Path, System], None],
    *,
    name: str | None = None,
    version: str = "1.0.0",
    layer: int | None = None,
    heads: Sequence[int] | None = None,
    shift: int = 0,
    choice: Choice = DEFAULT,
    beam_size: int | None = None,
    limit: tuple[int, int] | None = None,
    weights: str = "float32",
    golden: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Writes the bundle of the checkpoint in `folder` to `target`; `verify` raises when it must not appear.

    The search is `generate`'s by the folder's own settings. `limit` (ratio, offset) bounds a translation to ratio *
    source tokens + offset; without it the checkpoint's maximum length does. `weights` is one of `bundle.WEIGHTS`.
    """
    refuse_to_overwrite(target, force)
    read = marian.read(folder, layer, heads)
    ratio, offset = limit or (0, read.max_length - 1)
    record = folder / RECORD
    training: dict[str, Any] = {
        "data": [],
        "attribution": [],
        "source": f"MarianMT checkpoint {folder.resolve().name}, trained elsewhere",
    }
    if record.is_file():
        training = json.loads(record.read_text(encoding="utf-8"))
    parts = Parts(
        name=name or folder.resolve().name,
        version=version,
        kind="marian",
        system=rounded(read.system, weights),
        weights=weights,
        subwords=read.subwords,
        rules=replace(read.rules, limit_ratio=ratio, limit_offset=offset, shift=shift),
        beam_size=beam_size or read.beam_size,
        languages=languages,
        longest=(min(read.positions, MOST_SOURCE_TOKENS), read.max_length - 1),
        training=training,
        choice=choice,
        golden=golden,
    )
    write(parts, target, lambda made: verify(made, parts.system))


def save_marian(config: Config, checkpoint: Path, target: Path, force: bool) -> None:
    """Writes the best weights of training's folder as a MarianMT folder, with what a bundle says of their training."""
    refuse_to_overwrite(target, force)
    if config.vocabulary.kind != "sentencepiece" or config.system != "transformer":
        raise ValueError("a MarianMT folder needs system = transformer and vocabulary.kind = sentencepiece")
    saved = torch.load(best_weights(checkpoint), map_location="cpu", weights_only=True)
    system = make_system(config)
    assert isinstance(system, Transformer)
    system.load_state_dict(saved["model"])
    rules = rules_for(config, subwords_of(config, checkpoint))
    marian.write(system.eval(), target, checkpoint, rules, config.decoding.beam_size)
    record = json.dumps(training_section(config, saved["state"]), indent=2, ensure_ascii=False)
    (target / RECORD).write_text(record + "\n", encoding="utf-8")
