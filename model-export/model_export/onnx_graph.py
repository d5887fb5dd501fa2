"""System S1 as one ONNX graph: the encoder, then `search.beam_search` as a Loop, so that a micro-batch is one run.

The graph contract (the same for every architecture):
    source_ids [B, S], source_mask [B, S], target_prefix [B, P] (-1 where free), max_target_length, beam_size: all int64
    -> tokens, parents, log_probs [T, B, K], attention [T, B, K, S] (the parent slot's row), scores [B, K]

What differs from `search.py`, with the same result:
  * each beam is first cut to its K best words (no more of one beam can be among the K best of all), and a finished or
    forced beam's candidates are replaced after that cut, so that only logits and log-softmax have K * V entries;
  * the memory is never copied K times: queries [B, K, 1, A] are broadcast against keys [B, 1, S, A];
  * products that share an input are one product, and all that stays the same from step to step is outside the Loop;
  * a step works on the sentences that are still going only, so that a long one does not make its whole batch pay. What
    it chose is scattered into rows that say "nothing new": the end token at +0, the slot as its own parent, and even
    attention over the sentence, so that every row of the output sums to 1.

Weights are stored as float16 with one Cast each, which ONNX Runtime folds when it loads the model: half the size on
disk, float32 arithmetic.

Letters as in `rnnsearch.py`, and K beams, P forced positions, T steps taken, n sentences going, N = n * K rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from model_export.search import LIMIT_OFFSET, LIMIT_RATIO
from model_export.vocabulary import END, START

OPSET, IR_VERSION = 17, 8
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Graph:
    """Collects nodes; each call adds one and gives its output's name. Constants go to the outermost graph."""

    def __init__(self, outer: Graph | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.outer = outer
        self.initializers: dict[str, onnx.TensorProto] = outer.initializers if outer else {}
        self._prefix = "step_" if outer else ""

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.many(operator, *inputs, count=1, **attributes)[0]

    def many(self, operator: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        stem = f"{self._prefix}{operator}_{len(self.nodes)}"
        names = [stem if count == 1 else f"{stem}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=stem, **attributes))
        return names

    def named(self, name: str, value: str) -> str:
        self.nodes.append(helper.make_node("Identity", [value], [name], name=name))
        return name

    def ints(self, *values: int) -> str:
        """A 1-D int64 constant, made once for each value."""
        return self._constant("ints_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def number(self, value: float | int) -> str:
        """A scalar: float32 for a float, int64 for an int."""
        kind = np.float32 if isinstance(value, float) else np.int64
        return self._constant(f"number_{value}", np.array(value, dtype=kind))

    def weight(self, name: str, value: NDArray[np.float32]) -> str:
        """A weight, stored as float16 and cast back once."""
        self._constant(f"{name}.float16", value.astype(np.float16))
        self.nodes.append(helper.make_node("Cast", [f"{name}.float16"], [name], name=f"cast.{name}", to=FLOAT))
        return name

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(value, name)
        return name


def build(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The model of an RNNsearch state dict."""
    w = {name: value.detach().float().cpu().numpy() for name, value in weights.items()}
    graph = Graph()
    outputs = _search(graph, w)
    proto = helper.make_graph(
        graph.nodes,
        "rnnsearch_beam_search",
        [
            helper.make_tensor_value_info("source_ids", INT, ["B", "S"]),
            helper.make_tensor_value_info("source_mask", INT, ["B", "S"]),
            helper.make_tensor_value_info("target_prefix", INT, ["B", "P"]),
            helper.make_tensor_value_info("max_target_length", INT, []),
            helper.make_tensor_value_info("beam_size", INT, []),
        ],
        outputs,
        list(graph.initializers.values()),
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="dragoman"
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def _search(g: Graph, w: dict[str, NDArray[np.float32]]) -> list[onnx.ValueInfoProto]:
    """Everything around the Loop; gives the graph's outputs."""
    B = g("Shape", "source_ids", start=0, end=1)  # [1]
    K = g("Reshape", "beam_size", g.ints(1))  # [1]
    S = g("Shape", "source_ids", start=1, end=2)  # [1]
    beams = g("Concat", B, K, axis=0)  # [2]
    slots = g("Range", g.number(0), "beam_size", g.number(1))  # [K]
    sentences = g("Range", g.number(0), g("Squeeze", B), g.number(1))  # [B]
    annotations, initial = _encode(g, w)  # [B, S, 2H], [B, D]
    mask = g("Cast", "source_mask", to=BOOL)  # [B, S]
    keys = g(
        "Add",
        g("MatMul", annotations, g.weight("key", w["decoder.attention.key.weight"].T)),
        g.weight("key_bias", w["decoder.attention.key.bias"]),
    )  # [B, S, A]
    mask_float = g("Unsqueeze", g("Cast", "source_mask", to=FLOAT), g.ints(1))  # [B, 1, S]
    tokens = g("ReduceSum", "source_mask", g.ints(1), keepdims=0)  # [B]
    evenly = g("Div", mask_float, g("Reshape", g("Cast", tokens, to=FLOAT), g.ints(-1, 1, 1)))  # [B, 1, S]
    memory = {
        "K": K,
        "annotations": annotations,
        "keys": g("Unsqueeze", keys, g.ints(1)),  # [B, 1, S, A]
        "mask": g("Unsqueeze", mask, g.ints(1)),  # [B, 1, S]
        "mask_float": mask_float,
        "words": _words(g, w),  # [V, 3D + E]
        "first_row": g("Unsqueeze", g("Mul", sentences, K), g.ints(1)),  # [B, 1] = b * K
        "first_candidate": g("Equal", slots, g.number(0)),  # [K]
        "zeros": g("Sub", slots, slots),  # [K]
        # Shapes; -1 stands for n
        "as_queries": g("Concat", g.ints(-1), K, g.ints(1, w["decoder.attention.query.weight"].shape[0]), axis=0),
        "as_weights": g("Concat", g.ints(-1), K, S, axis=0),
        "as_rows": g("Concat", g.ints(-1), S, axis=0),
        "as_candidates": g("Concat", g.ints(-1), K, K, axis=0),
        "as_choices": g("Concat", g.ints(-1), g("Mul", K, K), axis=0),
        "as_beams": g("Concat", g.ints(-1), K, axis=0),
        # What a sentence that is not going gives
        "no_tokens": g("Expand", g.number(END), beams),  # [B, K]
        "no_parents": g("Expand", slots, beams),  # [B, K]
        "no_log_probs": g("Expand", g.number(0.0), beams),  # [B, K]
        "no_attention": g("Expand", evenly, g("Concat", beams, S, axis=0)),  # [B, K, S]
    }
    memory["forced"], forced_count = _forced(g, B)  # [P + 1, B], [B]
    by_source = g("Add", g("Mul", tokens, g.number(LIMIT_RATIO)), g.number(LIMIT_OFFSET))  # [B]
    limit = g("Max", g("Min", by_source, "max_target_length"), forced_count)  # [B]
    memory["limit"] = g("Unsqueeze", limit, g.ints(1))  # [B, 1]

    only_first = g("Where", memory["first_candidate"], g.number(0.0), g.number(float("-inf")))  # [K]
    scores = g("Expand", only_first, beams)  # [B, K]
    rows = g("Reshape", g("Expand", g("Unsqueeze", sentences, g.ints(1)), beams), g.ints(-1))  # [B * K] = b
    state = g("Gather", initial, rows, axis=0)  # [B * K, D]
    previous = g("Add", g("Mul", rows, g.number(0)), g.number(START))  # [B * K]
    finished = g("Cast", g("Mul", rows, g.number(0)), to=BOOL)  # [B * K], all false

    body = _step(g, memory, w)
    carried = [sentences, state, previous, finished, scores]
    ends = ["last_going", "last_state", "last_previous", "last_finished", "scores"]
    choices = ["tokens", "parents", "log_probs", "attention"]
    start = g("Cast", g.number(1), to=BOOL)
    g.nodes.append(helper.make_node("Loop", ["", start, *carried], [*ends, *choices], name="decode", body=body))
    return [
        helper.make_tensor_value_info("tokens", INT, ["T", "B", "K"]),
        helper.make_tensor_value_info("parents", INT, ["T", "B", "K"]),
        helper.make_tensor_value_info("log_probs", FLOAT, ["T", "B", "K"]),
        helper.make_tensor_value_info("attention", FLOAT, ["T", "B", "K", "S"]),
        helper.make_tensor_value_info("scores", FLOAT, ["B", "K"]),
    ]


def _encode(g: Graph, w: dict[str, NDArray[np.float32]]) -> tuple[str, str]:
    """Annotations [B, S, 2H] and the decoder's first state [B, D]."""
    size = w["encoder.gru.weight_hh_l0"].shape[1]

    def both(stem: str) -> list[NDArray[np.float32]]:
        return [_update_first(w[f"encoder.gru.{stem}{end}"]) for end in ("_l0", "_l0_reverse")]

    biases = [np.concatenate(pair) for pair in zip(both("bias_ih"), both("bias_hh"), strict=True)]
    embedding = g.weight("encoder_embedding", w["encoder.embedding.weight"])
    embedded = g("Gather", embedding, g("Transpose", "source_ids", perm=[1, 0]), axis=0)  # [S, B, E]
    lengths = g("Cast", g("ReduceSum", "source_mask", g.ints(1), keepdims=0), to=TensorProto.INT32)  # [B]
    states, last = g.many(
        "GRU",
        embedded,
        g.weight("gru_input", np.stack(both("weight_ih"))),
        g.weight("gru_recurrent", np.stack(both("weight_hh"))),
        g.weight("gru_bias", np.stack(biases)),
        lengths,
        count=2,
        direction="bidirectional",
        hidden_size=size,
        linear_before_reset=1,
    )  # [S, 2, B, H], [2, B, H]
    annotations = g("Reshape", g("Transpose", states, perm=[2, 0, 1, 3]), g.ints(0, 0, 2 * size))  # [B, S, 2H]
    backward = g("Gather", last, g.number(1), axis=0)  # [B, H], at the first word
    start = g(
        "Gemm",
        backward,
        g.weight("initial", w["encoder.initial.weight"].T),
        g.weight("initial_bias", w["encoder.initial.bias"]),
    )
    return annotations, g("Tanh", start)


def _update_first(gates: NDArray[np.float32]) -> NDArray[np.float32]:
    """PyTorch stacks the gates as reset, update, new; ONNX as update, reset, new."""
    reset, update, new = np.split(gates, 3)
    return np.concatenate([update, reset, new])


def _forced(g: Graph, B: str) -> tuple[str, str]:
    """The token each sentence is forced to at each step, the last entry free: [P + 1, B]; and forced positions [B]."""
    by_step = g("Transpose", "target_prefix", perm=[1, 0])  # [P, B]
    free = g("Expand", g.ints(-1), g("Concat", g.ints(1), B, axis=0))  # [1, B]
    is_forced = g("Cast", g("GreaterOrEqual", "target_prefix", g.number(0)), to=INT)  # [B, P]
    return g("Concat", by_step, free, axis=0), g("ReduceSum", is_forced, g.ints(1), keepdims=0)


def _words(g: Graph, w: dict[str, NDArray[np.float32]]) -> str:
    """What each word of the vocabulary adds to the input gates and the readout, [V, 3D + E].

    It depends on weights alone, so ONNX Runtime works it out once, when it loads the model (57 MB at V = 8,000): a
    lookup in place of a tenth of a step's arithmetic.
    """
    E = w["decoder.readout.weight"].shape[0]
    embedding = g.weight("decoder_embedding", w["decoder.embedding.weight"])
    of_word = np.concatenate([w["decoder.from_word.weight"], w["decoder.readout.weight"][:, -E:]])
    bias = np.concatenate([w["decoder.from_word.bias"], w["decoder.readout.bias"]])
    return g("Gemm", embedding, g.weight("from_word", of_word.T), g.weight("from_word_bias", bias))


def _step(outer: Graph, memory: dict[str, str], w: dict[str, NDArray[np.float32]]) -> onnx.GraphProto:
    """The Loop's body: one step of all beams of the sentences that are `going`."""
    g = Graph(outer)
    keys = g("Gather", memory["keys"], "going", axis=0)  # [n, 1, S, A]
    annotations = g("Gather", memory["annotations"], "going", axis=0)  # [n, S, 2H]
    mask = g("Gather", memory["mask"], "going", axis=0)  # [n, 1, S]
    mask_float = g("Gather", memory["mask_float"], "going", axis=0)  # [n, 1, S]

    D = w["decoder.from_state.weight"].shape[1]
    # One product of the state: the recurrent gates and the attention's query.
    query_weight = w["decoder.attention.query.weight"]
    A = query_weight.shape[0]
    from_state = g(
        "Gemm",
        "state",
        outer.weight("from_state", np.concatenate([w["decoder.from_state.weight"], query_weight]).T),
        outer.weight("from_state_bias", np.concatenate([w["decoder.from_state.bias"], np.zeros(A, np.float32)])),
    )  # [N, 3D + A]
    gates_s, new_s, query = g.many("Split", from_state, outer.ints(2 * D, D, A), count=3, axis=1)

    # Section 3.1: attention and context.
    hidden = g("Tanh", g("Add", keys, g("Reshape", query, memory["as_queries"])))  # [n, K, S, A]
    # v as the left factor: ONNX Runtime is 5 to 40 times slower on a product whose right factor has one column.
    score = outer.weight("score", w["decoder.attention.score.weight"])  # [1, A]
    energies = g("Gemm", score, g("Reshape", hidden, outer.ints(-1, A)), transB=1)  # [1, N * S]
    energies = g("Reshape", energies, memory["as_weights"])  # [n, K, S]
    masked = g("Where", mask, energies, outer.number(float("-inf")))  # [n, K, S]
    weights = g("Mul", g("Softmax", masked, axis=-1), mask_float)  # [n, K, S], exactly 0 on padding
    context = g("MatMul", weights, annotations)  # [n, K, 2H]
    context = g("Reshape", context, outer.ints(-1, w["decoder.from_context.weight"].shape[1]))  # [N, 2H]

    # One product of the context: its part of the input gates and of the readout, beside the word's.
    E = w["decoder.readout.weight"].shape[0]
    of_context = np.concatenate([w["decoder.from_context.weight"], w["decoder.readout.weight"][:, D:-E]])
    of_word = g("Gather", memory["words"], "previous", axis=0)  # [N, 3D + E]
    from_input = g("Gemm", context, outer.weight("from_context", of_context.T), of_word)  # [N, 3D + E]
    gates_x, new_x, read_x = g.many("Split", from_input, outer.ints(2 * D, D, E), count=3, axis=1)
    gates = g("Sigmoid", g("Add", gates_x, gates_s))  # [N, 2D]
    reset, update = g.many("Split", gates, outer.ints(D, D), count=2, axis=1)
    new = g("Tanh", g("Add", new_x, g("Mul", reset, new_s)))  # [N, D]
    moved = g("Add", new, g("Mul", update, g("Sub", "state", new)))  # [N, D]
    read = g("Tanh", g("Gemm", moved, outer.weight("readout", w["decoder.readout.weight"][:, :D].T), read_x))  # [N, E]
    output_bias = outer.weight("output_bias", w["decoder.output_bias"])
    logits = g("Gemm", read, "decoder_embedding", output_bias, transB=1)  # [N, V]

    log_probs, words = _candidates(g, outer, memory, logits)  # [n, K, K] each
    before = g("Gather", "scores_in", "going", axis=0)  # [n, K]
    totals = g("Add", g("Unsqueeze", before, outer.ints(2)), log_probs)  # [n, K, K]
    scores, chosen = g.many("TopK", g("Reshape", totals, memory["as_choices"]), memory["K"], count=2, axis=1)  # [n, K]
    parents = g("Div", chosen, memory["K"])  # [n, K]
    tokens = g("GatherElements", g("Reshape", words, memory["as_choices"]), chosen, axis=1)  # [n, K]
    chosen_log_probs = g("GatherElements", g("Reshape", log_probs, memory["as_choices"]), chosen, axis=1)  # [n, K]
    first_row = g("Slice", memory["first_row"], outer.ints(0), g("Shape", "going"), outer.ints(0))  # [n, 1]
    rows = g("Add", parents, first_row)  # [n, K], the parent's row
    attention = g("Gather", g("Reshape", weights, memory["as_rows"]), rows, axis=0)  # [n, K, S]

    limit = g("Gather", memory["limit"], "going", axis=0)  # [n, 1]
    at_limit = g("GreaterOrEqual", g("Add", "t", outer.number(1)), limit)  # [n, 1]
    stopped = g("Or", g("Equal", tokens, outer.number(END)), at_limit)  # [n, K]
    finished = g("Or", g("Gather", "finished", rows, axis=0), stopped)  # [n, K]
    done = g("Or", finished, g("Equal", scores, outer.number(float("-inf"))))  # [n, K], a dead beam has nothing to add
    live = g("ReduceMax", g("Cast", g("Not", done), to=TensorProto.INT32), axes=[1], keepdims=0)  # [n], 1 or 0
    staying = g("Squeeze", g("NonZero", live), outer.ints(0))  # [m], which of the n go on
    any_left = g("Cast", g("ReduceMax", live, keepdims=0), to=BOOL)  # scalar

    def stay(name: str, value: str) -> str:
        """`value` [n, K] of the sentences that go on, as rows [m * K]."""
        return g.named(name, g("Reshape", g("Gather", value, staying, axis=0), outer.ints(-1)))

    at = g("Unsqueeze", "going", outer.ints(1))  # [n, 1]
    new_state = g("Gather", moved, stay("staying_rows", rows), axis=0)  # [m * K, D]
    outputs = [
        helper.make_tensor_value_info(g.named("go_on_out", any_left), BOOL, []),
        helper.make_tensor_value_info(g.named("going_out", g("Gather", "going", staying, axis=0)), INT, [None]),
        helper.make_tensor_value_info(g.named("state_out", new_state), FLOAT, [None, D]),
        helper.make_tensor_value_info(stay("previous_out", tokens), INT, [None]),
        helper.make_tensor_value_info(stay("finished_out", finished), BOOL, [None]),
    ]
    for name, unchanged, value, kind, shape in (
        ("scores_out", "scores_in", scores, FLOAT, ["B", "K"]),
        ("tokens_out", memory["no_tokens"], tokens, INT, ["B", "K"]),
        ("parents_out", memory["no_parents"], parents, INT, ["B", "K"]),
        ("log_probs_out", memory["no_log_probs"], chosen_log_probs, FLOAT, ["B", "K"]),
        ("attention_out", memory["no_attention"], attention, FLOAT, ["B", "K", "S"]),
    ):
        whole = g.named(name, g("ScatterND", unchanged, at, value))
        outputs.append(helper.make_tensor_value_info(whole, kind, shape))
    inputs = [
        helper.make_tensor_value_info("t", INT, []),
        helper.make_tensor_value_info("go_on", BOOL, []),
        helper.make_tensor_value_info("going", INT, [None]),
        helper.make_tensor_value_info("state", FLOAT, [None, D]),
        helper.make_tensor_value_info("previous", INT, [None]),
        helper.make_tensor_value_info("finished", BOOL, [None]),
        helper.make_tensor_value_info("scores_in", FLOAT, ["B", "K"]),
    ]
    return helper.make_graph(g.nodes, "step", inputs, outputs)


def _candidates(g: Graph, outer: Graph, memory: Mapping[str, str], logits: str) -> tuple[str, str]:
    """Each beam's K best words and their log-probabilities [n, K, K]; one live candidate where finished or forced."""
    minus_infinity, zero = outer.number(float("-inf")), outer.number(0.0)
    first = memory["first_candidate"]  # [K]
    all_log_probs = g("LogSoftmax", logits, axis=1)  # [N, V]; ReduceLogSumExp would be ten times slower
    best, best_words = g.many("TopK", all_log_probs, memory["K"], count=2, axis=1)  # [N, K]
    log_probs = g("Reshape", best, memory["as_candidates"])  # [n, K, K]
    words = g("Reshape", best_words, memory["as_candidates"])  # [n, K, K]

    last = g("Sub", g("Shape", memory["forced"], start=0, end=1), outer.ints(1))  # [1] = P
    of_step = g("Gather", memory["forced"], g("Squeeze", g("Min", "t", last)), axis=0)  # [B], -1 where free
    forced = g("Reshape", g("Gather", of_step, "going", axis=0), outer.ints(-1, 1, 1))  # [n, 1, 1]
    is_forced = g("GreaterOrEqual", forced, outer.number(0))  # [n, 1, 1]
    of_rows = g("Reshape", g("Add", g("Max", forced, outer.number(0)), memory["zeros"]), outer.ints(-1, 1))  # [N, 1]
    forced_log_prob = g("Reshape", g("GatherElements", all_log_probs, of_rows, axis=1), memory["as_beams"])  # [n, K]
    only_forced = g("Where", first, g("Unsqueeze", forced_log_prob, outer.ints(2)), minus_infinity)  # [n, K, K]
    log_probs = g("Where", is_forced, only_forced, log_probs)
    words = g("Where", is_forced, forced, words)

    finished = g("Unsqueeze", g("Reshape", "finished", memory["as_beams"]), outer.ints(2))  # [n, K, 1]
    log_probs = g("Where", finished, g("Where", first, zero, minus_infinity), log_probs)
    return log_probs, g("Where", finished, outer.number(END), words)


def metadata(format_version: int, vocabulary_sha256: str, architecture: str) -> dict[str, str]:
    """What the graph repeats of its bundle's manifest."""
    return {
        "dragoman.format_version": str(format_version),
        "dragoman.vocabulary_sha256": vocabulary_sha256,
        "dragoman.architecture": architecture,
    }


def shape_of(model: onnx.ModelProto, name: str) -> Sequence[int]:
    """Shape of an initializer, () when there is none of that name."""
    return next((tuple(i.dims) for i in model.graph.initializer if i.name == name), ())
