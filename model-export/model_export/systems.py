"""Every system that can be trained here, by the name a configuration gives it: `system = "luong-dot"`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from model_export import gnmt, gru_attention, lstmn, luong, rnnsearch, seq2seq, transformer
from model_export.system import System


@dataclass(frozen=True)
class Entry:
    """One system. `fixed` are the sizes that make it what it is, which a configuration may not change."""

    row: str
    title: str
    sizes: type
    system: type[System]
    description: str
    paper: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> list[str]:
        """Which sizes a configuration may give, besides `vocabulary`."""
        return [f.name for f in fields(self.sizes) if f.name != "vocabulary" and f.name not in self.fixed]

    def make_sizes(self, vocabulary: int, **given: Any) -> Any:
        """An instance of `sizes`; a ValueError names settings that this system does not have."""
        unknown = sorted(set(given) - set(self.settings()))
        if unknown:
            raise ValueError(f"sizes should be among {', '.join(self.settings())}: was {', '.join(unknown)}")
        return self.sizes(vocabulary=vocabulary, **self.fixed, **given)


SUTSKEVER = "Sutskever, Vinyals, Le 2014, arXiv 1409.3215"
BAHDANAU = "Bahdanau, Cho, Bengio 2015, arXiv 1409.0473"
LUONG = "Luong, Pham, Manning 2015, arXiv 1508.04025"
GRAVES = "Graves, Wayne, Danihelka 2014, arXiv 1410.5401"
VASWANI = "Vaswani et al. 2017, arXiv 1706.03762"
WU = "Wu et al. 2016, arXiv 1609.08144"
CHENG = "Cheng, Dong, Lapata 2016, arXiv 1601.06733"
MARIAN = "Junczys-Dowmunt et al. 2018, arXiv 1804.00344"
XU = "Xu et al. 2015, arXiv 1502.03044"


def _luong(row: str, kind: str, score: str, description: str) -> Entry:
    title = f"Luong {kind}" + (f", {score}" if kind == "global" else "")
    return Entry(row, title, luong.Sizes, luong.Luong, description, LUONG, {"score": score, "kind": kind})


def _gru(row: str, title: str, score: str, kind: str, description: str, paper: str) -> Entry:
    fixed = {"score": score, "kind": kind}
    return Entry(row, title, gru_attention.Sizes, gru_attention.GRUAttention, description, paper, fixed)


SYSTEMS: dict[str, Entry] = {
    "seq2seq": Entry(
        "S0", "Seq2Seq", seq2seq.Sizes, seq2seq.Seq2Seq, "LSTM to LSTM through one vector, no attention", SUTSKEVER
    ),
    "rnnsearch": Entry(
        "S1",
        "RNNsearch",
        rnnsearch.Sizes,
        rnnsearch.RNNsearch,
        "bidirectional GRU and GRU, additive attention with the previous state",
        BAHDANAU,
    ),
    "luong-dot": _luong("S2", "global", "dot", "stacked LSTMs, s' h with the current state"),
    "luong-general": _luong("S3", "global", "general", "stacked LSTMs, s' W h with the current state"),
    "luong-concat": _luong("S4", "global", "concat", "stacked LSTMs, v' tanh(W [s; h]) with the current state"),
    "luong-local-m": _luong("S5", "local-m", "general", "stacked LSTMs, a window around word t"),
    "luong-local-p": _luong("S5", "local-p", "general", "stacked LSTMs, a window around a predicted word"),
    "location": _gru("S6", "Location", "location", "global", "GRUs, where to look follows from the step alone", LUONG),
    "cosine": _gru("S7", "Cosine", "cosine", "global", "GRUs, content-based attention by cosine", GRAVES),
    "scaled-dot": _gru("S7", "Scaled dot", "scaled_dot", "global", "GRUs, s' h / sqrt(2H)", VASWANI),
    "gnmt": Entry(
        "S8", "GNMT", gnmt.Sizes, gnmt.GNMT, "deep residual LSTMs, additive attention from the bottom layer", WU
    ),
    "lstmn": Entry(
        "S9", "LSTMN", lstmn.Sizes, lstmn.LSTMN, "LSTMs that look at their own memory tape, deep fusion", CHENG
    ),
    "hard": _gru("S10", "Hard attention", "additive", "hard", "GRUs, one source word at a time", XU),
    "transformer": Entry(
        "S11",
        "Transformer",
        transformer.Sizes,
        transformer.Transformer,
        "self-attention and multi-head attention over the source",
        VASWANI,
    ),
    "marian": Entry(
        "S12",
        "MarianMT",
        transformer.Sizes,
        transformer.Transformer,
        "a Transformer in MarianMT's layout, imported",
        MARIAN,
    ),
}
