"""Beam search, one step at a time in PyTorch: the reference that the exported loop has to equal.

The rules, the same in the graph:
  * a hypothesis's score is the sum of its log-probabilities; beams start as one live and K-1 dead (-inf) hypotheses;
  * a finished hypothesis has one continuation, the end token at +0, so its score stands still;
  * a forced position (`prefix` >= 0) has one continuation, the given token at its own log-probability;
  * a sentence stops when all its live beams are finished or at its limit, which depends on its own length alone:
    max(forced positions, min(max_target_length, 2 * source tokens + 20)). Nothing depends on the batch's other rows.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from model_export.rnnsearch import Memory
from model_export.vocabulary import END, START

LIMIT_RATIO, LIMIT_OFFSET = 2, 20


class Stepper(Protocol):
    def encode(self, source_ids: Tensor, mask: Tensor) -> Memory: ...
    def step(self, memory: Memory, state: Tensor, previous_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class Steps(NamedTuple):
    """What every step chose: the graph contract's outputs. Slot k of step t continues slot `parents[t, :, k]`."""

    tokens: Tensor  # [T, B, K] int64
    parents: Tensor  # [T, B, K] int64
    log_probs: Tensor  # [T, B, K] of the chosen token
    attention: Tensor  # [T, B, K, S], the row that slot's *parent* attended with
    scores: Tensor  # [B, K], best first


def limits(mask: Tensor, prefix: Tensor, max_target_length: int) -> Tensor:
    """Steps each sentence may take [B]."""
    by_source = (LIMIT_RATIO * mask.long().sum(1) + LIMIT_OFFSET).clamp(max=max_target_length)
    return torch.maximum(by_source, (prefix >= 0).long().sum(1))


@torch.no_grad()
def beam_search(
    model: Stepper,
    source_ids: Tensor,
    mask: Tensor,
    beam_size: int,
    max_target_length: int,
    prefix: Tensor | None = None,
) -> Steps:
    """source_ids, mask [B, S]; prefix [B, P] int64 with -1 where free."""
    B, K, S = source_ids.shape[0], beam_size, source_ids.shape[1]
    prefix = torch.zeros(B, 0, dtype=torch.long) if prefix is None else prefix
    prefix = prefix.to(source_ids.device)
    limit = limits(mask, prefix, max_target_length)  # [B]
    memory = model.encode(source_ids, mask)
    memory = Memory(*(part.repeat_interleave(K, dim=0) for part in memory))  # rows b * K + k
    state = memory.state  # [B*K, D]
    previous = torch.full((B * K,), START, device=source_ids.device)
    scores = torch.full((B, K), float("-inf"), device=source_ids.device)
    scores[:, 0] = 0
    finished = torch.zeros(B, K, dtype=torch.bool, device=source_ids.device)
    steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    while not (finished | scores.isneginf()).all():
        log_probs, weights, state = model.step(memory, state, previous)
        log_probs = log_probs.float().view(B, K, -1)  # [B, K, V]
        V = log_probs.shape[2]
        if len(steps) < prefix.shape[1]:
            forced = prefix[:, len(steps)]  # [B]
            others = torch.arange(V, device=forced.device) != forced[:, None]  # [B, V]
            log_probs = log_probs.masked_fill(((forced >= 0)[:, None] & others)[:, None], float("-inf"))
        only_end = torch.full((V,), float("-inf"), device=log_probs.device)
        only_end[END] = 0
        log_probs = torch.where(finished[:, :, None], only_end, log_probs)
        scores, chosen = (scores[:, :, None] + log_probs).view(B, K * V).topk(K, dim=1)  # [B, K]
        parents, tokens = chosen // V, chosen % V
        rows = (parents + torch.arange(B, device=parents.device)[:, None] * K).flatten()  # [B*K]
        steps.append((tokens, parents, log_probs.view(B, K * V).gather(1, chosen), weights[rows].view(B, K, S)))
        state, previous = state[rows], tokens.flatten()
        finished = finished.flatten()[rows].view(B, K) | (tokens == END) | (len(steps) >= limit)[:, None]
    tokens, parents, chosen_log_probs, attention = (torch.stack(part) for part in zip(*steps, strict=True))
    return Steps(tokens, parents, chosen_log_probs, attention, scores)


class Hypothesis(NamedTuple):
    """One finished translation: ids end with END unless the limit cut it off."""

    ids: list[int]  # T
    log_probs: Tensor  # [T]
    attention: Tensor  # [T, S]
    score: float  # sum of log_probs


def trace_back(steps: Steps, sentence: int, slot: int, limit: int) -> Hypothesis:
    """Follows the parents of `slot` from the last step to the first."""
    path = []
    for t in range(len(steps.tokens) - 1, -1, -1):
        path.append((t, slot))
        slot = int(steps.parents[t, sentence, slot])
    path.reverse()
    ids = [int(steps.tokens[t, sentence, k]) for t, k in path][:limit]
    length = ids.index(END) + 1 if END in ids else len(ids)
    log_probs = torch.stack([steps.log_probs[t, sentence, k] for t, k in path[:length]])
    attention = torch.stack([steps.attention[t, sentence, k] for t, k in path[:length]])
    return Hypothesis(ids[:length], log_probs, attention, float(log_probs.sum()))


def best(steps: Steps, sentence: int, limit: int, length_penalty: float) -> Hypothesis:
    """The hypothesis with the highest score / length ** length_penalty; the earlier slot wins a tie."""
    live = [k for k in range(steps.scores.shape[1]) if steps.scores[sentence, k] > float("-inf")]
    found = [trace_back(steps, sentence, k, limit) for k in live]
    return max(found, key=lambda h: h.score / len(h.ids) ** length_penalty)
