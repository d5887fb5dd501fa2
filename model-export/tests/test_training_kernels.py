import pytest
import torch
import torch.nn.functional as F

from model_export.data import IGNORED
from model_export.training_kernels import ROWS, Dropout, cross_entropy, denormals_as_zero


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_should_give_pytorchs_loss_and_gradient_over_several_pieces(smoothing: float) -> None:
    torch.manual_seed(1)
    logits = (4 * torch.randn(2 * ROWS + 3, 50)).requires_grad_()
    target = torch.randint(0, 50, (len(logits),))
    target[::7] = IGNORED
    expected = F.cross_entropy(logits, target, ignore_index=IGNORED, label_smoothing=smoothing)
    (wanted,) = torch.autograd.grad(3 * expected, logits)

    found = cross_entropy(logits, target, smoothing)

    (gradient,) = torch.autograd.grad(3 * found, logits)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, wanted)


def test_should_round_its_gradient_to_the_logits_own_type() -> None:
    logits = torch.tensor([[0.0, 2.0, -1.0], [5.0, 0.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)

    loss = cross_entropy(logits, torch.tensor([1, IGNORED]), 0.0)
    loss.backward()

    assert loss.item() == pytest.approx(0.16985, abs=1e-4)
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16
    assert logits.grad.tolist()[1] == [0.0, 0.0, 0.0]


def test_should_drop_the_share_asked_for_and_keep_the_mean() -> None:
    torch.manual_seed(2)
    dropout = Dropout(0.3).train()
    x = torch.ones(1000, 1001)

    found = dropout(x)

    dropped = (found == 0).float().mean().item()
    assert dropped == pytest.approx(77 / 256, abs=2e-3)
    assert found.mean().item() == pytest.approx(1.0, abs=5e-3)
    assert not torch.equal(found, dropout(x))
    columns = (found == 0).float().mean(0)  # no byte of the noise is a constant
    assert columns.min() > 0.2
    assert columns.max() < 0.4


def test_should_drop_nothing_when_it_serves_or_has_nothing_to_drop() -> None:
    x = torch.randn(3, 5)

    assert Dropout(0.3).eval()(x) is x
    assert Dropout(0.0).train()(x) is x
    with pytest.raises(ValueError, match="dropout should be at least 0 and below 1: was 1"):
        Dropout(1)


def test_should_take_denormals_for_zero_only_as_long_as_told() -> None:
    small = torch.tensor([1e-30])
    assert float(small * 1e-10) > 0
    with denormals_as_zero():
        assert float(small * 1e-10) == 0
    assert float(small * 1e-10) > 0


def test_should_not_leave_denormals_at_zero_when_something_fails() -> None:
    with pytest.raises(ValueError, match="stop"):
        _fails()
    assert float(torch.tensor([1e-30]) * 1e-10) > 0


@denormals_as_zero()
def _fails() -> None:
    raise ValueError("stop")
