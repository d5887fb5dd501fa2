"""System S12: MarianMT checkpoints as the transformers library stores them, read as a `Transformer` and written.

Junczys-Dowmunt et al., "Marian: Fast Neural Machine Translation in C++", ACL 2018 demonstrations; the published
checkpoints are OPUS-MT's (Tiedemann and Thottingal 2020). A folder holds `config.json`, `model.safetensors` or
`pytorch_model.bin`, `source.spm`, `target.spm`, `vocab.json` and, usually, `generation_config.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_export import sentencepiece_model
from model_export.search import SearchRules
from model_export.transformer import ACTIVATIONS, AlignmentHead, Sizes, Transformer, sinusoids
from model_export.vocabulary import Subwords

CONFIG, GENERATION, WORDS = "config.json", "generation_config.json", "vocab.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
WRITTEN = "target_words.json"  # ours: a list of the words that the target language is written with
RECORD = "dragoman.json"  # ours: what a bundle's manifest says of the training
ALIGNER = "alignment_head.safetensors"  # ours: the weights of an `AlignmentHead`
_LAYER = {
    "self_attn.q_proj": "self_attention.query",
    "self_attn.k_proj": "self_attention.key",
    "self_attn.v_proj": "self_attention.value",
    "self_attn.out_proj": "self_attention.output",
    "self_attn_layer_norm": "self_norm",
    "encoder_attn.q_proj": "cross_attention.query",
    "encoder_attn.k_proj": "cross_attention.key",
    "encoder_attn.v_proj": "cross_attention.value",
    "encoder_attn.out_proj": "cross_attention.output",
    "encoder_attn_layer_norm": "cross_norm",
    "fc1": "inner",
    "fc2": "outer",
    "final_layer_norm": "final_norm",
}
_OURS = {ours: theirs for theirs, ours in _LAYER.items()}
_TIED = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
_POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")


class MarianError(ValueError):
    """The folder cannot be imported; the message lists every reason."""


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds: the model, its subwords, how it is searched, and beam size and longest target."""

    system: Transformer
    subwords: Subwords
    rules: SearchRules
    beam_size: int
    positions: int
    max_length: int
    config: Mapping[str, Any]


def read(folder: Path, layer: int | None = None, heads: Sequence[int] | None = None) -> Checkpoint:
    """Reads a folder; `layer` (-1 is the last) and `heads` choose the attention to publish.

    Without them, or with no heads at all, it is the alignment head's where the folder has one, or else all heads of the
    last layer. Raises MarianError with everything that is wrong.
    """
    faults = [
        f"{name} is missing" for name in (CONFIG, "source.spm", "target.spm", WORDS) if not _is_file(folder, name)
    ]
    if not any(_is_file(folder, name) for name in WEIGHTS):
        faults.append(f"{' or '.join(WEIGHTS)} is missing")
    if faults:
        raise MarianError(f"{folder} is no MarianMT folder: " + "; ".join(faults))
    config = _json(folder / CONFIG, faults)
    generation = {**config, **(_json(folder / GENERATION, faults) if _is_file(folder, GENERATION) else {})}
    words: dict[str, int] = {}
    try:
        words = sentencepiece_model.read_words(folder / WORDS)
    except ValueError as fault:
        faults.append(f"{WORDS}: {fault}")
    weights = _weights(folder, faults)
    if faults:
        raise MarianError(f"{folder}: " + "; ".join(faults))
    aligner = _aligner(folder, faults) if heads == [] or (layer is None and heads is None) else _Aligner()
    sizes = _sizes(config, words, layer, heads or None, aligner, faults)
    faults += _embedding_faults(config, weights)
    subwords = _subwords(folder, config, words, faults)
    if faults or sizes is None or subwords is None:
        raise MarianError(f"{folder}: " + "; ".join(dict.fromkeys(faults)))
    system = Transformer(sizes)
    _load(system, weights, aligner.weights, faults)
    rules = _rules(generation, subwords, faults)
    written = _written(folder, subwords, faults)
    if faults or rules is None:
        raise MarianError(f"{folder}: " + "; ".join(dict.fromkeys(faults)))
    if written is not None:
        system.write_only(written)
    beams = int(generation.get("num_beams") or 4)
    longest = int(generation.get("max_length") or sizes.positions)
    return Checkpoint(system.eval(), subwords, rules, beams, sizes.positions, min(longest, sizes.positions), config)


def _written(folder: Path, subwords: Subwords, faults: list[str]) -> Tensor | None:
    """The ids of the words that `target_words.json` lists, ascending; None without it."""
    if not _is_file(folder, WRITTEN):
        return None
    try:
        listed = json.loads((folder / WRITTEN).read_text(encoding="utf-8"))
    except ValueError as fault:
        faults.append(f"{WRITTEN}: {fault}")
        return None
    if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
        faults.append(f"{WRITTEN}: should be a list of words")
        return None
    names = {subwords.piece(i): i for i in range(subwords.sizes[1])}
    unknown = [word for word in listed if word not in names]
    if unknown:
        faults.append(f"{WRITTEN}: {len(unknown)} words are not in {WORDS}: {', '.join(unknown[:5])}")
    if subwords.piece(subwords.special.end) not in listed:
        faults.append(f"{WRITTEN}: should have the end token {subwords.piece(subwords.special.end)}")
    return torch.tensor(sorted({names[word] for word in listed if word in names}))


def _is_file(folder: Path, name: str) -> bool:
    return (folder / name).is_file()


def _json(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        faults.append(f"{path.name}: {fault}")
        return {}
    if not isinstance(found, dict):
        faults.append(f"{path.name}: should be an object")
        return {}
    return found


def _weights(folder: Path, faults: list[str]) -> dict[str, Tensor]:
    """The state dict as float32; nothing in a pickle is run."""
    try:
        if _is_file(folder, WEIGHTS[0]):
            found = load_file(folder / WEIGHTS[0])
        else:
            found = torch.load(folder / WEIGHTS[1], map_location="cpu", weights_only=True)
        return {name: value.float() for name, value in found.items()}
    except Exception as fault:  # each library raises its own
        name = next(name for name in WEIGHTS if _is_file(folder, name))
        faults.append(f"{name}: cannot be read: {' '.join(str(fault).split())[:200]}")
        return {}


class _Aligner(NamedTuple):
    """An alignment head as its file has it; no weights without one."""

    weights: Mapping[str, Tensor] = MappingProxyType({})
    heads: int = 1


def _aligner(folder: Path, faults: list[str]) -> _Aligner:
    if not _is_file(folder, ALIGNER):
        return _Aligner()
    try:
        with safe_open(folder / ALIGNER, "pt") as file:
            found = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            heads = int((file.metadata() or {}).get("heads", 1))
    except Exception as fault:  # the library raises its own
        faults.append(f"{ALIGNER}: cannot be read: {' '.join(str(fault).split())[:200]}")
        return _Aligner()
    if "query.bias" not in found:
        faults.append(f"{ALIGNER}: should hold query.bias")
        return _Aligner()
    if heads < 1 or found["query.bias"].numel() % heads:
        faults.append(f"{ALIGNER}: heads should divide query.bias's {found['query.bias'].numel()}: was {heads}")
        return _Aligner()
    return _Aligner(found, heads)


def write_aligner(head: AlignmentHead, folder: Path) -> None:
    """Puts `head` beside a MarianMT checkpoint, for `read` to find."""
    weights = {name: value.contiguous() for name, value in head.state_dict().items()}
    save_file(weights, folder / ALIGNER, metadata={"heads": str(head.heads)})


def read_record(folder: Path) -> dict[str, Any]:
    """What the MarianMT checkpoint in `folder` says of its training; nothing when it was not made here."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    lists = ("data", "attribution")
    if not isinstance(record, dict) or not all(isinstance(record.get(key, []), list) for key in lists):
        raise ValueError(f"{path} should be what save-marian says of a training: take it away to import without")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def _sizes(
    config: Mapping[str, Any],
    words: Mapping[str, int],
    layer: int | None,
    heads: Sequence[int] | None,
    aligner: _Aligner,
    faults: list[str],
) -> Sizes | None:
    """The dimensions; architectures that `Transformer` is not are faults."""
    if config.get("model_type") != "marian":
        faults.append(f"{CONFIG}: model_type should be marian: was {config.get('model_type')!r}")
        return None
    needed = ("vocab_size", "d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "encoder_attention_heads")
    missing = [key for key in needed if not isinstance(config.get(key), int)]
    if missing:
        faults.append(f"{CONFIG}: {', '.join(missing)} should be whole numbers")
        return None
    for a, b in (("encoder_ffn_dim", "decoder_ffn_dim"), ("encoder_attention_heads", "decoder_attention_heads")):
        if config.get(b, config[a]) != config[a]:
            faults.append(f"{CONFIG}: {b} should be {a}'s {config[a]}: was {config[b]}")
    if config.get("decoder_vocab_size") not in (None, config["vocab_size"]):
        faults.append(
            f"{CONFIG}: decoder_vocab_size should be vocab_size's {config['vocab_size']}: separate vocabularies"
        )
    faults += [
        f"{CONFIG}: {key} should be off: MarianMT normalises after each sum"
        for key in ("normalize_before", "normalize_embedding", "add_final_layer_norm")
        if config.get(key)
    ]
    activation = config.get("activation_function", "gelu")
    if activation not in ACTIVATIONS:
        faults.append(f"{CONFIG}: activation_function should be one of {', '.join(ACTIVATIONS)}: was {activation!r}")
    if len(words) > config["vocab_size"]:
        faults.append(f"{WORDS} has {len(words)} words, the embedding {config['vocab_size']}: they should be as many")
    if faults:
        return None
    last = config["decoder_layers"] - 1
    try:
        return Sizes(
            vocabulary=config["vocab_size"],
            width=config["d_model"],
            inner=config["encoder_ffn_dim"],
            heads=config["encoder_attention_heads"],
            encoder_layers=config["encoder_layers"],
            decoder_layers=config["decoder_layers"],
            dropout=float(config.get("dropout", 0.1)),
            activation=activation,
            positions=int(config.get("max_position_embeddings", 1024)),
            scale_embedding=bool(config.get("scale_embedding", False)),
            published_layer=last if layer is None else layer % (last + 1),
            published_heads=tuple(range(config["encoder_attention_heads"]) if heads is None else heads),
            aligner=aligner.weights["query.bias"].numel() if aligner.weights else 0,
            aligner_heads=aligner.heads,
        )
    except ValueError as fault:
        faults.append(str(fault))
        return None


def _embedding_faults(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> list[str]:
    """Embeddings must be one, as the configuration says and as `Transformer` has it."""
    faults = [
        f"{CONFIG}: {key} is off: separate embeddings are not known here"
        for key in ("tie_word_embeddings", "share_encoder_decoder_embeddings")
        if not config.get(key, True)
    ]
    shared = weights.get("model.shared.weight")
    if shared is None:
        shared = next((weights[name] for name in _TIED if name in weights), None)
    if shared is None:
        return [*faults, "the weights hold no embedding: model.shared.weight is missing"]
    faults += [
        f"{name} differs from model.shared.weight, though {CONFIG} says that they are one"
        for name in _TIED
        if name in weights and not torch.equal(weights[name], shared)
    ]
    return faults


def _subwords(folder: Path, config: Mapping[str, Any], words: Mapping[str, int], faults: list[str]) -> Subwords | None:
    tokenizers = []
    for side in ("source", "target"):
        try:
            tokenizers.append(sentencepiece_model.to_tokenizer(folder / f"{side}.spm", words))
        except ValueError as fault:
            faults.append(str(fault))
    try:
        special = sentencepiece_model.special_ids(words, config.get("decoder_start_token_id"))
    except ValueError as fault:
        faults.append(str(fault))
        return None
    for key, expected in (("eos_token_id", special.end), ("pad_token_id", special.pad)):
        if config.get(key, expected) != expected:
            faults.append(f"{CONFIG}: {key} should be {WORDS}'s {expected}: was {config[key]}")
    if not 0 <= special.start < int(config.get("vocab_size") or 0):
        faults.append(f"{CONFIG}: decoder_start_token_id should be a word's id: was {special.start}")
    if len(tokenizers) < 2:
        return None
    source, target = tokenizers
    if (folder / "source.spm").read_bytes() == (folder / "target.spm").read_bytes():
        target = source
    return Subwords(source, target, special, (len(words), len(words)))


def _load(system: Transformer, weights: Mapping[str, Tensor], aligner: Mapping[str, Tensor], faults: list[str]) -> None:
    """Puts a MarianMT state dict, and an alignment head's, into `system`; positions must be the sinusoids."""
    state, unknown = {f"aligner.{name}": value for name, value in aligner.items()}, []
    for name, value in weights.items():
        layer = re.fullmatch(r"model\.(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if layer and layer[3] in _LAYER:
            state[f"{layer[1]}.{layer[2]}.{_LAYER[layer[3]]}.{layer[4]}"] = value
        elif name == "model.shared.weight" or name in _TIED:
            state["embedding.weight"] = value
        elif name == "final_logits_bias":
            state["output_bias"] = value.flatten()
        elif name in _POSITIONS:
            if not torch.allclose(value, sinusoids(*value.shape), atol=1e-3):
                faults.append(f"{name}: should be sinusoids: learned positions are not known here")
        else:
            unknown.append(name)
    if unknown:
        faults.append(f"weights not known in a MarianMT model: {', '.join(sorted(unknown)[:5])}")
    state.setdefault("output_bias", torch.zeros(system.sizes.vocabulary))
    expected = system.state_dict()
    for name, value in expected.items():
        if name not in state:
            faults.append(f"the weights lack {name}")
        elif state[name].shape != value.shape:
            faults.append(f"{name} should be {list(value.shape)}: was {list(state[name].shape)}")
    faults += [f"the weights hold {name}, which {CONFIG} has no layer for" for name in state if name not in expected]
    if not faults:
        system.load_state_dict(state)


def _rules(generation: Mapping[str, Any], subwords: Subwords, faults: list[str]) -> SearchRules | None:
    """How `generate` would search; what the search here cannot do is a fault unless it changes nothing."""
    neutral: dict[str, Any] = {
        "no_repeat_ngram_size": (None, 0),
        "repetition_penalty": (None, 1, 1.0),
        "min_length": (None, 0),
        "min_new_tokens": (None, 0),
        "num_beam_groups": (None, 1),
        "diversity_penalty": (None, 0, 0.0),
        "encoder_no_repeat_ngram_size": (None, 0),
        "forced_bos_token_id": (None,),
        "do_sample": (None, False),
        "force_words_ids": (None,),
        "constraints": (None,),
        "exponential_decay_length_penalty": (None,),
        "suppress_tokens": (None, []),
        "begin_suppress_tokens": (None, []),
    }
    for key, harmless in neutral.items():
        if generation.get(key) not in harmless:
            faults.append(f"{GENERATION}: {key} = {generation[key]!r} is not known here")
    bad = generation.get("bad_words_ids") or []
    if any(not isinstance(words, list) or len(words) != 1 for words in bad):
        faults.append(f"{GENERATION}: bad_words_ids should be single words: was {bad}")
    early = generation.get("early_stopping")
    if early not in (None, False, True):
        faults.append(f"{GENERATION}: early_stopping = {early!r} is not known here")
    forced_end = generation.get("forced_eos_token_id")
    if forced_end not in (None, subwords.special.end):
        faults.append(f"{GENERATION}: forced_eos_token_id should be {subwords.special.end}: was {forced_end}")
    if faults:
        return None
    penalty = generation.get("length_penalty")
    return SearchRules(
        start=subwords.special.start,
        end=subwords.special.end,
        length_penalty=1.0 if penalty is None else float(penalty),
        early_stopping=bool(early),
        suppressed=tuple(sorted({words[0] for words in bad})),
        end_at_limit=forced_end is not None,
    )


def write(
    system: Transformer, folder: Path, vocabulary: Path, rules: SearchRules, beam_size: int, half: bool = False
) -> None:
    """Writes `system` as a MarianMT folder; `vocabulary` holds its `source.spm`, `target.spm` and `vocab.json`.

    `half` stores weights in 16 bits, half the size; `import-marian` reads them as 32-bit floats.

    What it writes loads with `MarianMTModel.from_pretrained` and `MarianTokenizer.from_pretrained`.
    """
    sizes = system.sizes
    folder.mkdir(parents=True, exist_ok=True)
    if system.aligner is not None:
        write_aligner(system.aligner, folder)
    for name in ("source.spm", "target.spm", WORDS):
        (folder / name).write_bytes((vocabulary / name).read_bytes())
    words = sentencepiece_model.read_words(folder / WORDS)
    special = sentencepiece_model.special_ids(words, rules.start)
    layers = {
        "layers": (sizes.encoder_layers, sizes.decoder_layers),
        "ffn_dim": (sizes.inner, sizes.inner),
        "attention_heads": (sizes.heads, sizes.heads),
    }
    ids = {"eos_token_id": special.end, "pad_token_id": special.pad, "decoder_start_token_id": special.start}
    config = {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "vocab_size": sizes.vocabulary,
        "decoder_vocab_size": sizes.vocabulary,
        "d_model": sizes.width,
        **{f"{side}_{key}": value[i] for i, side in enumerate(("encoder", "decoder")) for key, value in layers.items()},
        "activation_function": sizes.activation,
        "dropout": sizes.dropout,
        "max_position_embeddings": sizes.positions,
        "scale_embedding": sizes.scale_embedding,
        "static_position_embeddings": True,
        "normalize_before": False,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "forced_eos_token_id": special.end,
        "bos_token_id": None,
        "dtype": "float16" if half else "float32",
        **ids,
    }
    generation = {
        **ids,
        "forced_eos_token_id": special.end,
        "bad_words_ids": [[word] for word in rules.suppressed],
        "num_beams": beam_size,
        "length_penalty": rules.length_penalty,
        "early_stopping": rules.early_stopping,
        "max_length": sizes.positions,
    }
    tokenizer = {"tokenizer_class": "MarianTokenizer", "model_max_length": sizes.positions, "separate_vocabs": False}
    for name, content in ((CONFIG, config), (GENERATION, generation), ("tokenizer_config.json", tokenizer)):
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    state = {"final_logits_bias": system.output_bias.detach()[None], "model.shared.weight": system.embedding.weight}
    for name, value in system.state_dict().items():
        side, *rest = name.split(".")
        if side in ("encoder", "decoder"):
            number, *part, kind = rest
            state[f"model.{side}.layers.{number}.{_OURS['.'.join(part)]}.{kind}"] = value
    stored = {name: (value.half() if half else value).contiguous() for name, value in state.items()}
    save_file(stored, folder / WEIGHTS[0], {"format": "pt"})
