"""The subword vocabulary: learned from the training text, saved as Hugging Face's `tokenizer.json`.

Byte-pair encoding (Sennrich, Haddow, Birch 2016) over words and single punctuation marks, shared by source and target,
with byte fallback so that no character is ever lost. All cleaning is part of the file: whoever loads it, in Python or
in Java, sees the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def _normalizer() -> normalizers.Normalizer:
    return normalizers.Sequence(
        [
            normalizers.NFC(),
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


def learn(texts: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer of `size` entries: 4 special ids, 256 bytes, then pieces.

    The special entries are in the vocabulary but are no "added tokens": a text that spells `</s>` stays text.
    """
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = _normalizer()
    learner.pre_tokenizer = _pre_tokenizer()
    trainer = trainers.BpeTrainer(vocab_size=size - len(SPECIAL) - len(BYTES), min_frequency=2, limit_alphabet=256)
    learner.train_from_iterator(texts, trainer)
    state = json.loads(learner.to_str())
    pieces = sorted(state["model"]["vocab"], key=state["model"]["vocab"].__getitem__)
    state["model"]["vocab"] = {piece: i for i, piece in enumerate([*SPECIAL, *BYTES, *pieces])}
    state["model"]["byte_fallback"] = True
    state["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace("\u2581", " "),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def decode(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """Text of target ids up to the end token; special ids are left out."""
    kept = []
    for i in ids:
        if i == END:
            break
        if i >= len(SPECIAL):
            kept.append(i)
    return str(tokenizer.decode(kept, skip_special_tokens=False)).strip()
