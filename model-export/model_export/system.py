"""What every architecture is to the rest: something that reads sentences once and then writes one word at a time.

Letters in the shape comments of all architectures:
    B sentences   S source length   T target length   K beams   V vocabulary
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tensors = tuple[Tensor, ...]


class Beams(NamedTuple):
    """Which beams the R rows of a step are: those that are alive, sentence by sentence."""

    place: Tensor  # [R] int64, b * K + k of each row, ascending
    row: Tensor  # [B, K] int64, the row of each beam; of one that has none, another of its sentence

    @classmethod
    def all(cls, like: Tensor) -> Beams:
        """Every beam of `like` [B, K]."""
        place = torch.arange(like.numel(), device=like.device)
        return cls(place, place.reshape(like.shape))

    def spread(self, x: Tensor) -> Tensor:
        """Of rows [R, ...] those of all beams [B * K, ...]."""
        return x.index_select(0, self.row.flatten())

    def pick(self, x: Tensor) -> Tensor:
        """Rows [R, ...] of all beams' [B * K, ...]."""
        return x.index_select(0, self.place)


UNWRITTEN = -20.0  # log-probability of a forced word that a model has no output for: next to nothing, yet finite


def over_words(x: Tensor, embedding: Tensor, bias: Tensor) -> Tensor:
    """Logits [..., V] of x [..., E]: a product with the embedding [V, E]. On rows, so that ONNX adds the bias in it."""
    return F.linear(x.reshape(-1, x.shape[-1]), embedding, bias).reshape(*x.shape[:-1], embedding.shape[0])


class System(nn.Module):
    """An encoder-decoder. `encode` and `step` are what a search uses, and what the graph is made of.

    `publishes` says whether it has attention to publish; one without gives no rows (None) and no alignment.
    """

    publishes = True
    words: Tensor | None = None  # [W], ascending: the words that logits are of, when they are not of all V
    sizes: Any  # the dimensions: a frozen dataclass whose first field is `vocabulary`

    @property
    def asks_later(self) -> bool:
        """Whether `ask` and `answer` make the rows of attention, of all steps at once, because no step needs them."""
        return False

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        """Memory that stays the same from step to step, and the first state; each tensor [B, ...].

        source_ids [B, S] int64; mask [B, S] bool, true on real tokens, of which every row needs at least one.
        """
        raise NotImplementedError

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        """Logits [B, K, V] (or W) of the next word, attention [B, K, S] (None without), and the next state.

        `memory` and `mask` as from `encode`, shared by a sentence's beams; each tensor of `state` is [B, K, ...];
        `previous` [B, K] int64 is the word before (the start token at t = 0); `t` is a scalar int64, steps done.
        Attention rows sum to 1 and are exactly 0 where the mask is false.
        """
        raise NotImplementedError

    def ask(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor, beams: Beams
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        """`step` for some of the beams: `state` and `previous` have R rows in place of [B, K], and so has what is given
        back. When it `asks_later` it goes without the last of `memory` and gives queries [R, A] in place of attention.
        """
        words = beams.spread(previous).reshape(beams.row.shape)
        spread = tuple(beams.spread(part).reshape(*beams.row.shape, *part.shape[1:]) for part in state)  # [B, K, ...]
        logits, rows, moved = self.step(memory, mask, spread, words, t)
        logits, *picked = (beams.pick(part.flatten(0, 1)) for part in (logits, *moved))
        return logits, None if rows is None else beams.pick(rows.flatten(0, 1)), tuple(picked)

    def answer(self, keys: Tensor, mask: Tensor, queries: Tensor) -> Tensor:
        """Rows [B, N, S] of attention to queries [B, N, A] of any steps; `keys` [B, ...] is the last of `memory`."""
        raise NotImplementedError

    def log_probs(self, logits: Tensor) -> Tensor:
        """[..., V] of logits [..., W]; -inf for words that are not among `words`."""
        found = torch.log_softmax(logits.float(), dim=-1)
        if self.words is None:
            return found
        every = found.new_full((*found.shape[:-1], self.sizes.vocabulary), float("-inf"))
        every[..., self.words] = found
        return every

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor | None]:
        """Teacher forcing: logits [B, T, V] and attention [B, T, S] with the words before each step, [B, T], known."""
        memory, state = self.encode(source_ids, mask)
        state = tuple(part.unsqueeze(1) for part in state)
        logits, rows = [], []
        for t, words in enumerate(previous.unbind(dim=1)):
            at = torch.tensor(t, device=previous.device)
            scores, row, state = self.step(memory, mask, state, words.unsqueeze(1), at)
            logits.append(scores)
            if row is not None:
                rows.append(row)
        return torch.cat(logits, dim=1), torch.cat(rows, dim=1) if rows else None
