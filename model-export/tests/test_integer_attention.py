"""The decoder's attention in 8 bits: near the exact one, the same however it is asked, and the same in the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from model_export import kernels
from model_export.eight_bit_system import EightBit
from model_export.integer_attention import (
    COLUMNS,
    Bounds,
    IntegerAttention,
    IntegerCrossAttention,
    IntegerSelfAttention,
    rounded,
)
from model_export.system import Tensors
from model_export.traced import EXAMPLES, OPSET, Sizes, trace
from model_export.transformer import Attention, Memory, Transformer, hiding, sharp_softmax
from model_export.transformer import Sizes as ModelSizes

MODEL = ModelSizes(vocabulary=30, width=32, inner=48, heads=4, encoder_layers=1, decoder_layers=2, dropout=0.0)
BOUNDS = Bounds(query=4.0, key=4.0, value=4.0)
KINDS = (IntegerSelfAttention, IntegerCrossAttention)


def attention(kind: type[IntegerAttention]) -> tuple[Attention, IntegerAttention]:
    torch.manual_seed(3)
    plain = Attention(MODEL).eval()
    return plain, kind(plain, BOUNDS)


def mask_of_lengths(*lengths: int) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])[:, None, None]  # [B, 1, 1, S]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_it_should_be_near_the_exact_one(kind: type[IntegerAttention]) -> None:
    plain, integer = attention(kind)
    x, words, mask = torch.randn(2 * 6, 32), torch.randn(2 * 9, 32), mask_of_lengths(9, 5)
    expected, weights = plain(x, 2, plain.memory(words, 2, hiding(mask)))
    found, published = integer(x, 2, integer.memory(words, 2, hiding(mask)))
    assert not published[..., 9:].any()
    published = published[..., :9]
    assert 0 < float((found - expected).abs().mean()) < 0.03 * float(expected.abs().mean())
    assert float((published - weights).abs().max()) < 0.02
    torch.testing.assert_close(published.sum(dim=-1), torch.ones(2, 4, 6))
    assert not (published * ~mask).any()


@torch.no_grad()
def test_even_attention_over_a_long_sentence_should_not_vanish() -> None:
    """Each of 500 words has less than a 255th of it."""
    plain, integer = attention(IntegerCrossAttention)
    integer.bounds = BOUNDS._replace(value=0.25)
    words = torch.zeros(500, 32)
    hidden = hiding(mask_of_lengths(500))
    expected, _ = plain(torch.randn(1, 32), 1, plain.memory(words, 1, hidden))
    found, _ = integer(torch.randn(1, 32), 1, integer.memory(words, 1, hidden))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_query_should_get_the_same_answer_alone_and_padding_change_nothing(kind: type[IntegerAttention]) -> None:
    _, integer = attention(kind)
    x, words = torch.randn(1 * 6, 32), torch.randn(1 * 9, 32)
    queries, memory = integer.queries(x, 1, None), integer.memory(words, 1, hiding(mask_of_lengths(9)))
    together, weights = integer.mix(queries, *memory)  # [1, H, T, C], [1, H, T, S]
    for more in (4, COLUMNS):
        padded = torch.cat([words, torch.randn(more, 32)])
        hidden = hiding(mask_of_lengths(9, 9 + more)[:1])
        beside, _ = integer.mix(queries, *integer.memory(padded, 1, hidden))
        assert beside.equal(together)
    for row in range(6):
        one = slice(row, row + 1)
        alone, own_weights = integer.mix(queries[:, :, one], *memory)
        assert alone.equal(together[:, :, one])
        assert own_weights.equal(weights[:, :, one])


@torch.no_grad()
def test_words_that_come_one_by_one_should_get_what_they_get_together() -> None:
    _, integer = attention(IntegerSelfAttention)
    x = torch.randn(6, 5, 32)  # beams, words
    past = hiding(torch.ones(5, 5, dtype=torch.bool).tril())
    flat = x.reshape(-1, 32)
    together, _ = integer(flat, 6, integer.memory(flat, 6, past))
    keys, values = integer.nothing(flat, 6)
    for t in range(5):
        word, keys, values = integer.look_back(x[:, t], keys, values)
        torch.testing.assert_close(word, together.reshape(6, 5, 32)[:, t], atol=0.01, rtol=0.01)
    assert keys.shape == (6, 5, 4, 8)
    assert values.shape == (6, 4, 5, 8)


def test_numbers_beyond_the_bound_should_be_cut_off() -> None:
    x = torch.tensor([-1e9, -2.0, 0.24, 0.26, 1e9])
    assert rounded(x, 0.5, 0, torch.int8).tolist() == [-128, -4, 0, 1, 127]
    assert rounded(x, 0.5, 128, torch.uint8).tolist() == [0, 124, 128, 129, 255]


class _Step(nn.Module):
    """One new word over what was written before it, as the decoder has it."""

    def __init__(self, attend: IntegerAttention) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensors:
        return self.attend.look_back(x, keys, values)


class _Weights(nn.Module):
    """How much of what was written before it a new word looks at."""

    def __init__(self, attend: IntegerSelfAttention) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, x: Tensor, keys: Tensor) -> tuple[Tensor]:
        query = self.attend.rounded_query(x).reshape(-1, *keys.shape[2:])
        return (sharp_softmax(self.attend.own_energies(query, keys)),)


class _Look(nn.Module):
    def __init__(self, attend: IntegerAttention) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
        mixed: tuple[Tensor, Tensor] = self.attend(x, keys.shape[0], Memory(keys, values, added))
        return mixed


def session(module: nn.Module, inputs: Tensors, others: Tensors, products: int = 2) -> Callable[..., list[np.ndarray]]:
    fragment = trace(module, inputs, others)
    kinds = {torch.float32: TensorProto.FLOAT, torch.uint8: TensorProto.UINT8, torch.int8: TensorProto.INT8}
    graph = helper.make_graph(
        fragment.nodes,
        "attention",
        [
            helper.make_tensor_value_info(name, kinds[x.dtype], [None] * x.dim())
            for name, x in zip(fragment.inputs, inputs, strict=True)
        ],
        [helper.make_tensor_value_info(name, fragment.types[name], None) for name in fragment.outputs],
        list(fragment.constants.values()),
    )
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == products
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(kernels.MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    made = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda *given: list(made.run(None, {n: x.numpy() for n, x in zip(fragment.inputs, given, strict=True)}))


def assert_near(found: list[np.ndarray], expected: tuple[Tensor, ...]) -> None:
    """But for what falls between two steps, which another program may round the other way."""
    for a, b in zip(found, expected, strict=True):
        near = {"atol": 0.01, "rtol": 0.01} if b.is_floating_point() else {"atol": 1, "rtol": 0}
        torch.testing.assert_close(torch.from_numpy(a), b, **near)


@torch.no_grad()
def test_the_graph_should_look_at_the_source_as_pytorch_does() -> None:
    _, integer = attention(IntegerCrossAttention)

    def example(sizes: Sizes) -> Tensors:
        x, words = torch.randn(sizes.B * sizes.K, 32), torch.randn(sizes.B * sizes.S, 32)
        hidden = hiding(mask_of_lengths(*[1 + b % sizes.S for b in range(sizes.B - 1)], sizes.S))
        return (x, *integer.memory(words, sizes.B, hidden))

    given, other = map(example, EXAMPLES)
    found = session(_Look(integer), given, other)
    assert_near(found(*given), _Look(integer)(*given))
    assert_near(found(*other), _Look(integer)(*other))


@torch.no_grad()
def test_the_graph_should_look_back_as_pytorch_does() -> None:
    _, integer = attention(IntegerSelfAttention)

    def example(sizes: Sizes) -> Tensors:
        keys = torch.randint(0, 256, (sizes.R, sizes.t, 4, 8), dtype=torch.uint8)
        values = torch.randint(-64, 65, (sizes.R, 4, sizes.t, 8), dtype=torch.int8)
        return torch.randn(sizes.R, 32), keys, values

    given, other = map(example, EXAMPLES)
    found = session(_Step(integer), given, other)
    weights = session(_Weights(integer), given[:2], other[:2], products=1)
    for case in (given, other):
        assert_near(found(*case), _Step(integer)(*case))
        assert_near(weights(*case[:2]), _Weights(integer)(*case[:2]))


def calibrated() -> tuple[Transformer, EightBit]:
    torch.manual_seed(4)
    plain = Transformer(MODEL).eval()
    with torch.no_grad():
        for layer in plain.decoder_layers():
            layer.cross_attention.key.bias += torch.linspace(-40, 40, 32)  # the same for all words
    ids, mask = torch.randint(0, 30, (16, 7)), torch.ones(16, 7, dtype=torch.bool)
    made = EightBit(plain)
    made.calibrate(lambda: plain(ids, mask, ids))
    return plain, made


@torch.no_grad()
def test_what_all_keys_share_should_cost_no_accuracy() -> None:
    plain, made = calibrated()
    ids, mask = torch.randint(0, 30, (4, 7)), torch.ones(4, 7, dtype=torch.bool)
    assert all(layer.cross_attention.bounds.key < 10 for layer in made.computed().decoder_layers())  # type: ignore[union-attr]
    (exact, _), (found, _) = plain(ids, mask, ids), made(ids, mask, ids)
    assert float((found - exact).abs().mean()) < 0.03 * float(exact.abs().mean())


@torch.no_grad()
def test_what_all_words_of_the_source_share_should_cost_no_accuracy() -> None:
    torch.manual_seed(4)
    plain = Transformer(MODEL).eval()
    ids, mask = torch.randint(0, 30, (16, 7)), torch.ones(16, 7, dtype=torch.bool)
    norm = plain.encoder[-1].final_norm
    norm.bias += torch.linspace(-40, 40, 32)
    exact, moved = plain(ids, mask, ids)[0], norm.bias.clone()
    made = EightBit(plain)
    made.calibrate(lambda: plain(ids, mask, ids))
    assert all(made.ranges[f"decoder.{n}.cross_attention.value.weight"].most < 10 for n in range(len(plain.decoder)))
    moved -= norm.bias
    assert float((moved - torch.linspace(-40, 40, 32)).abs().max()) < 5
    other = torch.randint(0, 30, (4, 7))
    assert float((plain(ids, mask, ids)[0] - exact).abs().mean()) < 0.03 * float(exact.abs().mean())
    exact = plain(other, mask[:4], other)[0]
    assert float((made(other, mask[:4], other)[0] - exact).abs().mean()) < 0.03 * float(exact.abs().mean())


@torch.no_grad()
def test_a_second_calibration_should_move_nothing() -> None:
    for seed in range(8):
        plain, made = calibrated()
        torch.manual_seed(seed)
        for layer in plain.decoder_layers():
            layer.self_attention.key.bias += torch.randn(32)
            layer.cross_attention.key.bias += torch.randn(32)
        plain.encoder[-1].final_norm.bias += torch.randn(32)
        ids = torch.randint(0, 30, (4, 7))
        for _ in range(2):
            before = [(n, p.clone()) for n, p in plain.named_parameters() if n.endswith("bias")]
            made.calibrate(lambda ids=ids, plain=plain: plain(ids, ids >= 0, ids))
        assert all(plain.get_parameter(name).equal(bias) for name, bias in before)


def test_a_part_that_is_always_0_should_have_a_step_all_the_same() -> None:
    plain = Transformer(MODEL).eval()
    for layer in plain.decoder_layers():
        nn.init.zeros_(layer.cross_attention.value.weight)
    ids, mask = torch.randint(0, 30, (4, 7)), torch.ones(4, 7, dtype=torch.bool)
    made = EightBit(plain)
    made.calibrate(lambda: plain(ids, mask, ids))
    assert made(ids, mask, ids)[0].isfinite().all()


def test_it_should_share_parameters_and_leave_the_plain_system_exact() -> None:
    plain, made = calibrated()
    assert {id(p) for p in made.computed().parameters()} == {id(p) for p in plain.parameters()}
    assert not any(isinstance(module, IntegerAttention) for module in plain.modules())


def test_a_system_that_was_not_calibrated_should_be_refused() -> None:
    ids = torch.ones(1, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="need a calibration"):
        EightBit(Transformer(MODEL)).encode(ids, ids > 0)
