"""A MarianMT folder made into a bundle, and a training run made into a MarianMT folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model_export import marian
from model_export.alignment import DEFAULT, Choice
from model_export.bundle import Parts, best_weights, refuse_to_overwrite, rounded, rules_for, training_section, write
from model_export.config import Config
from model_export.data import read_pairs
from model_export.system import System
from model_export.train import make_system, subwords_of
from model_export.transformer import Transformer
from model_export.vocabulary import Subwords

MOST_SOURCE_TOKENS = 512
RAREST = 2_000_000  # words of text for each of a word that is written


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
    shift: int | None = None,
    choice: Choice = DEFAULT,
    beam_size: int | None = None,
    beam_threshold: float = 0.0,
    limit: tuple[int, int] | None = None,
    weights: str = "float32",
    golden: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Writes the bundle of the checkpoint in `folder` to `target`; `verify` raises when it must not appear.

    The search is `generate`'s by the folder's own settings, but for a `beam_threshold` (`search.SearchRules`). `limit`
    (ratio, offset) bounds a translation to ratio * source tokens + offset; without it the checkpoint's maximum length
    does. `weights` is one of `bundle.WEIGHTS`.

    `shift` is 1 where it is not given and the attention is an alignment head's, which was taught so, or else 0.

    A folder that holds `target_words.json`, as `save-marian --data` leaves it, gets a bundle that writes those words
    only: a vocabulary of two languages has many that the target's never uses, and the output is most of the work.
    """
    refuse_to_overwrite(target, force)
    read = marian.read(folder, layer, heads)
    ratio, offset = limit or (0, read.max_length - 1)
    if shift is None:
        shift = 1 if read.system.aligner is not None else 0
    training = marian.read_record(folder)
    if "data" not in training:
        source = f"MarianMT checkpoint {folder.resolve().name}, trained elsewhere"
        training |= {"data": [], "attribution": [], "source": source}
    parts = Parts(
        name=name or folder.resolve().name,
        version=version,
        kind="marian",
        system=rounded(read.system, weights),
        weights=weights,
        subwords=read.subwords,
        rules=replace(read.rules, limit_ratio=ratio, limit_offset=offset, shift=shift, beam_threshold=beam_threshold),
        beam_size=beam_size or read.beam_size,
        languages=languages,
        longest=(min(read.positions, MOST_SOURCE_TOKENS), read.max_length - 1),
        training=training,
        choice=choice,
        golden=golden,
    )
    write(parts, target, lambda made: verify(made, parts.system))


def written_words(config: Config, data: Path, subwords: Subwords) -> list[str]:
    """The words of the training files' targets but the rarest, and all of one character: anything can be spelled.

    A word rarer than once in RAREST was seen too few times to be learned, and would cost a column at each step.
    """
    counts = torch.zeros(subwords.sizes[1], dtype=torch.int64)
    for file in config.train:
        targets = [target for _, target in read_pairs(data / file.file, swap=file.swap)]
        for ids in subwords.target_ids(targets):
            counts += torch.bincount(torch.tensor(ids, dtype=torch.int64), minlength=len(counts))
    seen = counts * RAREST >= counts.sum().clamp(min=1)
    seen[subwords.special.end] = True
    pieces = [subwords.piece(i) for i in range(len(seen))]
    for i, piece in enumerate(pieces):
        seen[i] |= len(piece.removeprefix("\u2581")) <= 1
    return [piece for i, piece in enumerate(pieces) if seen[i]]


def save_marian(
    config: Config,
    checkpoint: Path,
    target: Path,
    force: bool,
    half: bool = False,
    data: Path | None = None,
    last: bool = False,
) -> None:
    """Writes the best weights of training's folder as a MarianMT folder, with what a bundle says of their training.

    `last` takes the average at the end of training, where validations differ by their noise alone. `half` stores
    weights in 16 bits; with the training `data` the words of its targets are listed beside them.
    """
    refuse_to_overwrite(target, force)
    if config.vocabulary.kind != "sentencepiece" or config.system != "transformer":
        raise ValueError("a MarianMT folder needs system = transformer and vocabulary.kind = sentencepiece")
    chosen = best_weights(checkpoint)
    saved = torch.load(chosen.with_name("last.pt") if last else chosen, map_location="cpu", weights_only=True)
    system = make_system(config)
    assert isinstance(system, Transformer)
    system.load_state_dict(saved["averaged" if last else "model"])
    rules = rules_for(config, subwords_of(config, checkpoint))
    marian.write(system.eval(), target, checkpoint, rules, config.decoding.beam_size, half)
    if data is not None:
        words = written_words(config, data, subwords_of(config, checkpoint))
        (target / marian.WRITTEN).write_text(json.dumps(words, ensure_ascii=False) + "\n", encoding="utf-8")
    made = training_section(config, saved["state"]) | ({"kept": "last"} if last else {})
    marian.write_record(target, made)
