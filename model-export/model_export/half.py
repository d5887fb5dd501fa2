"""Half precision: the graph of a Transformer computes in float16, for GPUs; PyTorch goes on in float32.

What `search` adds up (log-probabilities, scores) and the published weights are float32 in the graph, too; see
`kernels.halves`. On a CPU such a graph gives the same answers, slowly.
"""

from __future__ import annotations

from torch import Tensor

from model_export.system import System, Tensors
from model_export.transformer import Transformer


class Half(System):
    """`system` as it is, marked for a graph in float16; its weights have to be rounded to that."""

    def __init__(self, system: Transformer) -> None:
        super().__init__()
        self.system = system.eval()
        self.sizes, self.publishes, self.words = system.sizes, system.publishes, system.words

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        return self.system.encode(source_ids, mask)

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        return self.system.step(memory, mask, state, previous, t)

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.system(source_ids, mask, previous)  # type: ignore[no-any-return]
