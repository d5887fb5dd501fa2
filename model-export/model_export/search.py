"""Beam search, one step at a time in PyTorch: the reference that the exported loop has to equal.

The algorithm is `generate(num_beams=K)` of the transformers library (as of 5.23), so that an imported checkpoint
translates as it does there; none of its code is used. Its rules, the same in the graph:
  * K beams run. Each step takes the 2K best continuations of a sentence. Those that end (the end token, or the last
    step allowed) and are among the first K go to a pool of finished hypotheses; the K best others run on.
  * The pool keeps the K best by summed log-probability / length ** length_penalty, the end token counted.
  * A sentence stops when the pool is full and its worst is no worse than the best beam would be if it ended now; with
    `early_stopping`, or one beam, as soon as the pool is full; and when nothing runs any more.
  * It stops as well when nothing can come among the N best of its pool: log-probabilities are at most 0, so the best
    beam's sum over the largest length penalty is the most it can get. This changes none of the N best; `generate()`
    goes on, for it has no such bound.
  * With a `beam_threshold` a beam that is that much less likely than the best that runs is given up: Freitag and
    Al-Onaizan, "Beam Search Strategies for Neural Machine Translation" (arXiv 1702.01806), section 3, absolute
    threshold pruning, between the beams that are left. `generate()` has none, so an imported checkpoint has none unless
    it is asked for.
  * A suppressed word is never chosen; the probabilities of the others stay as they are.
  * With `end_at_limit` the last step allowed, where it is not forced, has one continuation, the end token at +0.
  * A forced position (`prefix` >= 0) has one continuation, the given token at its own log-probability; at UNWRITTEN
    when the model has no output for it.
  * A sentence may take max(forced positions, min(max_target_length, ratio * source tokens + offset)) steps.
    Nothing depends on the batch's other rows.

The steps have 2K slots a sentence: the running beams, then the pool, the best first. A hypothesis ends in a pool slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from model_export.system import UNWRITTEN, Tensors

DEAD = float("-inf")


@dataclass(frozen=True)
class SearchRules:
    """What a search needs to know besides the model: ids, limits, and the choices a bundle records.

    `shift` 1 publishes, for a token, the attention of the step that has it as input (the last row, the end's, stays
    that of its own step, which is the last there is); 0 that of the step that chose it: `published`.
    """

    start: int
    end: int
    limit_ratio: int = 2
    limit_offset: int = 20
    length_penalty: float = 1.0
    early_stopping: bool = False
    beam_threshold: float = 0.0  # of summed natural logarithms; 0 gives nothing up
    suppressed: tuple[int, ...] = ()
    end_at_limit: bool = False
    shift: int = 0

    def limits(self, mask: Tensor, prefix: Tensor, max_target_length: int) -> Tensor:
        """Steps each sentence may take [B]."""
        by_source = (self.limit_ratio * mask.long().sum(1) + self.limit_offset).clamp(max=max_target_length)
        return torch.maximum(by_source, (prefix >= 0).long().sum(1))


class Stepper(Protocol):
    def log_probs(self, logits: Tensor) -> Tensor: ...
    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]: ...
    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensors]: ...


class Steps(NamedTuple):
    """What every step chose: the graph contract's outputs, with 2K slots, the beams and then the pool.

    Slot k of step t continues slot `parents[t, :, k]` of step t - 1. Only the pool has scores above -inf. Hypothesis n
    of the N best is the one that ends in slot K + n; after its end its attention is any row.
    """

    tokens: Tensor  # [T, B, 2K] int64
    parents: Tensor  # [T, B, 2K] int64
    log_probs: Tensor  # [T, B, 2K] of the chosen token
    attention: Tensor | None  # [T, B, N, S]
    scores: Tensor  # [B, 2K]


@torch.no_grad()
def beam_search(
    model: Stepper,
    source_ids: Tensor,
    mask: Tensor,
    beam_size: int,
    max_target_length: int,
    rules: SearchRules,
    prefix: Tensor | None = None,
    best: int | None = None,
) -> Steps:
    """source_ids, mask [B, S]; prefix [B, P] int64 with -1 where free; `best`: N, the beam size unless given."""
    B, K = source_ids.shape[0], beam_size
    N = K if best is None else min(best, K)
    device = source_ids.device
    prefix = (torch.zeros(B, 0, dtype=torch.long) if prefix is None else prefix).to(device)
    limit = rules.limits(mask, prefix, max_target_length)  # [B]
    early = rules.early_stopping or K == 1
    memory, first = model.encode(source_ids, mask)
    state = tuple(part[:, None].expand(B, K, *part.shape[1:]) for part in first)  # [B, K, ...]
    previous = torch.full((B, K), rules.start, device=device)
    scores = torch.full((B, K), DEAD, device=device)
    scores[:, 0] = 0
    pool = torch.full((B, K), DEAD, device=device)  # by length-penalised score
    pool_scores = pool.clone()  # summed log-probabilities
    going = torch.ones(B, dtype=torch.bool, device=device)
    even = (mask / mask.sum(1, keepdim=True))[:, None]  # [B, 1, S]
    own = torch.arange(K, device=device).expand(B, K)
    tokens: list[Tensor] = []
    parents: list[Tensor] = []
    log_probs: list[Tensor] = []
    all_rows: list[Tensor] = []
    while bool(going.any()):
        t = len(tokens)
        logits, rows, state = model.step(memory, mask, state, previous, torch.tensor(t, device=device))
        every = _allowed(model.log_probs(logits), t, prefix, limit, rules)  # [B, K, V]
        V = every.shape[2]
        totals, flat = (scores[:, :, None] + every).flatten(1).topk(2 * K, dim=1)  # [B, 2K]
        parent, token = flat // V, flat % V
        log_prob = every.flatten(1).gather(1, flat)
        ends = ((token == rules.end) | (t + 1 >= limit)[:, None]) & (totals > DEAD)
        # The beams that run on
        new_scores, running = _top(totals.masked_fill(ends, DEAD), K)  # [B, K]
        if rules.beam_threshold:
            new_scores = new_scores.masked_fill(new_scores < new_scores[:, :1] - rules.beam_threshold, DEAD)
        # The pool
        full = (pool > DEAD).all(1, keepdim=True) if early else torch.zeros_like(going)[:, None]
        length = float(t + 1) ** rules.length_penalty
        ended = torch.where(ends[:, :K] & ~full, totals[:, :K] / length, DEAD)
        new_pool, kept = _top(torch.cat([pool, ended], dim=1), K)  # [B, K] of 2K: the pool, then the first K
        was_there = kept < K
        of_candidate = (kept - K).clamp(min=0)

        def finished(old: Tensor, of: Tensor, kept: Tensor = kept) -> Tensor:
            return torch.cat([old, of[:, :K]], dim=1).gather(1, kept)

        def stays(value: Tensor, otherwise: Tensor, going: Tensor = going) -> Tensor:
            return torch.where(going.view(-1, *[1] * (value.dim() - 1)), value, otherwise)

        pool_token = torch.where(was_there, rules.end, token.gather(1, of_candidate))
        pool_parent = torch.where(was_there, kept + K, parent.gather(1, of_candidate))
        pool_log_prob = torch.where(was_there, 0.0, log_prob.gather(1, of_candidate))
        run_token, run_parent = token.gather(1, running), parent.gather(1, running)
        tokens.append(stays(torch.cat([run_token, pool_token], 1), torch.full_like(token, rules.end)))
        parents.append(stays(torch.cat([run_parent, pool_parent], 1), torch.cat([own, own + K], 1)))
        log_probs.append(stays(torch.cat([log_prob.gather(1, running), pool_log_prob], 1), torch.zeros(B, 2 * K)))
        if rows is not None:
            all_rows.append(stays(rows, even.expand_as(rows)))
        pool_scores = stays(finished(pool_scores, totals), pool_scores)
        pool, scores = stays(new_pool, pool), stays(new_scores, scores)
        state = tuple(part[torch.arange(B, device=device)[:, None], run_parent] for part in state)
        previous = run_token
        full = (pool > DEAD).all(1)
        better = scores[:, 0] / length > pool.min(1).values
        going = going & (scores[:, 0] > DEAD) & ~(full if early else full & ~better)
        if rules.length_penalty >= 0:  # or the score may grow with every word
            going = going & (scores[:, 0] / limit.float() ** rules.length_penalty > pool[:, N - 1])
    return Steps(
        torch.stack(tokens),
        torch.stack(parents),
        torch.stack(log_probs),
        published(torch.stack(all_rows), torch.stack(parents), N, rules.shift) if all_rows else None,
        torch.cat([torch.full_like(pool_scores, DEAD), pool_scores], dim=1),
    )


def _top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row and where they stand; the first wins a tie, as in ONNX."""
    found, where = values.sort(dim=1, descending=True, stable=True)
    return found[:, :count], where[:, :count]


def _allowed(log_probs: Tensor, t: int, prefix: Tensor, limit: Tensor, rules: SearchRules) -> Tensor:
    """[B, K, V] of `log_probs`, -inf where suppressed or not the forced token."""
    V = log_probs.shape[2]
    words = torch.arange(V, device=log_probs.device)
    free = torch.ones(len(log_probs), 1, dtype=torch.bool, device=log_probs.device)
    if t < prefix.shape[1]:
        forced = prefix[:, t, None]  # [B, 1]
        free = forced < 0
        unwritten = (words == forced)[:, None] & (log_probs == DEAD)
        log_probs = log_probs.masked_fill(unwritten, UNWRITTEN)
        log_probs = log_probs.masked_fill((~free & (words != forced))[:, None], DEAD)
    suppressed = torch.isin(words, torch.tensor(rules.suppressed, dtype=torch.long, device=words.device))  # [V]
    log_probs = log_probs.masked_fill((free & suppressed)[:, None], DEAD)
    if not rules.end_at_limit:
        return log_probs
    last = free[:, :, None] & (t + 1 >= limit)[:, None, None]  # [B, 1, 1]
    only_end = torch.where(words == rules.end, 0.0, DEAD)  # [V]
    return torch.where(last, only_end, log_probs)


def paths(parents: Tensor, count: int) -> Tensor:
    """The slots that the hypotheses of the first `count` pool slots went through, [T + 1, B, count]: where they come
    from before the first step, then each step's; `parents` [T, B, 2K]."""
    slot = (parents.shape[2] // 2 + torch.arange(count, device=parents.device)).expand(parents.shape[1], count)
    found = [slot]
    for step in range(len(parents) - 1, -1, -1):
        slot = parents[step].gather(1, slot)
        found.append(slot)
    return torch.stack(found[::-1])


def along(attention: Tensor, parents: Tensor, count: int) -> Tensor:
    """[T, B, count, S] of the `count` best hypotheses, of `attention` [T, B, 2K, S] that every slot has."""
    path = paths(parents, count)[1:]
    return attention.gather(2, path[..., None].expand(*path.shape, attention.shape[3]))


def published(rows: Tensor, parents: Tensor, count: int, shift: int) -> Tensor:
    """Attention [T, B, count, S] along the `count` best hypotheses, of each beam's at each step, `rows` [T, B, K, S].

    Slot k of a step has the token that its parent's row chose; with `shift` 1 a token that runs on, in a slot below K,
    gets the row of the next step, which reads it. A hypothesis that was in the pool already gets any.
    """
    T, B, K, _ = rows.shape
    path = paths(parents, count)
    before, now = path[:-1], path[1:]  # [T, B, count]
    step = torch.arange(T, device=rows.device)[:, None, None].expand_as(now)
    beam = torch.where(before < K, before, 0)
    if shift:
        step, beam = step + (now < K).long(), torch.where(now < K, now, beam)
    return rows[step, torch.arange(B, device=rows.device)[:, None], beam]


class Hypothesis(NamedTuple):
    """One finished translation: ids end with the end token unless the limit cut it off."""

    ids: list[int]  # T
    log_probs: Tensor  # [T]
    attention: Tensor | None  # [T, S]
    score: float  # sum of log_probs


def trace_back(steps: Steps, sentence: int, number: int, limit: int, end: int) -> Hypothesis:
    """Hypothesis `number` of the N best: follows the parents of its slot from the last step to the first."""
    slot = steps.scores.shape[1] // 2 + number
    path = []
    for t in range(len(steps.tokens) - 1, -1, -1):
        path.append((t, slot))
        slot = int(steps.parents[t, sentence, slot])
    path.reverse()
    ids = [int(steps.tokens[t, sentence, k]) for t, k in path][:limit]
    length = ids.index(end) + 1 if end in ids else len(ids)
    log_probs = torch.stack([steps.log_probs[t, sentence, k] for t, k in path[:length]])
    attention = None
    if steps.attention is not None:
        attention = steps.attention[:length, sentence, number]
    return Hypothesis(ids[:length], log_probs, attention, float(log_probs.sum()))


def best(steps: Steps, sentence: int, limit: int, length_penalty: float, end: int) -> Hypothesis:
    """The hypothesis with the highest score / length ** length_penalty; the earlier slot wins a tie."""
    pool = steps.scores[sentence].tensor_split(2)[1]  # K
    there = pool if steps.attention is None else pool[: steps.attention.shape[2]]
    live = [n for n, score in enumerate(there) if score > DEAD]
    found = [trace_back(steps, sentence, n, limit, end) for n in live]
    return max(found, key=lambda h: h.score / len(h.ids) ** length_penalty)
