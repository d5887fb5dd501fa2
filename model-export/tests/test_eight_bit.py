"""8-bit weights: rounding, and products in PyTorch and in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from model_export import kernels
from model_export.bundle import BundleError, rounded
from model_export.eight_bit import STEPS, WEIGHT_LEVELS, Matrix, Range, as_integers, is_rounded, linear
from model_export.eight_bit import rounded as rounded_matrix
from model_export.rnnsearch import RNNsearch
from model_export.rnnsearch import Sizes as RecurrentSizes
from model_export.traced import EXAMPLES, OPSET, trace

NUMBERS = st.floats(-1e4, 1e4, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=NUMBERS))
def test_rounding_should_be_near_and_rounding_again_change_nothing(weights: np.ndarray) -> None:
    once = rounded_matrix(weights)
    top = np.abs(weights).max(axis=1, keepdims=True)
    assert (np.abs(once - weights) <= top * 0.52 / WEIGHT_LEVELS).all()
    assert is_rounded(once)
    assert np.array_equal(rounded_matrix(once), once)
    integers, steps = as_integers(once)
    assert np.abs(integers).max() <= WEIGHT_LEVELS
    assert np.array_equal(integers.astype(np.float32) * steps[:, None], once)


def test_weights_that_are_not_rounded_should_not_be_stored_so() -> None:
    with pytest.raises(ValueError, match="rounded to 8 bits before"):
        as_integers(np.array([[1.0, 0.3]], dtype=np.float32))


def test_a_product_should_be_near_the_exact_one() -> None:
    torch.manual_seed(1)
    x, weights, bias = torch.randn(40, 64), torch.randn(30, 64), torch.randn(30)
    weights = torch.from_numpy(rounded_matrix(weights.numpy()))
    exact = nn.functional.linear(x, weights, bias)
    difference = (linear(x, Matrix.of(weights), bias, Range(float(x.min()), float(x.max()))) - exact).abs().max()
    assert 0 < difference < 0.01 * exact.abs().max()


@given(st.floats(0, 1e3), st.floats(0.125, 1e3))
def test_a_range_should_hold_0_exactly_and_its_ends_within_a_step(below: float, most: float) -> None:
    range_ = Range(-below, most)
    assert 0 <= range_.zero <= STEPS
    assert abs(-range_.zero * float(range_.step) - range_.least) <= float(range_.step) * 0.51
    found = linear(torch.tensor([[0.0, most, -below]]).T, Matrix.of(torch.ones(1, 1)), None, range_)
    assert float(found[0]) == 0
    assert float((found[1:, 0] - torch.tensor([most, -below])).abs().max()) <= float(range_.step) * 0.51


def test_what_is_never_negative_should_have_all_steps_above_0() -> None:
    torch.manual_seed(1)
    x, weights = torch.rand(40, 64), torch.from_numpy(rounded_matrix(torch.randn(30, 64).numpy()))
    exact = nn.functional.linear(x, weights)

    def error(least: float) -> float:
        return float((linear(x, Matrix.of(weights), None, Range(least, 1.0)) - exact).abs().mean())

    assert error(0.0) < 0.6 * error(-1.0)


@pytest.mark.parametrize("K", [1028, 1029, 2049])
def test_sums_should_be_exact_however_long(K: int) -> None:
    weights = torch.full((3, K), 64.0)
    weights[1, ::2] = -63.0
    x = torch.full((2, K), 255.0)
    x[1, 0] = 254.0
    expected = (x.double() @ weights.double().T).float()
    assert linear(x, Matrix.of(weights), None, Range(0.0, 255.0)).equal(expected)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(16, 24), nn.Linear(24, 16), nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x + self.second(torch.relu(self.first(x))))
        return normed


RANGES = {"first.weight": Range(-2.0, 1.5), "second.weight": Range(0.0, 1.5)}


def layer(
    eight_bits: bool, ranges: Mapping[str, Range] = MappingProxyType(RANGES)
) -> tuple[_Layer, onnxruntime.InferenceSession]:
    torch.manual_seed(2)
    made = _Layer().eval()
    nn.init.normal_(made.second.bias)
    nn.init.normal_(made.norm.bias)
    for part in (made.first, made.second):
        part.weight.data = torch.from_numpy(rounded_matrix(part.weight.detach().numpy()))
    fragment = kernels.norms_fused(trace(made, *((torch.randn(sizes.B, 16),) for sizes in EXAMPLES)))
    fragment = kernels.eight_bits(fragment, ranges) if eight_bits else fragment
    graph = helper.make_graph(
        fragment.nodes,
        "layer",
        [helper.make_tensor_value_info(fragment.inputs[0], TensorProto.FLOAT, ["B", 16])],
        [helper.make_tensor_value_info(fragment.outputs[0], TensorProto.FLOAT, ["B", 16])],
        [numpy_helper.from_array(numpy_helper.to_array(c), name) for name, c in fragment.constants.items()],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(kernels.MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    operators = [node.op_type for node in graph.node]
    assert operators.count("SkipLayerNormalization") == 1
    assert "LayerNormalization" not in operators
    assert operators.count("MatMulIntegerToFloat") == (2 if eight_bits else 0)
    assert operators.count("Gemm") == (0 if eight_bits else 2)
    return made, onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, x: Tensor) -> Tensor:
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def test_a_fused_norm_should_be_the_exporters() -> None:
    made, session = layer(eight_bits=False)
    x = torch.randn(50, 16)
    with torch.no_grad():
        torch.testing.assert_close(run(session, x), made(x), atol=2e-6, rtol=1e-5)


def in_eight_bits(made: _Layer, x: Tensor) -> Tensor:
    inner = torch.relu(linear(x, Matrix.of(made.first.weight), made.first.bias, RANGES["first.weight"]))
    normed: Tensor = made.norm(
        x + linear(inner, Matrix.of(made.second.weight), made.second.bias, RANGES["second.weight"])
    )
    return normed


def test_the_graph_should_round_and_cut_off_as_pytorch_does() -> None:
    made, session = layer(eight_bits=True)
    x = torch.randn(50, 16)
    x[7] = 0
    assert float(x.abs().max()) > 2.5
    with torch.no_grad():
        torch.testing.assert_close(run(session, x), in_eight_bits(made, x), atol=2e-6, rtol=1e-5)
        cut = linear(x.clamp(-2.1, 1.6), Matrix.of(made.first.weight), None, RANGES["first.weight"])
        torch.testing.assert_close(linear(x, Matrix.of(made.first.weight), None, RANGES["first.weight"]), cut)


def test_a_product_that_was_not_calibrated_should_be_refused() -> None:
    with pytest.raises(ValueError, match=r"second\.weight: no sentence of the calibration"):
        layer(eight_bits=True, ranges={"first.weight": Range(-2.0, 2.0)})


def test_a_row_should_not_depend_on_its_batch() -> None:
    _, session = layer(eight_bits=True)
    x = torch.randn(50, 16) * torch.logspace(-3, 3, 50)[:, None]
    together = run(session, x)
    for row in range(50):
        assert run(session, x[row : row + 1]).equal(together[row : row + 1])


def test_extreme_rows_should_not_saturate() -> None:
    """All-positive activations and weights give the largest sums there are."""
    made, session = layer(eight_bits=True)
    x = torch.full((1, 16), 5.0)
    with torch.no_grad():
        torch.testing.assert_close(run(session, x), in_eight_bits(made, x), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("weights", ["int8", "half"])
def test_a_system_that_cannot_be_computed_so_should_be_refused(weights: str) -> None:
    with pytest.raises(BundleError, match=f"{weights} weights are for Transformers"):
        rounded(RNNsearch(RecurrentSizes(50)), weights)
