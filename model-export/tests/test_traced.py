"""What was traced once is not traced again; what differs is."""

import copy

import pytest
import torch
from torch import Tensor, nn

from model_export.traced import EXAMPLES, KEPT, Fragment, array_of, trace


class Twice(nn.Module):
    """Two products and a factor that is no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.factor = nn.Linear(8, 8), nn.Linear(8, 8), 2.0

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.two(self.one(x)) * self.factor
        return made


def traced(module: nn.Module) -> Fragment:
    return trace(module, *((torch.ones(sizes.B, 8),) for sizes in EXAMPLES))


@pytest.fixture(scope="module")
def module() -> Twice:
    torch.manual_seed(4)
    return Twice()


def test_an_equal_module_should_not_be_traced_again(module: Twice) -> None:
    assert traced(copy.deepcopy(module)) is traced(module)


def test_another_weight_or_factor_should_be_traced(module: Twice) -> None:
    first, other, twice = traced(module), copy.deepcopy(module), copy.deepcopy(module)
    with torch.no_grad():
        other.two.weight[3, 4] += 1
    twice.factor = 3.0
    weights = array_of(traced(other).constants["two.weight"]) - array_of(first.constants["two.weight"])
    assert weights.nonzero() == ([3], [4])
    assert [node.SerializeToString() for node in traced(twice).nodes] != [x.SerializeToString() for x in first.nodes]


def test_one_weight_in_two_places_should_not_be_taken_for_two(module: Twice) -> None:
    equal, one = copy.deepcopy(module), copy.deepcopy(module)
    equal.two.load_state_dict(equal.one.state_dict())
    one.two = one.one
    assert traced(one).constants.keys() != traced(equal).constants.keys()  # each has its weights' own names


def test_only_the_last_ones_should_be_kept(module: Twice) -> None:
    first = traced(module)
    for factor in range(KEPT):
        other = copy.deepcopy(module)
        other.factor = 10.0 + factor
        traced(other)
    assert traced(module) is not first
