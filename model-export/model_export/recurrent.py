"""Recurrent layers that read padded sentences as if each were alone, in PyTorch and in the exported graph.

PyTorch packs the sentences; ONNX's GRU and LSTM take their lengths. Both give exactly what a sentence alone would.
"""

from __future__ import annotations

import torch
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
            gates = [getattr(self, f"{stem}{end}").chunk(3) for end in ("_l0", "_l0_reverse")]
            return torch.stack([torch.cat([update, reset, new]) for reset, update, new in gates])

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
