"""System S1, `RNNsearch`: a bidirectional GRU reads, a GRU with additive attention writes.

Source: Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", ICLR 2015
(arXiv 1409.0473), sections 3.1 (decoder), 3.2 (encoder) and appendix A. Two departures, both for speed and neither for
the attention: the readout is a tanh layer whose output is tied to the target embedding (Press and Wolf 2017) in place
of maxout, and the reset gate is applied after the recurrent product (PyTorch's and cuDNN's GRU).

Letters in the shape comments:
    B sentences   S source length   T target length   V vocabulary
    E embedding   H encoder state (one direction)   D decoder state   A attention
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions; `vocabulary` is shared by source and target."""

    vocabulary: int
    embedding: int = 256
    encoder: int = 256
    decoder: int = 512
    attention: int = 256
    dropout: float = 0.1


class Memory(NamedTuple):
    """What the decoder looks back at, computed once for each source sentence."""

    annotations: Tensor  # [B, S, 2H], h_j in the paper
    keys: Tensor  # [B, S, A], W_h h_j: does not change from step to step
    mask: Tensor  # [B, S] bool, true on real tokens
    state: Tensor  # [B, D], s_0


class Encoder(nn.Module):
    """Section 3.2: the annotation h_j is the forward state beside the backward state at word j."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.embedding)
        self.gru = nn.GRU(sizes.embedding, sizes.encoder, batch_first=True, bidirectional=True)
        self.initial = nn.Linear(sizes.encoder, sizes.decoder)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        embedded = self.dropout(self.embedding(source_ids))  # [B, S, E]
        lengths = mask.sum(dim=1).cpu()  # [B]
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, last = self.gru(packed)  # last [2, B, H]
        annotations, _ = nn.utils.rnn.pad_packed_sequence(
            states, batch_first=True, total_length=source_ids.shape[1]
        )  # [B, S, 2H]
        start = torch.tanh(self.initial(last[1]))  # [B, D], from the backward state at the first word
        return self.dropout(annotations), start


class AdditiveAttention(nn.Module):
    """Section 3.1 and appendix A.1.2: e_tj = v' tanh(W_s s_(t-1) + W_h h_j)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.key = nn.Linear(2 * sizes.encoder, sizes.attention)
        self.query = nn.Linear(sizes.decoder, sizes.attention, bias=False)
        self.score = nn.Linear(sizes.attention, 1, bias=False)

    def forward(self, state: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        hidden = torch.tanh(keys + self.query(state).unsqueeze(1))  # [B, S, A]
        energies = self.score(hidden).squeeze(2).float()  # [B, S]
        return torch.softmax(energies.masked_fill(~mask, float("-inf")), dim=1)  # [B, S], exactly 0 on padding


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
        self.dropout = nn.Dropout(sizes.dropout)

    def attend_and_move(self, memory: Memory, state: Tensor, word_gates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step up to the new state; `word_gates` [B, 3D] is `from_word` of the previous target word."""
        weights = self.attention(state, memory.keys, memory.mask)  # [B, S]
        context = torch.bmm(weights.to(memory.annotations.dtype).unsqueeze(1), memory.annotations).squeeze(1)  # [B, 2H]
        reset_x, update_x, new_x = (word_gates + self.from_context(context)).chunk(3, dim=1)  # [B, D] each
        reset_s, update_s, new_s = self.from_state(state).chunk(3, dim=1)  # [B, D] each
        update = torch.sigmoid(update_x + update_s)  # [B, D]
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_s) * new_s)  # [B, D]
        return new + update * (state - new), context, weights

    def logits(self, states: Tensor, contexts: Tensor, embedded: Tensor) -> Tensor:
        """Scores [..., V] of the next word from s_t [..., D], c_t [..., 2H] and y_(t-1) [..., E]."""
        read = torch.tanh(self.readout(torch.cat([states, contexts, embedded], dim=-1)))  # [..., E]
        return F.linear(self.dropout(read), self.embedding.weight, self.output_bias)  # [..., V]

    def forward(self, memory: Memory, previous_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing: all steps of the target [B, T] whose words before each step are `previous_ids` [B, T]."""
        embedded = self.dropout(self.embedding(previous_ids))  # [B, T, E]
        word_gates = self.from_word(embedded)  # [B, T, 3D], one product for all steps
        state, states, contexts, rows = memory.state, [], [], []
        for gates in word_gates.unbind(dim=1):
            state, context, weights = self.attend_and_move(memory, state, gates)
            states.append(state)
            contexts.append(context)
            rows.append(weights)
        logits = self.logits(torch.stack(states, 1), torch.stack(contexts, 1), embedded)  # [B, T, V]
        return logits, torch.stack(rows, 1)  # [B, T, S]


class RNNsearch(nn.Module):
    """The whole system. `forward` trains it; `encode` and `step` are what a search uses."""

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

    def encode(self, source_ids: Tensor, mask: Tensor) -> Memory:
        """source_ids [B, S] int64, mask [B, S] bool; every row needs at least one real token."""
        annotations, start = self.encoder(source_ids, mask)
        return Memory(annotations, self.decoder.attention.key(annotations), mask, start)

    def step(self, memory: Memory, state: Tensor, previous_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One search step: log-probabilities [B, V], attention [B, S] and the new state [B, D]."""
        embedded = self.decoder.embedding(previous_ids)  # [B, E]
        state, context, weights = self.decoder.attend_and_move(memory, state, self.decoder.from_word(embedded))
        return torch.log_softmax(self.decoder.logits(state, context, embedded), dim=-1), weights, state

    def forward(self, source_ids: Tensor, mask: Tensor, previous_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, T, V] and attention [B, T, S] with the target known."""
        logits, attention = self.decoder(self.encode(source_ids, mask), previous_ids)
        return logits, attention
