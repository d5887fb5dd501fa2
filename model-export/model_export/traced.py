"""A PyTorch module as nodes of a larger ONNX graph: `torch.onnx.export` does the translation, this puts it in place."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.onnx import ops

OPSET = 18
KEPT = 6  # of the last two models: a bundle in float16 is checked with the same model's graph in float32


class Sizes(NamedTuple):
    """Sizes of the dimensions that vary: B sentences, K beams, R beams alive in all, S source length, t steps done."""

    B: int
    K: int
    R: int
    S: int
    t: int


EXAMPLES = Sizes(B=13, K=17, R=29, S=19, t=23), Sizes(B=3, K=5, R=11, S=2, t=7)  # no size twice


def varying(value: Tensor, other: Tensor) -> dict[int, Any]:
    """The axes whose sizes differ: two examples of one input tell which vary."""
    sizes = zip(value.shape, other.shape, strict=True)
    return {axis: torch.export.Dim.DYNAMIC for axis, (size, another) in enumerate(sizes) if size != another}


@dataclass(frozen=True)
class Fragment:
    """Nodes in order, their constants, and the names of what goes in and comes out; `types` of all names."""

    nodes: list[onnx.NodeProto]
    constants: dict[str, onnx.TensorProto]
    inputs: list[str]
    outputs: list[str]
    types: Mapping[str, int] = field(default_factory=dict)  # TensorProto's


class _Contents(pickle.Pickler):
    """Writes a tensor as a number of its own and what it holds: one in two places is not taken for two equal ones."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.fast = True  # no references back, which differ between equal modules
        self.numbers: dict[int, int] = {}

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        number = self.numbers.setdefault(id(value), len(self.numbers))
        content = hashlib.sha256(value.detach().numpy().tobytes())
        return number, str(value.dtype), tuple(value.shape), content.digest()


_kept: OrderedDict[bytes, Fragment] = OrderedDict()


def trace(module: nn.Module, inputs: Sequence[Any], others: Sequence[Any]) -> Fragment:
    """`module` called with `inputs` (tensors, or tuples of tensors); dimensions that differ in `others` may vary.

    What was traced lately, with the same weights, is not traced again, which takes seconds: so the module is one that
    can be pickled.
    """
    contents = io.BytesIO()
    _Contents(contents).dump((module.eval(), inputs, others))
    key = hashlib.sha256(contents.getbuffer()).digest()
    if key not in _kept:
        _kept[key] = _traced(module, inputs, others)
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def _traced(module: nn.Module, inputs: Sequence[Any], others: Sequence[Any]) -> Fragment:
    shapes = tuple(
        tuple(map(varying, x, other)) if isinstance(x, tuple) else varying(x, other)
        for x, other in zip(inputs, others, strict=True)
    )
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # deprecations inside the exporter
            program = torch.onnx.export(
                module, tuple(inputs), dynamo=True, dynamic_shapes=shapes, opset_version=OPSET, verbose=False
            )
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
    assert program is not None
    graph = program.model_proto.graph
    if program.model_proto.functions:
        raise ValueError(f"{type(module).__name__}: the exporter left functions, which a Loop cannot hold")
    read = read_by(graph.node) | {value.name for value in graph.output}  # the exporter leaves unread ones behind
    return Fragment(
        nodes=list(graph.node),
        constants={tensor.name: tensor for tensor in graph.initializer if tensor.name in read},
        inputs=[value.name for value in graph.input],
        outputs=[value.name for value in graph.output],
        types={
            **{
                value.name: value.type.tensor_type.elem_type
                for value in (*graph.value_info, *graph.input, *graph.output)
            },
            **{tensor.name: tensor.data_type for tensor in graph.initializer},
        },
    )


def operator(
    name: str, given: Sequence[Tensor | None], kind: torch.dtype, shape: Sequence[int | torch.SymInt], **attributes: Any
) -> Tensor:
    """Where a trace has it, an operator of ONNX, or `domain::name`; its output has `kind` and `shape`."""
    version = 1 if "::" in name else OPSET
    made: Tensor = ops.symbolic(name, given, attributes, dtype=kind, shape=tuple(shape), version=version)
    return made


def read_by(nodes: Collection[onnx.NodeProto]) -> set[str]:
    """The names that nodes read, in bodies too."""
    names = {x for node in nodes for x in node.input}
    bodies = [a.g for node in nodes for a in node.attribute if a.HasField("g")]
    return names.union(*(read_by(g.node) | {value.name for value in g.output} for g in bodies))


def renamed(fragment: Fragment, given: Mapping[str, str], prefix: str) -> tuple[list[onnx.NodeProto], list[str]]:
    """The nodes with inputs renamed as `given` (constants too) and everything else prefixed; and the outputs' names."""
    names = dict(given)

    def name(old: str) -> str:
        return names.setdefault(old, f"{prefix}{old}") if old else ""

    def renamed_node(node: onnx.NodeProto, number: str) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.metadata_props[:]  # the exporter's stack traces: paths of this machine, other bytes on every one
        copy.name = f"{prefix}{node.op_type}_{number}"
        copy.input[:] = [name(x) for x in node.input]
        copy.output[:] = [name(x) for x in node.output]
        for body in (a.g for a in copy.attribute if a.HasField("g")):  # of a Scan; it sees the names outside it
            for value in (*body.input, *body.initializer, *body.output, *body.value_info):
                value.name = name(value.name)
            inner = [renamed_node(x, f"{number}_{i}") for i, x in enumerate(body.node)]
            del body.node[:]
            body.node.extend(inner)
        return copy

    nodes = [renamed_node(node, str(number)) for number, node in enumerate(fragment.nodes)]
    return nodes, [name(x) for x in fragment.outputs]


def array_of(tensor: onnx.TensorProto) -> Any:
    return numpy_helper.to_array(tensor)
