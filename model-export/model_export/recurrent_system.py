"""What the recurrent systems share: embeddings, and a decoder that moves word by word but is read out all at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_export.system import System, Tensors, over_words
from model_export.training_kernels import Dropout


class RecurrentSystem(System):
    """`move` is the architecture; the vocabulary's product, by far the largest, is made once for all steps in training.

    The output weights are the target embedding (Press and Wolf 2017), behind a projection of the readout [..., R].
    """

    def __init__(self, vocabulary: int, embedding: int, readout: int, dropout: float) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(vocabulary, embedding)
        self.target_embedding = nn.Embedding(vocabulary, embedding)
        self.project = nn.Linear(readout, embedding, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = Dropout(dropout)

    def initialise(self) -> None:
        """To be called when every part is there; biases stay as their layers set them."""
        for name, parameter in self.named_parameters():
            if name.endswith("embedding.weight"):
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
            elif parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def embed_source(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.source_embedding(ids))  # [B, S, E]
        return embedded

    def embed_target(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.target_embedding(ids))  # [B, K or T, E]
        return embedded

    def logits(self, readout: Tensor) -> Tensor:
        return over_words(
            self.project(self.dropout(readout)), self.target_embedding.weight, self.output_bias
        )  # [..., V]

    def move(
        self, memory: Tensors, mask: Tensor, state: Tensors, embedded: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        """As `step`, from the embedded words [B, K, E] to what the logits are read from, [B, K, R]."""
        raise NotImplementedError

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        readout, weights, state = self.move(memory, mask, state, self.embed_target(previous), t)
        return self.logits(readout), weights, state

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor | None]:
        memory, first = self.encode(source_ids, mask)
        state = tuple(part[:, None] for part in first)  # [B, 1, ...]
        steps = torch.arange(previous.shape[1], device=previous.device)
        readouts, rows = [], []
        for embedded, t in zip(self.embed_target(previous).chunk(len(steps), dim=1), steps, strict=True):
            readout, weights, state = self.move(memory, mask, state, embedded, t)
            readouts.append(readout)
            rows.append(weights)
        return self.logits(torch.cat(readouts, dim=1)), torch.cat(rows, dim=1)  # [B, T, V], [B, T, S]
