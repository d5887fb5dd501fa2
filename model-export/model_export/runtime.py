"""A bundle at work: its graph in ONNX Runtime, its tokenizer, its decoding defaults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from model_export.alignment import links, pharaoh
from model_export.data import pad
from model_export.search import Hypothesis, Steps, best, limits
from model_export.vocabulary import END, PAD, decode


class Translated(NamedTuple):
    """One sentence's translation; `hypothesis.attention` has the sentence's own columns, the end's last."""

    source: str
    text: str
    hypothesis: Hypothesis
    links: str

    @property
    def score(self) -> float:
        return self.hypothesis.score / len(self.hypothesis.ids)


class BundleRuntime:
    """Opens the graph when it is made; one thread, so that figures do not depend on the machine's load."""

    def __init__(self, folder: Path, beam_size: int | None = None) -> None:
        manifest: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.limits = manifest["limits"]
        decoding = manifest["decoding"]
        self.beam_size: int = decoding["beam_size"] if beam_size is None else beam_size
        self.length_penalty: float = decoding["length_penalty"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def source_ids(self, text: str) -> list[int]:
        """Ids of a source sentence, cut to the longest the bundle takes, the end token last."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [*ids[: self.limits["max_source_tokens"] - 1], END]

    def run(self, sources: Sequence[Sequence[int]], beam_size: int, prefix: Sequence[Sequence[int]] = ()) -> Steps:
        """One run of the graph; `prefix` rows are filled up with -1 (free)."""
        source = pad(sources).numpy()  # [B, S]
        longest = max(map(len, prefix), default=0)
        forced = np.full((len(sources), longest), -1, dtype=np.int64)  # [B, P]
        for row, ids in zip(forced, prefix, strict=False):
            row[: len(ids)] = ids
        outputs = self._session.run(
            ["tokens", "parents", "log_probs", "attention", "scores"],
            {
                "source_ids": source,
                "source_mask": (source != PAD).astype(np.int64),
                "target_prefix": forced,
                "max_target_length": np.array(self.limits["max_target_tokens"]),
                "beam_size": np.array(beam_size),
            },
        )
        return Steps(*(torch.from_numpy(output) for output in outputs))

    def best(
        self, sources: Sequence[Sequence[int]], steps: Steps, length_penalty: float | None = None
    ) -> list[Hypothesis]:
        """The chosen hypothesis of each sentence; attention keeps the sentence's own columns."""
        penalty = self.length_penalty if length_penalty is None else length_penalty
        mask = pad(sources) != PAD
        limit = limits(mask, torch.zeros(len(sources), 0), self.limits["max_target_tokens"])
        found = [best(steps, row, int(limit[row]), penalty) for row in range(len(sources))]
        return [h._replace(attention=h.attention[:, : len(s)]) for h, s in zip(found, sources, strict=True)]

    def translate(self, texts: Sequence[str]) -> list[Translated]:
        """Translations of one batch."""
        sources = [self.source_ids(text) for text in texts]
        found = self.best(sources, self.run(sources, self.beam_size))
        return [
            Translated(
                text,
                decode(self.tokenizer, h.ids),
                h,
                pharaoh(links(self.tokenizer, text, h.ids, h.attention.numpy())),
            )
            for text, h in zip(texts, found, strict=True)
        ]
