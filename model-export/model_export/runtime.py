"""A bundle at work: its graph in ONNX Runtime, its tokenizer, its decoding defaults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from model_export import onnx_graph
from model_export.alignment import choice_of, links, pharaoh
from model_export.data import mask_of, pad
from model_export.eight_bit_system import EightBit
from model_export.half import Half
from model_export.search import Hypothesis, SearchRules, Steps, along, beam_search, best
from model_export.system import System
from model_export.vocabulary import SpecialIds, Subwords

EIGHT, SIXTEEN = "8 bits", "16 bits"
ROUNDS = {"int8": EIGHT, "half": SIXTEEN}  # to what a graph of such weights rounds as it goes


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
        self._read(folder, beam_size)
        self._open(folder / "model.onnx")

    def _open(self, model: Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        given = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        # Graphs made before it was an input give attention for all slots
        self._says_best = "best" in [each.name for each in self._session.get_inputs()]

    def _read(self, folder: Path, beam_size: int | None) -> None:
        manifest: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        sizes = manifest["vocabulary"]
        special = SpecialIds(**manifest["special_ids"])
        self.subwords = Subwords.read(folder, special, (sizes["source_size"], sizes["target_size"]))
        self.limits, decoding = manifest["limits"], manifest["decoding"]
        self.rules = rules_of(manifest)
        self.choice = choice_of(manifest)
        self.rounds = ROUNDS.get(manifest["model"].get("weights"), "")
        self.publishes: bool = manifest["attention"]["published"]
        self.beam_size: int = decoding["beam_size"] if beam_size is None else beam_size
        self.length_penalty: float = decoding["length_penalty"]

    def source_ids(self, text: str) -> list[int]:
        """Ids of a source sentence, cut to the longest the bundle takes, the end token last."""
        [ids] = self.subwords.source_ids([text])
        return [*ids[: self.limits["max_source_tokens"] - 1], self.subwords.special.end]

    def run(
        self,
        sources: Sequence[Sequence[int]],
        beam_size: int,
        prefix: Sequence[Sequence[int]] = (),
        max_target_length: int | None = None,
        best: int | None = None,
    ) -> Steps:
        """One run of the graph; `prefix` rows are filled up with -1 (free); `best`: N, the beam size unless given."""
        source = pad(sources, self.subwords.special.pad).numpy()  # [B, S]
        forced = pad(prefix, -1).numpy() if prefix else np.zeros((len(sources), 0), dtype=np.int64)  # [B, P]
        names = ["tokens", "parents", "log_probs", *(["attention"] if self.publishes else []), "scores"]
        given = {
            "source_ids": source,
            "source_mask": mask_of(sources).numpy().astype(np.int64),
            "target_prefix": forced,
            "max_target_length": np.array(max_target_length or self.limits["max_target_tokens"]),
            "beam_size": np.array(beam_size),
        }
        if self._says_best:
            given["best"] = np.array(best or beam_size)
        outputs = self._session.run(names, given)
        found = {name: torch.from_numpy(output) for name, output in zip(names, outputs, strict=True)}
        if self.publishes and not self._says_best:
            found["attention"] = along(found["attention"], found["parents"], best or beam_size)
        return Steps(*(found.get(name) for name in Steps._fields))  # type: ignore[arg-type]

    def best(
        self,
        sources: Sequence[Sequence[int]],
        steps: Steps,
        prefix: Sequence[Sequence[int]] = (),
        length_penalty: float | None = None,
        max_target_length: int | None = None,
    ) -> list[Hypothesis]:
        """The chosen hypothesis of each sentence; attention keeps the sentence's own columns."""
        penalty = self.length_penalty if length_penalty is None else length_penalty
        end = self.subwords.special.end
        forced = pad(prefix, -1) if prefix else torch.zeros(len(sources), 0)
        longest = max_target_length or self.limits["max_target_tokens"]
        limit = self.rules.limits(mask_of(sources), forced, longest)
        found = [best(steps, row, int(limit[row]), penalty, end) for row in range(len(sources))]
        return [
            h if h.attention is None else h._replace(attention=h.attention[:, : len(s)])
            for h, s in zip(found, sources, strict=True)
        ]

    def translate(self, texts: Sequence[str]) -> list[Translated]:
        """Translations of one batch."""
        sources = [self.source_ids(text) for text in texts]
        found = self.best(sources, self.run(sources, self.beam_size))
        return [
            Translated(
                text,
                self.subwords.decode(h.ids),
                h,
                "" if h.attention is None else self.links(text, h.ids, h.attention),
            )
            for text, h in zip(texts, found, strict=True)
        ]

    def links(self, source: str, ids: Sequence[int], attention: Tensor) -> str:
        """Links over words of a translation with weights [T, S], as the bundle's choice has it, in Pharaoh format."""
        return pharaoh(links(self.subwords, source, ids, attention.numpy(), self.choice))


class Rebuilt(BundleRuntime):
    """The same bundle with a graph of `system` in the place of its own."""

    def __init__(self, folder: Path, system: System) -> None:
        self._read(folder, None)
        self.rounds = EIGHT if isinstance(system, EightBit) else SIXTEEN if isinstance(system, Half) else ""
        self._open(onnx_graph.build(system, self.rules, {}).SerializeToString())


class Reference(BundleRuntime):
    """The same bundle with PyTorch's search in the graph's place."""

    def __init__(self, folder: Path, system: System) -> None:
        self._read(folder, None)
        self._system = system.eval()

    def run(
        self,
        sources: Sequence[Sequence[int]],
        beam_size: int,
        prefix: Sequence[Sequence[int]] = (),
        max_target_length: int | None = None,
        best: int | None = None,
    ) -> Steps:
        return beam_search(
            self._system,
            pad(sources, self.subwords.special.pad),
            mask_of(sources),
            beam_size,
            max_target_length or self.limits["max_target_tokens"],
            self.rules,
            pad(prefix, -1) if prefix else None,
            best,
        )


def rules_of(manifest: dict[str, Any]) -> SearchRules:
    """The rules a bundle's graph searches by."""
    return SearchRules(
        start=manifest["special_ids"]["start"],
        end=manifest["special_ids"]["end"],
        limit_ratio=manifest["limits"]["target_ratio"],
        limit_offset=manifest["limits"]["target_offset"],
        length_penalty=manifest["decoding"]["length_penalty"],
        early_stopping=manifest["decoding"].get("early_stopping", False),
        beam_threshold=manifest["decoding"].get("beam_threshold", 0.0),
        suppressed=tuple(manifest["decoding"].get("suppressed", ())),
        end_at_limit=manifest["decoding"].get("end_at_limit", False),
        shift=manifest["attention"].get("shift", 0),
    )
