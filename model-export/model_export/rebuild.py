"""A bundle's graph made again by this exporter, of the weights that stand in it: no checkpoint is needed.

What a newer exporter does better (faster operators, say) reaches bundles that were made before. The weights, the
vocabulary, the search and the golden file stay; verification holds the new graph to that file, and so the scores stay.
The reading of links stays unless another one is asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from model_export import onnx_graph
from model_export.alignment import Choice
from model_export.bundle import (
    MANIFEST,
    BundleError,
    calibrate,
    golden,
    metadata,
    put_in_place,
    read_golden,
    read_json,
    write_manifest,
)
from model_export.eight_bit_system import EightBit
from model_export.half import Half
from model_export.runtime import Reference, rules_of
from model_export.system import System
from model_export.transformer import Sizes, Transformer

KINDS = ("transformer", "marian")


def rebuild(
    folder: Path,
    verify: Callable[[Path, System], None],
    choice: Choice | None = None,
    new_golden: bool = False,
    beam_threshold: float | None = None,
) -> None:
    """Replaces the bundle in `folder`; raises BundleError, and leaves it as it was, when it cannot be done.

    With `choice` its links come from attention in another way from now on, with `beam_threshold` its search gives up
    other beams (`search.SearchRules`), and the golden file is written anew, as it is with `new_golden`: for 8 bits that
    this exporter rounds otherwise. But for links the scores are to be taken again then.
    """
    manifest, plain = stored_system(folder)
    kinds = {"int8": EightBit, "half": Half}
    wrapped = kinds.get(manifest["model"]["weights"])
    system = plain.eval() if wrapped is None else wrapped(plain)
    if choice is not None:
        manifest["attention"]["links"] = choice.manifest()
    if beam_threshold is not None:
        manifest["decoding"]["beam_threshold"] = beam_threshold
    remake(folder, manifest, system, verify, new_golden or choice is not None or beam_threshold is not None)


def remake(
    folder: Path, manifest: dict[str, Any], system: System, verify: Callable[[Path, System], None], new_golden: bool
) -> None:
    """Replaces the bundle in `folder` by one of `manifest` and `system`; vocabulary and golden sentences stay."""
    sizes = manifest["vocabulary"]["source_size"], manifest["vocabulary"]["target_size"]
    known = metadata(manifest["architecture"], manifest["vocabulary"]["sha256"], sizes)

    def fill(made: Path) -> None:
        shutil.copytree(folder, made, dirs_exist_ok=True)
        sentences = [row[0] for row in read_golden(made)]
        write_manifest(made, manifest)
        if isinstance(system, EightBit):
            calibrate(system, made, sentences)
        onnx.save(onnx_graph.build(system, rules_of(manifest), known), made / "model.onnx")
        if new_golden:
            text = golden(Reference(made, system), sentences)
            (made / "golden.tsv").write_text(text, encoding="utf-8", newline="\n")
        write_manifest(made, manifest)
        verify(made, system)

    put_in_place(folder, fill)


def stored_system(folder: Path) -> tuple[dict[str, Any], Transformer]:
    """The manifest of the bundle in `folder`, and the model with the weights that its graph holds."""
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} is no bundle: it should hold {MANIFEST}")
    manifest = read_json(folder)
    kind = manifest.get("model", {}).get("system")
    if kind not in KINDS:
        raise BundleError(f"{folder}: only a Transformer's weights can be read from its graph: this is {kind}")
    return manifest, _system(folder, manifest)


def _system(folder: Path, manifest: dict[str, Any]) -> Transformer:
    sizes: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in manifest["model"]["sizes"].items()
    }
    system = Transformer(Sizes(**sizes))
    stored = _Stored(folder / "model.onnx")
    words = stored.constants.get("words")
    if words is not None:
        system.write_only(torch.from_numpy(words.copy()))
    missing = []
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            value = stored.parameter(name)
            if value is not None and value.shape == tuple(parameter.shape):
                parameter.copy_(torch.from_numpy(value.copy()))
            elif name == "output_bias" and words is not None:
                parameter.zero_()  # of words that are not written: nothing reads it
            else:
                missing.append(name)
    if missing:
        raise BundleError(f"{folder / 'model.onnx'}: weights that are not found in the graph: {', '.join(missing)}")
    return system


class _Stored:
    """A graph's constants, undone as `onnx_graph.Graph` stores them: float16, and 8-bit numbers with their steps."""

    def __init__(self, model: Path) -> None:
        graph = onnx.load(model).graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._makers = {node.output[0]: node for node in graph.node if node.op_type in ("Cast", "Mul")}

    def parameter(self, name: str) -> NDArray[Any] | None:
        """By its name in the module, in the encoder's part or the step's; None when it is in neither."""
        for part in ("encode", "model"):
            for module in ("", "system."):
                value = self._value(f"{part}.{module}{name}")
                if value is not None:
                    return value
        return None

    def _value(self, name: str) -> NDArray[Any] | None:
        if name in self.constants:
            return self.constants[name]
        maker = self._makers.get(name)
        if maker is not None:
            values = [self._value(given) for given in maker.input]
            known = [value.astype(np.float32) for value in values if value is not None]
            return None if len(known) < len(values) else np.prod(np.broadcast_arrays(*known), axis=0)
        integers = self.constants.get(f"{name}.int8")
        steps = None if integers is None else self._value(f"{name}.steps")
        if integers is None or steps is None:
            return None
        value: NDArray[Any] = integers.astype(np.float32) * steps[:, None]
        return value
