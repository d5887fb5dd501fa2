"""Attention: energies of a score become weights over the source, and the weights a context, c_t = sum_j a_tj h_j.

Every row of weights is float32, sums to 1 and is exactly 0 on padding, whatever the kind.

Letters in the shape comments:
    B sentences   S source length   K queries (beams or steps)   D query   M annotation
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_export.scores import Score
from model_export.system import Tensors


def masked_softmax(energies: Tensor, allowed: Tensor) -> Tensor:
    """Over the last dimension; exactly 0 where not `allowed`, which has to hold somewhere in every row."""
    return torch.softmax(energies.float().masked_fill(~allowed, float("-inf")), dim=-1)


class Attention(nn.Module):
    """Global attention (Bahdanau 2015, section 3.1; Luong 2015, section 3.1): every source word is looked at."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def memory(self, annotations: Tensor) -> Tensors:
        """What `forward` needs of annotations [B, S, M]: them and their keys, or them alone where both are the same."""
        keys = self.score.keys(annotations)
        return (annotations,) if keys is annotations else (annotations, keys)

    def forward(self, query: Tensor, memory: Tensors, mask: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Context [B, K, M] and weights [B, K, S] of queries [B, K, D], which are all made at step `t`, a scalar."""
        annotations, keys = memory[0], memory[-1]
        weights = self.weights(query, keys, mask, t)  # [B, K, S]
        return weights.to(annotations.dtype) @ annotations, weights

    def weights(self, query: Tensor, keys: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        return masked_softmax(self.score(query, keys), mask[:, None])


class LocalMonotonic(Attention):
    """local-m, Luong 2015, section 3.2: the words at most `window` away from p_t = t.

    In the paper the window runs off the end of a translation that is longer than its source; here it stays at the last
    word, so that there is something to look at.
    """

    def __init__(self, score: Score, window: int) -> None:
        super().__init__(score)
        self.window = window

    def weights(self, query: Tensor, keys: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        centre = torch.minimum(t, mask.sum(1) - 1)  # [B]
        position = torch.arange(keys.shape[1], device=keys.device)  # [S]
        near = (position - centre[:, None]).abs() <= self.window  # [B, S]
        return masked_softmax(self.score(query, keys), (near & mask)[:, None])


class LocalPredictive(Attention):
    """local-p, Luong 2015, section 3.2, equations 9 and 10: p_t = S sigmoid(v' tanh(W_p s_t)), S the source words.

    The softmax over the window is multiplied with a Gaussian around p_t whose sigma is window / 2. The paper leaves it
    at that; here the row is divided by its sum, so that it is one of weights: the softmax of the energies plus the
    Gaussian's logarithm. p_t is at most S and the last word at S - 1, so a window of 1 or more is never empty.
    """

    def __init__(self, score: Score, window: int, query: int) -> None:
        super().__init__(score)
        self.window = window
        self.hidden = nn.Linear(query, query, bias=False)
        self.centre = nn.Linear(query, 1, bias=False)

    def weights(self, query: Tensor, keys: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        share = torch.sigmoid(self.centre(torch.tanh(self.hidden(query))).float())  # [B, K, 1]
        position = torch.arange(keys.shape[1], device=keys.device)  # [S]
        distance = position - mask.sum(1)[:, None, None] * share  # [B, K, S]
        energies = self.score(query, keys).float() - 2 * (distance / self.window) ** 2  # [B, K, S]
        return masked_softmax(energies, (distance.abs() <= self.window) & mask[:, None])


class Hard(Attention):
    """One word at a time: Xu et al. 2015 (arXiv 1502.03044), section 4.1, stochastic "hard" attention.

    Training samples the word; the gradient is that of the weights it was sampled from (straight through: Bengio,
    Leonard, Courville 2013, arXiv 1308.3432) in place of the paper's REINFORCE. Serving takes the heaviest word.
    """

    def weights(self, query: Tensor, keys: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        soft = super().weights(query, keys, mask, t)  # [B, K, S]
        # Divided by exponential noise, soft_j is the largest with probability soft_j
        chosen = (soft / torch.empty_like(soft).exponential_() if self.training else soft).argmax(2)  # [B, K]
        one = (torch.arange(soft.shape[2], device=soft.device) == chosen[:, :, None]).float()  # [B, K, S]
        return one + (soft - soft.detach()) if self.training else one


KINDS = ("global", "local-m", "local-p", "hard")


def make_attention(kind: str, score: Score, query: int, window: int) -> Attention:
    """One of KINDS, for queries of size `query`."""
    if kind == "local-m":
        return LocalMonotonic(score, window)
    if kind == "local-p":
        return LocalPredictive(score, window, query)
    return Hard(score) if kind == "hard" else Attention(score)
