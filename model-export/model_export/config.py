"""A training configuration: one TOML file, checked when it is read, every fault in one message."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from model_export.systems import SYSTEMS
from model_export.vocabulary import BYTES, SPECIAL

SMALLEST_VOCABULARY = len(SPECIAL) + len(BYTES)


class ConfigError(ValueError):
    """The configuration cannot be used; the message lists every reason."""


@dataclass(frozen=True)
class DataFile:
    """A two-column file below the data folder; each pass takes its next `lines`, from `first` on (all when None)."""

    file: str
    lines: int | None = None
    first: int = 0
    swap: bool = False  # the second column is the source
    name: str = ""
    holds: int = 0  # lines in the whole file and their licence: for the model card
    licence: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """`bpe` or `sentencepiece` (unigram, for MarianMT checkpoints); learned from `lines` of each training file."""

    size: int
    lines: int
    kind: str = "bpe"
    lower_case: bool = False  # bpe only: the model reads and writes lower case, as the literature's small tasks do
    run: str = ""  # the folder of another run, beside this one's, whose vocabulary is taken over


@dataclass(frozen=True)
class Training:
    seed: int
    steps: int
    warm_up: int
    cool_down: float
    learning_rate: float
    batch_tokens: int
    longest: int
    label_smoothing: float
    clip: float
    average: float
    validate_every: int
    validate_lines: int
    optimizer: str = "adam"  # or muon: matrices by Muon at `matrix_rate`, the rest by Adam at `learning_rate`
    matrix_rate: float = 0.02
    both_directions: bool = False  # every pair the other way round as well
    joined: float = 0.0  # share of the pairs that are put one after the other, up to `longest`
    apart: float = 0.0  # share of the pairs with links whose words and marks are split by spaces, half in lower case
    begin: str = ""  # the folder of another run, beside this one's, whose weights it begins with
    guide: float = 0.0  # weight of the loss that teaches the published attention the links of the run's links.npz

    def factor(self, step: int) -> float:
        """What update `step` (0-based) takes of the learning rates: rise, plateau, linear fall."""
        falling = self.steps * self.cool_down
        left = (self.steps - step) / falling if falling else 1.0
        return min(1.0, (step + 1) / max(1, self.warm_up), max(0.05, left))


@dataclass(frozen=True)
class Decoding:
    """The bundle's defaults: hypotheses are compared by log-probability / length ** length_penalty."""

    beam_size: int = 4
    length_penalty: float = 1.0
    early_stopping: bool = False
    beam_threshold: float = 0.0  # as in `search.SearchRules`
    shift: int = 0  # 1 publishes a token's attention from the step that reads it


@dataclass(frozen=True)
class Config:
    name: str
    version: str
    system: str
    source_language: str
    target_language: str
    vocabulary: Vocabulary
    sizes: Any  # the system's own Sizes
    train: tuple[DataFile, ...]
    validate: tuple[DataFile, ...]
    training: Training
    decoding: Decoding = Decoding()
    attribution: tuple[str, ...] = ()
    remark: str = ""  # for the model card: what the training lacked
    file: str = ""  # where it was read from, below the folder of configurations


# What a TOML value of each annotation may be; a number is at least 1 unless _MINIMUM says otherwise.
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int,),
    "float": (float, int),
    "bool": (bool,),
}
_MINIMUM = {"seed": 0, "holds": 0, "warm_up": 0, "first": 0, "shift": 0, "published_layer": 0}
_SHARES = ("joined", "apart")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "vocabulary.kind": ("bpe", "sentencepiece"),
    "training.optimizer": ("adam", "muon"),
    "decoding.shift": (0, 1),
}


def _build(kind: type, table: Mapping[str, Any], where: str, faults: list[str]) -> Any:
    """`kind` made of `table`, None when that cannot be; what is wrong goes to `faults`."""
    known = {f.name: f for f in fields(kind)}
    before = len(faults)
    faults += [f"{where}.{key}: unknown setting" for key in table if key not in known]
    faults += [f"{where}.{f.name}: missing" for f in known.values() if f.default is MISSING and f.name not in table]
    for key, value in table.items():
        annotation = str(known[key].type) if key in known else ""
        accepted = _ACCEPTED.get(annotation)
        if accepted and (not isinstance(value, accepted) or (isinstance(value, bool) and annotation != "bool")):
            faults.append(f"{where}.{key}: should be {annotation.split(' |')[0]}: was {value!r}")
        elif accepted and annotation.startswith("int") and value < _MINIMUM.get(key, 1):
            faults.append(f"{where}.{key}: should be at least {_MINIMUM.get(key, 1)}: was {value}")
        elif annotation == "float" and not math.isfinite(value):
            faults.append(f"{where}.{key}: should be finite: was {value}")
        elif annotation == "float" and value < 0:
            faults.append(f"{where}.{key}: should be at least 0: was {value}")
        elif key in _SHARES and value > 1:
            faults.append(f"{where}.{key}: should be at most 1: was {value}")
        elif value not in _CHOICES.get(f"{where}.{key}", (value,)):
            choices = ", ".join(map(str, _CHOICES[f"{where}.{key}"]))
            faults.append(f"{where}.{key}: should be one of {choices}: was {value!r}")
    if len(faults) > before:
        return None
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        return kind(**frozen)
    except (TypeError, ValueError) as fault:
        faults.append(f"{where}: {fault}")
        return None


def _read_table(path: Path) -> dict[str, Any]:
    """The file's table over that of its `base`, a file beside it; tables are merged one level deep, lists replaced."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise ConfigError(f"{path}: {fault}") from fault
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str) or Path(base).name != base or base == path.name:
        raise ConfigError(f"{path}: base: should be another file's name in the same folder: was {base!r}")
    merged = _read_table(path.parent / base)
    for key, value in table.items():
        below = merged.get(key)
        merged[key] = below | value if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def read_config(path: Path) -> Config:
    """Reads and checks `path`; raises ConfigError with every fault found."""
    table = _read_table(path)
    tables = {"vocabulary": dict, "sizes": dict, "training": dict, "decoding": dict, "train": list, "validate": list}
    faults = [
        f"{key}: should be a table" for key, kind in tables.items() if not isinstance(table.get(key, kind()), kind)
    ]
    if faults:
        raise ConfigError(f"{path}: " + "; ".join(faults))
    size = table.get("vocabulary", {}).get("size", 0)
    if not isinstance(size, int) or not SMALLEST_VOCABULARY < size < 1 << 16:
        faults.append(f"vocabulary.size: should be above {SMALLEST_VOCABULARY} and below 65536: was {size!r}")
    system = SYSTEMS.get(str(table.get("system", "")))
    built: dict[str, Any] = {}
    sizes = {"vocabulary": size, **table.pop("sizes", {})}
    if system is None:
        faults.append(f"system: should be one of {', '.join(SYSTEMS)}: was {table.get('system')!r}")
    else:
        faults += [
            f"sizes.{name}: is what makes {table['system']}, it cannot be set" for name in system.fixed if name in sizes
        ]
        built["sizes"] = _build(system.sizes, {**sizes, **system.fixed}, "sizes", faults)
    if table.get("vocabulary", {}).get("lower_case") and table["vocabulary"].get("kind", "bpe") != "bpe":
        faults.append("vocabulary.lower_case: needs vocabulary.kind = bpe")
    kinds = {"vocabulary": Vocabulary, "training": Training, "decoding": Decoding}
    for key, kind in kinds.items():
        built[key] = _build(kind, table.pop(key, {}), key, faults)
    for key in ("train", "validate"):
        files = table.pop(key, [])
        if not files:
            faults.append(f"{key}: at least one [[{key}]] table is needed")
        built[key] = tuple(_build(DataFile, file, f"{key}[{i}]", faults) for i, file in enumerate(files))
    built["attribution"] = tuple(table.pop("attribution", ()))
    if faults:  # what else is wrong with it
        _build(Config, table | dict.fromkeys(("sizes", *built)), "config", faults)
        raise ConfigError(f"{path}: " + "; ".join(dict.fromkeys(faults)))
    parts = path.resolve().parts
    below = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    config = _build(Config, table | built | {"file": "/".join(below)}, "config", faults)
    if faults:
        raise ConfigError(f"{path}: " + "; ".join(faults))
    assert isinstance(config, Config)
    return config
