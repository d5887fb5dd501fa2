import copy
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from model_export import transformer
from model_export.eight_bit_system import EightBit
from model_export.onnx_graph import SMALL, build, group_size
from model_export.rnnsearch import RNNsearch, Sizes
from model_export.search import SearchRules, Steps, beam_search, best

SOURCE = torch.tensor([[5, 6, 7, 8, 9, 2], [10, 11, 2, 0, 0, 0], [12, 2, 0, 0, 0, 0]])
FREE = torch.zeros(3, 0, dtype=torch.long)
LONGEST = 25
RULES = SearchRules(start=1, end=2, suppressed=(0,))
END = 2


@pytest.fixture(scope="module")
def graph(model: RNNsearch) -> onnx.ModelProto:
    return build(model, RULES, {"dragoman.format_version": "1"})


@pytest.fixture(scope="module")
def session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, source: Tensor, beam_size: int, prefix: Tensor | None = None) -> Steps:
    outputs = session.run(
        ["tokens", "parents", "log_probs", "attention", "scores"],
        {
            "source_ids": source.numpy(),
            "source_mask": (source != 0).long().numpy(),
            "target_prefix": (FREE[: len(source)] if prefix is None else prefix).numpy(),
            "max_target_length": np.array(LONGEST),
            "beam_size": np.array(beam_size),
            "best": np.array(beam_size),
        },
    )
    return Steps(*map(torch.from_numpy, outputs))


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("prefix", [FREE, torch.tensor([[7, -1, 8], [9, 2, -1], [-1, -1, 30]]), torch.full((3, 2), -1)])
def test_loop_should_equal_the_search_in_pytorch(
    session: onnxruntime.InferenceSession, model: RNNsearch, beam_size: int, prefix: Tensor
) -> None:
    found = run(session, SOURCE, beam_size, prefix)
    expected = beam_search(model, SOURCE, SOURCE != 0, beam_size, LONGEST, RULES, prefix)
    assert found.scores.shape == expected.scores.shape == (3, 2 * beam_size)
    torch.testing.assert_close(found.scores.amax(1), expected.scores.amax(1), atol=1e-4, rtol=0)
    for sentence, limit in enumerate(RULES.limits(SOURCE != 0, prefix, LONGEST).tolist()):
        a, b = best(found, sentence, limit, 1.0, END), best(expected, sentence, limit, 1.0, END)
        assert a.ids == b.ids
        torch.testing.assert_close(a.log_probs, b.log_probs, atol=1e-4, rtol=0)
        torch.testing.assert_close(a.attention, b.attention, atol=1e-5, rtol=0)


def test_columns_should_be_grouped_by_a_divisor_where_that_saves_work() -> None:
    assert group_size(5246) == 43
    assert group_size(8000) == 64
    assert group_size(60_000) == 125
    assert group_size(50) == 0  # too few
    assert group_size(7919) == 0  # a prime


@pytest.mark.parametrize("beam_size", [1, 4, 12])  # 24 groups for a beam of 12, whose only live one has 18 at first
def test_the_best_of_grouped_columns_should_be_the_best_of_all(beam_size: int) -> None:
    assert group_size(288) == 16
    torch.manual_seed(4)
    model = RNNsearch(Sizes(288, embedding=16, encoder=12, decoder=20, attention=14)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    session = onnxruntime.InferenceSession(
        build(model, RULES, {}).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = run(session, SOURCE, beam_size)
    expected = beam_search(model, SOURCE, SOURCE != 0, beam_size, LONGEST, RULES)
    assert found.tokens.equal(expected.tokens)
    assert found.parents.equal(expected.parents)
    torch.testing.assert_close(found.log_probs, expected.log_probs, atol=1e-4, rtol=0)
    assert len(found.tokens.unique()) > 20


def rows_of_steps(graph: onnx.ModelProto, beam_size: int, prefix: Tensor = FREE) -> list[int]:
    """How many beams each step works on, of all sentences."""
    seen = copy.deepcopy(graph)
    [loop] = [node for node in seen.graph.node if node.op_type == "Loop"]
    [body] = [attribute.g for attribute in loop.attribute if attribute.name == "body"]
    body.node.append(onnx.helper.make_node("Size", ["place_in"], ["rows_of_step"]))
    body.output.append(onnx.helper.make_tensor_value_info("rows_of_step", TensorProto.INT64, []))
    loop.output.append("rows_of_all")
    seen.graph.output.append(onnx.helper.make_tensor_value_info("rows_of_all", TensorProto.INT64, ["T"]))
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {"source_ids": SOURCE.numpy(), "source_mask": (SOURCE != 0).long().numpy(), "target_prefix": prefix.numpy()}
    given |= {"max_target_length": np.array(LONGEST), "beam_size": np.array(beam_size)}
    given |= {"best": np.array(beam_size)}
    [found] = session.run(["rows_of_all"], given)
    return [int(rows) for rows in found]


def test_a_step_should_work_on_the_beams_that_are_alive_and_on_two_of_each_sentence(graph: onnx.ModelProto) -> None:
    sentences = len(SOURCE)
    for beam_size, fewest in ((1, 1), (2, 2), (4, 2), (40, 2)):
        first, second, *_ = rows_of_steps(graph, beam_size)
        assert (first, second) == (fewest * sentences, beam_size * sentences)
    forced = torch.tensor([[7, 8, 9, 2], [7, 8, 2, -1], [7, 2, -1, -1]])
    assert rows_of_steps(graph, 4, forced) == [6, 6, 4, 2]


@pytest.mark.parametrize("beam_size", [4, 12])
def test_beams_below_the_threshold_should_cost_nothing_and_the_search_equal_pytorchs(
    graph: onnx.ModelProto, model: RNNsearch, beam_size: int
) -> None:
    for threshold in (0.2, 1.0):
        rules = replace(RULES, beam_threshold=threshold)
        made = build(model, rules, {})
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        found = run(session, SOURCE, beam_size)
        expected = beam_search(model, SOURCE, SOURCE != 0, beam_size, LONGEST, rules)
        torch.testing.assert_close(found.scores.amax(1), expected.scores.amax(1), atol=1e-4, rtol=0)
        for sentence, limit in enumerate(rules.limits(SOURCE != 0, FREE, LONGEST).tolist()):
            a, b = best(found, sentence, limit, 1.0, END), best(expected, sentence, limit, 1.0, END)
            assert a.ids == b.ids
            torch.testing.assert_close(a.attention, b.attention, atol=1e-5, rtol=0)
        rows, whole = rows_of_steps(made, beam_size), rows_of_steps(graph, beam_size)
        assert rows[0] == whole[0]
        assert sum(rows[:6]) < 0.9 * sum(whole[:6])


@pytest.mark.parametrize("prefix", [FREE, torch.tensor([[7, -1, 8], [9, 2, -1], [-1, -1, 30]])])
def test_a_graph_in_8_bits_should_begin_with_one_beam_and_equal_the_search(prefix: Tensor) -> None:
    torch.manual_seed(5)
    plain = transformer.Transformer(
        transformer.Sizes(50, width=32, inner=64, encoder_layers=1, decoder_layers=1)
    ).eval()
    with torch.no_grad():
        for layer in plain.decoder_layers():
            nn.init.normal_(layer.final_norm.weight)  # or every word would be followed by itself
    made = EightBit(plain)
    made.calibrate(lambda: plain(SOURCE, SOURCE != 0, SOURCE))
    graph = build(made, RULES, {})
    assert rows_of_steps(graph, 4)[:2] == [len(SOURCE), 4 * len(SOURCE)]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = run(session, SOURCE, 4, prefix)
    expected = beam_search(made, SOURCE, SOURCE != 0, 4, LONGEST, RULES, prefix)
    for sentence, limit in enumerate(RULES.limits(SOURCE != 0, prefix, LONGEST).tolist()):
        a, b = best(found, sentence, limit, 1.0, END), best(expected, sentence, limit, 1.0, END)
        assert a.ids == b.ids
        torch.testing.assert_close(a.log_probs, b.log_probs, atol=1e-4, rtol=0)
        torch.testing.assert_close(a.attention, b.attention, atol=1e-4, rtol=0)


def test_a_sentence_that_ended_should_add_nothing_to_later_steps(
    session: onnxruntime.InferenceSession, model: RNNsearch
) -> None:
    found = run(session, SOURCE, 4)
    assert found.attention is not None
    for row in range(3):
        alone = SOURCE[row : row + 1, SOURCE[row] != 0]
        end, length = len(beam_search(model, alone, alone != 0, 4, LONGEST, RULES).tokens), alone.shape[1]
        assert found.tokens[end:, row].eq(END).all()
        assert found.log_probs[end:, row].eq(0).all()
        assert found.parents[end:, row].eq(torch.arange(8)).all()
        after = found.attention[end:, row, :, :length]
        torch.testing.assert_close(after, torch.full_like(after, 1 / length))


def test_attention_should_sum_to_1_and_be_0_on_padding(session: onnxruntime.InferenceSession) -> None:
    found = run(session, SOURCE, 4).attention
    torch.testing.assert_close(found.sum(dim=3), torch.ones(found.shape[:3]))
    assert found[:, 1, :, 3:].eq(0).all()
    assert found[:, 2, :, 2:].eq(0).all()


@pytest.mark.parametrize("sentence", [0, 1, 2])
def test_a_sentence_alone_should_give_what_it_gives_in_a_batch(
    session: onnxruntime.InferenceSession, sentence: int
) -> None:
    limit = int(RULES.limits(SOURCE != 0, FREE, LONGEST)[sentence])
    length = int((SOURCE[sentence] != 0).sum())
    together = best(run(session, SOURCE, 4), sentence, limit, 1.0, END)
    alone = best(run(session, SOURCE[sentence : sentence + 1, :length], 4), 0, limit, 1.0, END)
    assert together.ids == alone.ids
    torch.testing.assert_close(together.attention[:, :length], alone.attention, atol=1e-6, rtol=0)


def test_a_translation_given_back_as_prefix_should_give_the_same_attention(
    session: onnxruntime.InferenceSession, model: RNNsearch
) -> None:
    limit = RULES.limits(SOURCE != 0, FREE, LONGEST).tolist()
    free = [best(run(session, SOURCE, 4), row, limit[row], 1.0, END) for row in range(3)]
    prefix = torch.full((3, max(len(h.ids) for h in free)), -1)
    for row, hypothesis in zip(prefix, free, strict=True):
        row[: len(hypothesis.ids)] = torch.tensor(hypothesis.ids)
    forced = run(session, SOURCE, 1, prefix)
    with torch.no_grad():
        _, attention = model(SOURCE, SOURCE != 0, torch.cat([torch.ones(3, 1).long(), prefix.clamp(min=0)], dim=1))
    for row, hypothesis in enumerate(free):
        again = best(forced, row, limit[row], 1.0, END)
        assert again.ids == hypothesis.ids
        torch.testing.assert_close(again.attention, hypothesis.attention, atol=1e-5, rtol=0)
        torch.testing.assert_close(again.attention, attention[row, : len(again.ids)], atol=1e-5, rtol=0)


def test_a_whole_target_forced_should_take_no_more_steps_than_it_has(session: onnxruntime.InferenceSession) -> None:
    found = run(session, SOURCE[:1], 4, torch.tensor([[7, 8, 2]]))
    assert best(found, 0, 26, 1.0, END).ids == [7, 8, 2]
    assert len(found.tokens) == 3
    assert not any(part.isnan().any() for part in found)


def test_weights_should_be_stored_as_float16(graph: onnx.ModelProto) -> None:
    large = {i.name: i.data_type for i in graph.graph.initializer if np.prod(i.dims) >= SMALL}
    whole = [name for name, kind in large.items() if kind == TensorProto.FLOAT]
    assert whole == ["model.linear"]  # a product of weights, which the exporter folds while it is small
    assert set(large.values()) == {TensorProto.FLOAT16, TensorProto.FLOAT}


def test_weights_that_float16_cannot_hold_should_keep_every_bit(model: RNNsearch) -> None:
    system = copy.deepcopy(model)
    with torch.no_grad():
        system.decoder.output_bias += 1e-6
    kinds = {i.data_type for i in build(system, RULES, {}).graph.initializer if tuple(i.dims) == (50,)}
    assert kinds == {TensorProto.FLOAT}


def test_metadata_should_be_what_was_given(graph: onnx.ModelProto) -> None:
    assert {p.key: p.value for p in graph.metadata_props} == {"dragoman.format_version": "1"}
