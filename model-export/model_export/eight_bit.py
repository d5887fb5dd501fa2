"""Weights and products of 8 bits, exact and the same in any batch: PyTorch's side, which the graph has to equal.

A matrix [N, K] is stored as whole numbers of -64..64 with a step for each of its N rows; activations are rounded to
-127..127 as they come, each row by its own largest value, and multiplied as integers (Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 2; with the zero point
in the middle, and a scale for each row that is found as it comes). Sums of integers do not depend on their order, so
the answer is the same in any batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model_export.system import System, Tensors

LEVELS = 127  # steps from 0 to an activation's largest value
WEIGHT_LEVELS = 64  # and to a weight's: two products of unsigned 8-bit numbers with them fit into 16 bits, which
# processors without 8-bit dot products (VNNI) sum up in and would saturate
ZERO = 128  # where an unsigned 8-bit number has its 0
SMALLEST = 1e-30  # scale of a row of zeros
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


def linear(x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K] times weights^T [N, K], with x in 8 bits; weights `rounded`."""
    top = x.abs().amax(dim=-1, keepdim=True)
    scale = (top * torch.tensor(1 / LEVELS)).clamp(min=SMALLEST)  # [..., 1]
    integers = (x / scale).round().clamp(-ZERO, LEVELS)
    numbers, steps = as_integers(weights.detach().numpy())
    sums = integers.double() @ torch.from_numpy(numbers).double().T  # whole numbers, exact
    product: Tensor = sums.float() * torch.from_numpy(steps) * scale  # [..., N]
    return product if bias is None else product + bias


class _Products(TorchFunctionMode):
    """While it is on, `linear` stands for PyTorch's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            return linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class EightBit(System):
    """`system` with its matrices rounded to 8 bits and its products as `linear` has them; for inference."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system, self.sizes, self.publishes = system.eval(), system.sizes, system.publishes
        with torch.no_grad():
            for module in system.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    module.weight.copy_(torch.from_numpy(rounded(module.weight.numpy())))

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        with _Products():
            return self.system.encode(source_ids, mask)

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        with _Products():
            return self.system.step(memory, mask, state, previous, t)

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor | None]:
        with _Products():
            return self.system(source_ids, mask, previous)  # type: ignore[no-any-return]
