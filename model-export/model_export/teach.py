"""An alignment head put on a Transformer bundle and taught an aligner's links; its translations stay as they are.

Zenkel, Wuebker, DeNero, "Adding Interpretable Attention to Neural Translation Models Improves Word Alignment" (arXiv
1901.11359), teach such a layer on a model that does not change; what it is taught here are the symmetrised links of an
unsupervised aligner (Garg et al., EMNLP 2019, section 4.2), and the source's end for a token that has none.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from model_export import marian
from model_export.alignment import Choice, choice_of
from model_export.bundle import rounded, subwords_in
from model_export.config import Config
from model_export.guide import Links, alignment_loss, read_links
from model_export.rebuild import remake, stored_system
from model_export.system import System
from model_export.train import stream
from model_export.training_kernels import fast_floats
from model_export.transformer import Transformer
from model_export.vocabulary import Subwords

RATE = 2e-3  # of Adam
WARM_UP = 50  # updates


@dataclass(frozen=True)
class Teaching:
    """The head's sizes, and how the pairs it learns from are written."""

    width: int = 256
    heads: int = 4
    joined: float = 0.8  # share of the pairs that are put one after the other
    longest: int = 250  # tokens of a text
    apart: float = 0.5  # share of the pairs whose words and marks are split by spaces, as in gold sets


def teach(
    folder: Path,
    config: Config,
    data: Path,
    links: Path,
    updates: int,
    verify: Callable[[Path, System], None],
    *,
    teaching: Teaching = Teaching(),
    choice: Choice | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Replaces the bundle in `folder` by one with an alignment head; `checkpoint`, a MarianMT folder, gets it as well.

    `config` names the training files, which `links` (`guide`'s) are of. A head that is there already is taught anew.
    Raises ValueError, and leaves the bundle as it was, when it cannot be done.
    """
    manifest, found = stored_system(folder)
    languages = manifest["languages"]["source"], manifest["languages"]["target"]
    if languages != (config.source_language, config.target_language):
        raise ValueError(f"{config.file} is of another pair than {folder}: {'-'.join(languages)} is asked for")
    subwords = subwords_in(folder)
    aligned = read_links(links)
    files = {file for file, _ in aligned.rows}
    if files.isdisjoint(file.file for file in config.train):
        raise ValueError(f"{links} has no links of {config.file}'s files, but of {', '.join(sorted(files))}")
    longest = min(teaching.longest, found.sizes.positions)
    pairs = replace(
        config.training, both_directions=False, joined=teaching.joined, longest=longest, apart=teaching.apart
    )
    one_way = replace(config, training=pairs)
    torch.manual_seed(config.training.seed)
    system = Transformer(replace(found.sizes, aligner=teaching.width, aligner_heads=teaching.heads))
    if found.words is not None:
        system.write_only(found.words)
    state = {name: value for name, value in found.state_dict().items() if not name.startswith("aligner.")}
    missing, _ = system.load_state_dict(state, strict=False)
    assert all(name.startswith("aligner.") for name in missing), missing
    taught = _taught(system, one_way, data, subwords, aligned, updates)
    head = copy.deepcopy(system.aligner)  # before it is rounded
    weights = manifest["model"]["weights"]
    stored = rounded(system, weights)
    manifest["model"]["sizes"] |= {"aligner": teaching.width, "aligner_heads": teaching.heads}
    manifest["model"]["parameters"] = sum(p.numel() for n, p in system.named_parameters() if "written." not in n)
    manifest["attention"] |= {"layer": system.sizes.decoder_layers - 1, "heads": [], "shift": 1}
    manifest["attention"]["links"] = (choice or choice_of(manifest)).manifest()
    manifest["training"]["alignment_head"] = taught
    remake(folder, manifest, stored, verify, new_golden=True)
    if checkpoint is not None and head is not None:
        marian.write_aligner(head, checkpoint)
        marian.write_record(checkpoint, marian.read_record(checkpoint) | {"alignment_head": taught})


def _taught(
    system: Transformer, config: Config, data: Path, subwords: Subwords, links: Links, updates: int
) -> dict[str, float | int | str]:
    """Trains the head alone, the rate going down to 0; gives what the manifest says of it."""
    head = system.aligner
    assert head is not None
    system.eval()
    optimizer = torch.optim.Adam(head.parameters())
    began, busy, step, tokens = 0.0, time.process_time(), 0, 0
    losses, counted = 0.0, 0
    for batch in stream(config, data, subwords, 0, links):
        if step == updates:
            break
        began = began or time.monotonic()
        if all(pairs is None for pairs in batch.links):
            continue
        with fast_floats("cpu"):
            with torch.no_grad():
                known = system.known(batch.source, batch.mask, batch.previous)
            loss = alignment_loss(system.rows(known, batch.mask), batch)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * (1 - step / updates)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step, tokens, losses, counted = (
            step + 1,
            tokens + batch.target_tokens,
            losses + float(loss.detach()),
            counted + 1,
        )
        if step % 50 == 0 or step == updates:
            left = (time.monotonic() - began) * (updates - step) / step
            print(f"update {step}/{updates}  loss {losses / counted:.3f}  {left / 60:.0f} min left", flush=True)
            losses, counted = 0.0, 0
    hours = round((time.process_time() - busy) / 3600, 2)
    return {
        "config": config.file,
        "updates": step,
        "target_tokens": tokens,
        "processor_hours": hours,
        "seed": config.training.seed,
    }
