"""Systems S6, S7 and S10: a bidirectional GRU reads, a GRU writes; score and kind of attention are settings.

    S6   `location`: where to look follows from the step alone. Luong 2015 (arXiv 1508.04025), section 3.1, equation 8,
         with the word beside the state as PyTorch's translation tutorial (`AttnDecoderRNN`) has it: softmax(W[y; s_t])
    S7   `cosine`: Graves 2014 (arXiv 1410.5401), section 3.3.1; `scaled_dot`: Vaswani 2017 (arXiv 1706.03762), 3.2.1
    S10  `hard`: Xu et al. 2015 (arXiv 1502.03044), section 4.1

All of them look with the current state: s_t = GRU(s_(t-1), [y_(t-1); c_(t-1)]), then c_t, then the word from both. Xu
and the tutorial look with the previous state, as S1 does.

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    E embedding   H encoder state (one direction)   D decoder state
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_export.attention import KINDS, make_attention
from model_export.recurrent import BidirectionalGRU, GRUCell
from model_export.recurrent_system import RecurrentSystem
from model_export.scores import SCORES
from model_export.system import Tensors


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions, and which score and kind of attention.

    `positions` is how many source words `location` knows; from the next on they get no attention.
    """

    vocabulary: int
    embedding: int = 256
    encoder: int = 256
    decoder: int = 512
    attention: int = 256
    positions: int = 128
    window: int = 10
    score: str = "additive"
    kind: str = "global"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(f"sizes.score should be one of {', '.join(SCORES)}: was {self.score}")
        if self.kind not in KINDS:
            raise ValueError(f"sizes.kind should be one of {', '.join(KINDS)}: was {self.kind}")
        if self.score in ("dot", "scaled_dot") and self.decoder != 2 * self.encoder:
            raise ValueError(f"sizes.decoder should be twice sizes.encoder for {self.score}: was {self.decoder}")
        if self.window < 1:
            raise ValueError(f"sizes.window should be at least 1: was {self.window}")


class GRUAttention(RecurrentSystem):
    """`memory` is annotations [B, S, 2H] and their keys; `state` is s_t [B, K, D] and c_t [B, K, 2H]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes.vocabulary, sizes.embedding, sizes.decoder, sizes.dropout)
        self.sizes = sizes
        E, H2, D = sizes.embedding, 2 * sizes.encoder, sizes.decoder
        self.by_word = sizes.score == "location"
        query = D + E if self.by_word else D
        own = sizes.positions if sizes.score == "location" else sizes.attention
        self.encoder = BidirectionalGRU(E, sizes.encoder)
        self.initial = nn.Linear(H2, D)
        self.decoder = GRUCell(E + H2, D)
        self.attention = make_attention(sizes.kind, SCORES[sizes.score](query, H2, own), query, sizes.window)
        self.combine = nn.Linear(H2 + D, D)
        self.initialise()

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        annotations, last = self.encoder(self.embed_source(source_ids), mask)  # [B, S, 2H], [2, B, H]
        start = torch.tanh(self.initial(torch.cat([last[0], last[1]], dim=1)))  # [B, D]
        nothing = torch.zeros_like(annotations[:, 0])  # [B, 2H]
        return self.attention.memory(self.dropout(annotations)), (start, nothing)

    def move(
        self, memory: Tensors, mask: Tensor, state: Tensors, embedded: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        before, context = state
        moved = self.decoder(torch.cat([embedded, context], dim=2), before)  # [B, K, D]
        query = torch.cat([embedded, moved], dim=2) if self.by_word else moved  # [B, K, E + D] or [B, K, D]
        context, weights = self.attention(query, memory, mask, t)  # [B, K, 2H], [B, K, S]
        readout = torch.tanh(self.combine(torch.cat([context, moved], dim=2)))  # [B, K, D]
        return readout, weights, (moved, context)
