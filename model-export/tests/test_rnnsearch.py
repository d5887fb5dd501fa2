import torch
from torch import nn

from model_export.rnnsearch import RNNsearch

SOURCE = torch.tensor([[5, 6, 7, 8, 2], [9, 10, 2, 0, 0]])
MASK = SOURCE != 0
PREVIOUS = torch.tensor([[1, 11, 12, 13], [1, 14, 15, 0]])


def test_attention_rows_should_sum_to_1_and_be_0_on_padding(model: RNNsearch) -> None:
    with torch.no_grad():
        _, attention = model(SOURCE, MASK, PREVIOUS)
    assert attention.shape == (2, 4, 5)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(2, 4))
    assert attention[1, :, 3:].eq(0).all()
    assert attention[0].gt(0).all()


def test_additive_attention_should_be_the_papers_formula(model: RNNsearch) -> None:
    attention = model.decoder.attention
    torch.manual_seed(0)
    state, annotations = torch.randn(1, 20), torch.randn(1, 2, 24)
    with torch.no_grad():
        query = attention.query(state)[:, None]
        found = attention(query, attention.key(annotations), torch.tensor([[True, True]]))[0]
        energies = [
            attention.score.weight
            @ torch.tanh(attention.query.weight @ state[0] + attention.key.weight @ h + attention.key.bias)
            for h in annotations[0]
        ]
        torch.testing.assert_close(found, torch.softmax(torch.cat(energies), dim=0)[None])


def test_steps_should_give_what_teacher_forcing_gives(model: RNNsearch) -> None:
    with torch.no_grad():
        logits, attention = model(SOURCE, MASK, PREVIOUS)
        memory, (first,) = model.encode(SOURCE, MASK)
        state = (first[:, None].expand(2, 3, 20),)
        for t in range(4):
            words = PREVIOUS[:, t : t + 1].expand(2, 3)
            found, weights, state = model.step(memory, MASK, state, words, torch.tensor(t))
            for beam in range(3):
                torch.testing.assert_close(found[:, beam], logits[:, t])
                torch.testing.assert_close(weights[:, beam], attention[:, t])


def test_a_padded_sentence_should_be_encoded_as_if_alone(model: RNNsearch) -> None:
    with torch.no_grad():
        together, alone = model.encode(SOURCE, MASK), model.encode(SOURCE[1:, :3], MASK[1:, :3])
    torch.testing.assert_close(together[0][0][1:, :3], alone[0][0])
    torch.testing.assert_close(together[1][0][1:], alone[1][0])


def test_decoder_should_move_like_a_gru_cell_with_its_weights(model: RNNsearch) -> None:
    decoder = model.decoder
    cell = nn.GRUCell(16 + 24, 20)
    cell.load_state_dict(
        {
            "weight_ih": torch.cat([decoder.from_word.weight, decoder.from_context.weight], dim=1),
            "weight_hh": decoder.from_state.weight,
            "bias_ih": decoder.from_word.bias,
            "bias_hh": decoder.from_state.bias,
        }
    )
    torch.manual_seed(0)
    annotations, state, word = torch.randn(2, 5, 24), torch.randn(2, 20), torch.randn(2, 16)
    with torch.no_grad():
        memory = (annotations, decoder.attention.key(annotations))
        moved, context, _ = decoder.attend_and_move(memory, MASK, state[:, None], decoder.from_word(word)[:, None])
        torch.testing.assert_close(moved[:, 0], cell(torch.cat([word, context[:, 0]], dim=1), state))
