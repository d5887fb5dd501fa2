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
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import onnx
import torch
from tokenizers import Tokenizer

from model_export import model_card, onnx_graph
from model_export.config import Config
from model_export.runtime import BundleRuntime, Translated
from model_export.search import LIMIT_OFFSET, LIMIT_RATIO
from model_export.vocabulary import END, PAD, SPECIAL, START, UNKNOWN

FORMAT_VERSION = 1
MANIFEST, CARD = "bundle.json", "README.md"
FILES = ("model.onnx", "tokenizer.json", "golden.tsv", CARD)
MAX_SOURCE_TOKENS, MAX_TARGET_TOKENS = 200, 256
SPECIAL_IDS = {"pad": PAD, "start": START, "end": END, "unknown": UNKNOWN}
FIELDS: dict[str, type] = {
    **dict.fromkeys(("name", "version", "architecture", "architecture_name"), str),
    **dict.fromkeys(("languages", "vocabulary", "special_ids", "limits", "decoding"), dict),
    **dict.fromkeys(("attention", "files", "training", "scores"), dict),
    "format_version": int,
}
_KINDS = {str: "text", dict: "object", int: "whole number"}
LIMITS = ("max_source_tokens", "max_target_tokens", "target_ratio", "target_offset")
GOLDEN_HEADER = "# source\ttranslation\tword links\tmean token log-probability\tweights [target][source], ends included"


class BundleError(ValueError):
    """The bundle cannot be written or used; the message lists every reason."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def export(config: Config, checkpoint: Path, target: Path, force: bool, verify: Callable[[Path], None]) -> None:
    """Writes the bundle of `checkpoint` (training's folder) to `target`; `verify` raises when it must not appear."""
    if target.exists() and not force:
        raise BundleError(f"{target} exists: give --force to replace it")
    saved = torch.load(best_weights(checkpoint), map_location="cpu", weights_only=True)
    tokenizer_file = checkpoint / "tokenizer.json"
    if not tokenizer_file.is_file():
        raise BundleError(f"{tokenizer_file} is missing: it is written by `model-export train` beside the weights")
    size = Tokenizer.from_file(str(tokenizer_file)).get_vocab_size()

    def fill(folder: Path) -> None:
        shutil.copyfile(tokenizer_file, folder / "tokenizer.json")
        digest = sha256(folder / "tokenizer.json")
        model = onnx_graph.build(saved["model"], onnx_graph.metadata(FORMAT_VERSION, digest, "S1"))
        onnx.save(model, folder / "model.onnx")
        write_manifest(folder, _manifest(config, saved["state"], size, digest))
        (folder / "golden.tsv").write_text(golden(BundleRuntime(folder)), encoding="utf-8", newline="\n")
        write_manifest(folder, read_json(folder))
        verify(folder)

    put_in_place(target, fill)


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


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the model card, then the manifest with the present files' hashes."""
    (folder / CARD).write_text(model_card.write(manifest), encoding="utf-8", newline="\n")
    present = [folder / name for name in FILES if (folder / name).exists()]
    manifest = manifest | {"files": {f.name: {"sha256": sha256(f), "bytes": f.stat().st_size} for f in present}}
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")


def _manifest(config: Config, state: dict[str, Any], size: int, vocabulary_sha256: str) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "version": config.version,
        "architecture": "S1",
        "architecture_name": "RNNsearch",
        "languages": {"source": config.source_language, "target": config.target_language},
        "vocabulary": {"source_size": size, "target_size": size, "sha256": vocabulary_sha256},
        "special_ids": SPECIAL_IDS,
        "limits": {
            "max_source_tokens": MAX_SOURCE_TOKENS,
            "max_target_tokens": MAX_TARGET_TOKENS,
            "target_ratio": LIMIT_RATIO,
            "target_offset": LIMIT_OFFSET,
        },
        "decoding": {"beam_size": config.decoding.beam_size, "length_penalty": config.decoding.length_penalty},
        "attention": {
            "published": True,
            "layer": 0,
            "heads": [0],
            "shift": 0,
            "end_of_sentence": "dropped for links",
            "merge": "sum over source, mean over target",
        },
        "files": {},
        "training": {
            "data": [{"file": f.file, "lines": f.holds, "licence": f.licence} for f in config.train],
            "attribution": list(config.attribution),
            "updates": state["step"],
            "hours": round(state["seconds"] / 3600, 2),
            "target_tokens": state["tokens"],
            "seed": config.training.seed,
            "commit": _commit(),
        },
        "scores": {},
    }


def _commit() -> str:
    """The commit of this code, `unknown` outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def golden_sentences() -> list[str]:
    """Invented for this purpose; in no training or test set."""
    text = resources.files("model_export").joinpath("golden.fr.txt").read_text(encoding="utf-8")
    return text.splitlines()


def golden(runtime: BundleRuntime) -> str:
    """The golden file of a bundle at its decoding defaults, each sentence alone."""
    rows = [GOLDEN_HEADER]
    for sentence in golden_sentences():
        [translated] = runtime.translate([sentence])
        rows.append("\t".join(golden_row(translated)))
        if rows[-1].count("\t") != 4 or len(rows[-1].splitlines()) != 1:
            raise BundleError(f"golden.tsv: a translation holds a TAB or a line end: {translated.text!r}")
    return "\n".join(rows) + "\n"


def golden_row(translated: Translated) -> list[str]:
    weights = translated.hypothesis.attention.tolist()
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
        f"limits.{key} should be a number above 0" for key in LIMITS if not _positive(manifest["limits"].get(key))
    ]
    if not _positive(manifest["decoding"].get("beam_size")):
        found.append("decoding.beam_size should be a number above 0")
    if not isinstance(manifest["decoding"].get("length_penalty"), int | float):
        found.append("decoding.length_penalty should be a number")
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
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as fault:  # the library raises plain Exception
        return [f"tokenizer.json: cannot be read: {fault}"]
    size, given = tokenizer.get_vocab_size(), manifest["vocabulary"]
    found = [
        f"vocabulary.{side} should be tokenizer.json's {size}: was {given.get(side)}"
        for side in ("source_size", "target_size")
        if given.get(side) != size
    ]
    for (role, expected), piece in zip(SPECIAL_IDS.items(), SPECIAL, strict=True):
        if manifest["special_ids"].get(role) != expected:
            found.append(f"special_ids.{role} should be {expected}: was {manifest['special_ids'].get(role)}")
        if tokenizer.token_to_id(piece) != expected:
            found.append(f"tokenizer.json: {piece} should have id {expected}: has {tokenizer.token_to_id(piece)}")
    if (folder / "tokenizer.json").is_file() and manifest["vocabulary"].get("sha256") != sha256(
        folder / "tokenizer.json"
    ):
        found.append("vocabulary.sha256 should be the sha256 of tokenizer.json")
    return found


def _model_faults(folder: Path, manifest: dict[str, Any]) -> list[str]:
    try:
        model = onnx.load(folder / "model.onnx")
    except Exception as fault:  # protobuf's errors share no public base with OSError
        return [f"model.onnx: cannot be read: {fault}"]
    expected = onnx_graph.metadata(FORMAT_VERSION, manifest["vocabulary"].get("sha256", ""), manifest["architecture"])
    actual, found = {p.key: p.value for p in model.metadata_props}, []
    for key, value in expected.items():
        if actual.get(key) != value:
            found.append(f"model.onnx: metadata {key} should be {value}: was {actual.get(key)}")
    for side, name in (("source_size", "encoder_embedding"), ("target_size", "decoder_embedding")):
        shape = onnx_graph.shape_of(model, f"{name}.float16")
        if not shape or shape[0] != manifest["vocabulary"].get(side):
            rows = shape[0] if shape else "none"
            found.append(f"vocabulary.{side} should be {name}'s {rows} rows: was {manifest['vocabulary'].get(side)}")
    return found
