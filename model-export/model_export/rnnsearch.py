"""System S1, `RNNsearch`: a bidirectional GRU reads, a GRU with additive attention writes.

Source: Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", ICLR 2015
(arXiv 1409.0473), sections 3.1 (decoder), 3.2 (encoder) and appendix A. Two departures, both for speed and neither for
the attention: the readout is a tanh layer whose output is tied to the target embedding (Press and Wolf 2017) in place
of maxout, and the reset gate is applied after the recurrent product (PyTorch's and cuDNN's GRU).

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    E embedding   H encoder state (one direction)   D decoder state   A attention
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_export.recurrent import BidirectionalGRU
from model_export.system import System, Tensors, over_words
from model_export.training_kernels import Dropout


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions; `vocabulary` is shared by source and target."""

    vocabulary: int
    embedding: int = 256
    encoder: int = 256
    decoder: int = 512
    attention: int = 256
    dropout: float = 0.1


class Encoder(nn.Module):
    """Section 3.2: the annotation h_j is the forward state beside the backward state at word j."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        self.gru = BidirectionalGRU(sizes.embedding, sizes.encoder)
        self.initial = nn.Linear(sizes.encoder, sizes.decoder)
        self.dropout = Dropout(sizes.dropout)

    def forward(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        embedded = self.dropout(self.embedding(source_ids))  # [B, S, E]
        annotations, last = self.gru(embedded, mask)  # [B, S, 2H], [2, B, H]
        start = torch.tanh(self.initial(last[1]))  # [B, D], from the backward state at the first word
        return self.dropout(annotations), start


class AdditiveAttention(nn.Module):
    """Section 3.1 and appendix A.1.2: e_tj = v' tanh(W_s s_(t-1) + W_h h_j)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.key = nn.Linear(2 * sizes.encoder, sizes.attention)
        self.query = nn.Linear(sizes.decoder, sizes.attention, bias=False)
        self.score = nn.Linear(sizes.attention, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """query [B, K, A] over keys [B, S, A] and mask [B, S]."""
        hidden = torch.tanh(keys[:, None] + query[:, :, None])  # [B, K, S, A]
        # v as the left factor: ONNX Runtime is 5 to 40 times slower on a product whose right factor has one column.
        energies = F.linear(self.score.weight, hidden.flatten(0, 2)).view(hidden.shape[:3]).float()  # [B, K, S]
        return torch.softmax(energies.masked_fill(~mask[:, None], float("-inf")), dim=2)  # exactly 0 on padding


class Decoder(nn.Module):
    """Section 3.1: s_t = GRU(s_(t-1), [y_(t-1); c_t]), and p(y_t) from s_t, y_(t-1) and c_t."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        self.attention = AdditiveAttention(sizes)
        self.from_word = nn.Linear(sizes.embedding, 3 * sizes.decoder)  # gates in PyTorch's order: reset, update, new
        self.from_context = nn.Linear(2 * sizes.encoder, 3 * sizes.decoder, bias=False)
        self.from_state = nn.Linear(sizes.decoder, 3 * sizes.decoder)
        self.readout = nn.Linear(sizes.decoder + 2 * sizes.encoder + sizes.embedding, sizes.embedding)
        self.output_bias = nn.Parameter(torch.zeros(sizes.vocabulary))
        self.dropout = Dropout(sizes.dropout)

    def attend_and_move(
        self, memory: Tensors, mask: Tensor, state: Tensor, word_gates: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The new state, context and attention from s_(t-1) [B, K, D] and `from_word` of y_(t-1) [B, K, 3D]."""
        annotations, keys = memory
        weights = self.attention(self.attention.query(state), keys, mask)  # [B, K, S]
        context = weights.to(annotations.dtype) @ annotations  # [B, K, 2H]
        reset_x, update_x, new_x = (word_gates + self.from_context(context)).chunk(3, dim=2)  # [B, K, D] each
        reset_s, update_s, new_s = self.from_state(state).chunk(3, dim=2)  # [B, K, D] each
        update = torch.sigmoid(update_x + update_s)  # [B, K, D]
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_s) * new_s)  # [B, K, D]
        return new + update * (state - new), context, weights

    def logits(self, states: Tensor, contexts: Tensor, embedded: Tensor) -> Tensor:
        """Scores [..., V] of the next word from s_t [..., D], c_t [..., 2H] and y_(t-1) [..., E]."""
        read = torch.tanh(self.readout(torch.cat([states, contexts, embedded], dim=-1)))  # [..., E]
        return over_words(self.dropout(read), self.embedding.weight, self.output_bias)  # [..., V]


class RNNsearch(System):
    """The whole system. `memory` is the annotations [B, S, 2H] and W_h h_j [B, S, A]; `state` is s_t [B, K, D]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)
        for name, parameter in self.named_parameters():
            if "embedding" in name:
                nn.init.normal_(parameter, std=sizes.embedding**-0.5)
            elif parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        annotations, start = self.encoder(source_ids, mask)
        return (annotations, self.decoder.attention.key(annotations)), (start,)

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        embedded = self.decoder.embedding(previous)  # [B, K, E]
        if torch.onnx.is_in_onnx_export():  # what each word adds, worked out when the graph is loaded: [V, 3D]
            gates = F.embedding(previous, self.decoder.from_word(self.decoder.embedding.weight))  # [B, K, 3D]
        else:
            gates = self.decoder.from_word(embedded)
        moved, context, weights = self.decoder.attend_and_move(memory, mask, state[0], gates)
        return self.decoder.logits(moved, context, embedded), weights, (moved,)

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        memory, (state,) = self.encode(source_ids, mask)
        embedded = self.decoder.dropout(self.decoder.embedding(previous))  # [B, T, E]
        word_gates = self.decoder.from_word(embedded)  # [B, T, 3D], one product for all steps
        state, states, contexts, rows = state[:, None], [], [], []
        for gates in word_gates.split(1, dim=1):
            state, context, weights = self.decoder.attend_and_move(memory, mask, state, gates)
            states.append(state)
            contexts.append(context)
            rows.append(weights)
        logits = self.decoder.logits(torch.cat(states, 1), torch.cat(contexts, 1), embedded)  # [B, T, V]
        return logits, torch.cat(rows, 1)  # [B, T, S]
