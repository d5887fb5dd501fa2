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
from torch import Tensor

from model_export.eight_bit import LEVELS, WEIGHT_LEVELS, ZERO
from model_export.traced import operator
from model_export.transformer import Attention, hidden, sharp_softmax

SHARES = 255  # of the largest share


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


def product(a: Tensor, b: Tensor, zero: int, step: float) -> Tensor:
    """(a - zero) b step, of uint8 [..., M, K] and int8 [..., K, N], in float32; sums are exact."""
    scale = torch.tensor(step, dtype=torch.float32)
    if torch.onnx.is_in_onnx_export():
        given = (a, b, scale, torch.tensor(1.0), torch.tensor(zero, dtype=torch.uint8))
        return operator("com.microsoft::MatMulIntegerToFloat", given, torch.float32, (*a.shape[:-1], b.shape[-1]))
    sums: Tensor = (a.float() - zero) @ b.float()
    return sums * scale


class IntegerAttention(Attention):
    """`plain` in 8 bits; it shares its layers."""

    exact = True

    def __init__(self, plain: Attention, bounds: Bounds) -> None:
        torch.nn.Module.__init__(self)  # not its parent's, which makes layers
        self.heads, self.scale = plain.heads, plain.scale
        self.query, self.key, self.value, self.output = plain.query, plain.key, plain.value, plain.output
        self.bounds = bounds

    def queries(self, x: Tensor, sentences: int) -> Tensor:
        return self.split(self.rounded_query(x), sentences)

    def memory(self, x: Tensor, sentences: int) -> tuple[Tensor, Tensor]:
        return self.split(self.rounded_key(x), sentences), self.split(self.rounded_value(x), sentences)

    def own(self, x: Tensor, sentences: int) -> tuple[Tensor, Tensor, Tensor]:
        shape = (sentences, -1, self.heads, 1, x.shape[1] // self.heads)
        parts = self.rounded_query(x), self.rounded_key(x), self.rounded_value(x)
        query, key, value = (part.reshape(shape) for part in parts)
        return query, key, value

    def mix(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        energies = self.energies(queries, keys)  # [..., H, T, S]
        if mask is not None:
            energies = hidden(energies, mask)
        shares = torch.exp(energies - energies.amax(dim=-1, keepdim=True))
        shares = rounded(shares, 1 / SHARES, 0, torch.uint8)  # [..., H, T, S]
        total = shares.float().sum(dim=-1, keepdim=True)  # [..., H, T, 1]
        mixed = product(shares, values, 0, self.bounds.value / WEIGHT_LEVELS) / total
        return mixed, sharp_softmax(energies)

    def rounded_value(self, x: Tensor) -> Tensor:
        return rounded(self.value(x), self.bounds.value / WEIGHT_LEVELS, 0, torch.int8)

    def rounded_query(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def rounded_key(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scaled, [..., H, T, S]."""
        raise NotImplementedError

    @property
    def energy_step(self) -> float:
        step: float = self.bounds.query * self.bounds.key * self.scale / (LEVELS * WEIGHT_LEVELS)
        return step


class IntegerSelfAttention(IntegerAttention):
    """Keys [..., H, S, C] are the side of 8 bits, in the order in which they come."""

    def nothing(self, like: Tensor, sentences: int) -> tuple[Tensor, Tensor]:
        keys, values = super().nothing(like, sentences)
        return keys.to(torch.uint8), values.to(torch.int8)

    def rounded_query(self, x: Tensor) -> Tensor:
        return rounded(self.query(x), self.bounds.query / WEIGHT_LEVELS, 0, torch.int8)

    def rounded_key(self, x: Tensor) -> Tensor:
        return rounded(self.key(x), self.bounds.key / LEVELS, ZERO, torch.uint8)

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        found = product(keys, queries.transpose(-2, -1), ZERO, self.energy_step)  # [..., H, S, T]
        return found.transpose(-2, -1)


class IntegerCrossAttention(IntegerAttention):
    """Keys are the side of 7 bits and stand across, [..., H, C, S], as a product wants its right side."""

    def memory(self, x: Tensor, sentences: int) -> tuple[Tensor, Tensor]:
        keys, values = super().memory(x, sentences)
        return keys.transpose(-2, -1).contiguous(), values

    def rounded_query(self, x: Tensor) -> Tensor:
        return rounded(self.query(x), self.bounds.query / LEVELS, ZERO, torch.uint8)

    def rounded_key(self, x: Tensor) -> Tensor:
        return rounded(self.key(x), self.bounds.key / WEIGHT_LEVELS, 0, torch.int8)

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        return product(queries, keys, ZERO, self.energy_step)
