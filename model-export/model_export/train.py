"""Training: seeded, resumable, keeps the best weights by BLEU.

The folder given holds everything: `tokenizer.json`, `last.pt` (all that resuming needs), `best.pt` (averaged weights of
the best validation), `log.jsonl` (one line for each validation).
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import sacrebleu
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from model_export.config import Config, DataFile
from model_export.data import Batch, Corpus, batches, make_batch, read_pairs
from model_export.rnnsearch import RNNsearch
from model_export.search import beam_search, best, limits
from model_export.vocabulary import PAD, decode, learn


def learn_vocabulary(config: Config, data: Path, path: Path) -> Tokenizer:
    """The tokenizer at `path`, learned from the training files when it is not there yet."""
    if not path.exists():
        texts = (
            text
            for file in config.train
            for pair in read_pairs(data / file.file, count=config.vocabulary.lines, swap=config.swap)
            for text in pair
        )
        learn(texts, config.vocabulary.size).save(str(path))
    return Tokenizer.from_file(str(path))


def stream(config: Config, data: Path, tokenizer: Tokenizer, step: int) -> Iterator[Batch]:
    """Batches for ever, from update `step` on; the same for the same seed however often training was resumed."""
    settings = config.training
    whole = [_corpus(config, data, tokenizer, f, 0) for f in config.train if f.lines is None]
    number, seen = 0, 0
    while True:
        parts = [_corpus(config, data, tokenizer, f, number) for f in config.train if f.lines is not None]
        if not any(map(len, [*whole, *parts])):
            raise ValueError(f"no training pair has fewer than {settings.longest} subwords on both sides")
        for batch in batches([*whole, *parts], settings.batch_tokens, settings.seed + number):
            if seen >= step:
                yield batch
            seen += 1
        number += 1


def _corpus(config: Config, data: Path, tokenizer: Tokenizer, file: DataFile, number: int) -> Corpus:
    """The pairs of `file` for pass `number`: all of them, or its next `lines`, from the start again after the end."""
    path, first = data / file.file, number * (file.lines or 0)
    pairs = read_pairs(path, first, file.lines, config.swap)
    if first and not pairs:
        pairs = read_pairs(path, first % len(read_pairs(path)), file.lines, config.swap)
    return Corpus(tokenizer, pairs, config.training.longest)


def translate(model: RNNsearch, tokenizer: Tokenizer, texts: list[str], beam_size: int = 1) -> list[str]:
    """Translations of `texts`, batched by length; for validation while training."""
    device = next(model.parameters()).device
    encoded = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    results = [""] * len(texts)
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        batch = make_batch([encoded[i] for i in chosen], [[]] * len(chosen))
        source, mask = batch.source.to(device), batch.mask.to(device)
        steps = beam_search(model, source, mask, beam_size, 120)
        limit = limits(mask, torch.zeros(len(chosen), 0, device=device), 120)
        for row, i in enumerate(chosen):
            results[i] = decode(tokenizer, best(steps, row, int(limit[row]), 1.0).ids)
    return results


def train(config: Config, data: Path, folder: Path, steps: int | None = None) -> None:
    """Trains until `steps` (the config's when None) and prints progress; resumes from `folder/last.pt`."""
    settings = config.training if steps is None else replace(config.training, steps=steps)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = learn_vocabulary(config, data, folder / "tokenizer.json")
    if tokenizer.get_vocab_size() != config.sizes.vocabulary:
        raise ValueError(
            f"vocabulary.size should be {folder / 'tokenizer.json'}'s {tokenizer.get_vocab_size()}: "
            f"was {config.sizes.vocabulary} (with little text fewer subwords are found than asked for)"
        )
    model = RNNsearch(config.sizes).to(device)
    averaged = copy.deepcopy(model).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "tokens": 0, "best": -1.0}
    if (folder / "last.pt").exists():
        saved = torch.load(folder / "last.pt", map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"].cpu())
        if device.type == "cuda" and "cuda_random" in saved:
            torch.cuda.set_rng_state(saved["cuda_random"].cpu())
        state = saved["state"]
        print(f"resuming after update {state['step']}", flush=True)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{config.name}: {parameters:,} parameters on {device}, {settings.steps} updates", flush=True)

    held_out = [(f.name, read_pairs(data / f.file, count=settings.validate_lines)) for f in config.validate]
    began, tokens, losses, since = time.monotonic(), 0, 0.0, 0
    for batch in stream(config, data, tokenizer, state["step"]):
        if state["step"] >= settings.steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(state["step"])
        loss = _update(model, optimizer, batch, settings.label_smoothing, settings.clip, device)
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
            state["tokens"] += tokens
            left = (settings.steps - state["step"]) * seconds / since
            print(
                f"update {state['step']}/{settings.steps}  loss {losses / tokens:.3f}  "
                f"{tokens / seconds:,.0f} target tokens/s  {left / 60:.0f} min left",
                flush=True,
            )
            began, tokens, losses, since = time.monotonic(), 0, 0.0, 0
        if validate:
            _validate(averaged, tokenizer, held_out, state, folder)
            _save(folder / "last.pt", model, averaged, optimizer, state)
            began = time.monotonic()


def _update(
    model: RNNsearch,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    smoothing: float,
    clip: float,
    device: torch.device,
) -> float:
    with torch.autocast(device.type, torch.bfloat16):
        logits, _ = model(batch.source.to(device), batch.mask.to(device), batch.previous.to(device))  # [B, T, V]
        target = batch.target.to(device)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing)
    if not torch.isfinite(loss):
        raise RuntimeError("the loss is not finite: lower the learning rate and resume")
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def _validate(
    averaged: RNNsearch,
    tokenizer: Tokenizer,
    held_out: list[tuple[str, list[tuple[str, str]]]],
    state: dict[str, Any],
    folder: Path,
) -> None:
    scores = {}
    for name, pairs in held_out:
        with torch.autocast(next(averaged.parameters()).device.type, torch.bfloat16):
            found = translate(averaged, tokenizer, [source for source, _ in pairs])
        scores[name] = round(sacrebleu.corpus_bleu(found, [[target for _, target in pairs]]).score, 2)
    print("validation, greedy: " + "  ".join(f"{n} BLEU {s}" for n, s in scores.items()), flush=True)
    print("  " + " | ".join(found[:3]), flush=True)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({**state, **scores}) + "\n")
    mean = sum(scores.values()) / len(scores)
    if mean > state["best"]:
        state["best"] = mean
        _replace(folder / "best.pt", {"model": averaged.state_dict(), "state": dict(state), "scores": scores})


def _save(
    path: Path, model: RNNsearch, averaged: RNNsearch, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    _replace(
        path,
        {
            "model": model.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
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
