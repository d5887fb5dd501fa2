"""Weights and products of 8 bits, exact and the same in any batch: PyTorch's side, which the graph has to equal.

A matrix [N, K] is stored as whole numbers of -64..64 with a step for each of its N rows; activations are rounded to
-127..127 and multiplied as integers (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 2, with the zero point in the middle). The step of a product's
activations comes from a bound that was found on sentences at export; what is beyond it is cut off. It does not depend
on other rows, and sums of integers do not depend on their order, so the answer is the same in any batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 127  # steps from 0 to an activation's largest value
WEIGHT_LEVELS = 64  # and to a weight's: two products of unsigned 8-bit numbers with them fit into 16 bits, which
# processors without 8-bit dot products (VNNI) sum up in and would saturate
ZERO = 128  # where an unsigned 8-bit number has its 0
FLOAT_BITS = 24  # whole numbers of so many bits are exact in float32, and so are their sums up to there
STEP_BITS = 12  # of a step's mantissa: a level times it is exact, so that rounding twice is rounding once


def as_integers(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers [N, K] and steps [N] of weights [N, K], which have to be `rounded` already."""
    steps = _steps(weights)
    integers = np.rint(weights / steps[:, None])
    if not np.array_equal(integers.astype(np.float32) * steps[:, None], weights):
        raise ValueError("weights should be rounded to 8 bits before they are stored so")
    return integers.astype(np.int8), steps


def is_rounded(weights: NDArray[Any]) -> bool:
    """Whether `as_integers` takes them."""
    if weights.dtype != np.float32 or weights.ndim != 2:
        return False
    steps = _steps(weights)[:, None]
    return bool(np.array_equal(np.rint(weights / steps) * steps, weights))


def rounded(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest weights [N, K] that 8 bits and a step for each row hold."""
    steps = _steps(weights)[:, None]
    near: NDArray[np.float32] = np.clip(np.rint(weights / steps), -WEIGHT_LEVELS, WEIGHT_LEVELS) * steps
    return near


def _steps(weights: NDArray[np.float32]) -> NDArray[np.float32]:
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
        exact = numbers.shape[1] * ZERO * WEIGHT_LEVELS <= 1 << FLOAT_BITS
        kind = torch.float32 if exact else torch.float64
        return cls(torch.from_numpy(numbers).to(kind).T, torch.from_numpy(steps))


def linear(x: Tensor, weights: Matrix, bias: Tensor | None, bound: float) -> Tensor:
    """x [..., K] times a matrix, with x in 8 bits; `bound` is of |x|."""
    scale = torch.tensor(scale_of(bound))  # []
    integers = (x / scale).round().clamp(-ZERO, LEVELS)
    sums = (integers.to(weights.numbers.dtype) @ weights.numbers).float()  # whole numbers, exact
    product: Tensor = sums * (weights.steps * scale)  # [..., N]
    return product if bias is None else product + bias


def scale_of(bound: float) -> np.float32:
    """The step of activations of at most `bound`."""
    return np.float32(bound / LEVELS)
