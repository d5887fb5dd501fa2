import pytest
import torch
from torch import Tensor

from model_export.attention import Attention, Hard, LocalMonotonic, LocalPredictive, make_attention, masked_softmax
from model_export.scores import Dot
from model_export.transformer import sharp_softmax

MASK = torch.tensor([[True] * 6, [True, True, True, False, False, False], [True] + [False] * 5])
KINDS = ["global", "local-m", "local-p", "hard"]


def made(kind: str, window: int = 1) -> Attention:
    torch.manual_seed(0)
    return make_attention(kind, Dot(4, 4), 4, window).eval()


def looked(module: Attention, t: int = 0, queries: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Context, weights, and the energies [3, queries, 6] they come from."""
    torch.manual_seed(1)
    query, annotations = 2 * torch.randn(3, queries, 4), torch.randn(3, 6, 4)
    with torch.no_grad():
        context, weights = module(query, module.memory(annotations), MASK, torch.tensor(t))
    torch.testing.assert_close(context, weights @ annotations)
    return context, weights, query @ annotations.transpose(1, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t", [0, 2, 5, 40])
def test_rows_should_sum_to_1_and_be_0_on_padding(kind: str, t: int) -> None:
    _, weights, _ = looked(made(kind), t)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 2))
    assert weights.masked_select(~MASK[:, None]).eq(0).all()


def test_masked_softmax_should_stay_float32_for_bfloat16_energies() -> None:
    found = masked_softmax(torch.tensor([1.0, 1.0, 9.0], dtype=torch.bfloat16), torch.tensor([True, True, False]))
    assert found.dtype == torch.float32
    assert found.tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(("t", "near"), [(0, [0, 1]), (3, [2, 3, 4]), (5, [4, 5]), (9, [4, 5])])
def test_local_m_should_see_the_window_around_t_only(t: int, near: list[int]) -> None:
    _, weights, energies = looked(made("local-m"), t)
    expected = torch.zeros(2, 6)
    expected[:, near] = torch.softmax(energies[0][:, near], dim=1)
    torch.testing.assert_close(weights[0], expected)
    assert weights[0][:, [j for j in range(6) if j not in near]].eq(0).all()


def test_local_m_should_stay_at_the_last_word_of_a_shorter_source() -> None:
    _, weights, _ = looked(made("local-m"), t=5)
    assert weights[1].gt(0).tolist() == [[False, True, True, False, False, False]] * 2


def test_local_p_should_be_the_windowed_softmax_times_the_gaussian_divided_by_its_sum() -> None:
    module = made("local-p", window=2)
    assert isinstance(module, LocalPredictive)
    module.centre.weight.data *= 5  # away from the middle
    _, weights, energies = looked(module)
    torch.manual_seed(1)
    query = 2 * torch.randn(3, 2, 4)
    for b, length in enumerate([6, 3, 1]):
        for k in range(2):
            with torch.no_grad():
                p = float(length * torch.sigmoid(module.centre(torch.tanh(module.hidden(query[b, k])))))
            window = [j for j in range(length) if abs(j - p) <= 2]
            expected = torch.zeros(6)
            for weight, j in zip(torch.softmax(energies[b, k, window], dim=0), window, strict=True):
                expected[j] = weight * torch.exp(torch.tensor(-((j - p) ** 2) / (2 * (2 / 2) ** 2)))
            torch.testing.assert_close(weights[b, k], expected / expected.sum())


@pytest.mark.parametrize("towards", [-100.0, 100.0])
def test_local_p_should_see_a_word_wherever_its_window_goes(towards: float) -> None:
    module = made("local-p")
    assert isinstance(module, LocalPredictive)
    module.centre.register_forward_hook(lambda _, __, out: torch.full_like(out, towards))
    _, weights, _ = looked(module)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 2))
    last = [0, 0, 0] if towards < 0 else [5, 2, 0]
    assert [int(row[0].argmax()) for row in weights] == last


def test_hard_should_serve_one_word_the_heaviest() -> None:
    context, weights, energies = looked(made("hard"))
    assert weights.sort(dim=2).values[:, :, -2:].tolist() == [[[0.0, 1.0]] * 2] * 3
    assert weights.argmax(2).equal(energies.masked_fill(~MASK[:, None], float("-inf")).argmax(2))
    assert context.shape == (3, 2, 4)


def test_hard_should_sample_each_word_as_often_as_its_weight_says() -> None:
    module = Hard(Dot(1, 1)).train()
    annotations = torch.tensor([0.5, 0.3, 0.2, 1.0]).log()[None, :, None]  # energies with a query of 1
    torch.manual_seed(2)
    mask = torch.tensor([[True, True, True, False]])
    _, weights = module(torch.ones(1, 20000, 1), module.memory(annotations), mask, torch.tensor(0))
    assert weights.sum(2).eq(1).all()
    torch.testing.assert_close(weights.detach().mean(1), torch.tensor([[0.5, 0.3, 0.2, 0.0]]), atol=0.02, rtol=0)


def test_hard_should_pass_the_gradient_of_the_soft_weights() -> None:
    torch.manual_seed(0)
    query, annotations, direction = torch.randn(1, 1, 4, requires_grad=True), torch.randn(1, 3, 4), torch.randn(3)
    mask = torch.ones(1, 3, dtype=torch.bool)
    _, weights = Hard(Dot(4, 4)).train()(query, (annotations, annotations), mask, torch.tensor(0))
    (found,) = torch.autograd.grad(weights @ direction, query)
    (expected,) = torch.autograd.grad(torch.softmax(query @ annotations.transpose(1, 2), dim=2) @ direction, query)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(found, expected)


def test_an_attention_should_be_made_by_its_name() -> None:
    assert [type(made(kind)) for kind in KINDS] == [Attention, LocalMonotonic, LocalPredictive, Hard]


def test_a_sharp_softmax_should_leave_no_denormal_weights_and_change_no_other() -> None:
    energies = torch.tensor([[[0.0, -20.0, -59.0, -90.0, -100.0, -3.0], [200.0, 111.0, -154.0, 199.0, 0.0, 0.0]]])
    mask = torch.tensor([[[True, True, True, True, True, False]]])
    energies = energies.masked_fill(~mask, float("-inf"))
    expected = torch.softmax(energies, dim=-1)
    assert bool(((expected > 0) & (expected < 1.2e-38)).any())  # as it would be

    with torch.no_grad():
        found = sharp_softmax(energies)

    assert found[0, :, 5].tolist() == [0, 0]
    assert float(found[found > 0].min()) > 1e-30
    visible = expected > 1e-25
    assert found[visible].equal(expected[visible])
    assert float((found - expected).abs().max()) < 1e-25
    assert sharp_softmax(energies[:, :1]).equal(expected[:, :1])  # with gradients: PyTorch's own
