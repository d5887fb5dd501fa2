import pytest
import torch
from torch import nn

from model_export.recurrent import LSTM, GRUCell

MASK = torch.tensor([[True] * 5, [True, True, False, False, False]])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_should_read_a_padded_sentence_as_if_alone(bidirectional: bool) -> None:
    torch.manual_seed(0)
    lstm, x = LSTM(4, 3, layers=2, bidirectional=bidirectional), torch.randn(2, 5, 4)
    with torch.no_grad():
        states, hidden, cell = lstm(x, MASK)
        alone = lstm(x[1:, :2], MASK[1:, :2])
    torch.testing.assert_close((states[1:, :2], hidden[1:], cell[1:]), alone)
    assert states[1, 2:].eq(0).all()


def test_lstm_should_take_steps_as_it_follows_a_known_target() -> None:
    torch.manual_seed(0)
    lstm, x, first = LSTM(4, 3, layers=2), torch.randn(2, 5, 4), torch.randn(2, 2, 2, 3)
    with torch.no_grad():
        followed = lstm.follow(x, first[0], first[1])
        hidden, cell = (part[:, None].expand(2, 2, 2, 3) for part in first)
        for t in range(5):
            top, hidden, cell = lstm.step(x[:, t : t + 1].expand(2, 2, 4), hidden, cell)
            torch.testing.assert_close(top, followed[:, t : t + 1].expand(2, 2, 3))


def test_lstm_should_end_reading_where_steps_end() -> None:
    torch.manual_seed(0)
    lstm, x = LSTM(4, 3, layers=2), torch.randn(1, 3, 4)
    with torch.no_grad():
        _, *last = lstm(x, MASK[:1, :3])
        state = [torch.zeros(1, 1, 2, 3)] * 2
        for t in range(3):
            _, *state = lstm.step(x[:, t : t + 1], *state)
    torch.testing.assert_close([part[:, 0] for part in state], last)


def test_lstm_should_drop_between_layers_in_training_only() -> None:
    torch.manual_seed(0)
    lstm, x, state = LSTM(4, 8, layers=2, dropout=0.5), torch.randn(1, 1, 4), torch.zeros(1, 1, 2, 8)
    assert not lstm.step(x, state, state)[0].equal(lstm.step(x, state, state)[0])
    assert lstm.step(x, state, state)[1][:, :, 0].equal(lstm.step(x, state, state)[1][:, :, 0])
    lstm.eval()
    assert lstm.step(x, state, state)[0].equal(lstm.step(x, state, state)[0])


def test_lstm_should_start_with_open_forget_gates() -> None:
    lstm = LSTM(2, 3, layers=2, bidirectional=True)
    for end in ("_l0", "_l1", "_l0_reverse", "_l1_reverse"):
        total = getattr(lstm, f"bias_ih{end}") + getattr(lstm, f"bias_hh{end}")
        assert total.tolist() == [0] * 3 + [1] * 3 + [0] * 6


def test_gru_cell_should_move_each_beam_as_pytorchs_does() -> None:
    torch.manual_seed(0)
    cell, x, state = GRUCell(4, 3), torch.randn(2, 5, 4), torch.randn(2, 5, 3)
    with torch.no_grad():
        expected = torch.stack([nn.GRUCell.forward(cell, a, b) for a, b in zip(x, state, strict=True)])
        torch.testing.assert_close(cell(x, state), expected)
