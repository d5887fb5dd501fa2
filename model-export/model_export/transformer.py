"""System S11, the Transformer, laid out as MarianMT lays it out, so that an imported checkpoint (S12) is the same page.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762), section 3. The order of a layer
(normalisation after each residual sum), positions with all sines before all cosines, one embedding for source, target
and output (Press and Wolf 2017) and the output bias are MarianMT's (Junczys-Dowmunt et al., ACL 2018 demonstrations).

The published attention is the mean of the chosen heads of one decoder layer's attention over the source; training may
teach it links (Garg et al., "Jointly Learning to Align and Translate with Transformer Models", EMNLP 2019, section 4).

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    D width   H heads   C = D / H   F inner   t steps done
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_export.system import System, Tensors, over_words

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"swish": F.silu, "silu": F.silu, "relu": F.relu, "gelu": F.gelu}


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions; source and target share the vocabulary and its embedding."""

    vocabulary: int
    width: int = 256
    inner: int = 1024
    heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 2
    dropout: float = 0.1
    activation: str = "swish"
    positions: int = 512
    scale_embedding: bool = True
    published_layer: int = 0
    published_heads: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"sizes.width should be a multiple of sizes.heads ({self.heads}): was {self.width}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"sizes.activation should be one of {', '.join(ACTIVATIONS)}: was {self.activation}")
        if not 0 <= self.published_layer < self.decoder_layers:
            raise ValueError(f"sizes.published_layer should be below {self.decoder_layers}: was {self.published_layer}")
        if not self.published_heads or not all(0 <= head < self.heads for head in self.published_heads):
            raise ValueError(f"sizes.published_heads should be below {self.heads}: was {list(self.published_heads)}")


def sinusoids(positions: int, width: int) -> Tensor:
    """Section 3.5 as MarianMT stores it, [positions, D]: all sines, then all cosines."""
    rates = 10000.0 ** (-2.0 * torch.arange((width + 1) // 2) / width)  # [D/2]
    angles = torch.arange(positions)[:, None] * rates  # [positions, D/2]
    return torch.cat([angles.sin(), angles.cos()[:, : width // 2]], dim=1)


class Attention(nn.Module):
    """Section 3.2.2, multi-head attention: queries [..., T, D] over keys and values [..., H, S, C]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads, self.scale = sizes.heads, (sizes.width // sizes.heads) ** -0.5
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, sizes.width)
        self.value = nn.Linear(sizes.width, sizes.width)
        self.output = nn.Linear(sizes.width, sizes.width)

    def split(self, x: Tensor) -> Tensor:
        heads = x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)  # [..., T, H, C]
        return heads.transpose(-3, -2)  # [..., H, T, C]

    def memory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [..., H, S, C] of x [..., S, D]."""
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Output [..., T, D] and weights [..., H, T, S]: rows sum to 1, exactly 0 where the mask is false."""
        energies = (self.split(self.query(x)) * self.scale) @ keys.transpose(-2, -1)  # [..., H, T, S]
        if mask is not None:
            energies = energies.masked_fill(~mask, float("-inf"))
        weights = torch.softmax(energies.float(), dim=-1)  # [..., H, T, S]
        mixed = weights.to(values.dtype) @ values  # [..., H, T, C]
        return self.output(mixed.transpose(-3, -2).flatten(-2)), weights


class EncoderLayer(nn.Module):
    """Section 3.1: self-attention and a feed-forward network, each added to its input and normalised."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attention, self.self_norm = Attention(sizes), nn.LayerNorm(sizes.width)
        self.inner, self.outer = nn.Linear(sizes.width, sizes.inner), nn.Linear(sizes.inner, sizes.width)
        self.final_norm = nn.LayerNorm(sizes.width)
        self.activation, self.dropout = ACTIVATIONS[sizes.activation], nn.Dropout(sizes.dropout)

    def attend(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        attended, _ = self.self_attention(x, keys, values, mask)  # [..., T, D]
        normed: Tensor = self.self_norm(x + self.dropout(attended))
        return normed

    def feed_forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.inner(x))  # [..., T, F]
        normed: Tensor = self.final_norm(x + self.dropout(self.outer(inner)))  # [..., T, D]
        return normed

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.feed_forward(self.attend(x, *self.self_attention.memory(x), mask))  # [B, S, D]


class DecoderLayer(EncoderLayer):
    """The same with attention over the source in between."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.cross_attention, self.cross_norm = Attention(sizes), nn.LayerNorm(sizes.width)

    def look(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """From after self-attention to the layer's output [B, T, D], and the weights [B, H, T, S]."""
        looked, weights = self.cross_attention(x, keys, values, mask)
        return self.feed_forward(self.cross_norm(x + self.dropout(looked))), weights


class Transformer(System):
    """The whole system; `memory` is keys and values of each decoder layer, `state` its self-attention's so far."""

    positions: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.register_buffer("positions", sinusoids(sizes.positions, sizes.width), persistent=False)
        self.encoder = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.decoder_layers))
        self.output_bias = nn.Parameter(torch.zeros(sizes.vocabulary))
        self.dropout = nn.Dropout(sizes.dropout)
        for name, parameter in self.named_parameters():
            if name == "embedding.weight":
                nn.init.normal_(parameter, std=sizes.width**-0.5)
            elif parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def decoder_layers(self) -> Iterator[DecoderLayer]:
        for layer in self.decoder:
            assert isinstance(layer, DecoderLayer)
            yield layer

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Section 3.4: ids [..., T] with their positions [T, D] as [..., T, D]."""
        scale = math.sqrt(self.sizes.width) if self.sizes.scale_embedding else 1.0
        embedded: Tensor = self.dropout(self.embedding(ids) * scale + positions)
        return embedded

    def logits(self, x: Tensor) -> Tensor:
        return over_words(x, self.embedding.weight, self.output_bias)  # [..., V]

    def published(self, weights: Tensor) -> Tensor:
        """[B, T, S] of one layer's [B, H, T, S]."""
        return weights[:, list(self.sizes.published_heads)].mean(dim=1)

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        x = self.embed(source_ids, self.positions[: source_ids.shape[1]])  # [B, S, D]
        for layer in self.encoder:
            x = layer(x, mask[:, None, None])
        memory = [
            part for layer in self.decoder_layers() for part in layer.cross_attention.memory(x)
        ]  # [B, H, S, C] each
        nothing = x.new_zeros(x.shape[0], self.sizes.heads, 0, self.sizes.width // self.sizes.heads)  # [B, H, 0, C]
        return tuple(memory), (nothing,) * (2 * self.sizes.decoder_layers)

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        x = self.embed(previous, self.positions[t])  # [B, K, D]
        looked_at = mask[:, None, None]  # [B, 1, 1, S]
        grown: list[Tensor] = []
        rows = x
        for number, layer in enumerate(self.decoder_layers()):
            own = x.unsqueeze(2)  # [B, K, 1, D]: a query of its own for each beam
            key, value = layer.self_attention.memory(own)  # [B, K, H, 1, C]
            keys = torch.cat([state[2 * number], key], dim=3)  # [B, K, H, t + 1, C]
            values = torch.cat([state[2 * number + 1], value], dim=3)
            x = layer.attend(own, keys, values, None).squeeze(2)  # [B, K, D]
            x, weights = layer.look(x, memory[2 * number], memory[2 * number + 1], looked_at)  # the beams as queries
            if number == self.sizes.published_layer:
                rows = self.published(weights)  # [B, K, S]
            grown += [keys, values]
        return self.logits(x), rows, tuple(grown)

    def attentions(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Teacher forcing: logits [B, T, V] and every decoder layer's weights [B, H, T, S]."""
        memory, _ = self.encode(source_ids, mask)
        T = previous.shape[1]
        past = torch.ones(T, T, dtype=torch.bool, device=previous.device).tril()  # [T, T]
        x, weights = self.embed(previous, self.positions[:T]), []  # [B, T, D]
        for number, layer in enumerate(self.decoder_layers()):
            x = layer.attend(x, *layer.self_attention.memory(x), past)
            x, of_layer = layer.look(x, memory[2 * number], memory[2 * number + 1], mask[:, None, None])
            weights.append(of_layer)
        return self.logits(x), weights

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        logits, weights = self.attentions(source_ids, mask, previous)
        return logits, self.published(weights[self.sizes.published_layer])
