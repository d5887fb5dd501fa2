"""System S11, the Transformer, laid out as MarianMT lays it out, so that an imported checkpoint (S12) is the same page.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762), section 3. The order of a layer
(normalisation after each residual sum), positions with all sines before all cosines, one embedding for source, target
and output (Press and Wolf 2017) and the output bias are MarianMT's (Junczys-Dowmunt et al., ACL 2018 demonstrations).

The published attention is the mean of the chosen heads of one decoder layer's attention over the source, or that of an
`AlignmentHead`; either may be taught links (Garg et al., "Jointly Learning to Align and Translate with Transformer
Models", EMNLP 2019, section 4).

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    D width   H heads   C = D / H   F inner   t steps done   L decoder layers   A aligner's width
Words are rows, [B * T, D]; only attention tells sentences apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_export.system import Beams, System, Tensors, over_words
from model_export.traced import operator
from model_export.training_kernels import Dropout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"swish": F.silu, "silu": F.silu, "relu": F.relu, "gelu": F.gelu}

FAINTEST = 1e-26  # the least weight that is not taken for 0


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
    aligner: int = 0  # width of an alignment head, published in place of the heads above; 0: none
    aligner_heads: int = 1  # how many it is made of

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"sizes.width should be a multiple of sizes.heads ({self.heads}): was {self.width}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"sizes.activation should be one of {', '.join(ACTIVATIONS)}: was {self.activation}")
        if not 0 <= self.published_layer < self.decoder_layers:
            raise ValueError(f"sizes.published_layer should be below {self.decoder_layers}: was {self.published_layer}")
        if self.aligner < 0:
            raise ValueError(f"sizes.aligner should be 0 or more: was {self.aligner}")
        if self.aligner_heads < 1 or self.aligner % self.aligner_heads:
            raise ValueError(
                f"sizes.aligner_heads should be 1 or more, and sizes.aligner ({self.aligner}) a multiple of it: "
                f"was {self.aligner_heads}"
            )
        if not self.published_heads or not all(0 <= head < self.heads for head in self.published_heads):
            raise ValueError(f"sizes.published_heads should be below {self.heads}: was {list(self.published_heads)}")


def sinusoids(positions: int, width: int) -> Tensor:
    """Section 3.5 as MarianMT stores it, [positions, D]: all sines, then all cosines."""
    rates = 10000.0 ** (-2.0 * torch.arange((width + 1) // 2) / width)  # [D/2]
    angles = torch.arange(positions)[:, None] * rates  # [positions, D/2]
    return torch.cat([angles.sin(), angles.cos()[:, : width // 2]], dim=1)


def hiding(mask: Tensor) -> Tensor:
    """What is added to energies [..., S], -inf where `mask` is false: ONNX Runtime chooses in several times as long."""
    return torch.where(mask, 0.0, float("-inf"))


def sharp_softmax(energies: Tensor) -> Tensor:
    """The softmax of energies [..., S], without weights of 1e-38 and less but 0 itself.

    A processor works on such numbers, the denormal ones, many times as long as on others, and a model that is sure
    of where it looks has many. What is below FAINTEST is 0: too little to be seen in a sum of float32, or in any other
    weight. Training has no need of it: there they are taken for 0.
    """
    weights = torch.softmax(energies, dim=-1)
    if torch.is_grad_enabled():
        return weights
    if torch.onnx.is_in_onnx_export():
        return operator("ThresholdedRelu", (weights,), weights.dtype, weights.shape, alpha=FAINTEST)
    return torch.threshold(weights, FAINTEST, 0)


class Memory(NamedTuple):
    """What queries are put to, once for all of them."""

    keys: Tensor  # [B, H, S, C]
    values: Tensor  # [B, H, S, C]
    added: Tensor  # [..., T or 1, S], to their energies: -inf where a query does not look


class Attention(nn.Module):
    """Section 3.2.2, multi-head attention: queries [B, H, T, C] over keys and values [B, H, S, C]."""

    exact = False  # whether the sums of a product are the same however many queries are asked

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads, self.scale = sizes.heads, (sizes.width // sizes.heads) ** -0.5
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, sizes.width)
        self.value = nn.Linear(sizes.width, sizes.width)
        self.output = nn.Linear(sizes.width, sizes.width)

    def split(self, x: Tensor, sentences: int) -> Tensor:
        """The heads [B, H, T, C] of x [B * T, D]."""
        heads = x.reshape(sentences, -1, self.heads, x.shape[1] // self.heads)  # [B, T, H, C]
        return heads.transpose(1, 2)

    def memory(self, x: Tensor, sentences: int, hidden: Tensor) -> Memory:
        """Of x [B * S, D]; `hidden` [..., T or 1, S] is -inf where a query does not look."""
        return Memory(self.split(self.key(x), sentences), self.split(self.value(x), sentences), hidden)

    def nothing(self, like: Tensor, sentences: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, 0, C] of no words yet; `like` [..., D] has their type."""
        none = like.new_zeros(sentences, self.heads, 0, like.shape[-1] // self.heads)
        return none, none

    def queries(self, x: Tensor, sentences: int, beams: Beams | None) -> Tensor:
        """Scaled queries [B, H, T, C] of x [B * T, D], or of rows [R, D] with the queries of all beams, T = K."""
        asked = self.query(x)
        scaled: Tensor = self.split(asked if beams is None else beams.spread(asked), sentences) * self.scale
        return scaled

    def look_back(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One new word a beam, x [R, D], over what it wrote before and itself.

        Keys and values are [R, ...], of t words, as `nothing` began them, and are given back one word longer. The
        output is [R, D].

        Queries are scaled before they get their shape, for ONNX Runtime would join a scale to the product that follows,
        and takes twice as long over a product of one row that has one.
        """
        shape = (-1, self.heads, 1, x.shape[1] // self.heads)  # [R, H, 1, C]
        query = (self.query(x) * self.scale).reshape(shape)
        keys = torch.cat([keys, self.key(x).reshape(shape)], dim=2)  # [R, H, t + 1, C]
        values = torch.cat([values, self.value(x).reshape(shape)], dim=2)
        mixed, _ = self.mix(query, keys, values, None)  # [R, H, 1, C]
        return self.output(mixed.flatten(1)), keys, values

    def mix(self, queries: Tensor, keys: Tensor, values: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values mixed for each scaled query [..., H, T, C], and weights [..., H, T, S]: rows sum to 1, 0 if hidden.

        `added` as in `Memory`; None where nothing is hidden.
        """
        energies = queries @ keys.transpose(-2, -1)  # [..., H, T, S]
        if added is not None:
            energies = energies + added.to(energies.dtype)
        weights = sharp_softmax(energies.float())  # [..., H, T, S]
        return weights.to(values.dtype) @ values, weights

    def forward(self, x: Tensor, sentences: int, memory: Memory, beams: Beams | None = None) -> tuple[Tensor, Tensor]:
        """Output [B * T, D] and weights [B, H, T, S] of x [B * T, D]; of rows [R, D] with `beams` output [R, D] and
        weights of all beams, T = K.

        A product with one query sums in another order than one with several; a step, which has `beams`, asks one query
        twice, so that an answer doesn't depend on how many were asked.
        """
        paired = beams is not None and not self.exact
        queries = self.queries(x, sentences, beams)  # [B, H, T, C]
        if paired:
            queries = torch.cat([queries, queries[:, :, :1]], dim=2)
        mixed, weights = self.mix(queries, *memory)
        if paired:
            mixed, weights = mixed[:, :, :-1], weights[:, :, :-1]
        mixed = mixed.transpose(1, 2).flatten(2).flatten(0, 1)  # [B * T, D]
        return self.output(mixed if beams is None else beams.pick(mixed)), weights


class EncoderLayer(nn.Module):
    """Section 3.1: self-attention and a feed-forward network, each added to its input and normalised."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attention, self.self_norm = Attention(sizes), nn.LayerNorm(sizes.width)
        self.inner, self.outer = nn.Linear(sizes.width, sizes.inner), nn.Linear(sizes.inner, sizes.width)
        self.final_norm = nn.LayerNorm(sizes.width)
        self.activation, self.dropout = ACTIVATIONS[sizes.activation], Dropout(sizes.dropout)

    def attend(self, x: Tensor, sentences: int, hidden: Tensor) -> Tensor:
        """Each word over its sentence but what is `hidden`: x [B * T, D]."""
        attended, _ = self.self_attention(x, sentences, self.self_attention.memory(x, sentences, hidden))  # [B * T, D]
        return self.attended(x, attended)

    def attended(self, x: Tensor, attended: Tensor) -> Tensor:
        normed: Tensor = self.self_norm(x + self.dropout(attended))  # [B * T, D]
        return normed

    def feed_forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.inner(x))  # [B * T, F]
        normed: Tensor = self.final_norm(x + self.dropout(self.outer(inner)))  # [B * T, D]
        return normed

    def forward(self, x: Tensor, sentences: int, hidden: Tensor) -> Tensor:
        return self.feed_forward(self.attend(x, sentences, hidden))  # [B * S, D]


class DecoderLayer(EncoderLayer):
    """The same with attention over the source in between."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.cross_attention, self.cross_norm = Attention(sizes), nn.LayerNorm(sizes.width)

    def step(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`Attention.look_back`, added to x [R, D] and normalised."""
        attended, keys, values = self.self_attention.look_back(x, keys, values)
        return self.attended(x, attended), keys, values

    def look(self, x: Tensor, sentences: int, memory: Memory, beams: Beams | None = None) -> tuple[Tensor, Tensor]:
        """From after self-attention to the layer's output [B * T, D], and the weights [B, H, T, S]; of rows [R, D] with
        `beams`, as `Attention.forward`.
        """
        looked, weights = self.cross_attention(x, sentences, memory, beams)
        return self.feed_forward(self.cross_norm(x + self.dropout(looked))), weights


class AlignmentHead(nn.Module):
    """More attention over the source, which translates nothing.

    Zenkel, Wuebker, DeNero, "Adding Interpretable Attention to Neural Translation Models Improves Word Alignment"
    (arXiv 1901.11359), section 4, put such attention on a model that stays as it is. Queries are made of what each
    decoder layer knows before it looks at the source, keys of the source's embeddings and the encoder's output. The
    rows are the mean of H = `aligner_heads` heads: what one of them cannot tell apart another may.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads, self.scale = sizes.aligner_heads, (sizes.aligner // sizes.aligner_heads) ** -0.5
        self.query = nn.Linear(sizes.width * sizes.decoder_layers, sizes.aligner)
        self.key = nn.Linear(sizes.width * 2, sizes.aligner)

    def keys(self, embedded: Tensor, encoded: Tensor, sentences: int) -> Tensor:
        """[B, S, A] of the source's embeddings and states, [B * S, D] each."""
        keys: Tensor = self.key(torch.cat([embedded, encoded], dim=1))  # [B * S, A]
        return keys.reshape(sentences, -1, keys.shape[1])

    def queries(self, looking: list[Tensor]) -> Tensor:
        """[N, A] of L states [N, D]."""
        queries: Tensor = self.query(torch.cat(looking, dim=1))
        return queries

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Weights [B, T, S]; one query is asked twice, see `Attention.forward`."""
        queries = torch.cat([queries, queries[:, :1]], dim=1)
        if self.heads == 1:
            energies = (queries * self.scale) @ keys.transpose(1, 2)  # [B, T, S]
            mask = mask[:, None]  # [B, 1, S]
        else:
            energies = self._split(queries * self.scale) @ self._split(keys).transpose(2, 3)  # [B, H, T, S]
            mask = mask[:, None, None]  # [B, 1, 1, S]
        weights = sharp_softmax((energies + hiding(mask).to(energies.dtype)).float())
        if self.heads > 1:
            weights = weights.mean(dim=1)
        return weights[:, :-1]

    def _split(self, x: Tensor) -> Tensor:
        """[B, H, N, A / H] of x [B, N, A]."""
        return x.reshape(*x.shape[:2], self.heads, x.shape[2] // self.heads).transpose(1, 2)


class Known(NamedTuple):
    """What a model with the words before each step given knows of a batch."""

    embedded: Tensor  # [B * S, D]
    encoded: Tensor  # [B * S, D]
    looking: list[Tensor]  # [B * T, D] of each decoder layer, before it looks at the source
    output: Tensor  # [B * T, D]
    weights: list[Tensor]  # [B, H, T, S] of each decoder layer


class Transformer(System):
    """The whole system; `memory` is the parts of each decoder layer's `Memory` and the keys of an alignment head,
    `state` the self-attention's keys and values so far.
    """

    positions: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.register_buffer("positions", sinusoids(sizes.positions, sizes.width), persistent=False)
        self.encoder = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.decoder_layers))
        self.aligner = AlignmentHead(sizes) if sizes.aligner else None
        self.output_bias = nn.Parameter(torch.zeros(sizes.vocabulary))
        self.dropout = Dropout(sizes.dropout)
        self.written: nn.Linear | None = None  # the output, when it is of some words only
        for name, parameter in self.named_parameters():
            if name == "embedding.weight":
                nn.init.normal_(parameter, std=sizes.width**-0.5)
            elif parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    @property
    def asks_later(self) -> bool:
        return self.aligner is not None

    def decoder_layers(self) -> Iterator[DecoderLayer]:
        for layer in self.decoder:
            assert isinstance(layer, DecoderLayer)
            yield layer

    @torch.no_grad()
    def write_only(self, words: Tensor) -> None:
        """Takes away the output of all words but `words` [W], ascending ids; they share all probability from now on."""
        self.words = words
        self.written = nn.Linear(self.sizes.width, len(words))
        self.written.weight.copy_(self.embedding.weight[words])
        self.written.bias.copy_(self.output_bias[words])

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Section 3.4: [..., D] of ids [...] and their positions."""
        scale = math.sqrt(self.sizes.width) if self.sizes.scale_embedding else 1.0
        embedded: Tensor = self.dropout(self.embedding(ids) * scale + positions)
        return embedded

    def logits(self, x: Tensor) -> Tensor:
        """[N, V] of x [N, D]; W in place of V for a system that writes some words only."""
        if self.written is not None:
            narrow: Tensor = self.written(x)
            return narrow
        return over_words(x, self.embedding.weight, self.output_bias)

    def published(self, weights: Tensor) -> Tensor:
        """[B, T, S] of the published layer's [B, H, T, S]."""
        heads = [weights[:, head] for head in self.sizes.published_heads]
        return torch.stack(heads).mean(dim=0) if len(heads) > 1 else heads[0]

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        B = source_ids.shape[0]
        embedded, encoded = self.read(source_ids, mask)
        memory = [part for of_layer in self.memory(encoded, mask) for part in of_layer]
        if self.aligner is not None:
            memory.append(self.aligner.keys(embedded, encoded, B))  # [B, S, A]
        state = [part for layer in self.decoder_layers() for part in layer.self_attention.nothing(encoded, B)]
        return tuple(memory), tuple(state)  # [B, H, 0, C] each

    def read(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and the encoder's output, [B * S, D] each."""
        embedded = x = self.embed(source_ids, self.positions[: source_ids.shape[1]]).flatten(0, 1)
        hidden = hiding(mask[:, None, None])  # [B, 1, 1, S]
        for layer in self.encoder:
            x = layer(x, mask.shape[0], hidden)
        return embedded, x

    def memory(self, encoded: Tensor, mask: Tensor) -> list[Memory]:
        """Of the source for each decoder layer."""
        hidden = hiding(mask[:, None, None])  # [B, 1, 1, S]
        return [layer.cross_attention.memory(encoded, mask.shape[0], hidden) for layer in self.decoder_layers()]

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        beams = Beams.all(previous)
        flat = tuple(part.flatten(0, 1) for part in state)
        made, asked, kept = self.ask(memory, mask, flat, previous.flatten(), t, beams)
        found = (made, asked, *kept)
        logits, rows, *grown = (part.reshape(*previous.shape, *part.shape[1:]) for part in found)  # [B, K, ...]
        return logits, self.answer(memory[-1], mask, rows) if self.asks_later else rows, tuple(grown)

    def answer(self, keys: Tensor, mask: Tensor, queries: Tensor) -> Tensor:
        assert self.aligner is not None
        rows: Tensor = self.aligner(queries, keys, mask)  # [B, N, S]
        return rows

    def ask(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor, beams: Beams
    ) -> tuple[Tensor, Tensor, Tensors]:
        B = mask.shape[0]
        x = self.embed(previous, F.embedding(t, self.positions))  # [R, D]; an index would take three operators
        grown: list[Tensor] = []
        rows, looking = x, []
        for number, layer in enumerate(self.decoder_layers()):
            x, keys, values = layer.step(x, *state[2 * number : 2 * number + 2])  # [R, D]
            looking.append(x)
            parts = len(Memory._fields)
            source = Memory(*memory[parts * number : parts * (number + 1)])
            x, weights = layer.look(x, B, source, beams)  # a sentence's beams as its queries
            if number == self.sizes.published_layer and self.aligner is None:
                rows = beams.pick(self.published(weights)[..., : mask.shape[1]].flatten(0, 1))  # [R, S]
            grown += [keys, values]
        if self.aligner is not None:
            rows = self.aligner.queries(looking)  # [R, A]
        return self.logits(x), rows, tuple(grown)

    def known(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> Known:
        """Teacher forcing, up to the logits."""
        B, T = previous.shape
        embedded, encoded = self.read(source_ids, mask)
        past = hiding(torch.ones(T, T, dtype=torch.bool, device=previous.device).tril())  # [T, T]
        x = self.embed(previous, self.positions[:T]).flatten(0, 1)  # [B * T, D]
        looking, weights = [], []
        for layer, source in zip(self.decoder_layers(), self.memory(encoded, mask), strict=True):
            x = layer.attend(x, B, past)
            looking.append(x)
            x, of_layer = layer.look(x, B, source)
            weights.append(of_layer[..., : mask.shape[1]])
        return Known(embedded, encoded, looking, x, weights)

    def rows(self, known: Known, mask: Tensor) -> Tensor:
        """The published attention [B, T, S]."""
        if self.aligner is None:
            return self.published(known.weights[self.sizes.published_layer])
        keys = self.aligner.keys(known.embedded, known.encoded, mask.shape[0])  # [B, S, A]
        queries = self.aligner.queries(known.looking)
        queries = queries.reshape(mask.shape[0], -1, queries.shape[1])  # [B, T, A]
        rows: Tensor = self.aligner(queries, keys, mask)
        return rows

    def attentions(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Teacher forcing: logits [B, T, V] and every decoder layer's weights [B, H, T, S]."""
        known = self.known(source_ids, mask, previous)
        return self.logits(known.output).reshape(*previous.shape, -1), known.weights

    def forward(self, source_ids: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        known = self.known(source_ids, mask, previous)
        return self.logits(known.output).reshape(*previous.shape, -1), self.rows(known, mask)
