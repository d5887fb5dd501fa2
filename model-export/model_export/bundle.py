"""A bundle: the folder that a model is. `export` writes one; `read_manifest` and `faults` say what is wrong with one.

A bundle appears whole or not at all: it is written beside its place, verified there, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import onnx
import torch
from tokenizers import Tokenizer

from model_export import model_card, onnx_graph
from model_export.alignment import DEFAULT, Choice
from model_export.config import Config
from model_export.eight_bit_system import EightBit
from model_export.half import Half
from model_export.runtime import BundleRuntime, Reference, Translated
from model_export.search import SearchRules
from model_export.system import System
from model_export.systems import SYSTEMS
from model_export.train import make_system, subwords_of
from model_export.transformer import Transformer
from model_export.vocabulary import SOURCE_FILE, TARGET_FILE, SpecialIds, Subwords

FORMAT_VERSION = 1
MANIFEST, CARD = "bundle.json", "README.md"
FILES = ("model.onnx", SOURCE_FILE, "golden.tsv", CARD)
OPTIONAL_FILES = (TARGET_FILE,)
MAX_SOURCE_TOKENS, MAX_TARGET_TOKENS = 200, 256
FIELDS: dict[str, type] = {
    **dict.fromkeys(("name", "version", "architecture", "architecture_name"), str),
    **dict.fromkeys(("model", "languages", "vocabulary", "special_ids", "limits", "decoding"), dict),
    **dict.fromkeys(("attention", "files", "training", "scores"), dict),
    "format_version": int,
}
_KINDS = {str: "text", dict: "object", int: "whole number"}
WEIGHTS = ("float32", "float16", "int8", "half")
LONGEST = ("max_source_tokens", "max_target_tokens")
GOLDEN_HEADER = "# source\ttranslation\tword links\tmean token log-probability\tweights [target][source], ends included"


class BundleError(ValueError):
    """The bundle cannot be written or used; the message lists every reason."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Parts:
    """All that a bundle is made of; `training` is the manifest's section."""

    name: str
    version: str
    kind: str  # a key of SYSTEMS
    system: System
    weights: str  # one of WEIGHTS; what `system` is `rounded` to
    subwords: Subwords
    rules: SearchRules
    beam_size: int
    languages: tuple[str, str]
    longest: tuple[int, int]  # source and target tokens
    training: dict[str, Any]
    choice: Choice = DEFAULT
    golden: Sequence[str] = ()  # sentences; the language's own when empty


def export(config: Config, checkpoint: Path, target: Path, force: bool, verify: Callable[[Path], None]) -> None:
    """Writes the bundle of `checkpoint` (training's folder) to `target`; `verify` raises when it must not appear."""
    refuse_to_overwrite(target, force)
    saved = torch.load(best_weights(checkpoint), map_location="cpu", weights_only=True)
    if not (checkpoint / SOURCE_FILE).is_file():
        raise BundleError(
            f"{checkpoint / SOURCE_FILE} is missing: it is written by `model-export train` beside the weights"
        )
    system = make_system(config)
    system.load_state_dict(saved["model"])
    subwords = subwords_of(config, checkpoint)
    parts = Parts(
        name=config.name,
        version=config.version,
        kind=config.system,
        system=rounded(system, "float16"),
        weights="float16",
        subwords=subwords,
        rules=rules_for(config, subwords),
        beam_size=config.decoding.beam_size,
        languages=(config.source_language, config.target_language),
        longest=(MAX_SOURCE_TOKENS, MAX_TARGET_TOKENS),
        training=training_section(config, saved["state"]),
    )
    write(parts, target, verify)


def rules_for(config: Config, subwords: Subwords) -> SearchRules:
    """The search that a configuration asks for."""
    special, decoding = subwords.special, config.decoding
    return SearchRules(
        special.start,
        special.end,
        length_penalty=decoding.length_penalty,
        early_stopping=decoding.early_stopping,
        beam_threshold=decoding.beam_threshold,
        suppressed=(special.pad,),
        shift=decoding.shift,
    )


def refuse_to_overwrite(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise BundleError(f"{target} exists: give --force to replace it")


def rounded(system: System, weights: str) -> System:
    """`system` with its weights as a bundle stores them: float32, float16, or int8 or half, which are computed with.

    With int8 the matrices are `EightBit`'s and the rest is float16; half is float16 throughout, see `Half`. Raises
    BundleError for a system that cannot be computed so.
    """
    if weights == "float32":
        return system.eval()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.copy_(parameter.half().float())
    if weights == "float16":
        return system.eval()
    if not isinstance(system, Transformer):
        raise BundleError(f"{weights} weights are for Transformers")
    return EightBit(system) if weights == "int8" else Half(system)


def training_section(config: Config, state: dict[str, Any]) -> dict[str, Any]:
    """The manifest's `training`: what the weights were trained on, and how far."""
    return {
        "config": config.file,
        "remark": config.remark,
        "data": [{"file": f.file, "lines": f.holds, "licence": f.licence} for f in config.train],
        "attribution": list(config.attribution),
        "updates": state["step"],
        "hours": round(state["seconds"] / 3600, 2),
        **({"processor_hours": round(state["processor"] / 3600, 2)} if "processor" in state else {}),
        "target_tokens": state["tokens"],
        "longest": config.training.longest,
        "seed": config.training.seed,
        "commit": _commit(),
    }


def write(parts: Parts, target: Path, verify: Callable[[Path], None]) -> None:
    """Writes, verifies and puts in place; what verification is given is the whole bundle."""

    def fill(folder: Path) -> None:
        parts.subwords.source.save(str(folder / SOURCE_FILE))
        if parts.subwords.target is not parts.subwords.source:
            parts.subwords.target.save(str(folder / TARGET_FILE))
        digest = sha256(folder / SOURCE_FILE)
        write_manifest(folder, _manifest(parts, digest))
        sentences = parts.golden or golden_sentences(parts.languages[0])
        if isinstance(parts.system, EightBit):
            calibrate(parts.system, folder, sentences)
        known = metadata(SYSTEMS[parts.kind].row, digest, parts.subwords.sizes)
        onnx.save(onnx_graph.build(parts.system, parts.rules, known), folder / "model.onnx")
        text = golden(Reference(folder, parts.system), sentences)
        (folder / "golden.tsv").write_text(text, encoding="utf-8", newline="\n")
        write_manifest(folder, read_json(folder))
        verify(folder)

    put_in_place(target, fill)


def calibrate(system: EightBit, folder: Path, sentences: Sequence[str]) -> None:
    """Finds the bounds of `system` while it translates `sentences`, one word a step."""
    reference = Reference(folder, system.system)
    sources = [reference.source_ids(sentence) for sentence in sentences]
    system.calibrate(lambda: [reference.run([source], 1) for source in sources])


def metadata(row: str, digest: str, sizes: Sequence[int]) -> dict[str, str]:
    """What the graph repeats of its bundle's manifest."""
    return {
        "dragoman.format_version": str(FORMAT_VERSION),
        "dragoman.vocabulary_sha256": digest,
        "dragoman.architecture": row,
        "dragoman.source_vocabulary": str(sizes[0]),
        "dragoman.target_vocabulary": str(sizes[1]),
    }


def best_weights(checkpoint: Path) -> Path:
    """The weights file of training's folder (or the file itself)."""
    path = checkpoint if checkpoint.is_file() else checkpoint / "best.pt"
    if not path.is_file():
        raise BundleError(f"{path} is missing: it appears after the first validation of `model-export train`")
    return path


def record(folder: Path, name: str, score: dict[str, float | int]) -> None:
    """Writes a score into the manifest and the model card."""

    def fill(beside: Path) -> None:
        shutil.copytree(folder, beside, dirs_exist_ok=True)
        manifest = read_json(beside)
        manifest["scores"][name] = score
        write_manifest(beside, manifest)

    put_in_place(folder, fill)


def put_in_place(target: Path, fill: Callable[[Path], None]) -> None:
    """Fills a folder beside `target` and renames it there; an old `target` is moved away first and then deleted."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as room:
        new, old = Path(room) / "new", Path(room) / "old"
        new.mkdir()
        fill(new)
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)


def read_json(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def subwords_in(folder: Path) -> Subwords:
    """The vocabulary of the bundle in `folder`; raises BundleError when it is none."""
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} is no bundle: it should hold {MANIFEST}")
    manifest = read_json(folder)
    sizes = manifest["vocabulary"]["source_size"], manifest["vocabulary"]["target_size"]
    return Subwords.read(folder, SpecialIds(**manifest["special_ids"]), sizes)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the model card, then the manifest with the present files' hashes."""
    (folder / CARD).write_text(model_card.write(manifest), encoding="utf-8", newline="\n")
    present = [folder / name for name in (*FILES, *OPTIONAL_FILES) if (folder / name).exists()]
    manifest = manifest | {"files": {f.name: {"sha256": sha256(f), "bytes": f.stat().st_size} for f in present}}
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")


def _manifest(parts: Parts, vocabulary_sha256: str) -> dict[str, Any]:
    entry, sizes, rules = SYSTEMS[parts.kind], asdict(parts.system.sizes), parts.rules
    return {
        "format_version": FORMAT_VERSION,
        "name": parts.name,
        "version": parts.version,
        "architecture": entry.row,
        "architecture_name": entry.title,
        "model": {
            "system": parts.kind,
            "sizes": sizes,
            "weights": parts.weights,
            "parameters": sum(p.numel() for n, p in parts.system.named_parameters() if "written." not in n),
            **({} if parts.system.words is None else {"written_words": len(parts.system.words)}),
        },
        "languages": {"source": parts.languages[0], "target": parts.languages[1]},
        "vocabulary": {
            "source_size": parts.subwords.sizes[0],
            "target_size": parts.subwords.sizes[1],
            "sha256": vocabulary_sha256,
        },
        "special_ids": parts.subwords.manifest(),
        "limits": {
            "max_source_tokens": parts.longest[0],
            "max_target_tokens": parts.longest[1],
            "target_ratio": rules.limit_ratio,
            "target_offset": rules.limit_offset,
        },
        "decoding": {
            "beam_size": parts.beam_size,
            "length_penalty": rules.length_penalty,
            "early_stopping": rules.early_stopping,
            "beam_threshold": rules.beam_threshold,
            "suppressed": list(rules.suppressed),
            "end_at_limit": rules.end_at_limit,
        },
        "attention": {
            "published": parts.system.publishes,
            "layer": sizes.get("published_layer", 0),
            "heads": [] if sizes.get("aligner") else list(sizes.get("published_heads", (0,))),
            "shift": rules.shift,
            "links": parts.choice.manifest(),
        },
        "files": {},
        "training": parts.training,
        "scores": {},
    }


def _commit() -> str:
    """The commit of this code, `unknown` outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def golden_sentences(language: str) -> list[str]:
    """Invented for this purpose; in no training or test set. Raises BundleError for a language that has none."""
    file = resources.files("model_export").joinpath("golden", f"{language}.txt")
    if not file.is_file():
        raise BundleError(f"no golden sentences for {language!r}: give some with --golden FILE")
    return file.read_text(encoding="utf-8").splitlines()


def golden(runtime: BundleRuntime, sentences: Sequence[str]) -> str:
    """The golden file of a bundle at its decoding defaults, each sentence alone."""
    rows = [GOLDEN_HEADER]
    for sentence in sentences:
        [translated] = runtime.translate([sentence])
        rows.append("\t".join(golden_row(translated)))
        if rows[-1].count("\t") != 4 or len(rows[-1].splitlines()) != 1:
            raise BundleError(f"golden.tsv: a sentence or translation holds a TAB or a line end: {translated.text!r}")
    return "\n".join(rows) + "\n"


def golden_row(translated: Translated) -> list[str]:
    attention = translated.hypothesis.attention
    weights = [] if attention is None else attention.tolist()
    matrix = ";".join(",".join(f"{weight:.6f}" for weight in row) for row in weights)
    return [translated.source, translated.text, translated.links, f"{translated.score:.6f}", matrix]


def read_golden(folder: Path) -> list[list[str]]:
    """The columns of each golden sentence; the first line names them."""
    lines = (folder / "golden.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [line.split("\t") for line in lines[1:]]


def faults(folder: Path) -> list[str]:
    """Everything that is wrong with the bundle's files, without running the model; empty when nothing is."""
    try:
        manifest = read_json(folder)
    except (OSError, ValueError) as fault:
        return [f"{MANIFEST}: cannot be read: {fault}"]
    if not isinstance(manifest, dict):
        return [f"{MANIFEST}: should be an object"]
    found = [f"{MANIFEST}: field {field} is unknown" for field in manifest if field not in FIELDS]
    for field, kind in FIELDS.items():
        if not isinstance(manifest.setdefault(field, None), kind):
            found.append(f"{MANIFEST}: field {field} is missing or no {_KINDS[kind]}")
            manifest[field] = kind()
    if manifest["format_version"] != FORMAT_VERSION:
        found.append(f"format_version should be {FORMAT_VERSION}: was {manifest['format_version']}")
    found += [
        f"limits.{key} should be a number above 0" for key in LONGEST if not _positive(manifest["limits"].get(key))
    ]
    ratio, offset = (manifest["limits"].get(key) for key in ("target_ratio", "target_offset"))
    if not (isinstance(ratio, int) and isinstance(offset, int) and min(ratio, offset) >= 0 and ratio + offset > 0):
        found.append("limits.target_ratio and limits.target_offset should be whole numbers, not both 0")
    if not _positive(manifest["decoding"].get("beam_size")):
        found.append("decoding.beam_size should be a number above 0")
    if not isinstance(manifest["decoding"].get("length_penalty"), int | float):
        found.append("decoding.length_penalty should be a number")
    threshold = manifest["decoding"].get("beam_threshold", 0)
    if not isinstance(threshold, int | float) or not 0 <= threshold < float("inf"):
        found.append("decoding.beam_threshold should be a number of 0 (none) or more")
    return (
        found
        + _file_faults(folder, manifest["files"])
        + _vocabulary_faults(folder, manifest)
        + _model_faults(folder, manifest)
    )


def _positive(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _file_faults(folder: Path, files: dict[str, Any]) -> list[str]:
    found = [f"files: {name} is not listed" for name in FILES if name not in files]
    for name, expected in sorted(files.items()):
        path = folder / name
        if Path(name).name != name or not path.is_file():
            found.append(f"{name}: missing")
            continue
        given = expected if isinstance(expected, dict) else {}
        if path.stat().st_size != given.get("bytes"):
            found.append(f"{name}: should have {given.get('bytes')} bytes: has {path.stat().st_size}")
        if sha256(path) != given.get("sha256"):
            found.append(f"{name}: sha256 should be {given.get('sha256')}: was {sha256(path)}")
    return found


def _vocabulary_faults(folder: Path, manifest: dict[str, Any]) -> list[str]:
    given, found, sizes = manifest["vocabulary"], [], {}
    for side, name in (("source_size", SOURCE_FILE), ("target_size", TARGET_FILE)):
        if name == TARGET_FILE and not (folder / name).exists() and name not in manifest["files"]:
            name = SOURCE_FILE
        try:
            pieces = Tokenizer.from_file(str(folder / name)).get_vocab_size()
        except Exception as fault:  # the library raises plain Exception
            found.append(f"{name}: cannot be read: {fault}")
            continue
        sizes[side] = given.get(side)
        if not _positive(given.get(side)) or given[side] > pieces:
            found.append(f"vocabulary.{side} should be at most {name}'s {pieces}: was {given.get(side)}")
    for role in ("pad", "start", "end", "unknown"):
        token, size = manifest["special_ids"].get(role), given.get("target_size")
        if not isinstance(token, int) or not _positive(size) or not 0 <= token < size:
            found.append(f"special_ids.{role} should be an id of the vocabulary: was {token}")
    if (folder / SOURCE_FILE).is_file() and given.get("sha256") != sha256(folder / SOURCE_FILE):
        found.append(f"vocabulary.sha256 should be the sha256 of {SOURCE_FILE}")
    return list(dict.fromkeys(found))


def _model_faults(folder: Path, manifest: dict[str, Any]) -> list[str]:
    try:
        model = onnx.load(folder / "model.onnx")
    except Exception as fault:  # protobuf's errors share no public base with OSError
        return [f"model.onnx: cannot be read: {fault}"]
    sizes = manifest["vocabulary"].get("source_size", ""), manifest["vocabulary"].get("target_size", "")
    expected = metadata(manifest["architecture"], manifest["vocabulary"].get("sha256", ""), sizes)
    actual = {p.key: p.value for p in model.metadata_props}
    found = [
        f"model.onnx: metadata {key} should be {value}: was {actual.get(key)}"
        for key, value in expected.items()
        if actual.get(key) != value
    ]
    outputs = {output.name for output in model.graph.output}
    published = manifest["attention"].get("published")
    if published is not ("attention" in outputs):
        has = "has" if "attention" in outputs else "has no"
        found.append(f"attention.published should fit the graph, which {has} attention output: was {published}")
    return found
