"""Any `System` as one ONNX graph: the encoder, then `search.beam_search` as a Loop, so that a micro-batch is one run.

The graph contract (the same for every architecture):
    source_ids [B, S], source_mask [B, S], target_prefix [B, P] (-1 where free), max_target_length, beam_size: all int64
    -> tokens, parents, log_probs [T, B, 2K], attention [T, B, 2K, S] (not without attention), scores [B, 2K]

`encode` and `step` are PyTorch's own, put in place by `traced`; the search around them is written here. What differs
from `search.py`, with the same result:
  * a sentence's continuations are first cut to the 2K best and as many more as there are suppressed words, which are
    taken out after that cut; where a token is forced its beams' continuations by it take the place of the 2K: so only
    logits and log-softmax have K * V entries;
  * a step works on the sentences that are still going only, so that a long one does not make its whole batch pay. What
    it chose is scattered into rows that say "nothing new": the end token at +0, the slot as its own parent, and even
    attention over the sentence, so that every row of the output sums to 1;
  * the model works on the beams that are alive only, as rows: of the first step's K all but one are dead, and so are
    those of a sentence that is forced, and what a threshold gave up;
  * a system that writes some words only has logits of those, and their columns become words after the cut;
  * rows of attention that no step needs (`System.asks_later`) are worked out behind the Loop, for all steps at once;
  * whatever depends on weights alone is outside the Loop, where ONNX Runtime works it out once, and so is what depends
    on the input alone: a step has some 250 operators, each of which costs a microsecond before it does anything.

Weights that float16 holds exactly are stored so, with one Cast each, which ONNX Runtime folds when it loads the model:
half the size on disk, float32 arithmetic.

Letters as in `system.py`, and P forced positions, T steps taken, n sentences going, m that go on, C candidates, R beams
that are alive, of all sentences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from model_export import kernels
from model_export.eight_bit import as_integers, is_rounded
from model_export.eight_bit_system import EightBit
from model_export.half import Half
from model_export.search import SearchRules
from model_export.system import UNWRITTEN, Beams, System, Tensors
from model_export.traced import EXAMPLES, OPSET, Fragment, Sizes, read_by, renamed, trace, varying

IR_VERSION = 8
FLOAT, HALF, INT, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL
KINDS = {torch.float32: FLOAT, torch.uint8: TensorProto.UINT8, torch.int8: TensorProto.INT8}
DEAD = float("-inf")
SMALL = 64  # constants of fewer entries stay as they are


class Graph:
    """Collects nodes; each call adds one and gives its output's name. Constants go to the outermost graph."""

    def __init__(self, outer: Graph | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.outer = outer
        self.initializers: dict[str, onnx.TensorProto] = outer.initializers if outer else {}
        self._same: dict[bytes, str] = outer._same if outer else {}  # a constant's content -> its name
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

    def ids(self, name: str, value: NDArray[np.int64]) -> str:
        """A table of ids, outermost."""
        return self._constant(name, value)

    def number(self, value: float | int) -> str:
        """A scalar: float32 for a float, int64 for an int."""
        kind = np.float32 if isinstance(value, float) else np.int64
        return self._constant(f"number_{value}", np.array(value, dtype=kind))

    def insert(self, fragment: Fragment, inputs: Sequence[str], stem: str) -> list[str]:
        """Puts a traced module in place and gives its outputs' names; what is constant goes to the outermost graph."""
        given = dict(zip(fragment.inputs, inputs, strict=True))
        for name, tensor in fragment.constants.items():
            given[name] = self._stored(f"{stem}.{name}", numpy_helper.to_array(tensor))
        nodes, outputs = renamed(fragment, given, f"{stem}.")
        constant = set(self.initializers) | {name for node in self._outermost().nodes for name in node.output[:1]}
        constant &= set(given.values()) - set(inputs)
        for node in nodes:
            if self.outer is not None and all(not name or name in constant for name in node.input):
                self._outermost().nodes.append(node)
                constant.update(node.output)
            else:
                self.nodes.append(node)
        return outputs

    def _outermost(self) -> Graph:
        return self.outer._outermost() if self.outer else self

    def _stored(self, name: str, value: NDArray[Any]) -> str:
        """A constant, kept once; one that float16 holds exactly is stored as that and cast back once."""
        content = hashlib.sha256(f"{value.dtype}{value.shape}".encode() + value.tobytes()).digest()
        if content in self._same:
            return self._same[content]
        self._same[content] = name
        if value.size >= SMALL and value.shape[-1] > 1 and is_rounded(value):
            return self._table(name, value)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16) if value.dtype == np.float32 and value.size >= SMALL else None
        if half is None or not np.array_equal(half.astype(np.float32), value):
            return self._constant(name, value)
        self._constant(f"{name}.float16", half)
        cast = helper.make_node("Cast", [f"{name}.float16"], [name], name=f"cast.{name}", to=FLOAT)
        self._outermost().nodes.append(cast)
        return name

    def _table(self, name: str, value: NDArray[Any]) -> str:
        """A matrix whose rows are 8-bit numbers times a step: stored so, and made float32 once."""
        integers, steps = as_integers(value)
        numbers = helper.make_node("Cast", [self._stored(f"{name}.int8", integers)], [f"{name}.numbers"], to=FLOAT)
        inputs = [f"{name}.numbers", self._stored(f"{name}.steps", steps[:, None])]
        # not DequantizeLinear, which ONNX Runtime would work out again in every run
        self._outermost().nodes.extend([numbers, helper.make_node("Mul", inputs, [name], name=name)])
        return name

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(value, name)
        return name


class _Encode(nn.Module):
    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, source_ids: Tensor, source_mask: Tensor) -> tuple[Tensors, Tensors]:
        return self.system.encode(source_ids, source_mask > 0)


class _Step(nn.Module):
    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor, place: Tensor, row: Tensor
    ) -> tuple[Any, ...]:
        logits, rows, moved = self.system.ask(memory, mask, state, previous, t, Beams(place, row))
        return (logits, *(() if rows is None else (rows,)), *moved)


class _Answer(nn.Module):
    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, keys: Tensor, mask: Tensor, queries: Tensor) -> Tensor:
        return self.system.answer(keys, mask, queries)


class _Example(NamedTuple):
    """What goes into the graph's parts, of some sizes; `memory` is how many tensors of memory there are."""

    source: Tensors
    memory: int
    step: tuple[Any, ...]
    state: Tensors
    answer: Tensors


def build(system: System, rules: SearchRules, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The model of `system`, searched by `rules`; length limit, beam size and how many of the best stay inputs."""
    graph = Graph()
    outputs = _Search(graph, system.eval(), rules).outputs()
    proto = helper.make_graph(
        graph.nodes,
        "beam_search",
        [
            helper.make_tensor_value_info("source_ids", INT, ["B", "S"]),
            helper.make_tensor_value_info("source_mask", INT, ["B", "S"]),
            helper.make_tensor_value_info("target_prefix", INT, ["B", "P"]),
            helper.make_tensor_value_info("max_target_length", INT, []),
            helper.make_tensor_value_info("beam_size", INT, []),
            helper.make_tensor_value_info("best", INT, []),
        ],
        outputs,
        list(graph.initializers.values()),
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(kernels.MICROSOFT, 1)],
        ir_version=IR_VERSION,
        producer_name="dragoman",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def group_size(columns: int) -> int:
    """How many of `columns` to look at together for the best ones of all: a divisor, 0 when none is of use."""
    beams, wanted = 4, 8  # as is usual
    divisors = [size for size in range(16, 129) if columns % size == 0 and columns // size >= wanted]
    return min(divisors, key=lambda size: beams * (columns // size) + wanted * size, default=0)


class _Search:
    """The search in nodes, in the order of `search.beam_search`; attributes hold names that the Loop's body shares."""

    def __init__(self, graph: Graph, system: System, rules: SearchRules) -> None:
        self.outer, self.system, self.rules = graph, system, rules
        self.model, self.ranges = system, None  # what is traced; ranges by the names of its weights
        self.half = isinstance(system, Half)
        if isinstance(system, Half):
            self.model = system.system
        if isinstance(system, EightBit):
            self.model = system.computed()
            self.ranges = {f"system.{name}": range_ for name, range_ in system.ranges.items()}

    def outputs(self) -> list[onnx.ValueInfoProto]:
        """Adds everything; gives the graph's outputs."""
        g, rules = self.outer, self.rules
        B = g("Shape", "source_ids", start=0, end=1)  # [1]
        self.K = g("Reshape", "beam_size", g.ints(1))  # [1]
        self.K2 = g("Mul", self.K, g.ints(2))  # [1]
        S = g("Shape", "source_ids", start=1, end=2)  # [1]
        beams, slots2 = g("Concat", B, self.K, axis=0), g("Concat", B, self.K2, axis=0)  # [2] each
        self.flat_beams = g("Concat", g.ints(-1), self.K, axis=0)  # [2]
        self.beam = g("Range", g.number(0), "beam_size", g.number(1))  # [K]
        sentences = g("Range", g.number(0), g("Squeeze", B), g.number(1))  # [B]
        first = self._encode()
        self.mask = g("Cast", "source_mask", to=BOOL)  # [B, S]
        tokens = g("ReduceSum", "source_mask", g.ints(1), keepdims=0)  # [B]
        even = g("Div", g("Cast", "source_mask", to=FLOAT), g("Unsqueeze", g("Cast", tokens, to=FLOAT), g.ints(1)))
        self.beam_twice = g("Concat", self.beam, self.beam, axis=0)  # [2K]
        slots = g("Range", g.number(0), g("Squeeze", self.K2), g.number(1))  # [2K]
        words = self.system.words
        out = [word for word in rules.suppressed if words is None or bool((words == word).any())]
        self.suppressed = tuple(out)
        self.columns_in_all = self.system.sizes.vocabulary if words is None else len(words)
        self.group = group_size(self.columns_in_all)
        of_beam = g.ints(self.columns_in_all // (self.group or 1))
        wanted = g("Add", self.K2, g("Mul", self.K, g.ints(len(out))))  # each beam may want a suppressed word
        self.candidates = g("Min", wanted, g("Mul", self.K, of_beam))  # [1] = C
        # Floats of one row alone are summed in another order than those of more, whole numbers are not: so there are
        # two of a sentence, if dead ones
        self.fewest = g("Min", self.K, g.ints(1 if self.ranges is not None else 2))  # [1]
        if words is not None:
            columns = np.full(self.system.sizes.vocabulary, -1, np.int64)
            columns[words.numpy()] = np.arange(len(words))
            self.words, self.columns = g.ids("words", words.numpy()), g.ids("columns", columns)  # [W], [V]
        self.early = g("Equal", "beam_size", g.number(1))
        if rules.early_stopping:
            self.early = g("Cast", g.number(1), to=BOOL)
        # What a sentence that is not going gives
        nothing = {
            "tokens": (INT, g("Expand", g.number(rules.end), slots2)),
            "parents": (INT, g("Expand", slots, slots2)),
            "log_probs": (FLOAT, g("Expand", g.number(0.0), slots2)),
        }
        if self.model.asks_later:
            of_beams = g("Concat", beams, g.ints(self.query_width), axis=0)  # [3]
            none = g("Cast", g.number(0.0), to=self.query_kind)
            nothing["queries"] = (self.query_kind, g("Expand", none, of_beams))  # [B, K, A]: even attention
        elif self.system.publishes:
            wide = g("Expand", g("Unsqueeze", even, g.ints(1)), g("Concat", beams, S, axis=0))  # [B, K, S]
            nothing["rows"] = (FLOAT, wide)
        self._forced(B)
        ratio = g("Add", g("Mul", tokens, g.number(rules.limit_ratio)), g.number(rules.limit_offset))  # [B]
        limit = g("Max", g("Min", ratio, "max_target_length"), self.forced_count)  # [B]
        self.last_step = g("Unsqueeze", g("Sub", limit, g.number(1)), g.ints(1))  # [B, 1]
        lengths = g("Range", g.number(1), g("Add", g("ReduceMax", limit, keepdims=0), g.number(1)), g.number(1))
        self.penalties = g("Pow", g("Cast", lengths, to=FLOAT), g.number(float(rules.length_penalty)))  # of every step
        self.last_penalty = g("Gather", self.penalties, self.last_step)  # [B, 1]
        self.N = g("Min", g("Reshape", "best", g.ints(1)), self.K)  # [1]

        dead = g("Expand", g.number(DEAD), beams)  # [B, K]
        scores = g("Where", g("Equal", self.beam, g.number(0)), g.number(0.0), g.number(DEAD))  # [K]
        scores = g("Expand", scores, beams)  # [B, K]
        place, row = self._alive(g, scores)
        sentence = g("Div", place, self.K)  # [R]
        carried = {
            "going": (INT, sentences),
            "place": (INT, place),
            "row": (INT, row),
            "previous": (INT, g("Expand", g.number(rules.start), g("Shape", place))),  # [R]
            "scores": (FLOAT, scores),
            "pool": (FLOAT, dead),
            "pool_scores": (FLOAT, dead),
        }
        for number, part in enumerate(first):
            carried[f"state_{number}"] = (self.state_kinds[number], g("Gather", part, sentence, axis=0))  # [R, ...]
        body = self._body(carried, nothing)
        ends = [f"last_{name}" for name in carried]
        start = g("Cast", g.number(1), to=BOOL)
        inputs = ["", start, *(value for _, value in carried.values())]
        g.nodes.append(helper.make_node("Loop", inputs, [*ends, *nothing], name="decode", body=body))
        never = g("Expand", g.number(DEAD), beams)
        g.nodes.append(helper.make_node("Concat", [never, "last_pool_scores"], ["scores"], name="scores", axis=1))
        if self.system.publishes:
            self._attention(B, S, sentences)
        found = [
            helper.make_tensor_value_info("tokens", INT, ["T", "B", "slots"]),
            helper.make_tensor_value_info("parents", INT, ["T", "B", "slots"]),
            helper.make_tensor_value_info("log_probs", FLOAT, ["T", "B", "slots"]),
        ]
        if self.system.publishes:
            found.append(helper.make_tensor_value_info("attention", FLOAT, ["T", "B", "N", "S"]))
        return [*found, helper.make_tensor_value_info("scores", FLOAT, ["B", "slots"])]

    def _trace(self, module: nn.Module, *examples: Sequence[Any], exact: int = 0) -> Fragment:
        """Two examples of its inputs; `exact`: how many of its first outputs are float32 in any case."""
        fragment = kernels.norms_fused(trace(module, *examples))
        if self.half:
            return kernels.halves(fragment, fragment.outputs[:exact])
        return fragment if self.ranges is None else kernels.eight_bits(fragment, self.ranges)

    def _encode(self) -> list[str]:
        """Sets `memory` and gives the first state."""
        g = self.outer
        one, other = (self._example(sizes) for sizes in EXAMPLES)
        encode = self._trace(_Encode(self.model), one.source, other.source)
        names = g.insert(encode, ["source_ids", "source_mask"], "encode")
        self.memory = names[: one.memory]
        later = self.model.asks_later
        exact = 2 if self.system.publishes and not later else 1
        self.step = self._trace(_Step(self.model), one.step, other.step, exact=exact)
        if later:
            queries = one.answer[-1]
            self.query_width, self.query_kind = queries.shape[2], HALF if self.half else FLOAT
            self.answer = self._trace(_Answer(self.model), one.answer, other.answer, exact=1)
        self.state_shapes = [
            [None if axis in varying(part, another) else size for axis, size in enumerate(part.shape)][1:]
            for part, another in zip(one.state, other.state, strict=True)
        ]
        self.state_kinds = [HALF if self.half else KINDS[part.dtype] for part in one.state]
        return names[one.memory :]

    @torch.no_grad()
    def _example(self, sizes: Sizes) -> _Example:
        ids = torch.ones(sizes.B, sizes.S, dtype=torch.long)
        mask = ids > 0
        memory, first = self.system.encode(ids, mask)
        state = tuple(
            torch.zeros(sizes.R, *(size or sizes.t for size in part.shape[1:])).to(part.dtype) for part in first
        )
        previous, place = torch.zeros(2, sizes.R, dtype=torch.long)
        row = torch.zeros(sizes.B, sizes.K, dtype=torch.long)
        later = self.model.asks_later
        step = (memory[:-1] if later else memory, mask, state, previous, torch.tensor(sizes.t), place, row)
        answer: Tensors = ()
        if later:
            _, queries, _ = self.model.ask(*step[:5], Beams(place, row))
            assert queries is not None
            answer = (memory[-1], mask, queries.new_zeros(sizes.B, sizes.K, queries.shape[1]))
        return _Example((ids, ids.clone()), len(memory), step, state, answer)

    def _forced(self, B: str) -> None:
        """Sets what a step looks up at row `p * B + b`, p = P when nothing is forced any more, and `forced_count` [B].

        `forced` [(P + 1) * B, 1], -1 where free; the token's `column` [(P + 1) * B, 1], 0 when there is none; and for a
        system that writes some words only `unwritten` [(P + 1) * B, 1].
        """
        g = self.outer
        by_step = g("Transpose", "target_prefix", perm=[1, 0])  # [P, B]
        free = g("Expand", g.ints(-1), g("Concat", g.ints(1), B, axis=0))  # [1, B]
        self.sentences, self.forced_steps = B, g("Shape", "target_prefix", start=1, end=2)  # [1] each
        self.forced = g("Reshape", g("Concat", by_step, free, axis=0), g.ints(-1, 1))
        column = g("Max", self.forced, g.number(0))
        if self.system.words is not None:
            column = g("Gather", self.columns, column, axis=0)  # -1 where it has no output
            self.unwritten = g("Less", column, g.number(0))
        self.column = g("Max", column, g.number(0))
        is_forced = g("Cast", g("GreaterOrEqual", "target_prefix", g.number(0)), to=INT)  # [B, P]
        self.forced_count = g("ReduceSum", is_forced, g.ints(1), keepdims=0)

    def _paths(self, B: str) -> tuple[str, str]:
        """The slots that the N best hypotheses went through, [B, T, N], and of each step the slot that it continues:
        the walk back along the parents, `search.paths`."""
        g = self.outer
        body = Graph(g)
        slot, parents = "slot_in", "parents_now"
        results = [body.named("slot_out", body("GatherElements", parents, slot, axis=1)), body.named("seen", slot)]
        walk = helper.make_graph(
            body.nodes,
            "walk",
            [helper.make_tensor_value_info(name, INT, [None, None]) for name in (slot, parents)],
            [helper.make_tensor_value_info(name, INT, [None, None]) for name in results],
        )
        bests = g("Range", g("Squeeze", self.K), g("Squeeze", g("Add", self.K, self.N)), g.number(1))
        last = g("Expand", bests, g("Concat", B, self.N, axis=0))  # [B, N]
        attributes = {"num_scan_inputs": 1, "scan_input_directions": [1], "scan_output_directions": [1]}
        before, path = g.many("Scan", last, "parents", count=2, body=walk, **attributes)  # [B, N], [T, B, N]
        path = g("Transpose", path, perm=[1, 0, 2])
        all_but_last = g("Slice", path, g.ints(0), g.ints(-1), g.ints(1))
        return path, g("Concat", g("Unsqueeze", before, g.ints(1)), all_but_last, axis=1)

    def _attention(self, B: str, S: str, sentences: str) -> None:
        """Of each token of the N best hypotheses the row of `search.published`, for all steps at once; where it is
        asked for later, of the queries of those steps alone."""
        g = self.outer
        path, before = self._paths(B)  # [B, T, N]
        T = g("Shape", "parents", start=0, end=1)
        step = g("Unsqueeze", g("Range", g.number(0), g("Squeeze", T), g.number(1)), g.ints(1))  # [T, 1]
        beam = g("Where", g("Less", before, self.K), before, g.number(0))  # that chose the token, or any after the end
        if self.rules.shift:
            runs = g("Less", path, self.K)
            step = g("Add", step, g("Cast", runs, to=INT))
            beam = g("Where", runs, path, beam)
        of_each = g("Concat", B, T, self.N, axis=0)
        of_sentences = g("Unsqueeze", sentences, g.ints(1, 2))  # [B, 1, 1]
        parts = [g("Unsqueeze", g("Expand", part, of_each), g.ints(3)) for part in (step, of_sentences, beam)]
        places = g("Concat", *parts, axis=3)  # [B, T, N, 3]
        if self.model.asks_later:
            asked = g("GatherND", "queries", places)  # [B, T, N, A]
            flat = g("Reshape", asked, g("Concat", B, g.ints(-1, self.query_width), axis=0))  # [B, T * N, A]
            [rows] = g.insert(self.answer, [self.memory[-1], self.mask, flat], "answer")  # [B, T * N, S]
            rows = g("Reshape", rows, g("Concat", of_each, S, axis=0))
        else:
            rows = g("GatherND", "rows", places)  # [B, T, N, S]
        g.nodes.append(helper.make_node("Transpose", [rows], ["attention"], name="attention", perm=[1, 0, 2, 3]))

    def _body(self, carried: Mapping[str, tuple[int, str]], nothing: Mapping[str, tuple[int, str]]) -> onnx.GraphProto:
        """One step of all beams of the sentences `going`; carried values have the suffix `_in`, then `_out`."""
        o, g = self.outer, Graph(self.outer)
        rows_going = g("Unsqueeze", "going_in", o.ints(1))  # [n, 1]
        self.sentence = g("Div", "place_in", self.K)  # [R], which of the n
        # The model
        state = [f"state_{number}_in" for number in range(len(self.state_shapes))]  # [R, ...]
        read = self.memory[:-1] if self.model.asks_later else self.memory
        of_all, used = [*read, self.mask], read_by(self.step.nodes)
        memory = [
            g("Gather", part, "going_in", axis=0) if name in used else part
            for part, name in zip(of_all, self.step.inputs, strict=False)
        ]
        asked = [*memory, *state, "previous_in", "t", "place_in", "row_in"]
        logits, *made = g.insert(self.step, asked, "model")
        rows = made.pop(0) if self.system.publishes else None  # [R, S]

        # The 2K best continuations
        at_limit = g("GreaterOrEqual", "t", g("Gather", self.last_step, "going_in", axis=0))  # [n, 1]
        best, log_prob, token, parent = self._choices(g, logits, at_limit)  # [n, 2K] each
        alive = g("Greater", best, o.number(DEAD))
        ends = g("And", g("Or", g("Equal", token, o.number(self.rules.end)), at_limit), alive)  # [n, 2K]

        # The beams that run on
        running = g("Where", ends, o.number(DEAD), best)
        scores, ran = g.many("TopK", running, self.K, count=2, axis=1)  # [n, K]
        zero, K = o.ints(0), self.K
        leader = g("Slice", scores, zero, o.ints(1), o.ints(1))  # [n, 1]
        if self.rules.beam_threshold:
            least = g("Sub", leader, o.number(float(self.rules.beam_threshold)))
            scores = g("Where", g("Less", scores, least), o.number(DEAD), scores)

        # The pool: its own K, then the first K candidates. Early stopping needs no word here: who is full has stopped
        def first_beams(value: str) -> str:
            return g("Slice", value, zero, K, o.ints(1))

        penalty = g("Gather", self.penalties, "t")
        first_best = first_beams(best)
        ended = g("Where", first_beams(ends), g("Div", first_best, penalty), o.number(DEAD))
        new_pool, kept = g.many("TopK", g("Concat", "pool_in", ended, axis=1), K, count=2, axis=1)  # [n, K]
        pool_scores = g("Gather", "pool_scores_in", "going_in", axis=0)
        pool_scores = g("GatherElements", g("Concat", pool_scores, first_best, axis=1), kept, axis=1)

        # All slots: as if what runs on had been K places behind the pool's K, then the pool
        place = g("Concat", g("Add", ran, K), kept, axis=1)  # [n, 2K]
        was_there = g("Less", place, K)  # in the pool
        candidate = g("Max", g("Sub", place, K), o.number(0))

        def slots(value: str, of_pool: str) -> str:
            """[n, 2K]: `value` of what runs on, then of what ended just now, `of_pool` for what was in the pool."""
            return g("Where", was_there, of_pool, g("GatherElements", value, candidate, axis=1))

        made_tokens = slots(token, o.number(self.rules.end))
        made_parents = slots(parent, g("Add", place, K))
        outputs = {
            "tokens": made_tokens,
            "parents": made_parents,
            "log_probs": slots(log_prob, o.number(0.0)),
        }
        if rows is not None:
            outputs["queries" if self.model.asks_later else "rows"] = rows  # [R, A] or [R, S]

        # What goes on: whose best beam could still beat the pool's worst, or has a pool that is not full; and in any
        # case one of the N best
        worst = g("ReduceMin", new_pool, o.ints(1), keepdims=1)  # [n, 1]
        is_full = g("Greater", worst, o.number(DEAD))
        bound = g("Where", g("And", is_full, self.early), o.number(float("inf")), worst)
        live = g("Greater", g("Div", leader, penalty), bound)  # [n, 1]
        if self.rules.length_penalty >= 0:  # or the score may grow with every word
            longest = g("Div", leader, g("Gather", self.last_penalty, "going_in", axis=0))  # [n, 1], what it can get
            nth = g("Slice", new_pool, g("Sub", self.N, o.ints(1)), self.N, o.ints(1))  # [n, 1]
            live = g("And", live, g("Greater", longest, nth))
        staying = g("Gather", g("NonZero", live), o.number(0), axis=0)  # [m], which of the n go on
        any_left = g("Greater", g("Size", staying), o.number(0))
        scores = g("Gather", scores, staying, axis=0)  # [m, K]
        place, row = self._alive(g, scores)

        def of_alive(value: str) -> str:
            """Of [n, K, ...] what goes on, [R, ...]."""
            return g("Gather", g("Reshape", g("Gather", value, staying, axis=0), o.ints(-1)), place, axis=0)

        parents = of_alive(g("GatherElements", "row_in", first_beams(made_parents), axis=1))  # [R]
        going_on = {
            "going": g("Gather", "going_in", staying, axis=0),
            "place": place,
            "row": row,
            "previous": of_alive(first_beams(made_tokens)),
            "scores": scores,
            "pool": g("Gather", new_pool, staying, axis=0),
            "pool_scores": g("ScatterND", "pool_scores_in", rows_going, pool_scores),
        }
        for number, part in enumerate(made):  # [R, ...]
            going_on[f"state_{number}"] = g("Gather", part, parents, axis=0)

        shapes: dict[str, list[str | int | None]] = {"going": [None], "place": [None], "row": [None, "K"]}
        shapes |= {"previous": [None], "scores": [None, "K"], "pool": [None, "K"], "pool_scores": ["B", "K"]}
        for number, size in enumerate(self.state_shapes):
            shapes[f"state_{number}"] = [None, *size]
        given = [helper.make_tensor_value_info("t", INT, []), helper.make_tensor_value_info("go_on", BOOL, [])]
        given += [helper.make_tensor_value_info(f"{x}_in", kind, shapes[x]) for x, (kind, _) in carried.items()]
        results = [helper.make_tensor_value_info(g.named("go_on_out", any_left), BOOL, [])]
        for name, (kind, _) in carried.items():
            out = g.named(f"{name}_out", going_on[name])
            results.append(helper.make_tensor_value_info(out, kind, shapes[name]))
        for name, (kind, otherwise) in nothing.items():
            # A sentence that is not going, and what is no beam yet, gives nothing
            if name in ("rows", "queries"):
                sentence = g("Gather", "going_in", self.sentence, axis=0)  # [R]
                beam = g("Mod", "place_in", K)
                places = g("Concat", *(g("Unsqueeze", x, o.ints(1)) for x in (sentence, beam)), axis=1)  # [R, 2]
                width = "K"
            else:
                places, width = rows_going, "slots"
            out = g.named(f"{name}_now", g("ScatterND", otherwise, places, outputs[name]))
            depths: dict[str, list[str | int | None]] = {"rows": ["S"], "queries": [None]}
            results.append(helper.make_tensor_value_info(out, kind, ["B", width, *depths.get(name, [])]))
        return helper.make_graph(g.nodes, "step", given, results)

    def _alive(self, g: Graph, scores: str) -> tuple[str, str]:
        """`system.Beams` of `scores` [n, K], the best first: places [R] and rows [n, K].

        A dead beam gets the row of one before it. That is of its own sentence, whose best beam is alive: what is wrong
        with a row stays with its sentence.
        """
        o = self.outer
        alive = g("Or", g("Greater", scores, o.number(DEAD)), g("Less", self.beam, self.fewest))  # [n, K]
        alive = g("Reshape", alive, o.ints(-1))
        before = g("Sub", g("CumSum", g("Cast", alive, to=INT), o.number(0)), o.number(1))
        row = g("Reshape", g("Max", before, o.number(0)), self.flat_beams)
        return g("Reshape", g("NonZero", alive), o.ints(-1)), row

    def _best(self, g: Graph, every: str) -> tuple[str, str, str]:
        """The C largest totals of a sentence's beams, of log-probabilities `every` [R, V]: their places in [K * V],
        log-probabilities and totals, [n, C] each, the largest first and the first of a tie first.

        In two stages, for TopK looks at one entry at a time, a maximum at many: the C groups of columns with the
        largest maxima hold the C largest entries.
        """
        o, size = self.outer, self.group
        before = g("Unsqueeze", "scores_in", o.ints(2))  # [n, K, 1]; dead beams' -inf outdoes whatever row they get
        if size == 0:
            every = g("Gather", every, "row_in", axis=0)  # [n, K, V]
            totals, places = g.many("TopK", self._flat(g, g("Add", every, before)), self.candidates, count=2, axis=1)
            return places, g("GatherElements", self._flat(g, every), places, axis=1), totals
        of_beam = o.number(self.columns_in_all // size)  # G
        groups = g("Reshape", every, o.ints(0, -1, size))  # [R, G, V / G]
        best = g("Gather", g("ReduceMax", groups, o.ints(2), keepdims=0), "row_in", axis=0)  # [n, K, G]
        _, chosen = g.many("TopK", self._flat(g, g("Add", best, before)), self.candidates, count=2, axis=1)  # [n, C]
        chosen, _ = g.many("TopK", chosen, self.candidates, count=2, axis=1, largest=0)  # in their order, for ties
        beam = g("Div", chosen, of_beam)
        row = g("GatherElements", "row_in", beam, axis=1)
        group = g("Add", g("Mul", row, of_beam), g("Mod", chosen, of_beam))  # of the R * G
        log_probs = g("Gather", g("Reshape", every, o.ints(-1, size)), group, axis=0)  # [n, C, V / G]
        of_beam = g("GatherElements", "scores_in", beam, axis=1)
        totals = g("Add", log_probs, g("Unsqueeze", of_beam, o.ints(2)))  # [n, C, V / G]
        totals, places = g.many("TopK", self._flat(g, totals), self.candidates, count=2, axis=1)  # [n, C]
        log_probs = g("GatherElements", self._flat(g, log_probs), places, axis=1)
        group = g("GatherElements", chosen, g("Div", places, o.number(size)), axis=1)  # [n, C]
        places = g("Add", g("Mul", group, o.number(size)), g("Mod", places, o.number(size)))
        return places, log_probs, totals

    def _flat(self, g: Graph, value: str) -> str:
        """[n, ...] as [n, the rest]."""
        return g("Reshape", value, self.outer.ints(0, -1))

    def _choices(self, g: Graph, logits: str, at_limit: str) -> tuple[str, str, str, str]:
        """The 2K best continuations of a sentence, [n, 2K] each: totals, log-probabilities, tokens and beams.

        Where a token is forced, each beam has one, and the second K are dead.
        """
        o, dead = self.outer, self.outer.number(DEAD)
        every = g("LogSoftmax", logits, axis=1)  # [R, V]; ReduceLogSumExp would be ten times slower
        places, log_probs, totals = self._best(g, every)  # [n, C] each
        beams = g("Div", places, o.number(self.columns_in_all))
        words = g("Mod", places, o.number(self.columns_in_all))
        if self.system.words is not None:
            words = g("Gather", self.words, words, axis=0)
        for suppressed in self.suppressed:
            totals = g("Where", g("Equal", words, o.number(suppressed)), dead, totals)
        if self.suppressed:
            totals, order = g.many("TopK", totals, self.K2, count=2, axis=1)  # [n, 2K]
            log_probs, words, beams = (g("GatherElements", x, order, axis=1) for x in (log_probs, words, beams))

        row = g("Add", g("Mul", g("Min", "t", self.forced_steps), self.sentences), "going_in")  # [n]
        forced = g("Gather", self.forced, row, axis=0)  # [n, 1], -1 where free
        is_forced = g("GreaterOrEqual", forced, o.number(0))  # [n, 1]
        column = g("Gather", g("Gather", self.column, row, axis=0), self.sentence, axis=0)  # [R, 1]
        forced_log_prob = g("Reshape", g("GatherElements", every, column, axis=1), o.ints(-1))  # [R]
        forced_log_prob = g("Gather", forced_log_prob, "row_in", axis=0)  # [n, K]
        if self.system.words is not None:
            unwritten = g("Gather", self.unwritten, row, axis=0)  # [n, 1]
            forced_log_prob = g("Where", unwritten, o.number(UNWRITTEN), forced_log_prob)
        if self.rules.end_at_limit:
            last_step = g("And", at_limit, g("Not", is_forced))  # [n, 1]
            forced_log_prob = g("Where", last_step, o.number(0.0), forced_log_prob)
            forced = g("Where", last_step, o.number(self.rules.end), forced)
            is_forced = g("Or", is_forced, last_step)
        behind = g("Concat", o.ints(0, 0, 0), self.K, axis=0)  # the second K
        forced_total = g("Pad", g("Add", "scores_in", forced_log_prob), behind, dead)  # [n, 2K]
        forced_log_prob = g("Pad", forced_log_prob, behind, o.number(0.0))

        def choice(where_forced: str, where_free: str) -> str:
            return g("Where", is_forced, where_forced, where_free)  # [n, 2K]

        tokens, parents = choice(forced, words), choice(self.beam_twice, beams)
        return choice(forced_total, totals), choice(forced_log_prob, log_probs), tokens, parents
