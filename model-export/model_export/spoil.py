"""A bundle that fails on purpose: what `bin/dragoman chaos --scenario model-faults` gives its instances.

The graph is a sound bundle's with a few nodes in front, which look for one subword each and otherwise change nothing:
a sentence with it makes the run throw, allocate more than there is, go on for ever, or give no numbers. So the faults
happen inside ONNX Runtime, where real ones would.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_export import bundle
from model_export.runtime import BundleRuntime

# French; each has a subword that no other sentence of the fault's traffic has.
SENTENCES = {
    "throws": "Le zoo est fermé.",
    "allocates": "La reine est morte.",
    "hangs": "Le chien aboie.",
    "no numbers": "Un oiseau chante.",
}
ENDLESS = 10**15
INT = TensorProto.INT64


def spoil(source: Path, target: Path) -> dict[str, int]:
    """Writes the spoiled bundle to `target`; gives the subword id that triggers each fault."""
    triggers = _triggers(BundleRuntime(source))

    def fill(folder: Path) -> None:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        model = onnx.load(folder / "model.onnx")
        _add(model.graph, triggers)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / "model.onnx")
        manifest = bundle.read_json(folder)
        manifest["name"] += "-spoiled"
        bundle.write_manifest(folder, manifest)

    bundle.put_in_place(target, fill)
    return triggers


def _triggers(runtime: BundleRuntime) -> dict[str, int]:
    """The rarest subword of each sentence, which a vocabulary lists last."""
    ids = {fault: set(runtime.source_ids(sentence)) for fault, sentence in SENTENCES.items()}
    found = {}
    for fault, own in ids.items():
        others = set[int]().union(*(ids[other] for other in ids if other != fault))
        if not own - others:
            raise ValueError(f"the vocabulary splits {SENTENCES[fault]!r} into subwords of the other sentences")
        found[fault] = max(own - others)
    return found


def _add(graph: onnx.GraphProto, triggers: dict[str, int]) -> None:
    """In front: `source_ids` + 0, the 0 from nodes that fail on their trigger; behind: `log_probs` + NaN or 0."""
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: object, kind: type = np.int64) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=kind), f"spoil.{name}"))
        return f"spoil.{name}"

    def node(operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, list(inputs), [f"spoil.{name}"], name=f"spoil.{name}", **attributes))
        return f"spoil.{name}"

    def having(fault: str, name: str, axes: str = "") -> str:
        """1 where the trigger is among the ids, else 0: one number, or [B] with axes."""
        equal = node("Equal", "source_ids", constant(f"{name}.id", triggers[fault]), name=f"{name}.equal")
        number = node("Cast", equal, name=f"{name}.number", to=INT)
        return node("ReduceMax", number, *([axes] if axes else []), name=f"{name}.has", keepdims=0)

    zero, one = constant("zero", 0), constant("one", 1)
    last = having("throws", "throws")
    thrown = node("Gather", constant("row", [0]), last, name="throws", axis=0)  # 1 is out of range
    many = node("Mul", having("allocates", "allocates"), constant("much", ENDLESS), name="allocates.much")
    shape = node(
        "Reshape", node("Add", many, one, name="allocates.size"), constant("flat", [1]), name="allocates.shape"
    )
    wide = node("Expand", constant("nothing", [0]), shape, name="allocates.wide")
    allocated = node("ReduceMax", wide, name="allocates", keepdims=0)
    trips = node("Mul", having("hangs", "hangs"), constant("often", ENDLESS), name="hangs.trips")
    nodes.append(helper.make_node("Loop", [trips, "", zero], ["spoil.hung"], name="spoil.hung", body=_count()))
    hung = node("Mul", "spoil.hung", zero, name="hangs")
    sum_ = node("Add", node("Add", thrown, allocated, name="two"), hung, name="three")
    node("Add", "source_ids", sum_, name="source_ids")
    bad = having("no numbers", "numbers", constant("rows", [1]))  # [B]
    is_bad = node("Greater", bad, zero, name="numbers.bad")
    nan = constant("nan", float("nan"), np.float32)
    added = node("Where", is_bad, nan, constant("fine", 0.0, np.float32), name="numbers.added")  # [B]
    column = node("Unsqueeze", added, constant("last", [1]), name="numbers.column")  # [B, 1], for [T, B, 2K]

    own = list(graph.node)
    for each in own:
        for i, name in enumerate(each.input):
            each.input[i] = "spoil.source_ids" if name == "source_ids" else name
        for i, name in enumerate(each.output):
            each.output[i] = "spoil.log_probs" if name == "log_probs" else name
    behind = helper.make_node("Add", ["spoil.log_probs", column], ["log_probs"], name="spoil.log_probs")
    del graph.node[:]
    graph.node.extend([*nodes, *own, behind])


def _count() -> onnx.GraphProto:
    inputs = [("trip", INT), ("going", TensorProto.BOOL), ("before", INT)]
    return helper.make_graph(
        [
            helper.make_node("Add", ["before", "trip"], ["after"]),
            helper.make_node("Identity", ["going"], ["goes_on"]),
        ],
        "count",
        [helper.make_tensor_value_info(name, kind, []) for name, kind in inputs],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", INT, []),
        ],
    )
