"""The decoder's attention in 8 bits, as `EightBit` computes it: PyTorch's side and the operators of the graph.

A step of the decoder reads every key and value of its sentences again, and of four bytes each they are more than a
core's cache holds. Of one byte they are a quarter, and whole numbers have exact sums, which do not depend on how many
queries are asked at once.

    energies  sum_c q_c k_c: one of the two in 8 bits, the other in 7, as `eight_bit` has activations and weights
    shares    exp(e_j - max e) in steps of 1/255: the nearest get the finest steps, however many there are
    mixed     sum_j share_j v_j / sum_j share_j, values in 7 bits

The published weights are the softmax of the same energies, in float32.

Letters as in `transformer.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model_export.eight_bit import LEVELS, WEIGHT_LEVELS, ZERO
from model_export.system import Beams
from model_export.traced import operator
from model_export.transformer import Attention, Memory, sharp_softmax

SHARES = 255  # of the largest share
COLUMNS = 16  # what a product's right side has a multiple of, if it can: ONNX Runtime copies the rest byte by byte


class Bounds(NamedTuple):
    """The largest queries (before they are scaled), keys and values."""

    query: float
    key: float
    value: float


def rounded(x: Tensor, step: float, zero: int, kind: torch.dtype) -> Tensor:
    """x / step + zero as whole numbers of `kind` (uint8 or int8); what is beyond them is cut off.

    What has 7 bits and is beyond its bound takes the eighth: where that saturates, see `eight_bit`, is a matter of the
    processor, not of the batch.
    """
    at = torch.tensor(step, dtype=torch.float32)
    if torch.onnx.is_in_onnx_export():
        given = (x, at, torch.tensor(zero, dtype=kind))
        return operator("QuantizeLinear", given, kind, x.shape)
    range_ = torch.iinfo(kind)
    return ((x / at).round() + zero).clamp(range_.min, range_.max).to(kind)


def sums(a: Tensor, b: Tensor, zero: int) -> Tensor:
    """(a - zero) b of uint8 [..., M, K] and int8 [..., K, N], whole numbers.

    With a zero of 0 and M = 1 ONNX Runtime has a kernel that reads b where it stands.
    """
    if torch.onnx.is_in_onnx_export():
        given = (a, b, torch.tensor(zero, dtype=torch.uint8)) if zero else (a, b)
        return operator("MatMulInteger", given, torch.int32, (*a.shape[:-1], b.shape[-1]))
    return (a.float() - zero) @ b.float()


def stepped(whole: Tensor, step: float) -> Tensor:
    """`sums` times `step` in float32.

    Nothing that moves numbers may come next: ONNX Runtime would let the two change places, with a rounding in between.
    """
    scale = torch.tensor(step, dtype=torch.float32)
    if torch.onnx.is_in_onnx_export():
        return operator("DequantizeLinear", (whole, scale), torch.float32, whole.shape)
    return whole * scale


def merged(x: Tensor, kept: int, *sizes: int) -> Tensor:
    """`x` with all but its `kept` first dimensions in other `sizes`, one of them -1: no operator works out a shape."""
    shape = x.reshape(*x.shape[:kept], *sizes).shape
    if torch.onnx.is_in_onnx_export():
        return operator("Reshape", (x, torch.tensor([0] * kept + list(sizes))), x.dtype, shape)
    return x.reshape(shape)


class IntegerAttention(Attention):
    """`plain` in 8 bits; it shares its layers."""

    exact = True

    def __init__(self, plain: Attention, bounds: Bounds) -> None:
        torch.nn.Module.__init__(self)  # not its parent's, which makes layers
        self.heads, self.scale = plain.heads, plain.scale
        self.query, self.key, self.value, self.output = plain.query, plain.key, plain.value, plain.output
        self.bounds = bounds

    def queries(self, x: Tensor, sentences: int, beams: Beams | None) -> Tensor:
        asked = self.rounded_query(x)
        return self.split(asked if beams is None else beams.spread(asked), sentences)

    def memory(self, x: Tensor, sentences: int, hidden: Tensor) -> Memory:
        return Memory(self.split(self.rounded_key(x), sentences), self.split(self.rounded_value(x), sentences), hidden)

    def mix(self, queries: Tensor, keys: Tensor, values: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor]:
        energies = self.energies(queries, keys, added)  # [..., H, T, S]
        return self.mixed(energies, values), sharp_softmax(energies)

    def mixed(self, energies: Tensor, values: Tensor) -> Tensor:
        """[..., H, T, C] of energies [..., H, T, S] and values [..., H, S, C]."""
        shares = torch.exp(energies - energies.amax(dim=-1, keepdim=True))
        shares = rounded(shares, 1 / SHARES, 0, torch.uint8)  # [..., H, T, S]
        total = shares.float().sum(dim=-1, keepdim=True)  # [..., H, T, 1]
        return stepped(sums(shares, values, 0), self.bounds.value / WEIGHT_LEVELS) / total

    def rounded_value(self, x: Tensor) -> Tensor:
        return rounded(self.value(x), self.bounds.value / WEIGHT_LEVELS, 0, torch.int8)

    def rounded_query(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def rounded_key(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def energies(self, queries: Tensor, keys: Tensor, added: Tensor | None) -> Tensor:
        """Scaled, [..., H, T, S]; `added` as `memory` has it."""
        raise NotImplementedError

    @property
    def energy_step(self) -> float:
        step: float = self.bounds.query * self.bounds.key * self.scale / (LEVELS * WEIGHT_LEVELS)
        return step


class IntegerSelfAttention(IntegerAttention):
    """Keys are the side of 8 bits; those of a step stand word by word, [R, t, H, C].

    A step's query is one column, for which ONNX Runtime does as much as for a full COLUMNS of them. So each beam has
    one product in place of H, the keys of all its heads with the queries of all; of each word's H x H sums the diagonal
    is what was asked for.
    """

    def nothing(self, like: Tensor, sentences: int) -> tuple[Tensor, Tensor]:
        keys, values = super().nothing(like, sentences)  # [B, H, 0, C]
        return keys.transpose(1, 2).to(torch.uint8), values.to(torch.int8)

    def look_back(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width = x.shape[1] // self.heads
        query = self.rounded_query(x).reshape(-1, self.heads, width)  # [R, H, C]
        key = self.rounded_key(x).reshape(-1, 1, self.heads, width)
        value = self.rounded_value(x).reshape(-1, self.heads, 1, width)
        keys = torch.cat([keys, key], dim=1)  # [R, t + 1, H, C]
        values = torch.cat([values, value], dim=2)  # [R, H, t + 1, C]
        energies = self.own_energies(query, keys)  # [R, H, 1, t + 1]
        mixed = self.mixed(energies, values)  # [R, H, 1, C]
        return self.output(mixed.flatten(1)), keys, values

    def rounded_query(self, x: Tensor) -> Tensor:
        return rounded(self.query(x), self.bounds.query / WEIGHT_LEVELS, 0, torch.int8)

    def rounded_key(self, x: Tensor) -> Tensor:
        return rounded(self.key(x), self.bounds.key / LEVELS, ZERO, torch.uint8)

    def energies(self, queries: Tensor, keys: Tensor, added: Tensor | None) -> Tensor:
        found = sums(keys, queries.transpose(-2, -1), ZERO).transpose(-2, -1)  # [..., H, T, S]
        energies = stepped(found, self.energy_step)
        return energies if added is None else energies + added

    def own_energies(self, query: Tensor, keys: Tensor) -> Tensor:
        """Scaled, [R, H, 1, t], of a query [R, H, C] and keys [R, t, H, C]."""
        heads, width = keys.shape[2:]
        every = sums(merged(keys, 1, -1, width), query.transpose(1, 2), ZERO)  # [R, t * H, H]
        own = merged(every, 1, 1, -1, heads * heads)[..., :: heads + 1]  # [R, 1, t, H]
        return stepped(own.permute(0, 3, 1, 2), self.energy_step)


class IntegerCrossAttention(IntegerAttention):
    """Keys are the side of 7 bits and stand across, [..., H, C, S], as a product wants its right side.

    The source is filled up to a multiple of COLUMNS words, with some that are hidden. Queries are multiplied with their
    zero point in them; what it adds to an energy depends on the key alone, and is taken away by `Memory.added`.
    """

    def memory(self, x: Tensor, sentences: int, hidden: Tensor) -> Memory:
        keys, values, _ = super().memory(x, sentences, hidden)
        more = -keys.shape[-2] % COLUMNS
        keys = F.pad(keys.transpose(-2, -1), (0, more))  # [B, H, C, S]
        hidden = F.pad(hidden, (0, more), value=float("-inf"))
        zeros = torch.full((1, keys.shape[-2]), ZERO, dtype=torch.uint8)  # queries of 0
        shift = stepped(sums(zeros, keys, 0), self.energy_step)  # [B, H, 1, S]
        return Memory(keys, F.pad(values, (0, 0, 0, more)), hidden - shift)

    def rounded_query(self, x: Tensor) -> Tensor:
        return rounded(self.query(x), self.bounds.query / LEVELS, ZERO, torch.uint8)

    def rounded_key(self, x: Tensor) -> Tensor:
        return rounded(self.key(x), self.bounds.key / WEIGHT_LEVELS, 0, torch.int8)

    def energies(self, queries: Tensor, keys: Tensor, added: Tensor | None) -> Tensor:
        assert added is not None
        return stepped(sums(queries, keys, 0), self.energy_step) + added
