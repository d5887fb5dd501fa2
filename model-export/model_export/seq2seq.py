"""System S0: an LSTM reads the sentence into one vector, another writes from it. No attention: the baseline.

Source: Sutskever, Vinyals, Le, "Sequence to Sequence Learning with Neural Networks", NeurIPS 2014 (arXiv 1409.3215),
sections 2, 3.3 (the source is read backwards) and 3.4 (four layers there).

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    E embedding   L layers   H state
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model_export.recurrent import LSTM
from model_export.recurrent_system import RecurrentSystem
from model_export.system import Tensors


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions; with `reverse_source` the encoder reads the last word first."""

    vocabulary: int
    embedding: int = 256
    hidden: int = 512
    layers: int = 2
    reverse_source: bool = True
    dropout: float = 0.1


def reversed_words(ids: Tensor, mask: Tensor) -> Tensor:
    """Each sentence of [B, S] backwards; padding stays behind it."""
    position = torch.arange(ids.shape[1], device=ids.device)  # [S]
    mirrored = mask.sum(1, keepdim=True) - 1 - position  # [B, S], negative on padding
    return ids.gather(1, torch.where(mirrored >= 0, mirrored, position))


class Seq2Seq(RecurrentSystem):
    """`memory` is empty: all that the decoder has is its first state, hidden and cell [B, K, L, H]."""

    publishes = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes.vocabulary, sizes.embedding, sizes.hidden, sizes.dropout)
        self.sizes = sizes
        self.encoder = LSTM(sizes.embedding, sizes.hidden, sizes.layers, dropout=sizes.dropout)
        self.decoder = LSTM(sizes.embedding, sizes.hidden, sizes.layers, dropout=sizes.dropout)
        self.initialise()

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        words = reversed_words(source_ids, mask) if self.sizes.reverse_source else source_ids
        _, hidden, cell = self.encoder(self.embed_source(words), mask)  # [B, L, H] each
        return (), (hidden, cell)

    def step(
        self,
        memory: Tensors,
        mask: Tensor,
        state: Tensors,
        previous: Tensor,
        t: Tensor,
    ) -> tuple[Tensor, None, Tensors]:
        top, hidden, cell = self.decoder.step(self.embed_target(previous), *state)  # [B, K, H], [B, K, L, H] twice
        return self.logits(top), None, (hidden, cell)

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, None]:
        _, (hidden, cell) = self.encode(source_ids, mask)
        return self.logits(self.decoder.follow(self.embed_target(previous), hidden, cell)), None  # [B, T, V]
