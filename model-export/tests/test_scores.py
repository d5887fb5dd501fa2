"""Each score against its formula, written out for one state and one annotation at a time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model_export.scores import SCORES, Additive, Concat, Cosine, Dot, General, Location, ScaledDot, Score

B, K, S, D, M, A = 2, 3, 5, 6, 6, 4
Formula = Callable[[Score, Tensor, Tensor], Tensor]


def additive(score: Additive, s: Tensor, h: Tensor) -> Tensor:
    return score.score.weight[0] @ torch.tanh(score.query.weight @ s + score.key.weight @ h + score.key.bias)


def concat(score: Concat, s: Tensor, h: Tensor) -> Tensor:
    both = torch.cat([score.query.weight, score.key.weight], dim=1)
    return score.score.weight[0] @ torch.tanh(both @ torch.cat([s, h]) + score.key.bias)


def general(score: General, s: Tensor, h: Tensor) -> Tensor:
    return s @ score.key.weight @ h


def cosine(score: Cosine, s: Tensor, h: Tensor) -> Tensor:
    k = score.query(s)
    strength = torch.log1p(torch.exp(score.strength(s)))[0]
    return strength * (k @ h) / (k.norm() * h.norm())


FORMULAS: dict[str, Formula] = {
    "additive": additive,
    "concat": concat,
    "dot": lambda _, s, h: s @ h,
    "general": general,
    "scaled_dot": lambda _, s, h: s @ h / 6**0.5,
    "cosine": cosine,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_score_should_be_its_formula_for_every_query_and_word(name: str) -> None:
    torch.manual_seed(0)
    score = SCORES[name](D, M, A)
    query, annotations = torch.randn(B, K, D), torch.randn(B, S, M)
    with torch.no_grad():
        found = score(query, score.keys(annotations))
        expected = torch.stack(
            [
                torch.stack([torch.stack([FORMULAS[name](score, s, h) for h in sentence]) for s in states])
                for states, sentence in zip(query, annotations, strict=True)
            ]
        )
    torch.testing.assert_close(found, expected)


def test_every_score_should_have_a_formula_or_a_test_of_its_own() -> None:
    assert set(SCORES) == {*FORMULAS, "location"}


@pytest.mark.parametrize("kind", [Dot, ScaledDot])
def test_dot_should_name_both_sizes_when_they_differ(kind: type[Dot]) -> None:
    with pytest.raises(ValueError, match=r"as wide as the annotations \(8\): was 6"):
        kind(6, 8)


def test_location_should_not_depend_on_the_annotations() -> None:
    torch.manual_seed(0)
    score, query = Location(D, 7), torch.randn(B, K, D)
    with torch.no_grad():
        found = score(query, score.keys(torch.randn(B, S, M)))
        assert found.equal(score(query, score.keys(torch.randn(B, S, M))))
        expected = query @ score.energy.weight[:S].T + score.energy.bias[:S]
    torch.testing.assert_close(found, expected)


def test_location_should_look_at_no_word_beyond_its_positions() -> None:
    torch.manual_seed(0)
    score, query = Location(D, 3), torch.randn(B, K, D)
    with torch.no_grad():
        found = score(query, score.keys(torch.randn(B, S, M)))
        short = score(query, score.keys(torch.randn(B, 3, M)))
    assert found.shape == (B, K, S)
    assert found[:, :, 3:].eq(float("-inf")).all()
    torch.testing.assert_close(found[:, :, :3], short)
