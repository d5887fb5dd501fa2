"""Recurrent layers that read padded sentences as if each were alone, in PyTorch and in the exported graph.

PyTorch packs the sentences; ONNX's GRU and LSTM take their lengths. Both give exactly what a sentence alone would.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx import ops


class BidirectionalGRU(nn.GRU):
    """x [B, S, E] and mask [B, S] -> states [B, S, 2H], 0 on padding, and the last of each direction [2, B, H]."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__(inputs, size, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        if torch.onnx.is_in_onnx_export():
            return self._as_onnx(x, mask)
        packed = nn.utils.rnn.pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        packed_states, last = super().forward(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(packed_states, batch_first=True, total_length=x.shape[1])
        return states, last

    def _as_onnx(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        def both(stem: str) -> Tensor:
            """[2, 3H, ...]; PyTorch stacks the gates as reset, update, new, ONNX as update, reset, new."""
            gates = [getattr(self, f"{stem}{end}").unflatten(0, (3, -1)) for end in ("_l0", "_l0_reverse")]
            return torch.stack([torch.stack([w[1], w[0], w[2]]).flatten(0, 1) for w in gates])

        B, S, H = x.shape[0], x.shape[1], self.hidden_size
        states, last = ops.symbolic_multi_out(
            "GRU",
            (
                x.transpose(0, 1),  # [S, B, E]
                both("weight_ih"),
                both("weight_hh"),
                torch.cat([both("bias_ih"), both("bias_hh")], dim=1),  # [2, 6H]
                mask.sum(1).int(),
            ),
            {"direction": "bidirectional", "hidden_size": H, "linear_before_reset": 1},
            dtypes=(torch.float32, torch.float32),
            shapes=((S, 2, B, H), (2, B, H)),
            version=14,
        )
        return states.permute(2, 0, 1, 3).flatten(2), last


class GRUCell(nn.GRUCell):
    """nn.GRUCell over beams: x [B, K, E] and state [B, K, D] -> the next state [B, K, D]."""

    def forward(self, x: Tensor, state: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x.flatten(0, 1), state.flatten(0, 1)).view(state.shape)


class LSTM(nn.LSTM):
    """Layers of LSTM that read padded sentences, follow a known target, or take one step with every beam.

    States of all layers are hidden and cell [B, L, H] each, with beams [B, K, L, H]; when bidirectional, L counts
    forward, backward, forward, ... The forget gates start open: a bias of 1 (Jozefowicz et al., ICML 2015).
    """

    def __init__(
        self, inputs: int, size: int, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
    ) -> None:
        between = dropout if layers > 1 else 0.0
        super().__init__(inputs, size, layers, batch_first=True, bidirectional=bidirectional, dropout=between)
        with torch.no_grad():
            for name, bias in self.named_parameters():
                if "bias" in name:
                    bias.zero_()
                if "bias_ih" in name:
                    bias[size : 2 * size] = 1.0

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """x [B, S, E] and mask [B, S] -> the top layer [B, S, H or 2H], 0 on padding; last hidden and cell."""
        if torch.onnx.is_in_onnx_export():
            return self._as_onnx(x, mask)
        packed = nn.utils.rnn.pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        packed, (hidden, cell) = super().forward(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return states, hidden.transpose(0, 1), cell.transpose(0, 1)

    def follow(self, x: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        """x [B, T, E] from a first state [B, L, H] each -> states of the top layer [B, T, H]."""
        first = (hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous())
        states: Tensor = super().forward(x, first)[0]
        return states

    def step(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, K, E] and the state -> the top layer's output [B, K, H] and the next state; one direction only."""
        B, K = x.shape[:2]
        x = x.flatten(0, 1)  # [B * K, E]
        hiddens, cells = [], []
        for layer in range(self.num_layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            weights = [getattr(self, f"{stem}_l{layer}") for stem in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            state = [hidden[:, :, layer].flatten(0, 1), cell[:, :, layer].flatten(0, 1)]  # [B * K, H] each
            x, moved = torch.lstm_cell(x, state, *weights)
            hiddens.append(x.view(B, K, -1))
            cells.append(moved.view(B, K, -1))
        return hiddens[-1], torch.stack(hiddens, dim=2), torch.stack(cells, dim=2)

    def _as_onnx(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        B, S, H = x.shape[0], x.shape[1], self.hidden_size
        ends = ("", "_reverse") if self.bidirectional else ("",)
        hiddens, cells = [], []
        x = x.transpose(0, 1)  # [S, B, E]
        for layer in range(self.num_layers):

            def stacked(stem: str, layer: int = layer) -> Tensor:
                """[directions, 4H, ...]; PyTorch stacks in, forget, cell, out gates, ONNX in, out, forget, cell."""
                of = [getattr(self, f"{stem}_l{layer}{end}").unflatten(0, (4, H)) for end in ends]  # [4, H, ...] each
                return torch.stack([torch.stack([w[0], w[3], w[1], w[2]]).flatten(0, 1) for w in of])

            states, hidden, cell = ops.symbolic_multi_out(
                "LSTM",
                (
                    x,
                    stacked("weight_ih"),
                    stacked("weight_hh"),
                    torch.cat([stacked("bias_ih"), stacked("bias_hh")], dim=1),  # [directions, 8H]
                    mask.sum(1).int(),
                ),
                {"direction": "bidirectional" if self.bidirectional else "forward", "hidden_size": H},
                dtypes=(torch.float32,) * 3,
                shapes=((S, len(ends), B, H), (len(ends), B, H), (len(ends), B, H)),
                version=14,
            )
            x = states.transpose(1, 2).flatten(2)  # [S, B, H or 2H]
            hiddens.append(hidden)
            cells.append(cell)
        return x.transpose(0, 1), torch.cat(hiddens).transpose(0, 1), torch.cat(cells).transpose(0, 1)
