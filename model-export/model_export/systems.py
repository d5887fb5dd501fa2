"""The systems that a configuration may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_export import rnnsearch, transformer
from model_export.system import System


@dataclass(frozen=True)
class Entry:
    """A row of the project's table of systems; `settings` are the sizes that make a system this row."""

    row: str
    name: str
    summary: str
    paper: str
    sizes: type
    make: Callable[[Any], System]
    settings: Mapping[str, Any] = field(default_factory=dict)


SYSTEMS: dict[str, Entry] = {
    "rnnsearch": Entry(
        "S1",
        "RNNsearch",
        "a bidirectional GRU reads, a GRU with additive attention writes",
        "Bahdanau, Cho, Bengio 2015",
        rnnsearch.Sizes,
        rnnsearch.RNNsearch,
    ),
    "transformer": Entry(
        "S11",
        "Transformer",
        "layers of multi-head attention read and write",
        "Vaswani et al. 2017",
        transformer.Sizes,
        transformer.Transformer,
    ),
    "marian": Entry(
        "S12",
        "MarianMT",
        "layers of multi-head attention read and write, in MarianMT's layout",
        "Junczys-Dowmunt et al. 2018",
        transformer.Sizes,
        transformer.Transformer,
    ),
}
