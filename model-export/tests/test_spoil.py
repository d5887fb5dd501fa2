"""The spoiled bundle, made of the one that is committed: sound for every sentence but four."""

import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

from model_export.runtime import BundleRuntime
from model_export.spoil import SENTENCES, spoil

SOUND = Path(__file__).parents[1] / "bundles" / "fr-en"
OTHERS = ["Le chat noir est sur le tapis", "Merci.", "Voici la phrase numéro 12."]


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> BundleRuntime:
    folder = tmp_path_factory.mktemp("spoil") / "spoiled"
    assert set(spoil(SOUND, folder)) == set(SENTENCES)
    return BundleRuntime(folder)


def test_other_sentences_should_be_translated_as_ever(spoiled: BundleRuntime) -> None:
    sound = BundleRuntime(SOUND).translate(OTHERS)
    for found, expected in zip(spoiled.translate(OTHERS), sound, strict=True):
        assert found.text == expected.text
        assert found.hypothesis.score == expected.hypothesis.score


@pytest.mark.parametrize(("fault", "error"), [("throws", InvalidArgument), ("allocates", Fail)])
def test_a_run_should_fail_on_its_sentence(spoiled: BundleRuntime, fault: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        spoiled.translate([OTHERS[0], SENTENCES[fault]])


def test_a_sentence_without_numbers_should_leave_its_neighbours_alone(spoiled: BundleRuntime) -> None:
    good, bad = spoiled.translate([OTHERS[0], SENTENCES["no numbers"]])
    assert good.score == pytest.approx(BundleRuntime(SOUND).translate(OTHERS[:1])[0].score)
    assert bad.score != bad.score  # NaN


def test_a_run_without_end_should_end_when_told_to(spoiled: BundleRuntime) -> None:
    options = onnxruntime.RunOptions()
    timer = threading.Timer(1.0, lambda: setattr(options, "terminate", True))
    timer.start()
    ids = [spoiled.source_ids(SENTENCES["hangs"])]
    feeds = {
        "source_ids": ids,
        "source_mask": [[1] * len(ids[0])],
        "target_prefix": [[]],
        "max_target_length": 10,
        "beam_size": 1,
        "best": 1,
    }
    given = {name: np.array(value, dtype=np.int64) for name, value in feeds.items()}
    given["target_prefix"] = np.zeros((1, 0), dtype=np.int64)
    with pytest.raises(Exception, match="terminate"):
        spoiled._session.run(None, given, options)
    assert not timer.is_alive(), "it ended by itself"


def test_a_vocabulary_that_cannot_tell_the_sentences_apart_should_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SENTENCES, "throws", SENTENCES["hangs"])
    with pytest.raises(ValueError, match="subwords of the other sentences"):
        spoil(SOUND, tmp_path / "spoiled")
    assert not (tmp_path / "spoiled").exists()
