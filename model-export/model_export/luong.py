"""Systems S2 to S5: stacked LSTMs with attention after the cell, global or local, and input feeding.

Source: Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine Translation", EMNLP 2015 (arXiv
1508.04025): section 3.1 (global; scores `dot`, `general`, `concat`), 3.2 (local-m, local-p), 3.3 (input feeding).
Two departures: a vocabulary's weights serve as embedding and output (Press and Wolf 2017), and a local row sums to 1.

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    E embedding   L layers   H state
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_export.attention import KINDS, make_attention
from model_export.recurrent import LSTM
from model_export.recurrent_system import RecurrentSystem
from model_export.scores import SCORES
from model_export.system import Tensors


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions, and which score and kind of attention; `window` is local attention's D."""

    vocabulary: int
    embedding: int = 256
    hidden: int = 512
    layers: int = 2
    attention: int = 256
    window: int = 10
    score: str = "general"
    kind: str = "global"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.score not in ("dot", "general", "concat"):
            raise ValueError(f"sizes.score should be dot, general or concat: was {self.score}")
        if self.kind not in KINDS:
            raise ValueError(f"sizes.kind should be one of {', '.join(KINDS)}: was {self.kind}")
        if self.window < 1:
            raise ValueError(f"sizes.window should be at least 1: was {self.window}")


class Luong(RecurrentSystem):
    """`memory` is annotations [B, S, H] and their keys; `state` the hidden and cell states [B, K, L, H] and h~_t."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes.vocabulary, sizes.embedding, sizes.hidden, sizes.dropout)
        self.sizes = sizes
        H = sizes.hidden
        self.encoder = LSTM(sizes.embedding, H, sizes.layers, dropout=sizes.dropout)
        self.decoder = LSTM(sizes.embedding + H, H, sizes.layers, dropout=sizes.dropout)
        self.attention = make_attention(sizes.kind, SCORES[sizes.score](H, H, sizes.attention), H, sizes.window)
        self.combine = nn.Linear(2 * H, H, bias=False)
        self.initialise()

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        annotations, hidden, cell = self.encoder(self.embed_source(source_ids), mask)  # [B, S, H], [B, L, H] twice
        nothing = torch.zeros_like(hidden[:, -1])  # [B, H], fed in before there is an h~
        return self.attention.memory(self.dropout(annotations)), (hidden, cell, nothing)

    def move(
        self, memory: Tensors, mask: Tensor, state: Tensors, embedded: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        hidden, cell, attentional = state
        fed = torch.cat([embedded, attentional], dim=2)  # [B, K, E + H]
        top, hidden, cell = self.decoder.step(fed, hidden, cell)  # [B, K, H], s_t
        context, weights = self.attention(top, memory, mask, t)  # [B, K, H], [B, K, S]
        attentional = torch.tanh(self.combine(torch.cat([context, top], dim=2)))  # [B, K, H], equation 5
        return attentional, weights, (hidden, cell, attentional)
