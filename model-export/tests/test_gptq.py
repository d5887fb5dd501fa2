"""Weights rounded with their errors made up for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from model_export import eight_bit, gptq

NUMBERS = st.floats(-1e3, 1e3, width=32).filter(lambda x: x == 0 or abs(x) > 1e-4)


def inputs(rows: int, width: int, shared: float) -> Tensor:
    """What goes into a model's products: channels that have much in common, some of them large."""
    torch.manual_seed(3)
    common = torch.randn(rows, 8) @ torch.randn(8, width)
    own: Tensor = torch.randn(rows, width) + shared * common
    return own * torch.linspace(0.2, 3, width)


def error(weights: np.ndarray, made: np.ndarray, x: Tensor) -> float:
    return float((x @ torch.from_numpy(weights - made).T).square().mean())


@pytest.mark.parametrize("width", [64, gptq.BLOCK, gptq.BLOCK + 44])
def test_products_should_be_nearer_than_of_the_nearest_weights(width: int) -> None:
    seen, others = inputs(2000, width, shared=1.0).chunk(2)
    weights = torch.randn(40, width).numpy()
    made = gptq.rounded(weights, seen)
    assert eight_bit.is_rounded(made)
    assert np.array_equal(eight_bit.steps_of(made), eight_bit.steps_of(weights))
    nearest = eight_bit.rounded(weights)
    assert error(weights, made, seen) < 0.4 * error(weights, nearest, seen)
    assert error(weights, made, others) < 0.4 * error(weights, nearest, others)


def test_few_inputs_should_do_no_harm() -> None:
    seen, others = inputs(2000, 64, shared=1.0).split([20, 1980])
    weights = torch.randn(40, 64).numpy()
    nearest = error(weights, eight_bit.rounded(weights), others)
    assert error(weights, gptq.rounded(weights, seen), others) < nearest


@settings(deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=NUMBERS), st.integers(0, 3))
def test_rounded_weights_should_stay_and_others_become_so(weights: np.ndarray, rows: int) -> None:
    x = torch.linspace(-2, 2, rows * weights.shape[1]).reshape(rows, weights.shape[1])
    made = gptq.rounded(weights, x)
    assert eight_bit.is_rounded(made)
    assert np.array_equal(gptq.rounded(made, x), made)
    nearest = eight_bit.rounded(weights)
    assert np.array_equal(gptq.rounded(nearest, x), nearest)
