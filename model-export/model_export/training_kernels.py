"""What PyTorch is slow at when it trains on a CPU, written for it: the loss over a vocabulary, and dropout's noise.

Both give what PyTorch's own give (the noise by other random numbers) and take a third of a small model's update off;
on a CUDA device PyTorch's own are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_export.data import IGNORED

ROWS = 256  # of logits worked on at a time: small enough to stay in a core's cache
LEVELS = 256  # a byte of noise an activation


def cross_entropy(logits: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
    """`F.cross_entropy` over the rows of logits [N, V], mean of those whose target [N] is not IGNORED."""
    if logits.device.type != "cpu":
        return F.cross_entropy(logits, target, ignore_index=IGNORED, label_smoothing=label_smoothing)
    loss: Tensor = _CrossEntropy.apply(logits, target, label_smoothing)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    """The gradient is made with the loss, some rows at a time, so that no copy of all logits is: they fill memory."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        V = logits.shape[1]
        kept = target != IGNORED
        share = kept.float() / kept.sum().clamp(min=1)  # [N], of a row in the mean
        words = target.clamp(min=0)[:, None]
        gradient, loss = torch.empty_like(logits), torch.zeros(())
        for first in range(0, len(logits), ROWS):
            rows = slice(first, first + ROWS)
            part, of, weight = logits[rows].float(), words[rows], share[rows, None]
            chosen, mean = part.gather(1, of), part.mean(1, keepdim=True)
            top = part.amax(1, keepdim=True)
            part = part.sub(top).exp_()  # [R, V]
            total = part.sum(1, keepdim=True)
            losses = total.log() + top - (1 - smoothing) * chosen - smoothing * mean  # [R, 1]
            loss += torch.where(weight > 0, losses * weight, 0.0).sum()
            part.mul_(weight / total).sub_(weight * (smoothing / V))
            gradient[rows] = part.scatter_add_(1, of, (smoothing - 1) * weight)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * given[0].to(gradient.dtype), None, None


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """In this thread, until it ends. ONNX Runtime must not load a model meanwhile: it folds constants wrongly then."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class Dropout(nn.Module):
    """`nn.Dropout` whose probability is a whole number of 1/256 on a CPU, for a byte of noise is made at once there."""

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout should be at least 0 and below 1: was {share}")
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        dropped = round(self.share * LEVELS)
        if not self.training or dropped == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.share)
        noise = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)  # 8 bytes each
        kept = noise.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * (kept.to(x.dtype) * (LEVELS / (LEVELS - dropped)))


def fast_floats(device: str) -> torch.autocast:
    """Products in bfloat16 while it is on, but for a CPU without AVX-512: PyTorch has no LSTM in bfloat16 there."""
    able = device != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.autocast(device, torch.bfloat16, enabled=able)
