"""System S8: deep stacks of LSTMs with residual connections, attention from the bottom decoder layer.

Source: Wu et al., "Google's Neural Machine Translation System", 2016 (arXiv 1609.08144): section 3 (equation 4:
additive attention, asked by the bottom decoder layer's output of the step before; c_t goes to every decoder layer), 3.1
(residual connections from the third layer on) and 3.2 (the encoder's first layer is bidirectional). The paper does not
say how the decoder starts: here layer i from the last state of encoder layer i, the first from its backward half.

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    E embedding   L layers   H state   A attention
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from model_export.attention import Attention
from model_export.recurrent import LSTM
from model_export.recurrent_system import RecurrentSystem
from model_export.scores import Additive
from model_export.system import Tensors

FIRST_RESIDUAL = 2  # the third layer


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions; encoder and decoder have `layers` each, at least 2."""

    vocabulary: int
    embedding: int = 256
    hidden: int = 256
    layers: int = 8
    attention: int = 256
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.layers < 2:
            raise ValueError(f"sizes.layers should be at least 2: was {self.layers}")


class GNMT(RecurrentSystem):
    """`memory` is annotations [B, S, H] and keys [B, S, A]; `state` hidden and cell states [B, K, L, H]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes.vocabulary, sizes.embedding, sizes.hidden, sizes.dropout)
        self.sizes = sizes
        E, H, above = sizes.embedding, sizes.hidden, sizes.layers - 1
        self.bottom = LSTM(E, H, bidirectional=True)
        encoder = nn.ModuleList(LSTM(H if layer else 2 * H, H) for layer in range(above))
        self.attention = Attention(Additive(H, H, sizes.attention))
        decoder = nn.ModuleList(LSTM((H if layer else E) + H, H) for layer in range(sizes.layers))
        self.encoder, self.decoder = cast(Sequence[LSTM], encoder), cast(Sequence[LSTM], decoder)
        self.initialise()

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        x, hidden, cell = self.bottom(self.embed_source(source_ids), mask)  # [B, S, 2H], [B, 2, H] twice
        hiddens, cells = [hidden[:, 1:]], [cell[:, 1:]]
        for number, layer in enumerate(self.encoder, start=1):
            states, hidden, cell = layer(self.dropout(x), mask)  # [B, S, H], [B, 1, H] twice
            x = states + x if number >= FIRST_RESIDUAL else states
            hiddens.append(hidden)
            cells.append(cell)
        return self.attention.memory(self.dropout(x)), (torch.cat(hiddens, dim=1), torch.cat(cells, dim=1))

    def look_and_move(
        self, memory: Tensors, mask: Tensor, hidden: Tensor, cell: Tensor, embedded: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The bottom layer's output and state [B, K, 1, H], from its last, and the context and weights it asked for."""
        context, weights = self.attention(hidden.squeeze(2), memory, mask, t)  # [B, K, H], [B, K, S]
        x, hidden, cell = self.decoder[0].step(torch.cat([embedded, context], dim=2), hidden, cell)
        return x, hidden, cell, context, weights

    def move(
        self, memory: Tensors, mask: Tensor, state: Tensors, embedded: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        hidden, cell = (part.chunk(self.sizes.layers, dim=2) for part in state)  # [B, K, 1, H] for each layer
        x, *moved, context, weights = self.look_and_move(memory, mask, hidden[0], cell[0], embedded, t)
        hiddens, cells = [moved[0]], [moved[1]]
        for number in range(1, self.sizes.layers):
            fed = torch.cat([x, context], dim=2)  # [B, K, 2H]
            states, *moved = self.decoder[number].step(fed, hidden[number], cell[number])
            x = states + x if number >= FIRST_RESIDUAL else states  # [B, K, H]
            hiddens.append(moved[0])
            cells.append(moved[1])
        return x, weights, (torch.cat(hiddens, dim=2), torch.cat(cells, dim=2))

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Only the bottom layer goes word by word: the others depend on its outputs and contexts alone."""
        memory, first = self.encode(source_ids, mask)
        hidden, cell = (part[:, None, :1] for part in first)  # [B, 1, 1, H] each
        steps = torch.arange(previous.shape[1], device=previous.device)
        outputs, contexts, rows = [], [], []
        for embedded, t in zip(self.embed_target(previous).chunk(len(steps), dim=1), steps, strict=True):
            x, hidden, cell, context, weights = self.look_and_move(memory, mask, hidden, cell, embedded, t)
            outputs.append(x)
            contexts.append(context)
            rows.append(weights)
        x, context = torch.cat(outputs, dim=1), torch.cat(contexts, dim=1)  # [B, T, H] each
        for number in range(1, self.sizes.layers):
            own = [part[:, number : number + 1] for part in first]  # [B, 1, H] each
            states = self.decoder[number].follow(torch.cat([self.dropout(x), context], dim=2), *own)
            x = states + x if number >= FIRST_RESIDUAL else states  # [B, T, H]
        return self.logits(x), torch.cat(rows, dim=1)  # [B, T, V], [B, T, S]
