import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model_export.rnnsearch import RNNsearch
from model_export.search import DEAD, Hypothesis, SearchRules, Steps, beam_search, best, trace_back
from model_export.system import Tensors

END = 2
RULES = SearchRules(start=1, end=END)
ONE = torch.tensor([[5, 2]])
ALL = torch.ones(1, 2, dtype=torch.bool)


class Chain:
    """Words depend on the word before alone: a table [V, V] of log-probabilities."""

    def __init__(self, vocabulary: int) -> None:
        torch.manual_seed(1)
        self.table = torch.log_softmax(2 * torch.randn(vocabulary, vocabulary), dim=1)

    def encode(self, source_ids: Tensor, mask: Tensor) -> tuple[Tensors, Tensors]:
        return (), ()

    def log_probs(self, logits: Tensor) -> Tensor:
        return torch.log_softmax(logits, dim=-1)

    def step(
        self, memory: Tensors, mask: Tensor, state: Tensors, previous: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensors]:
        return self.table[previous], torch.full((*previous.shape, mask.shape[1]), 0.5), ()

    def score(self, ids: tuple[int, ...]) -> float:
        return sum(float(self.table[a, b]) for a, b in itertools.pairwise((1, *ids)))


def pool(steps: Steps, limit: int) -> list[Hypothesis]:
    """The finished hypotheses of the first sentence that were asked for."""
    assert steps.attention is not None
    _, scores = steps.scores[0].tensor_split(2)
    there = [n for n, score in enumerate(scores[: steps.attention.shape[2]]) if score > DEAD]
    return [trace_back(steps, 0, number, limit, END) for number in there]


def test_a_wide_beam_should_find_what_enumeration_finds() -> None:
    chain, length = Chain(4), 3
    whole = [
        ids
        for n in range(1, length + 1)
        for ids in itertools.product(range(4), repeat=n)
        if END not in ids[:-1] and (n == length or ids[-1] == END)
    ]
    expected = sorted(whole, key=lambda ids: chain.score(ids) / len(ids), reverse=True)
    steps = beam_search(chain, ONE, ALL, len(whole), length, RULES)
    found = pool(steps, length)
    assert {tuple(h.ids) for h in found} == set(whole)
    assert [h.score / len(h.ids) for h in found] == pytest.approx(
        [chain.score(ids) / len(ids) for ids in expected], abs=1e-5
    )


def test_a_beam_of_1_should_take_the_likeliest_word_each_time() -> None:
    chain = Chain(6)
    expected, previous = [], 1
    while len(expected) < 5 and END not in expected:
        previous = int(chain.table[previous].argmax())
        expected.append(previous)
    assert best(beam_search(chain, ONE, ALL, 1, 5, RULES), 0, 5, 1.0, END).ids == expected


def test_a_suppressed_word_should_not_be_chosen_and_change_no_other_score() -> None:
    chain = Chain(6)
    likeliest = int(chain.table[1].argmax())
    steps = beam_search(chain, ONE, ALL, 3, 5, replace(RULES, suppressed=(likeliest,)))
    for hypothesis in pool(steps, 5):
        assert likeliest not in hypothesis.ids
        assert hypothesis.score == pytest.approx(chain.score(tuple(hypothesis.ids)), abs=1e-5)


def test_forced_words_should_be_taken_and_scored_as_the_model_scores_them() -> None:
    chain = Chain(6)
    prefix = torch.tensor([[4, 5, -1, 3]])
    found = best(beam_search(chain, ONE, ALL, 3, 6, replace(RULES, suppressed=(4,)), prefix), 0, 6, 0.0, END)
    assert found.ids[:2] == [4, 5]
    assert found.ids[2] == END or found.ids[3] == 3
    assert found.score == pytest.approx(chain.score(tuple(found.ids)), abs=1e-5)


def test_an_end_at_the_limit_should_cost_nothing() -> None:
    chain = Chain(6)
    chain.table[:, END] = -50.0
    chain.table = torch.log_softmax(chain.table, dim=1)
    found = best(beam_search(chain, ONE, ALL, 2, 4, replace(RULES, end_at_limit=True)), 0, 4, 1.0, END)
    assert len(found.ids) == 4
    assert found.ids[-1] == END
    assert found.score == pytest.approx(chain.score(tuple(found.ids[:-1])), abs=1e-5)


def test_early_stopping_should_end_with_the_first_full_pool(model: RNNsearch) -> None:
    source = torch.tensor([[5, 6, 7, 2]])
    early = beam_search(model, source, source != 0, 4, 30, replace(RULES, early_stopping=True))
    patient = beam_search(model, source, source != 0, 4, 30, RULES)
    assert len(early.tokens) <= len(patient.tokens)
    assert max(h.score / len(h.ids) for h in pool(patient, 28)) >= max(h.score / len(h.ids) for h in pool(early, 28))


def test_a_beam_below_the_threshold_should_be_given_up() -> None:
    """Word 3 comes first with 0.9, word 4 with 0.1, ln 9 = 2.2 less; but what follows 3 is one of 26."""
    chain = Chain(30)
    chain.table[:] = DEAD
    chain.table[[0, END]] = 0.0  # follows nothing
    chain.table[1, 3], chain.table[1, 4] = math.log(0.9), math.log(0.1)
    chain.table[3, 4:] = 0.0
    chain.table[4:, END] = 0.0
    rules = replace(RULES, length_penalty=0.0)
    first = [
        best(beam_search(chain, ONE, ALL, 2, 8, replace(rules, beam_threshold=threshold)), 0, 8, 0.0, END).ids[0]
        for threshold in (0.0, 2.1, 2.3)
    ]
    assert first == [4, 3, 4]


def test_a_whole_target_given_should_end_the_search_with_it(model: RNNsearch) -> None:
    steps = beam_search(model, ONE, ALL, 4, 50, RULES, torch.tensor([[7, 8, 2]]))
    assert len(steps.tokens) == 3
    assert best(steps, 0, 50, 1.0, END).ids == [7, 8, 2]


def test_a_shift_should_publish_the_row_of_the_step_that_reads_a_token(model: RNNsearch) -> None:
    target = torch.tensor([[7, 8, 9, 2]])
    plain, shifted = (
        best(beam_search(model, ONE, ALL, 4, 50, replace(RULES, shift=shift), target), 0, 50, 1.0, END).attention
        for shift in (0, 1)
    )
    assert plain is not None
    assert shifted is not None
    torch.testing.assert_close(shifted[:-1], plain[1:])
    torch.testing.assert_close(shifted[-1], plain[-1])


def test_limits_should_depend_on_each_sentence_alone() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    assert RULES.limits(mask, torch.zeros(2, 0), 256).tolist() == [26, 22]
    assert RULES.limits(mask, torch.zeros(2, 0), 24).tolist() == [24, 22]
    assert RULES.limits(mask, torch.tensor([[7] * 30, [7] * 3 + [-1] * 27]), 24).tolist() == [30, 22]
    assert replace(RULES, limit_ratio=0, limit_offset=9).limits(mask, torch.zeros(2, 0), 256).tolist() == [9, 9]


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
def test_the_best_should_be_the_same_however_many_are_asked_for(length_penalty: float) -> None:
    rules, fewer = replace(RULES, length_penalty=length_penalty), 0
    for words in (6, 12, 30, 60):
        chain = Chain(words)
        whole = beam_search(chain, ONE, ALL, 5, 8, rules)
        for count in range(1, 5):
            some = beam_search(chain, ONE, ALL, 5, 8, rules, best=count)
            fewer += len(some.tokens) < len(whole.tokens)
            assert some.attention is not None
            assert some.attention.shape[2] == count
            for a, b in zip(pool(some, 8), pool(whole, 8)[:count], strict=True):
                assert (a.ids, a.score) == (b.ids, b.score)
    assert fewer > 0 or length_penalty >= 1  # a bound too far off for so few words


def test_a_negative_length_penalty_should_not_end_a_search_early() -> None:
    rules = replace(RULES, length_penalty=-1.0)  # every word more multiplies the score, which is negative
    steps = [len(beam_search(Chain(12), ONE, ALL, 5, 20, rules, best=best).tokens) for best in (1, 5)]
    assert steps[0] == steps[1]


def test_a_finished_hypothesis_should_keep_its_score_while_others_go_on(model: RNNsearch) -> None:
    source = torch.tensor([[5, 6, 7, 2]])
    steps = beam_search(model, source, source != 0, 4, 30, RULES)
    assert steps.scores[0, :4].eq(DEAD).all()
    for number in range(4):
        found = trace_back(steps, 0, number, 28, END)
        assert found.score == pytest.approx(float(steps.scores[0, 4 + number]), abs=1e-4)


def test_length_penalty_should_choose_between_short_and_long(model: RNNsearch) -> None:
    source = torch.tensor([[5, 6, 7, 2]])
    steps = beam_search(model, source, source != 0, 4, 30, RULES)
    lengths = [len(best(steps, 0, 28, penalty, END).ids) for penalty in (0.0, 1.0, 5.0)]
    assert lengths == sorted(lengths)
