"""What every system has to do, whatever its architecture: by the names of the registry."""

from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model_export.gnmt import GNMT
from model_export.gru_attention import GRUAttention
from model_export.lstmn import LSTMN
from model_export.seq2seq import reversed_words
from model_export.system import System, Tensors
from model_export.systems import SYSTEMS
from model_export.training_kernels import fast_floats

SMALL = {
    "embedding": 8,
    "encoder": 6,
    "decoder": 12,
    "hidden": 10,
    "attention": 7,
    "layers": 3,
    "window": 1,
    "width": 16,
    "inner": 20,
    "encoder_layers": 2,
    "decoder_layers": 2,
}
V = 50
SOURCE = torch.tensor([[5, 6, 7, 8, 9, 2], [10, 11, 2, 0, 0, 0], [12, 2, 0, 0, 0, 0]])
MASK = SOURCE != 0
PREVIOUS = torch.tensor([[1, 11, 12, 13, 14], [1, 14, 15, 9, 0], [1, 4, 5, 6, 7]])


def made(name: str, vocabulary: int = V, **given: Any) -> System:
    """Tiny, with weights large enough for choices that differ."""
    entry = SYSTEMS[name]
    sizes = {key: value for key, value in {**SMALL, **given}.items() if key in entry.settings()}
    torch.manual_seed(3)
    system = entry.system(entry.make_sizes(vocabulary, **sizes)).eval()
    system.load_state_dict({key: 1.5 * value for key, value in system.state_dict().items()})
    return system


def forced(system: System, source: Tensor, mask: Tensor, previous: Tensor) -> tuple[Tensor, Tensor | None]:
    with torch.no_grad():
        return system(source, mask, previous)


@pytest.fixture(params=SYSTEMS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_steps_should_give_what_teacher_forcing_gives(name: str) -> None:
    system = made(name)
    logits, attention = forced(system, SOURCE, MASK, PREVIOUS)
    assert logits.shape == (3, 5, V)
    with torch.no_grad():
        memory, first = system.encode(SOURCE, MASK)
        state: Tensors = tuple(part[:, None] for part in first)
        for t in range(5):
            found, rows, state = system.step(memory, MASK, state, PREVIOUS[:, t : t + 1], torch.tensor(t))
            torch.testing.assert_close(found, logits[:, t : t + 1], atol=1e-5, rtol=1e-4)
            if attention is not None:
                torch.testing.assert_close(rows, attention[:, t : t + 1], atol=1e-5, rtol=1e-4)
            else:
                assert rows is None


def test_each_beam_should_go_its_own_way(name: str) -> None:
    """Three beams with words of their own, against each of them alone."""
    system = made(name)
    words = torch.randint(3, V, (3, 3, 4), generator=torch.Generator().manual_seed(5))  # [B, K, T]
    alone = [forced(system, SOURCE, MASK, words[:, k])[0] for k in range(3)]
    with torch.no_grad():
        memory, first = system.encode(SOURCE, MASK)
        state: Tensors = tuple(part[:, None].expand(3, 3, *part.shape[1:]) for part in first)
        for t in range(4):
            found, _, state = system.step(memory, MASK, state, words[:, :, t], torch.tensor(t))
            expected = torch.stack([logits[:, t] for logits in alone], dim=1)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
            assert all(part.shape[:2] == (3, 3) for part in state)


def test_rows_should_sum_to_1_and_be_0_on_padding(name: str) -> None:
    system = made(name)
    _, attention = forced(system, SOURCE, MASK, PREVIOUS)
    assert system.publishes == (attention is not None)
    if attention is not None:
        assert attention.shape == (3, 5, 6)
        torch.testing.assert_close(attention.sum(2), torch.ones(3, 5))
        assert attention.masked_select(~MASK[:, None]).eq(0).all()


def test_a_padded_sentence_should_give_what_it_gives_alone(name: str) -> None:
    system = made(name)
    logits, attention = forced(system, SOURCE, MASK, PREVIOUS)
    for row, length in enumerate([6, 3, 2]):
        one = slice(row, row + 1)
        found, rows = forced(system, SOURCE[one, :length], MASK[one, :length], PREVIOUS[one])
        torch.testing.assert_close(found, logits[one], atol=1e-5, rtol=0)
        if attention is not None:
            torch.testing.assert_close(rows, attention[one, :, :length], atol=1e-5, rtol=0)


def test_the_source_should_matter(name: str) -> None:
    system = made(name)
    other = torch.where(SOURCE == 6, 20, SOURCE)
    logits, again = forced(system, SOURCE, MASK, PREVIOUS)[0], forced(system, other, MASK, PREVIOUS)[0]
    assert (logits[0] - again[0]).abs().max() > 1e-4
    torch.testing.assert_close(logits[1:], again[1:])


def test_later_words_should_not_be_known_before(name: str) -> None:
    system = made(name)
    other = PREVIOUS.clone()
    other[:, 3] = 30
    logits, again = forced(system, SOURCE, MASK, PREVIOUS)[0], forced(system, SOURCE, MASK, other)[0]
    torch.testing.assert_close(logits[:, :3], again[:, :3])
    assert (logits[:, 3] - again[:, 3]).abs().amax(1).gt(1e-4).all()


def test_gradients_should_reach_every_parameter(name: str) -> None:
    system = made(name, positions=6).train()
    logits, _ = system(SOURCE, MASK, PREVIOUS)
    F.cross_entropy(logits.flatten(0, 1), PREVIOUS.roll(-1, 1).flatten()).backward()
    # A bias of all energies changes no softmax, so only rounding reaches it
    shift = {"transformer": ".key.bias"}.get(name, "-")
    without = [
        key
        for key, p in system.named_parameters()
        if not key.endswith(shift) and (p.grad is None or not p.grad.isfinite().all() or p.grad.abs().max() == 0)
    ]
    assert without == []


def test_training_should_also_work_in_bfloat16_where_the_processor_does(name: str) -> None:
    system = made(name).train()
    with fast_floats("cpu"):
        logits, attention = system(SOURCE, MASK, PREVIOUS)
    logits.float().logsumexp(2).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in system.parameters())
    if attention is not None:
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum(2), torch.ones(3, 5))


def test_dropout_should_be_for_training_only(name: str) -> None:
    system = made(name, dropout=0.5)
    assert forced(system, SOURCE, MASK, PREVIOUS)[0].equal(forced(system, SOURCE, MASK, PREVIOUS)[0])
    system.train()
    assert not forced(system, SOURCE, MASK, PREVIOUS)[0].equal(forced(system, SOURCE, MASK, PREVIOUS)[0])


def test_a_reversed_sentence_should_be_learned(name: str) -> None:
    """Four words of ten, written backwards: the loss of guessing is log 10 = 2.3 each, 0 for the end."""
    system = made(
        name, vocabulary=13, embedding=24, encoder=16, decoder=32, hidden=32, attention=16, width=32, inner=64
    )
    system.load_state_dict({key: value / 1.5 for key, value in system.state_dict().items()})
    system.train()
    optimizer = torch.optim.Adam(system.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(4)
    losses = []
    for _ in range(150):
        words = torch.randint(3, 13, (48, 4), generator=generator)
        one, two = torch.ones(48, 1).long(), torch.full((48, 1), 2)
        source, target = torch.cat([words, two], dim=1), torch.cat([words.flip(1), two], dim=1)
        logits, _ = system(source, source != 0, torch.cat([one, target[:, :-1]], dim=1))
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) / 5 < 1.0


def test_hard_rows_should_be_one_hot_in_serving_and_in_training() -> None:
    system = made("hard")
    for rows in (forced(system, SOURCE, MASK, PREVIOUS)[1], forced(system.train(), SOURCE, MASK, PREVIOUS)[1]):
        assert rows is not None
        assert rows.sort(dim=2).values[:, :, -2:].tolist() == [[[0.0, 1.0]] * 5] * 3


def test_local_m_rows_should_be_0_outside_the_window() -> None:
    _, rows = forced(made("luong-local-m"), SOURCE, MASK, PREVIOUS)
    assert rows is not None
    assert rows[0].gt(0).tolist() == [[abs(j - t) <= 1 for j in range(6)] for t in range(5)]


def test_location_should_translate_beyond_its_positions_without_looking_there() -> None:
    system = made("location", positions=4)
    assert isinstance(system, GRUAttention)
    logits, rows = forced(system, SOURCE, MASK, PREVIOUS)
    assert rows is not None
    assert logits.isfinite().all()
    assert rows[:, :, 4:].eq(0).all()
    torch.testing.assert_close(rows.sum(2), torch.ones(3, 5))


def test_seq2seq_should_read_words_backwards_and_padding_last() -> None:
    assert reversed_words(SOURCE, MASK).tolist() == [[2, 9, 8, 7, 6, 5], [2, 11, 10, 0, 0, 0], [2, 12, 0, 0, 0, 0]]
    other = made("seq2seq", reverse_source=False)
    back = forced(other, reversed_words(SOURCE, MASK), MASK, PREVIOUS)[0]
    torch.testing.assert_close(back, forced(made("seq2seq"), SOURCE, MASK, PREVIOUS)[0])


def test_gnmt_should_have_residual_sums_from_the_third_layer_on() -> None:
    """With the third layer's LSTMs silenced, what goes through is the second layer's output."""
    two, three = made("gnmt", layers=2), made("gnmt", layers=3)
    assert isinstance(three, GNMT)
    weights = three.state_dict()
    for key in weights:
        if key.startswith(("encoder.1.", "decoder.2.")):
            weights[key] = torch.zeros_like(weights[key])
    three.load_state_dict(weights)
    two.load_state_dict({key: weights[key] for key in two.state_dict()})
    torch.testing.assert_close(
        forced(three, SOURCE, MASK, PREVIOUS), forced(two, SOURCE, MASK, PREVIOUS), atol=1e-6, rtol=1e-5
    )


def test_lstmn_state_should_grow_by_one_entry_each_step() -> None:
    system = made("lstmn")
    with torch.no_grad():
        memory, first = system.encode(SOURCE, MASK)
        state: Tensors = tuple(part[:, None] for part in first)
        for t in range(3):
            assert [part.shape[2] for part in state[:3]] == [t] * 3
            _, _, state = system.step(memory, MASK, state, PREVIOUS[:, t : t + 1], torch.tensor(t))


def test_lstmn_should_look_at_its_own_past() -> None:
    """What it wrote two steps ago reaches it by the tape alone, when the rest of the state is the same."""
    system = made("lstmn")
    assert isinstance(system, LSTMN)
    with torch.no_grad():
        memory, first = system.encode(SOURCE, MASK)
        state: Tensors = tuple(part[:, None] for part in first)
        for t in range(3):
            _, _, state = system.step(memory, MASK, state, PREVIOUS[:, t : t + 1], torch.tensor(t))
        other = list(state)
        other[0] = torch.cat([other[0][:, :, :1] + 1, other[0][:, :, 1:]], dim=2)
        now, again = (system.step(memory, MASK, tuple(s), PREVIOUS[:, 3:4], torch.tensor(3))[0] for s in (state, other))
    assert (now - again).abs().amax((1, 2)).gt(1e-4).all()


def test_registry_should_have_these_systems() -> None:
    assert {name: entry.row for name, entry in SYSTEMS.items()} == {
        "seq2seq": "S0",
        "rnnsearch": "S1",
        "luong-dot": "S2",
        "luong-general": "S3",
        "luong-concat": "S4",
        "luong-local-m": "S5",
        "luong-local-p": "S5",
        "location": "S6",
        "cosine": "S7",
        "scaled-dot": "S7",
        "gnmt": "S8",
        "lstmn": "S9",
        "hard": "S10",
        "transformer": "S11",
        "marian": "S12",
    }


def test_every_system_should_have_sizes_with_the_vocabulary_first_and_a_default_for_the_rest(name: str) -> None:
    entry = SYSTEMS[name]
    assert is_dataclass(entry.sizes)
    first, *_ = fields(entry.sizes)
    assert first.name == "vocabulary"
    assert entry.make_sizes(99).vocabulary == 99
    assert "dropout" in entry.settings()
    assert set(entry.fixed) <= {f.name for f in fields(entry.sizes)} - set(entry.settings())


@pytest.mark.parametrize(
    ("system", "given", "fault"),
    [
        ("luong-dot", {"score": "general"}, "sizes should be among .*: was score"),
        ("cosine", {"hidden": 3}, "sizes should be among .*: was hidden"),
        ("scaled-dot", {"encoder": 5, "decoder": 12}, "sizes.decoder should be twice sizes.encoder .*: was 12"),
        ("gnmt", {"layers": 1}, "sizes.layers should be at least 2: was 1"),
        ("luong-local-p", {"window": 0}, "sizes.window should be at least 1: was 0"),
    ],
)
def test_sizes_that_cannot_be_should_be_refused(system: str, given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        SYSTEMS[system].make_sizes(V, **given)
