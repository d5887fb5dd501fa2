"""The weights all engines share: a MarianMT checkpoint, and what each engine makes of it, kept for the next run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPUS_WORDS = 60_000


def digest(folder: Path) -> str:
    """Twelve digits that change with any file of the folder."""
    found = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()[:12]


def parameters(bundle: Path) -> int:
    """Of the model in one of Dragoman's bundles, as its exporter counted them."""
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    return int(manifest["model"]["parameters"])


@dataclass(frozen=True)
class Shape:
    """A MarianMT model's dimensions; the defaults are OPUS-MT's."""

    words: int = OPUS_WORDS
    width: int = 512
    inner: int = 2048
    heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6


def sized(like: Path, folder: Path, shape: Shape) -> Path:
    """A checkpoint of that shape: random weights, `like`'s SentencePiece, words that it has no piece for made up.

    Its translations mean nothing, hardly more than one word again and again up to the longest. The time is that of a
    real one of the size.
    """
    if (folder / "model.safetensors").exists():
        return folder
    import torch
    from transformers import MarianConfig, MarianMTModel

    given = json.loads((like / "vocab.json").read_text(encoding="utf-8"))
    words = {word: number for word, number in given.items() if word != "<pad>" and number < shape.words - 1}
    words |= {f"w{number}": number for number in range(len(words), shape.words - 1)} | {"<pad>": shape.words - 1}
    torch.manual_seed(20151)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=shape.words,
            d_model=shape.width,
            encoder_layers=shape.encoder_layers,
            decoder_layers=shape.decoder_layers,
            encoder_ffn_dim=shape.inner,
            decoder_ffn_dim=shape.inner,
            encoder_attention_heads=shape.heads,
            decoder_attention_heads=shape.heads,
            activation_function="swish",
            max_position_embeddings=512,
            scale_embedding=True,
            init_std=0.05,
            eos_token_id=words["</s>"],
            forced_eos_token_id=words["</s>"],
            pad_token_id=words["<pad>"],
            decoder_start_token_id=words["<pad>"],
        )
    )
    # words as unlike in frequency as this are no ties, which each program's rounding would settle its own way
    model.final_logits_bias.normal_(std=30)
    model.generation_config.bad_words_ids = [[words["<pad>"]]]
    beside = folder.with_suffix(".partial")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    for name in ("source.spm", "target.spm"):
        shutil.copyfile(like / name, beside / name)
    (beside / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    beside.rename(folder)
    return folder


def bundle_of(
    checkpoint: Path, weights: str, longest: int, room: Path, say: Callable[[str], None], threshold: float = 0.0
) -> Path:
    """Dragoman's bundle of the checkpoint, verified; `weights` is float32, int8 or half, `threshold` the search's."""
    from model_export.import_marian import import_marian
    from model_export.verify import verify

    folder = room / f"bundle-{weights}-{longest}-{threshold:g}"
    if not folder.exists():
        say(f"importing {checkpoint.name} as a bundle of {weights} weights")
        import_marian(
            checkpoint,
            folder,
            ("fr", "en"),
            lambda made, system: verify(made, system, say),
            name=f"bench-{weights}",
            weights=weights,
            beam_threshold=threshold,
            limit=(0, longest),
        )
    return folder


def converted(checkpoint: Path, room: Path) -> Path:
    """CTranslate2's model of the checkpoint, by CTranslate2's own converter; one serves every compute type.

    It lets every Marian decoder start from an embedding of zeros, as Marian's own models do. A checkpoint whose start
    token has an embedding gets it with the decoder's first position, which no other token stands at: the same sum.
    """
    folder = room / "ctranslate2"
    if not folder.exists():
        from ctranslate2.converters import TransformersConverter, transformers

        @transformers.register_loader("MarianConfig")
        class StartsFromItsToken(transformers.MarianMTLoader):  # type: ignore[misc]
            def set_decoder(self, spec: Any, decoder: Any) -> None:
                super().set_decoder(spec, decoder)
                start = decoder.embed_tokens.weight[decoder.config.decoder_start_token_id]
                encodings = spec.position_encodings.encodings.clone()
                encodings[0] += start * float(spec.scale_embeddings)
                spec.position_encodings.encodings = encodings

        TransformersConverter(str(checkpoint)).convert(str(folder.with_suffix(".partial")), force=True)
        folder.with_suffix(".partial").rename(folder)
    return folder
