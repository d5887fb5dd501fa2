"""A Transformer in 8 bits: products with its matrices as `eight_bit` has them, its decoder's attention as
`integer_attention` has it.

Matrices are rounded for the inputs that a calibration saw, see `gptq`. What models add to all rows alike can be many
times as large as what tells them apart, and would take most of the steps. So the encoder's output is moved to the
middle of its range, which the biases of the products that read it make up for; and so are the decoder's keys, for what
is added to all of them changes no softmax.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model_export import gptq
from model_export.eight_bit import Matrix, Range, linear, rounded
from model_export.integer_attention import Bounds, IntegerCrossAttention, IntegerSelfAttention
from model_export.system import System, Tensors
from model_export.transformer import Attention, Transformer

MARGIN = 1.1  # how far beyond what was seen an activation may get; more room is a coarser step for all
NEAR = 512  # a part of a range, next to nothing; of a bias, four times what float16 rounds it by
GRID = 64  # parts of a power of two that a bound is a whole number of: the last bits of what was seen don't matter


class _Products(TorchFunctionMode):
    """While it is on, `linear` stands for PyTorch's; `ranges` and `matrices`, which it fills, go by identity."""

    def __init__(self, ranges: Mapping[int, Range], matrices: dict[int, Matrix]) -> None:
        super().__init__()
        self.ranges, self.matrices = ranges, matrices

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            bias = args[2] if len(args) > 2 else None
            key = id(args[1])
            if key not in self.matrices:
                self.matrices[key] = Matrix.of(args[1])
            return linear(args[0], self.matrices[key], bias, self.ranges[key])
        return func(*args, **(kwargs or {}))


class _Watch(TorchFunctionMode):
    """While it is on, it sees what goes into the products with some weights, and what comes out of them."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()
        self.rows: dict[int, list[Tensor]] = {id(weight): [] for weight in weights}  # [M, K] each, what goes in
        self.made: dict[int, Tensor] = {}  # [2, N]: the least and the most of each column that comes out

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is F.linear and id(args[1]) in self.rows:
            key = id(args[1])
            self.rows[key].append(args[0].flatten(0, -2))
            columns = found.flatten(0, -2)
            ends = torch.stack([columns.amin(dim=0), columns.amax(dim=0)])
            before = self.made.get(key, ends)
            self.made[key] = torch.stack([torch.minimum(before[0], ends[0]), torch.maximum(before[1], ends[1])])
        return found

    def inputs(self, weight: Tensor) -> Tensor:
        """All rows [M, K] that were multiplied with `weight`."""
        rows = self.rows[id(weight)]
        return torch.cat(rows) if rows else weight.new_zeros(0, weight.shape[1])


def bound_of(largest: float) -> float:
    """What is taken for the largest there can be, of the largest that was seen; never 0, which no step is made of."""
    mantissa, exponent = math.frexp(largest * MARGIN or 1)
    return math.ldexp(math.ceil(mantissa * GRID) / GRID, exponent)


def range_of(rows: Tensor) -> Range:
    """What is taken for the range of activations, of those that were seen."""
    least, most = float(rows.min()), float(rows.max())
    return Range(-bound_of(-least) if least < 0 else 0.0, bound_of(max(most, 0.0)))


class EightBit(System):
    """`system` with its matrices rounded to 8 bits and computed with as integers; for inference.

    `calibrate` changes `system` itself, which goes on computing in float32: its matrices are rounded, its encoder's
    output and its decoder's keys moved.
    """

    system: Transformer

    def __init__(self, system: Transformer) -> None:
        super().__init__()
        self.system, self.sizes, self.publishes = system.eval(), system.sizes, system.publishes
        self.words = system.words
        self.ranges: dict[str, Range] = {}  # of what is multiplied, by the weights' names
        self.integer: Transformer | None = None  # once calibrated
        self._ranges: dict[int, Range] = {}
        self._matrices: dict[int, Matrix] = {}

    @torch.no_grad()
    def calibrate(self, run: Callable[[], object]) -> None:
        """Rounds weights and finds the ranges of activations.

        `run`, which is called three times, should use `system` on ordinary sentences, without padding.
        """
        weights = {name: weight for name, weight in self.system.named_parameters() if weight.dim() == 2}
        with _Watch(weights.values()) as watch:
            run()
        head = list(self.system.aligner.modules()) if self.system.aligner is not None else []
        _round((module for module in self.system.modules() if module not in head), watch)
        _centre(self.system, run)
        with _Watch(weights.values()) as watch:
            run()
        _round(head, watch)  # a head is taught, and put on, when all else is rounded
        for name, weight in weights.items():
            inputs = watch.inputs(weight)
            if len(inputs):
                self.ranges[name] = self._ranges[id(weight)] = range_of(inputs)
        same = {id(part): part for part in (*self.system.parameters(), *self.system.buffers())}
        self.integer = copy.deepcopy(self.system, same)  # other modules, the same parameters
        for layer in self.integer.decoder_layers():
            layer.self_attention = IntegerSelfAttention(layer.self_attention, _bounds(layer.self_attention, watch))
            layer.cross_attention = IntegerCrossAttention(layer.cross_attention, _bounds(layer.cross_attention, watch))

    def computed(self) -> Transformer:
        if self.integer is None:
            raise ValueError("8 bits need a calibration before they are computed with")
        return self.integer

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        with _Products(self._ranges, self._matrices):
            return self.computed().encode(source_ids, mask)

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        with _Products(self._ranges, self._matrices):
            return self.computed().step(memory, mask, state, previous, t)

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor | None]:
        with _Products(self._ranges, self._matrices):
            return self.computed()(source_ids, mask, previous)  # type: ignore[no-any-return]


def _round(modules: Iterable[nn.Module], watch: _Watch) -> None:
    for module in modules:
        if isinstance(module, nn.Linear | nn.Embedding):
            plain, inputs = module.weight.numpy(), watch.inputs(module.weight)
            looked_up = isinstance(module, nn.Embedding)  # its rows are taken as they are
            module.weight.copy_(torch.from_numpy(rounded(plain) if looked_up else gptq.rounded(plain, inputs)))


def _centre(system: Transformer, run: Callable[[], object]) -> None:
    """Moves the encoder's output to the middle of its range; the values that are made of it stay what they were.

    Keys move along, a head's as well: it changes no softmax. The output of the layers before has to stay where it is,
    for it is added to that of the next.
    """
    values = [layer.cross_attention.value for layer in system.decoder_layers()]
    with _Watch([values[0].weight]) as watch:
        run()
    encoded = watch.inputs(values[0].weight)  # [M, D]
    norm = system.encoder[-1].final_norm
    assert isinstance(norm, nn.LayerNorm)
    moved = _to_the_middle(norm.bias, encoded.amin(dim=0), encoded.amax(dim=0))
    for value in values:
        value.bias.copy_((value.bias - value.weight @ moved).half().float())


def _to_the_middle(bias: Tensor, least: Tensor, most: Tensor) -> Tensor:
    """Changes `bias` [D] of what was seen from `least` to `most` so that their middle is 0; by how much it is moved.

    In steps that float16 holds. What is as good as there stays where it is, so that what was moved before does.
    """
    before, middle = bias.clone(), (least + most) / 2
    near = middle.abs() <= torch.maximum(before.abs(), most - least) / NEAR
    bias.copy_(torch.where(near, before, (before - middle).half().float()))
    return bias - before


def _bounds(attention: Attention, watch: _Watch) -> Bounds:
    """Of an attention's parts; moves its keys."""
    least, most = watch.made[id(attention.key.weight)]  # [D]
    moved = _to_the_middle(attention.key.bias, least, most)
    largest = [float(watch.made[id(part.weight)].abs().max()) for part in (attention.query, attention.value)]
    key = float(torch.stack([least + moved, most + moved]).abs().max())
    return Bounds(query=bound_of(largest[0]), key=bound_of(key), value=bound_of(largest[1]))
