"""Weights and products of 8 bits, exact and the same in any batch: PyTorch's side, which the graph has to equal.

A matrix [N, K] is stored as whole numbers of -64..64 with a step for each of its N rows; activations are rounded to
0..255 and multiplied as integers (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 2). The step and the zero point of a product's activations come
from a range that was found on sentences at export; what is beyond it is cut off. It does not depend on other rows, and
sums of integers do not depend on their order, so the answer is the same in any batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEPS = 255  # from an activation's least value to its most
LEVELS = 127  # steps from 0 to the largest value of what has its 0 in the middle
WEIGHT_LEVELS = 64  # and to a weight's: two products of unsigned 8-bit numbers with them fit into 16 bits, which
# processors without 8-bit dot products (VNNI) sum up in and would saturate
ZERO = 128  # where an unsigned 8-bit number has its 0, when that is in the middle
FLOAT_BITS = 24  # whole numbers of so many bits are exact in float32, and so are their sums up to there
STEP_BITS = 12  # of a step's mantissa: a level times it is exact, so that rounding twice is rounding once


class Range(NamedTuple):
    """What activations of a product may be, `least` <= 0 <= `most`; 0 itself is a whole number of steps from `least`.

    Behind an activation function most are near 0 and none is far below it: half of the steps would be for nothing.
    """

    least: float
    most: float

    @property
    def step(self) -> np.float32:
        return np.float32((self.most - self.least) / STEPS)

    @property
    def zero(self) -> int:
        """The unsigned 8-bit number that stands for 0."""
        return round(-self.least / float(self.step))


def as_integers(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers [N, K] and steps [N] of weights [N, K], which have to be `rounded` already."""
    steps = steps_of(weights)
    integers = np.rint(weights / steps[:, None])
    if not np.array_equal(integers.astype(np.float32) * steps[:, None], weights):
        raise ValueError("weights should be rounded to 8 bits before they are stored so")
    return integers.astype(np.int8), steps


def is_rounded(weights: NDArray[Any]) -> bool:
    """Whether `as_integers` takes them."""
    if weights.dtype != np.float32 or weights.ndim != 2:
        return False
    steps = steps_of(weights)[:, None]
    return bool(np.array_equal(np.rint(weights / steps) * steps, weights))


def rounded(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest weights [N, K] that 8 bits and a step for each row hold."""
    steps = steps_of(weights)[:, None]
    near: NDArray[np.float32] = np.clip(np.rint(weights / steps), -WEIGHT_LEVELS, WEIGHT_LEVELS) * steps
    return near


def steps_of(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N] of weights [N, K]: the largest of a row is WEIGHT_LEVELS steps."""
    top = np.abs(weights).max(axis=1)  # [N]
    mantissa, exponent = np.frexp(np.where(top > 0, top, 1) / np.float32(WEIGHT_LEVELS))
    steps: NDArray[np.float32] = np.ldexp(np.rint(np.ldexp(mantissa, STEP_BITS)), exponent - STEP_BITS)
    return steps


class Matrix(NamedTuple):
    """What `linear` multiplies with: whole numbers, as floats that hold their sums, and steps."""

    numbers: Tensor  # [K, N]
    steps: Tensor  # [N]

    @classmethod
    def of(cls, weights: Tensor) -> Matrix:
        """Of weights [N, K], which have to be `rounded`."""
        numbers, steps = as_integers(weights.detach().numpy())
        exact = numbers.shape[1] * STEPS * WEIGHT_LEVELS <= 1 << FLOAT_BITS
        kind = torch.float32 if exact else torch.float64
        return cls(torch.from_numpy(numbers).to(kind).T, torch.from_numpy(steps))


def linear(x: Tensor, weights: Matrix, bias: Tensor | None, range_: Range) -> Tensor:
    """x [..., K] times a matrix, with x in 8 bits; `range_` is of x."""
    step = torch.tensor(range_.step)  # []
    integers = (x / step).round().clamp(-range_.zero, STEPS - range_.zero)
    sums = (integers.to(weights.numbers.dtype) @ weights.numbers).float()  # whole numbers, exact
    product: Tensor = sums * (weights.steps * step)  # [..., N]
    return product if bias is None else product + bias
