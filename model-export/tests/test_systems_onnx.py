"""Every system's graph, run by ONNX Runtime, against the search in PyTorch."""

from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from model_export.onnx_graph import build
from model_export.search import Hypothesis, SearchRules, Steps, beam_search, best
from model_export.system import System
from model_export.systems import SYSTEMS

SMALL = {
    "embedding": 8,
    "encoder": 6,
    "decoder": 12,
    "hidden": 10,
    "attention": 7,
    "layers": 3,
    "window": 2,
    "width": 16,
    "inner": 20,
    "encoder_layers": 2,
    "decoder_layers": 2,
}
V, LONGEST = 40, 12
RULES = SearchRules(start=1, end=2, suppressed=(0,))
SOURCE = torch.tensor([[5, 6, 7, 8, 9, 10, 2], [10, 11, 2, 0, 0, 0, 0], [12, 2, 0, 0, 0, 0, 0]])
FREE = torch.zeros(3, 0, dtype=torch.long)
PREFIX = torch.tensor([[7, -1, 8], [9, 2, -1], [-1, -1, 30]])


class Exported(NamedTuple):
    system: System
    session: onnxruntime.InferenceSession
    model: onnx.ModelProto


@pytest.fixture(scope="module", params=[name for name in SYSTEMS if name != "marian"])  # marian: the transformer again
def exported(request: pytest.FixtureRequest) -> Exported:
    """Weights that float16 holds exactly, large enough for sharp and varied choices; made once for all tests."""
    entry = SYSTEMS[request.param]
    sizes = {key: value for key, value in SMALL.items() if key in entry.settings()}
    if request.param == "location":
        sizes["positions"] = 5  # fewer than the longest source has
    scale = 2 if request.param == "transformer" else 3
    torch.manual_seed(3)
    system = entry.system(entry.make_sizes(V, **sizes)).eval()
    system.load_state_dict({key: (scale * value).half().float() for key, value in system.state_dict().items()})
    bias = next(p for key, p in system.named_parameters() if key.endswith("output_bias"))
    bias.data[2], bias.data[0] = 1.5, 3.0  # an end now and then; padding, if it were not suppressed
    model = build(system, RULES, {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return Exported(system, session, model)


def run(exported: Exported, source: Tensor, beam_size: int, prefix: Tensor, best: int | None = None) -> Steps:
    given = {
        "source_ids": source.numpy(),
        "source_mask": (source != 0).long().numpy(),
        "target_prefix": prefix.numpy(),
        "max_target_length": np.array(LONGEST),
        "beam_size": np.array(beam_size),
        "best": np.array(best or beam_size),
    }
    names = [output.name for output in exported.session.get_outputs()]
    found = dict(zip(names, map(torch.from_numpy, exported.session.run(names, given)), strict=True))
    return Steps(found["tokens"], found["parents"], found["log_probs"], found.get("attention"), found["scores"])


def bests(steps: Steps, source: Tensor, prefix: Tensor) -> list[Hypothesis]:
    limits = RULES.limits(source != 0, prefix, LONGEST).tolist()
    return [best(steps, row, limit, RULES.length_penalty, RULES.end) for row, limit in enumerate(limits)]


def equal(found: Hypothesis, expected: Hypothesis) -> None:
    assert found.ids == expected.ids
    torch.testing.assert_close(found.log_probs, expected.log_probs, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.attention, expected.attention, atol=1e-4, rtol=0)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("prefix", [FREE, PREFIX], ids=["free", "prefix"])
def test_graph_should_equal_the_search_in_pytorch(exported: Exported, beam_size: int, prefix: Tensor) -> None:
    found = run(exported, SOURCE, beam_size, prefix)
    expected = beam_search(exported.system, SOURCE, SOURCE != 0, beam_size, LONGEST, RULES, prefix)
    assert found.tokens.shape == expected.tokens.shape
    for a, b in zip(bests(found, SOURCE, prefix), bests(expected, SOURCE, prefix), strict=True):
        equal(a, b)


@pytest.mark.parametrize("prefix", [FREE, PREFIX], ids=["free", "prefix"])
def test_the_best_alone_should_be_the_best_of_all(exported: Exported, prefix: Tensor) -> None:
    found = run(exported, SOURCE, 4, prefix, best=1)
    expected = beam_search(exported.system, SOURCE, SOURCE != 0, 4, LONGEST, RULES, prefix, best=1)
    assert found.tokens.shape == expected.tokens.shape
    whole = run(exported, SOURCE, 4, prefix)
    for a, b in zip(bests(found, SOURCE, prefix), bests(whole, SOURCE, prefix), strict=True):
        equal(a, b)
    if found.attention is not None:
        assert found.attention.shape[2] == 1


def test_a_sentence_alone_should_give_what_it_gives_in_a_batch(exported: Exported) -> None:
    together = bests(run(exported, SOURCE, 4, FREE), SOURCE, FREE)
    for row, length in enumerate([7, 3, 2]):
        alone = SOURCE[row : row + 1, :length]
        (found,) = bests(run(exported, alone, 4, FREE[:1]), alone, FREE[:1])
        expected = together[row]
        if expected.attention is not None:
            expected = expected._replace(attention=expected.attention[:, :length])
        equal(found, expected)


def test_attention_should_sum_to_1_and_be_0_on_padding(exported: Exported) -> None:
    found = run(exported, SOURCE, 4, FREE).attention
    assert (found is not None) == exported.system.publishes
    if found is not None:
        torch.testing.assert_close(found.sum(3), torch.ones(found.shape[:3]))
        assert found[:, 1, :, 3:].eq(0).all()
        assert found[:, 2, :, 2:].eq(0).all()


def test_translations_should_differ(exported: Exported) -> None:
    """Or the comparisons above would say little."""
    found = {tuple(h.ids) for h in bests(run(exported, SOURCE, 4, FREE), SOURCE, FREE)}
    assert len(found) > 1
    assert any(len(set(ids)) > 1 for ids in found)
