"""System S9: LSTMs whose cell is a memory tape, looked at with attention in place of the last state alone.

Source: Cheng, Dong, Lapata, "Long Short-Term Memory-Networks for Machine Reading", EMNLP 2016 (arXiv 1601.06733),
section 3.2 (the LSTMN: encoder and decoder each look at their own past) and section 4, deep attention fusion (the
decoder also takes the encoder's memory in, through a gate of its own; its weights are those published). In the paper a
tape starts empty; here its first entry is the first state (zeros in the encoder, the encoder's last in the decoder), so
that there is always something to look at.

Letters in the shape comments:
    B sentences   S source length   T target length   K beams   V vocabulary
    E embedding   H state   A attention   N rows (B, or B * K)   P entries on the tape
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from model_export.attention import masked_softmax
from model_export.recurrent_system import RecurrentSystem
from model_export.scores import Additive
from model_export.system import Tensors


@dataclass(frozen=True)
class Sizes:
    """The model's dimensions."""

    vocabulary: int
    embedding: int = 256
    hidden: int = 512
    attention: int = 256
    dropout: float = 0.1


class TapeCell(nn.Module):
    """Section 3.2: in place of h_(t-1), c_(t-1) a mean of the tape, weighted by v' tanh(W [h_i; x_t; h~_(t-1)])."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.score = Additive(sizes.embedding + sizes.hidden, sizes.hidden, sizes.attention)
        self.gates = nn.Linear(sizes.embedding + sizes.hidden, 4 * sizes.hidden)  # in, forget, cell, out

    def remember(self, x: Tensor, looked: Tensor, tape: Tensors, written: Tensor) -> tuple[Tensor, Tensor]:
        """h~_t and c~_t [N, H] of x [N, E] and h~_(t-1); tape: h, c and keys [N, P, ...]; written [P] bool."""
        hidden, cell, keys = tape
        energies = self.score(torch.cat([x, looked], dim=1)[:, None], keys)  # [N, 1, P]
        weights = masked_softmax(energies, written).to(hidden.dtype)
        return (weights @ hidden).squeeze(1), (weights @ cell.to(hidden.dtype)).squeeze(1)

    def forward(self, x: Tensor, looked: Tensor, cell: Tensor, inter: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """h_t and c_t [N, H] of x_t, h~_t and c~_t, with `inter`, what deep fusion adds to the cell."""
        i, f, c, o = self.gates(torch.cat([x, looked], dim=1)).chunk(4, dim=1)  # [N, H] each
        moved = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(c)
        if inter is not None:
            moved = moved + inter
        return torch.sigmoid(o) * torch.tanh(moved), moved


class Encoder(nn.Module):
    """x [B, S, E] and mask [B, S] -> both tapes without their first entry [B, S, H], 0 on padding."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.cell = TapeCell(sizes)
        self.hidden = sizes.hidden

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        read = self._scan if torch.onnx.is_in_onnx_export() else self._loop
        hidden, cell = read(x)  # [B, S, H] each; padding comes last, so no word has seen it
        return hidden * mask[:, :, None], cell * mask[:, :, None]

    def _loop(self, x: Tensor) -> tuple[Tensor, Tensor]:
        looked = x.new_zeros(x.shape[0], self.hidden)  # [B, H]
        hidden, cell, keys = [looked], [looked], [self.cell.score.keys(looked[:, None]).squeeze(1)]
        for word in x.unbind(dim=1):
            tape = torch.stack(hidden, dim=1), torch.stack(cell, dim=1), torch.stack(keys, dim=1)  # [B, P, ...]
            written = torch.ones(len(hidden), dtype=torch.bool, device=x.device)
            looked, remembered = self.cell.remember(word, looked, tape, written)
            h, c = self.cell(word, looked, remembered)
            hidden.append(h)
            cell.append(c)
            keys.append(self.cell.score.keys(h[:, None]).squeeze(1))
        return torch.stack(hidden[1:], dim=1), torch.stack(cell[1:], dim=1)

    def _scan(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loop as an ONNX Scan, whose tapes are as long as the sentence from the start, and written one by one."""
        place = torch.arange(x.shape[1] + 1, device=x.device)  # [P], P = S + 1

        def read(carried: list[Tensor], given: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            hidden, cell, keys, looked = carried
            word, t = given
            looked, remembered = self.cell.remember(word, looked, (hidden, cell, keys), place <= t)
            h, c = self.cell(word, looked, remembered)
            key = self.cell.score.keys(h[:, None])  # [B, 1, A]
            now = (place == t + 1)[:, None]  # [P, 1]
            carried = [
                torch.where(now, h[:, None], hidden),
                torch.where(now, c[:, None], cell),
                torch.where(now, key, keys),
                looked,
            ]
            return carried, [h.clone(), c.clone()]

        nothing = x.new_zeros(x.shape[0], x.shape[1] + 1, self.hidden)  # [B, P, H]
        first = [nothing, nothing.clone(), self.cell.score.keys(nothing), x.new_zeros(x.shape[0], self.hidden)]
        _, (hidden, cell) = scan(read, first, [x.transpose(0, 1), place[:-1]])  # [S, B, H] each
        return hidden.transpose(0, 1), cell.transpose(0, 1)


class LSTMN(RecurrentSystem):
    """`memory`: the source's tapes [B, S, H] and keys, and the first entry of the decoder's own, [B, 1, ...].

    `state`: the decoder's tapes since, hidden and cell [B, K, t, H] and keys [B, K, t, A], and what it last looked at
    in its own tape and in the source's, [B, K, H] each.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes.vocabulary, sizes.embedding, sizes.hidden, sizes.dropout)
        self.sizes = sizes
        E, H = sizes.embedding, sizes.hidden
        self.encoder = Encoder(sizes)
        self.decoder = TapeCell(sizes)
        self.score = Additive(E + H, H, sizes.attention)
        self.fuse = nn.Linear(E + H, H)
        self.initialise()

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        hidden, cell = self.encoder(self.embed_source(source_ids), mask)  # [B, S, H] each
        last = (mask.sum(1) - 1)[:, None, None].expand(-1, 1, hidden.shape[2])  # [B, 1, H]
        h, c = hidden.gather(1, last), cell.gather(1, last)  # [B, 1, H] each
        source = hidden, cell, self.score.keys(hidden)
        own = h, c, self.decoder.score.keys(h)
        tape = tuple(part[:, :0] for part in own)  # [B, 0, ...]
        nothing = torch.zeros_like(h[:, 0])  # [B, H]
        return (*source, *own), (*tape, nothing, nothing.clone())

    def move(
        self,
        memory: Tensors,
        mask: Tensor,
        state: Tensors,
        embedded: Tensor,
        t: Tensor,
    ) -> tuple[Tensor, Tensor, Tensors]:
        hidden, cell, keys, *own = memory
        *tape, looked, inter = state
        B, K = embedded.shape[:2]
        first = [part[:, None].expand(-1, K, -1, -1) for part in own]  # [B, K, 1, ...] each
        whole = [
            torch.cat(parts, dim=2).flatten(0, 1) for parts in zip(first, tape, strict=True)
        ]  # [B * K, t + 1, ...]
        x = embedded.flatten(0, 1)  # [B * K, E]
        written = torch.ones(whole[0].shape[1], dtype=torch.bool, device=x.device)
        now, remembered = self.decoder.remember(x, looked.flatten(0, 1), tuple(whole), written)  # [B * K, H] each

        energies = self.score(torch.cat([embedded, inter], dim=2), keys)  # [B, K, S]
        weights = masked_softmax(energies, mask[:, None])
        inter, taken = weights.to(hidden.dtype) @ hidden, weights.to(cell.dtype) @ cell  # [B, K, H] each
        gate = torch.sigmoid(self.fuse(torch.cat([embedded, inter], dim=2)))
        h, c = self.decoder(x, now, remembered, (gate * taken).flatten(0, 1))

        written_now = h, c, self.decoder.score.keys(h[:, None]).squeeze(1)  # [B * K, ...] each
        grown = [torch.cat([a, b.view(B, K, 1, -1)], dim=2) for a, b in zip(tape, written_now, strict=True)]
        return h.view(B, K, -1), weights, (*grown, now.view(B, K, -1), inter)
