"""ONNX Runtime's own operators in place of what PyTorch's exporter writes: a traced Fragment in, an equal one out.

`norms_fused`: a residual sum, its bias and its LayerNormalization become one SkipLayerNormalization, which is four
times as fast on a CPU as LayerNormalization alone.

`eight_bits`: products with constant weights become products of 8-bit numbers, exact in 32-bit integers, as
`eight_bit.linear` has them. A product's activations have a scale that was found at export, so that no row depends on
its batch; DynamicQuantizeMatMul would take one from the whole batch.

`halves`: everything in float16, for GPUs, but what follows the last product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_export.eight_bit import Range, as_integers
from model_export.traced import Fragment, read_by

MICROSOFT = "com.microsoft"
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
PRODUCTS = frozenset(("Gemm", "MatMul"))


def norms_fused(fragment: Fragment) -> Fragment:
    """LayerNormalization(skip + (x + bias)) as SkipLayerNormalization(x, skip, bias); bias may be missing."""
    makers = {name: node for node in fragment.nodes for name in node.output}
    readers = _readers(fragment)
    gone: set[str] = set()
    nodes = []
    for node in fragment.nodes:
        total = makers.get(node.input[0]) if node.op_type == "LayerNormalization" else None
        if total is None or total.op_type != "Add" or readers[total.output[0]] != 1 or _axis(node) != -1:
            nodes.append(node)
            continue
        skip, x = total.input
        gone.add(total.output[0])
        bias, biased = "", makers.get(x)
        if biased is not None and biased.op_type == "Add" and readers[x] == 1:
            for one, other in (biased.input, reversed(biased.input)):
                if one in fragment.constants and len(fragment.constants[one].dims) == 1:
                    gone.add(x)
                    bias, x = one, other
                    break
        inputs = [x, skip, node.input[1], node.input[2], *([bias] if bias else [])]
        epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
        fused = helper.make_node("SkipLayerNormalization", inputs, node.output[:1], domain=MICROSOFT, epsilon=epsilon)
        nodes.append(fused)
    return replace(fragment, nodes=[node for node in nodes if not gone.intersection(node.output)])


def _axis(node: onnx.NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "axis"), -1)


def _readers(fragment: Fragment) -> Counter[str]:
    """How often each name is read, by nodes and as an output."""
    return Counter([name for node in fragment.nodes for name in node.input] + fragment.outputs)


def eight_bits(fragment: Fragment, ranges: Mapping[str, Range]) -> Fragment:
    """Every Gemm x [M, K] W^T [N, K] + bias with constant W; its values have to be `eight_bit.rounded`.

    `system.over_words` and a Linear layer on rows are such Gemms. `ranges` of x by the names of constants W.
    """
    return _EightBits(fragment, ranges).result()


class _EightBits:
    def __init__(self, fragment: Fragment, ranges: Mapping[str, Range]) -> None:
        self.fragment, self.ranges = fragment, ranges
        self.constants = dict(fragment.constants)
        self.nodes: list[onnx.NodeProto] = []
        self.integers: set[str] = set()  # names of rows in 8 bits

    def result(self) -> Fragment:
        for node in self.fragment.nodes:
            if node.op_type == "Gemm" and node.input[1] in self.fragment.constants:
                self._product(node)
            else:
                self.nodes.append(node)
        fragment = replace(self.fragment, nodes=self.nodes, constants=self.constants)
        read = read_by(fragment.nodes) | set(fragment.outputs)
        return replace(fragment, constants={k: v for k, v in fragment.constants.items() if k in read})

    def _product(self, node: onnx.NodeProto) -> None:
        given = {a.name: a.i or a.f for a in node.attribute}
        if given != {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}:
            raise ValueError(f"{node.name}: 8 bits need a plain product with weights [N, K], not {given}")
        x, weights = node.input[:2]
        if weights not in self.ranges:
            raise ValueError(f"{weights}: no sentence of the calibration came to this product")
        bias = node.input[2] if len(node.input) == 3 else ""  # the exporter leaves out one of zeros
        result = node.output[0]
        integers, steps = as_integers(numpy_helper.to_array(self.fragment.constants[weights]))  # [N, K], [N]
        self._constant(f"{weights}.int8", integers)
        self._constant(f"{weights}.steps", steps)
        columns = self._add("Transpose", f"{weights}.int8", name=f"{result}.weights", perm=[1, 0])  # [K, N]
        rows, step, zero = self._rows(x, self.ranges[weights])
        inputs = [rows, columns, step, f"{weights}.steps", zero, "", bias]
        self._add("MatMulIntegerToFloat", *inputs, name=result, domain=MICROSOFT)

    def _rows(self, x: str, range_: Range) -> tuple[str, str, str]:
        """x [M, K] within `range_` as unsigned 8-bit numbers, their step [] and zero []; made once for each x."""
        of = f"{range_.least}_{range_.most}"
        rows, step, zero = f"{x}.within_{of}", f"step_{of}", f"zero_{range_.zero}"
        self._constant(step, range_.step)
        self._constant(zero, np.uint8(range_.zero))
        if rows not in self.integers:
            self.integers.add(self._add("QuantizeLinear", x, step, zero, name=rows))
        return rows, step, zero

    def _add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def _constant(self, name: str, value: Any) -> None:
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))


def halves(fragment: Fragment, exact: Collection[str]) -> Fragment:
    """Float32 becomes float16, in what goes in and comes out as well, but for the outputs `exact`.

    What leads from the last products to those outputs is computed in float32, so that softmax rows sum to 1 as closely
    as they do otherwise, and is cast back where something else reads it.
    """
    return _Halves(fragment, exact).result()


class _Halves:
    def __init__(self, fragment: Fragment, exact: Collection[str]) -> None:
        self.fragment, self.exact = fragment, exact
        self.constants: dict[str, onnx.TensorProto] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.kinds = {name: HALF for name, kind in fragment.types.items() if kind == FLOAT}
        for name, tensor in fragment.constants.items():
            self.kinds.pop(name, None)  # those are made of whichever type is read
            if tensor.data_type != FLOAT:
                self.constants[name] = tensor
        self.cast: set[str] = set()

    def result(self) -> Fragment:
        wide = self._after_products()
        for node in self.fragment.nodes:
            kind = FLOAT if wide.intersection(node.output) else HALF
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [self._read(name, kind) for name in node.input]
            for attribute in copy.attribute:
                if attribute.HasField("g"):
                    raise ValueError(f"{node.op_type} has a body: only Transformers are computed in float16")
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                    attribute.i = kind
                if attribute.HasField("t") and attribute.t.data_type == FLOAT:
                    attribute.t.CopyFrom(self._tensor(attribute.t, kind))
            if node.op_type == "ConstantOfShape" and not node.attribute:  # zeros of float32 when nothing is said
                copy.attribute.append(helper.make_attribute("value", helper.make_tensor("", kind, [1], [0.0])))
            self.nodes.append(copy)
            self.kinds |= {name: kind for name in node.output if name in self.kinds}
        outputs = [self._read(name, FLOAT if name in self.exact else HALF) for name in self.fragment.outputs]
        types = {name: HALF if kind == FLOAT else kind for name, kind in self.fragment.types.items()} | self.kinds
        return replace(self.fragment, nodes=self.nodes, constants=self.constants, outputs=outputs, types=types)

    def _after_products(self) -> set[str]:
        """The outputs of the nodes between the last products and `exact`."""
        makers = {name: node for node in self.fragment.nodes for name in node.output}
        found: set[str] = set()
        waiting = list(self.exact)
        while waiting:
            name = waiting.pop()
            node = makers.get(name)
            if node is None or name in found or node.op_type in PRODUCTS:
                continue
            if any(self.fragment.types.get(output) == FLOAT for output in node.output):
                found.update(node.output)
                waiting.extend(node.input)
        return found

    def _read(self, name: str, kind: int) -> str:
        """`name` as a value of `kind`, when it is one of floats."""
        tensor = self.fragment.constants.get(name)
        if tensor is not None:
            if tensor.data_type != FLOAT:
                return name
            # the weights keep their names, for whoever reads them out of the graph
            other = f"{name}.float32" if kind == FLOAT else name
            self.constants.setdefault(other, self._tensor(tensor, kind, other))
            return other
        if self.kinds.get(name, kind) == kind:
            return name
        other = f"{name}.{'float32' if kind == FLOAT else 'float16'}"
        if other not in self.cast:
            self.cast.add(other)
            self.nodes.append(helper.make_node("Cast", [name], [other], to=kind))
        return other

    def _tensor(self, tensor: onnx.TensorProto, kind: int, name: str = "") -> onnx.TensorProto:
        """`tensor` in `kind`; what is too large for float16 becomes its largest number."""
        value = numpy_helper.to_array(tensor)
        if kind == HALF:
            most = np.finfo(np.float16).max
            value = np.where(np.isfinite(value), np.clip(value, -most, most), value).astype(np.float16)
        return numpy_helper.from_array(value, name or tensor.name)
