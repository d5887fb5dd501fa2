"""Graphs that compute in float16."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from model_export import kernels
from model_export.traced import EXAMPLES, OPSET, Fragment, trace

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


class _Counting(nn.Module):
    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return x * mask.sum(dim=1, keepdim=True), mask.sum(dim=1) + memory.new_zeros(1).long()


class _Attention(nn.Module):
    """What of a decoder layer matters here: logits, the weights they come from, and a state."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.norm, self.output = nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 29)
        self.register_buffer("lowest", torch.full((1,), -1e9))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, 16], memory [B, S, 16], mask [B, S]."""
        energies = (memory @ self.query(x).unsqueeze(2)).squeeze(2)  # [B, S]
        weights = torch.where(mask, energies, self.lowest).softmax(dim=1)
        state = self.norm(x + (weights.unsqueeze(1) @ memory).squeeze(1))  # [B, 16]
        return self.output(state), weights, state


def fragment_of(module: nn.Module) -> Fragment:
    examples = (
        (torch.randn(of.B, 16), torch.randn(of.B, of.S, 16), torch.ones(of.B, of.S, dtype=torch.bool))
        for of in EXAMPLES
    )
    return kernels.norms_fused(trace(module, *examples))


def session_of(fragment: Fragment) -> onnxruntime.InferenceSession:
    shapes = {0: ["B", 16], 1: ["B", "S", 16], 2: ["B", "S"]}
    graph = helper.make_graph(
        fragment.nodes,
        "attention",
        [
            helper.make_tensor_value_info(name, fragment.types[name], shapes[i])
            for i, name in enumerate(fragment.inputs)
        ],
        [helper.make_tensor_value_info(name, fragment.types.get(name, FLOAT), None) for name in fragment.outputs],
        [numpy_helper.from_array(numpy_helper.to_array(c), name) for name, c in fragment.constants.items()],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(kernels.MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_halves_should_compute_in_float16_and_keep_what_follows_the_last_products_exact() -> None:
    torch.manual_seed(3)
    module = _Attention().eval()
    fragment = fragment_of(module)
    half = kernels.halves(fragment, fragment.outputs[:2])
    products = [node for node in half.nodes if node.op_type in ("Gemm", "MatMul")]
    kinds = [half.types[name] for node in products for name in node.input if name in half.types]
    assert kinds
    assert set(kinds) == {HALF}
    large = [tensor for tensor in half.constants.values() if np.prod(tensor.dims) >= 16]
    assert large
    assert all(tensor.data_type in (HALF, TensorProto.INT64) for tensor in large)
    session = session_of(half)
    x, memory, mask = torch.randn(7, 16), torch.randn(7, 5, 16), torch.rand(7, 5) > 0.4
    mask[:, 0] = True
    names = [value.name for value in session.get_inputs()]
    given = (x.half().numpy(), memory.half().numpy(), mask.numpy())
    logits, weights, state = session.run(None, dict(zip(names, given, strict=True)))
    assert (logits.dtype, weights.dtype, state.dtype) == (np.float32, np.float32, np.float16)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)  # in float16 it would be a thousandth off
    assert not weights[~mask.numpy()].any()  # -1e9 is beyond float16, but masks as well
    with torch.no_grad():
        for found, expected in zip((logits, weights, state), module(x, memory, mask), strict=True):
            difference = np.abs(found.astype(np.float32) - expected.numpy()).max()
            assert 0 < difference < 0.02


def test_what_is_no_float_should_stay_as_it_is() -> None:
    fragment = fragment_of(_Counting())
    half = kernels.halves(fragment, ())
    assert [half.types[name] for name in half.outputs] == [HALF, TensorProto.INT64]
    session = session_of(half)
    names = [value.name for value in session.get_inputs()]
    given = (np.full((2, 16), 0.5, np.float16), np.zeros((2, 3, 16), np.float16), np.array([[True] * 3, [True] * 3]))
    inputs = {name: value for name, value in zip(fragment.inputs, given, strict=True) if name in names}
    product, count = session.run(None, inputs)
    assert product.dtype == np.float16
    assert (product == 1.5).all()
    assert count.tolist() == [3, 3]


def test_a_body_should_be_refused() -> None:
    body = helper.make_graph([], "body", [], [])
    node = helper.make_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)
    with pytest.raises(ValueError, match="only Transformers are computed in float16"):
        kernels.halves(Fragment([node], {}, ["x"], ["y"], {"x": FLOAT, "y": FLOAT}), ())
