"""Weights rounded to 8 bits so that products come out right, not each weight alone.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR 2023 (arXiv
2210.17323), section 3 and algorithm 1, with the columns of the largest inputs first. What rounding a column adds to the
outputs is taken off again by the columns that are still to be rounded, as far as inputs have them in common. The graph
is no other and no slower. Some rows of input are enough: what they don't tell is held by the damping.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_export.eight_bit import WEIGHT_LEVELS, steps_of

DAMPING = 0.1  # of the inputs' mean square, added to each; little, for many rows, and much, for few, do as well
BLOCK = 128  # columns after which the rest is brought up to date


def rounded(weights: NDArray[np.float32], inputs: Tensor) -> NDArray[np.float32]:
    """Weights [N, K] as `eight_bit.rounded` has them, for products with inputs like [M, K].

    What is rounded already stays as it is. The largest weight of a row is rounded to the nearest, for it says the step.
    """
    steps = torch.from_numpy(steps_of(weights)).double()[:, None]  # [N, 1]
    levels = torch.from_numpy(weights).double() / steps  # [N, K]
    largest = levels.abs().argmax(dim=1)  # [N]
    seen = inputs.double()
    squares = (seen * seen).sum(dim=0)  # [K]
    order = squares.argsort(descending=True, stable=True)
    levels, seen = levels[:, order], seen[:, order]
    pinned = torch.arange(len(order)) == order.argsort()[largest][:, None]  # [N, K]
    pins = levels.round()
    after = _after(seen)  # [K, K]
    K = len(order)
    for first in range(0, K, BLOCK):
        last = min(first + BLOCK, K)
        errors = torch.zeros(len(levels), last - first, dtype=torch.float64)
        for k in range(first, last):
            wanted = levels[:, k].clone()
            levels[:, k] = torch.where(pinned[:, k], pins[:, k], wanted.round().clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS))
            errors[:, k - first] = (wanted - levels[:, k]) / after[k, k]
            levels[:, k + 1 : last] -= errors[:, k - first, None] * after[k, k + 1 : last]
        levels[:, last:] -= errors @ after[first:last, last:]
    found: NDArray[np.float32] = (levels[:, order.argsort()] * steps).float().numpy()
    return found


def _after(inputs: Tensor) -> Tensor:
    """The upper Cholesky factor [K, K] of the inverse of the inputs' products, from inputs [M, K].

    Row k is what column k's error asks of those after it, times its own element of the diagonal.
    """
    products = inputs.T @ inputs
    diagonal = products.diagonal()
    diagonal += DAMPING * diagonal.mean() + torch.finfo(torch.float64).tiny ** 0.5
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(products))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor
