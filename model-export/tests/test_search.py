import itertools

import pytest
import torch
from torch import Tensor

from model_export.rnnsearch import Memory, RNNsearch
from model_export.search import beam_search, best, limits, trace_back

END = 2
ONE = torch.tensor([[5, 2]])
ALL = torch.ones(1, 2, dtype=torch.bool)


class Chain:
    """Words depend on the word before alone: a table [V, V] of log-probabilities."""

    def __init__(self, vocabulary: int) -> None:
        torch.manual_seed(1)
        self.table = torch.log_softmax(2 * torch.randn(vocabulary, vocabulary), dim=1)

    def encode(self, source_ids: Tensor, mask: Tensor) -> Memory:
        nothing = torch.zeros(len(source_ids), 1)
        return Memory(nothing, nothing, mask, nothing)

    def step(self, memory: Memory, state: Tensor, previous_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.table[previous_ids], torch.full(memory.mask.shape, 0.5), state

    def score(self, ids: tuple[int, ...]) -> float:
        return sum(float(self.table[a, b]) for a, b in itertools.pairwise((1, *ids)))


def test_a_wide_beam_should_find_what_enumeration_finds() -> None:
    chain, length = Chain(4), 3
    whole = [
        ids
        for n in range(1, length + 1)
        for ids in itertools.product(range(4), repeat=n)
        if END not in ids[:-1] and (n == length or ids[-1] == END)
    ]
    expected = sorted(whole, key=chain.score, reverse=True)
    steps = beam_search(chain, ONE, ALL, len(whole), length)
    assert {tuple(trace_back(steps, 0, slot, length).ids) for slot in range(len(whole))} == set(whole)
    assert steps.scores[0].tolist() == pytest.approx([chain.score(ids) for ids in expected], abs=1e-5)


def test_a_beam_of_1_should_take_the_likeliest_word_each_time() -> None:
    chain = Chain(6)
    expected, previous = [], 1
    while len(expected) < 5 and END not in expected:
        previous = int(chain.table[previous].argmax())
        expected.append(previous)
    assert best(beam_search(chain, ONE, ALL, 1, 5), 0, 5, 1.0).ids == expected


def test_forced_words_should_be_taken_and_scored_as_the_model_scores_them() -> None:
    chain = Chain(6)
    prefix = torch.tensor([[4, 5, -1, 3]])
    found = best(beam_search(chain, ONE, ALL, 3, 6, prefix), 0, 6, 0.0)
    assert found.ids[:2] == [4, 5]
    assert found.ids[2] == END or found.ids[3] == 3
    assert found.score == pytest.approx(chain.score(tuple(found.ids)), abs=1e-5)


def test_a_whole_target_given_should_end_the_search_with_it(model: RNNsearch) -> None:
    steps = beam_search(model, ONE, ALL, 4, 50, torch.tensor([[7, 8, 2]]))
    assert len(steps.tokens) == 3
    assert best(steps, 0, 50, 1.0).ids == [7, 8, 2]


def test_limits_should_depend_on_each_sentence_alone() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    assert limits(mask, torch.zeros(2, 0), 256).tolist() == [26, 22]
    assert limits(mask, torch.zeros(2, 0), 24).tolist() == [24, 22]
    assert limits(mask, torch.tensor([[7] * 30, [7] * 3 + [-1] * 27]), 24).tolist() == [30, 22]


def test_a_finished_beam_should_keep_its_score_while_others_go_on(model: RNNsearch) -> None:
    source = torch.tensor([[5, 6, 7, 2]])
    steps = beam_search(model, source, source != 0, 4, 30)
    for slot in range(4):
        found = trace_back(steps, 0, slot, 28)
        assert found.score == pytest.approx(float(steps.scores[0, slot]), abs=1e-4)


def test_length_penalty_should_choose_between_short_and_long(model: RNNsearch) -> None:
    source = torch.tensor([[5, 6, 7, 2]])
    steps = beam_search(model, source, source != 0, 4, 30)
    lengths = [len(best(steps, 0, 28, penalty).ids) for penalty in (0.0, 1.0, 5.0)]
    assert lengths == sorted(lengths)
