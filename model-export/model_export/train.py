"""Training of any system: seeded, resumable, keeps the best weights by BLEU.

The folder given holds everything: `tokenizer.json` (and what it was made of), `last.pt` (all that resuming needs),
`best.pt` (averaged weights of the best validation), `log.jsonl` (one line for each validation), and `links.npz` where
attention is taught (`guide.py` makes it).
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sacrebleu
import torch
from torch import Tensor

from model_export import marian, sentencepiece_model
from model_export.config import Config, DataFile, Training
from model_export.data import Batch, Corpus, batches, make_batch, read_pairs
from model_export.guide import FORMS, Links, guide_loss, of_tokens, read_links
from model_export.search import SearchRules, beam_search, best
from model_export.system import System
from model_export.systems import SYSTEMS
from model_export.training_kernels import cross_entropy, denormals_as_zero, fast_floats
from model_export.transformer import Transformer
from model_export.vocabulary import SOURCE_FILE, SpecialIds, Subwords, learn

VOCABULARY_FILES = ("tokenizer.json", "source.spm", "target.spm", "vocab.json")
BEGIN = "train that run first, or --begin with another run or a MarianMT checkpoint"


def make_system(config: Config) -> System:
    return SYSTEMS[config.system].system(config.sizes)


def subwords_of(config: Config, folder: Path) -> Subwords:
    """The vocabulary that training wrote to `folder`."""
    special = SpecialIds()
    if config.vocabulary.kind == "sentencepiece":
        special = sentencepiece_model.special_ids(sentencepiece_model.read_words(folder / "vocab.json"))
    return Subwords.read(folder, special)


def learn_vocabulary(config: Config, data: Path, folder: Path, begin: Path | None = None) -> Subwords:
    """The vocabulary in `folder`, learned from the training files (or taken over) when it is not there yet.

    `begin` stands for the run that `vocabulary.run` names.
    """
    if (folder / SOURCE_FILE).exists():
        return subwords_of(config, folder)
    if config.vocabulary.run:
        parent = begin or folder.parent / config.vocabulary.run
        if not any((parent / name).is_file() for name in VOCABULARY_FILES):
            raise ValueError(f"{parent} has no vocabulary: {BEGIN}")
        for name in VOCABULARY_FILES:
            if (parent / name).exists():
                shutil.copyfile(parent / name, folder / name)
        if (parent / marian.CONFIG).is_file() and not (folder / SOURCE_FILE).exists():
            words = sentencepiece_model.read_words(folder / marian.WORDS)
            sentencepiece_model.to_tokenizer(folder / "source.spm", words).save(str(folder / SOURCE_FILE))
        return subwords_of(config, folder)
    texts = (
        text
        for file in config.train
        for pair in read_pairs(data / file.file, count=config.vocabulary.lines)
        for text in pair
    )
    if config.vocabulary.kind == "bpe":
        learn(texts, config.vocabulary.size, config.vocabulary.lower_case).save(str(folder / SOURCE_FILE))
    else:
        sentencepiece_model.learn(texts, config.vocabulary.size, folder)
        words = sentencepiece_model.read_words(folder / "vocab.json")
        sentencepiece_model.to_tokenizer(folder / "source.spm", words).save(str(folder / SOURCE_FILE))
    return subwords_of(config, folder)


def begun(folder: Path) -> tuple[dict[str, Tensor], Subwords | None]:
    """The weights of the run or the MarianMT checkpoint in `folder`, and a checkpoint's vocabulary."""
    if (folder / marian.CONFIG).is_file():
        checkpoint = marian.read(folder)
        return checkpoint.system.state_dict(), checkpoint.subwords
    if not (folder / "last.pt").is_file():
        raise ValueError(f"{folder / 'last.pt'} is missing: {BEGIN}")
    saved: dict[str, Tensor] = torch.load(folder / "last.pt", weights_only=True)["model"]
    return saved, None


def begin_as(model: System, subwords: Subwords, parent: Path) -> int:
    """Takes over the weights of the run or checkpoint in `parent`; gives how many of the subwords had rows there.

    A subword's row follows its name, so the parent may have another vocabulary; one it does not know stays as it is
    (Zoph, Yuret, May, Knight, "Transfer Learning for Low-Resource Neural Machine Translation", EMNLP 2016, section 3).
    """
    saved, known = begun(parent)
    before = (known or Subwords.read(parent, subwords.special)).target.get_vocab()
    rows = [(i, before[piece]) for piece, i in sorted(subwords.target.get_vocab().items()) if piece in before]
    here, there = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).unbind(1)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            of_subwords = name.endswith(("embedding.weight", "output_bias"))
            begun_weight = saved.get(name, torch.empty(0)).to(weight)
            if begun_weight.shape[of_subwords:] != weight.shape[of_subwords:]:
                raise ValueError(f"{parent} has other sizes than this run at {name}: training.begin")
            if of_subwords:
                weight[here] = begun_weight[there]
            else:
                weight.copy_(begun_weight)
    return len(rows)


def stream(config: Config, data: Path, subwords: Subwords, step: int, links: Links | None = None) -> Iterator[Batch]:
    """Batches for ever, from update `step` on; the same for the same seed however often training was resumed."""
    settings = config.training
    whole = [_corpus(config, data, subwords, f, 0, links) for f in config.train if f.lines is None]
    number, seen = 0, 0
    while True:
        parts = [_corpus(config, data, subwords, f, number, links) for f in config.train if f.lines is not None]
        if not any(map(len, [*whole, *parts])):
            raise ValueError(f"no training pair has fewer than {settings.longest} subwords on both sides")
        for batch in batches(
            [*whole, *parts],
            settings.batch_tokens,
            settings.seed + number,
            subwords.special,
            settings.joined,
            settings.longest,
        ):
            if seen >= step:
                yield batch
            seen += 1
        number += 1


def _corpus(
    config: Config, data: Path, subwords: Subwords, file: DataFile, number: int, links: Links | None = None
) -> Corpus:
    """The pairs of `file` for pass `number`: all of them, or its next `lines`, from the start again after the end."""
    path, first = data / file.file, file.first + number * (file.lines or 0)
    pairs = read_pairs(path, first, file.lines, file.swap)
    if first and not pairs:
        first %= len(read_pairs(path))
        pairs = read_pairs(path, first, file.lines, file.swap)
    taught = None
    if links is not None:
        share = config.training.apart
        drawn = np.random.default_rng((config.training.seed, number)).choice(
            len(FORMS), len(pairs), p=(1 - share, share / 2, share / 2)
        )
        linked = links.of(file.file, first, len(pairs), file.swap)
        pairs, taught = of_tokens(subwords, pairs, linked, [FORMS[i] for i in drawn])
    return Corpus(subwords, pairs, config.training.longest, taught, config.training.both_directions)


def translate(model: System, subwords: Subwords, texts: list[str], beam_size: int = 1) -> list[str]:
    """Translations of `texts`, batched by length; for validation while training."""
    device = next(model.parameters()).device
    special = subwords.special
    rules = SearchRules(special.start, special.end, suppressed=(special.pad,))
    encoded = subwords.source_ids(texts)
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    results = [""] * len(texts)
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        batch = make_batch([encoded[i] for i in chosen], [[]] * len(chosen), special)
        source, mask = batch.source.to(device), batch.mask.to(device)
        steps = beam_search(model, source, mask, beam_size, 120, rules)
        limit = rules.limits(mask, torch.zeros(len(chosen), 0, device=device), 120)
        for row, i in enumerate(chosen):
            results[i] = subwords.decode(best(steps, row, int(limit[row]), 1.0, special.end).ids)
    return results


class Optimizers:
    """Adam for everything; or Muon (Jordan 2024) for the matrices between layers and Adam for the rest."""

    def __init__(self, model: System, settings: Training) -> None:
        matrices, rest = [], list(model.parameters())
        if settings.optimizer == "muon":
            inner = {n: p for n, p in model.named_parameters() if p.dim() == 2 and "embedding" not in n}
            matrices = list(inner.values())
            rest = [p for n, p in model.named_parameters() if n not in inner]
        self._all: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.Adam(rest, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True), settings.learning_rate)
        ]
        if matrices:
            rate = settings.matrix_rate
            self._all.append((torch.optim.Muon(matrices, lr=rate, momentum=0.95, weight_decay=0.0), rate))

    def step(self, factor: float) -> None:
        for optimizer, rate in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad()

    def state(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer, _ in self._all]

    def load(self, states: list[dict[str, Any]]) -> None:
        for (optimizer, _), state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)


@denormals_as_zero()  # weights of attention and their gradients become that small, and slow
def train(config: Config, data: Path, folder: Path, steps: int | None = None, begin: Path | None = None) -> None:
    """Trains until `steps` (the config's when None) and prints progress; resumes from `folder/last.pt`.

    A new run begins with the weights of `begin`, a run's folder or a MarianMT checkpoint, or those the config names.
    """
    settings = config.training if steps is None else replace(config.training, steps=steps)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    subwords = learn_vocabulary(config, data, folder, begin)
    if subwords.sizes[1] != config.sizes.vocabulary:
        raise ValueError(
            f"vocabulary.size should be {folder / SOURCE_FILE}'s {subwords.sizes[1]}: "
            f"was {config.sizes.vocabulary} (with little text fewer subwords are found than asked for)"
        )
    model = make_system(config).to(device)
    if settings.guide and not isinstance(model, Transformer):
        raise ValueError(f"training.guide teaches a transformer's attention: {config.system} is none")
    if isinstance(model, Transformer) and model.aligner is not None and not settings.guide:
        raise ValueError("sizes.aligner needs training.guide above 0: nothing else teaches an alignment head")
    links = read_links(folder / "links.npz") if settings.guide else None
    parent = begin or (folder.parent / settings.begin if settings.begin else None)
    if parent is not None and not (folder / "last.pt").exists():
        known = begin_as(model, subwords, parent)
        print(f"weights begin as {parent}'s, which knows {known:,} of the subwords", flush=True)
    averaged = copy.deepcopy(model).eval()
    optimizers = Optimizers(model, settings)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "processor": 0.0, "tokens": 0, "best": -1.0}
    if (folder / "last.pt").exists():
        saved = torch.load(folder / "last.pt", map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimizers.load(saved["optimizers"])
        torch.set_rng_state(saved["random"].cpu())
        if device.type == "cuda" and "cuda_random" in saved:
            torch.cuda.set_rng_state(saved["cuda_random"].cpu())
        state |= saved["state"]
        print(f"resuming after update {state['step']}", flush=True)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{config.name}: {parameters:,} parameters on {device}, {settings.steps} updates", flush=True)

    held_out = [
        (f.name, read_pairs(data / f.file, count=settings.validate_lines, swap=f.swap)) for f in config.validate
    ]
    began, busy, tokens, losses, since = time.monotonic(), time.process_time(), 0, 0.0, 0
    for batch in stream(config, data, subwords, state["step"], links):
        if state["step"] >= settings.steps:
            break
        loss = _update(model, optimizers, batch, settings, settings.factor(state["step"]), device)
        decay = min(settings.average, (1 + state["step"]) / (10 + state["step"]))
        with torch.no_grad():
            for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        state["step"] += 1
        since += 1
        tokens += batch.target_tokens
        losses += loss * batch.target_tokens
        validate = state["step"] % settings.validate_every == 0 or state["step"] == settings.steps
        if validate or state["step"] % 50 == 0:
            seconds = time.monotonic() - began
            state["seconds"] += seconds
            state["processor"] += time.process_time() - busy
            state["tokens"] += tokens
            left = (settings.steps - state["step"]) * seconds / since
            print(
                f"update {state['step']}/{settings.steps}  loss {losses / tokens:.3f}  "
                f"{tokens / seconds:,.0f} target tokens/s  {left / 60:.0f} min left",
                flush=True,
            )
            began, busy, tokens, losses, since = time.monotonic(), time.process_time(), 0, 0.0, 0
        if validate:
            _validate(averaged, subwords, held_out, config.vocabulary.lower_case, state, folder)
            _save(folder / "last.pt", model, averaged, optimizers, state)
            began, busy = time.monotonic(), time.process_time()


def _update(
    model: System, optimizers: Optimizers, batch: Batch, settings: Training, factor: float, device: torch.device
) -> float:
    """One update; gives the mean loss of a target token, without what attention is taught."""
    source, mask, previous = batch.source.to(device), batch.mask.to(device), batch.previous.to(device)
    taught: Tensor | float = 0.0
    with fast_floats(device.type):
        logits, rows = model(source, mask, previous)  # [B, T, V], [B, T, S]
        if settings.guide:
            taught = settings.guide * guide_loss(rows, batch.links)
        target = batch.target.to(device).flatten()
        loss = cross_entropy(logits.flatten(0, 1), target, settings.label_smoothing)
    if not torch.isfinite(loss):
        raise RuntimeError("the loss is not finite: lower the learning rate and resume")
    (loss + taught).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizers.step(factor)
    return float(loss.detach())


def _validate(
    averaged: System,
    subwords: Subwords,
    held_out: list[tuple[str, list[tuple[str, str]]]],
    lower_case: bool,
    state: dict[str, Any],
    folder: Path,
) -> None:
    scores = {}
    for name, pairs in held_out:
        with fast_floats(next(averaged.parameters()).device.type):
            found = translate(averaged, subwords, [source for source, _ in pairs])
        references = [[target for _, target in pairs]]
        scores[name] = round(sacrebleu.corpus_bleu(found, references, lowercase=lower_case).score, 2)
    print("validation, greedy: " + "  ".join(f"{n} BLEU {s}" for n, s in scores.items()), flush=True)
    print("  " + " | ".join(found[:3]), flush=True)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({**state, **scores}) + "\n")
    mean = sum(scores.values()) / len(scores)
    if mean > state["best"]:
        state["best"] = mean
        _replace(folder / "best.pt", {"model": averaged.state_dict(), "state": dict(state), "scores": scores})


def _save(path: Path, model: System, averaged: System, optimizers: Optimizers, state: dict[str, Any]) -> None:
    _replace(
        path,
        {
            "model": model.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizers": optimizers.state(),
            "random": torch.get_rng_state(),
            **({"cuda_random": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}),
            "state": state,
        },
    )


def _replace(path: Path, value: dict[str, Any]) -> None:
    """Writes beside and renames, so that a kill leaves the old file or the new one."""
    beside = path.with_suffix(".partial")
    torch.save(value, beside)
    os.replace(beside, path)
