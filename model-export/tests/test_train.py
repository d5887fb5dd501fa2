from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from model_export import train as training
from model_export.config import Config
from model_export.train import train
from model_export.vocabulary import Subwords


def weights(folder: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(folder / "last.pt", weights_only=True)
    assert saved["state"]["step"] == 8
    return {**saved["model"], **{f"mean.{name}": value for name, value in saved["averaged"].items()}}


def test_a_stopped_run_should_resume_to_the_weights_of_an_unstopped_one(
    tmp_path: Path, config: Config, data: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, done = training._update, []

    def stop_after_6(*arguments: object) -> float:
        if len(done) == 6:
            raise KeyboardInterrupt
        done.append(1)
        return update(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_update", stop_after_6)
    with pytest.raises(KeyboardInterrupt):
        train(config, data, tmp_path)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["state"]["step"] == 4
    monkeypatch.setattr(training, "_update", update)
    torch.manual_seed(99)
    train(config, data, tmp_path)
    expected = weights(trained)
    for name, value in weights(tmp_path).items():
        assert value.equal(expected[name]), name


def test_training_should_learn(trained: Path) -> None:
    assert {"tokenizer.json", "best.pt", "last.pt", "log.jsonl"} == {path.name for path in trained.iterdir()}
    state = torch.load(trained / "last.pt", weights_only=True)["state"]
    assert state["tokens"] > 0
    assert state["seconds"] > 0
    assert len((trained / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_finished_run_should_have_nothing_left_to_do(
    config: Config, data: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "last.pt").read_bytes()
    train(config, data, trained)
    assert (trained / "last.pt").read_bytes() == before
    assert "resuming after update 8" in capsys.readouterr().out


def test_a_vocabulary_of_another_size_should_be_refused(tmp_path: Path, data: Path, config: Config) -> None:
    other = replace(config, sizes=replace(config.sizes, vocabulary=400))
    with pytest.raises(ValueError, match=r"vocabulary\.size should be .*300: was 400"):
        train(other, data, tmp_path)


def test_a_file_taken_in_parts_should_begin_again_after_its_end(config: Config, data: Path, subwords: Subwords) -> None:
    part = config.train[1]
    passes = [training._corpus(config, data, subwords, part, number) for number in range(5)]
    assert [len(corpus) for corpus in passes] == [10, 10, 10, 6, 10]
    whole = training._corpus(config, data, subwords, replace(part, lines=None), 0)
    assert [pair[0].tolist() for pair in passes[4].pairs] == [pair[0].tolist() for pair in whole.pairs[4:14]]


def test_batches_should_be_the_same_from_any_update_on(config: Config, data: Path, subwords: Subwords) -> None:
    batches = list(islice(training.stream(config, data, subwords, 0), 20))
    resumed = list(islice(training.stream(config, data, subwords, 9), 11))
    assert all(a.source.equal(b.source) and a.target.equal(b.target) for a, b in zip(batches[9:], resumed, strict=True))
