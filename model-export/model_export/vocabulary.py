"""Subwords: how text becomes ids and ids become text, by Hugging Face's `tokenizer.json`.

A vocabulary is learned here as byte-pair encoding (Sennrich, Haddow, Birch 2016) over words and single punctuation
marks, shared by source and target, with byte fallback so that no character is ever lost; `sentencepiece_model` reads
SentencePiece's. All cleaning is part of the file: whoever loads it, in Python or in Java, sees the same ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
BYTE = re.compile("<0x([0-9A-F]{2})>")
MARK = "\u0002"  # stands before what a tokenizer looks up as a whole: language tokens, words of the other side
SOURCE_FILE, TARGET_FILE = "tokenizer.json", "target_tokenizer.json"


@dataclass(frozen=True)
class SpecialIds:
    """Ids with a meaning of their own; the start token may be another's id, as MarianMT's is the padding's."""

    pad: int = 0
    start: int = 1
    end: int = 2
    unknown: int = 3

    def __contains__(self, token: object) -> bool:
        return token in (self.pad, self.start, self.end, self.unknown)


@dataclass(frozen=True)
class Subwords:
    """The tokenizers of a model's source and target, often one and the same, and its special ids.

    `sizes` are how many words source and target embedding have. A tokenizer may know pieces beyond them: unknown ones.
    """

    source: Tokenizer
    target: Tokenizer
    special: SpecialIds
    sizes: tuple[int, int]

    @classmethod
    def read(cls, folder: Path, special: SpecialIds, sizes: tuple[int, int] | None = None) -> Subwords:
        source = Tokenizer.from_file(str(folder / SOURCE_FILE))
        separate = folder / TARGET_FILE
        target = Tokenizer.from_file(str(separate)) if separate.exists() else source
        return cls(source, target, special, sizes or (source.get_vocab_size(), target.get_vocab_size()))

    def _known(self, ids: Sequence[int], size: int) -> list[int]:
        return [self.special.unknown if i >= size or i in self.special else i for i in ids]

    def source_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each source text, without the end token."""
        found = self.source.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._known(e.ids, self.sizes[0]) for e in found]

    def target_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each target text, without the end token."""
        found = self.target.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._known(e.ids, self.sizes[1]) for e in found]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target ids up to the end token; special ids are left out."""
        kept = []
        for i in ids:
            if i == self.special.end:
                break
            if i not in self.special:
                kept.append(self.piece(i))
        return str(self.target.decoder.decode(kept)).strip()

    def piece(self, token: int, side: str = "target") -> str:
        """A token's name, without what `sentencepiece_model` puts around some in the file."""
        tokenizer = self.target if side == "target" else self.source
        return str(tokenizer.id_to_token(token) or "").removesuffix(f"\u2581{token}").removeprefix(MARK)

    def manifest(self) -> dict[str, Any]:
        return asdict(self.special)


def _normalizer(lower_case: bool) -> normalizers.Normalizer:
    return normalizers.Sequence(
        [
            normalizers.NFC(),
            *([normalizers.Lowercase()] if lower_case else []),
            normalizers.Replace(Regex(r"[\u2019\u02BC]"), "'"),
            normalizers.Replace(Regex(r"[\u00AD\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF]"), ""),
            normalizers.Replace(Regex(r"[\s\u0000-\u001F\u007F-\u009F]+"), " "),
            normalizers.Strip(),
        ]
    )


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Split(Regex(r"(?!['\u2581])[\p{P}\p{S}]"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )


def learn(texts: Iterable[str], size: int, lower_case: bool = False) -> Tokenizer:
    """A tokenizer of `size` entries: 4 special ids, 256 bytes, then pieces.

    The special entries are in the vocabulary but are no "added tokens": a text that spells `</s>` stays text.
    """
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = _normalizer(lower_case)
    learner.pre_tokenizer = _pre_tokenizer()
    trainer = trainers.BpeTrainer(vocab_size=size - len(SPECIAL) - len(BYTES), min_frequency=2, limit_alphabet=256)
    learner.train_from_iterator(texts, trainer)
    state = json.loads(learner.to_str())
    pieces = sorted(state["model"]["vocab"], key=state["model"]["vocab"].__getitem__)
    state["model"]["vocab"] = {piece: i for i, piece in enumerate([*SPECIAL, *BYTES, *pieces])}
    state["model"]["byte_fallback"] = True
    state["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.decoder = decoder()
    return tokenizer


def decoder() -> decoders.Decoder:
    """Pieces to text: bytes joined, U+2581 as a space, none at the start."""
    return decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace("\u2581", " "),
            decoders.Strip(" ", 1, 0),
        ]
    )
