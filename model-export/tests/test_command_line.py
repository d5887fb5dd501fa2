"""The commands, run as a person runs them but in this process; what they print is part of the product."""

import shutil
from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.bundle import read_json
from model_export.score import batches, moses


def test_export_verify_and_score_should_work_one_after_another(
    tmp_path: Path, data: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, config = tmp_path / "fr-en", data / "config.toml"
    arguments = ["export", "--config", str(config), "--checkpoint", str(trained), "--out", str(bundle)]
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "give --force to replace it" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert main(["verify", str(bundle), "--checkpoint", str(trained)]) == 0
    capsys.readouterr()

    assert main(["score", str(bundle), str(data / "dev.tsv"), "--record", "dev", "--lines", "4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("dev.tsv: BLEU ")
    assert "(4 sentences, beam 4, length penalty 1)" in out
    assert read_json(bundle)["scores"]["dev"]["sentences"] == 4
    assert main(["verify", str(bundle)]) == 0


def test_score_should_compare_penalties_and_leave_marked_lines_out(
    tmp_path: Path, data: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "marks.tsv").write_text("0\t0\n1\t0\n0\t0\n0\t1\n0\t0\n", encoding="utf-8")
    options = ["--skip", str(tmp_path / "marks.tsv"), "--length-penalty", "0.6", "1.2", "--beam-size", "2"]
    assert main(["score", str(bundle), str(data / "dev.tsv"), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("length penalty ")[1] for line in lines] == ["0.6)", "1.2)"]
    assert all("(3 sentences, beam 2" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["score", "BUNDLE", "EMPTY"], "no line to score"),
        (["score", "BUNDLE", "THREE"], "expected 2 columns split by one TAB, found 3"),
        (
            ["score", "BUNDLE", "DEV", "--record", "x", "--length-penalty", "1", "2"],
            "--record needs one length penalty",
        ),
        (["score", "BROKEN", "DEV"], "tokenizer.json: missing"),
        (["verify", "BROKEN"], "tokenizer.json: missing"),
        (["verify", "DATA"], "bundle.json: cannot be read"),
        (["export", "--config", "DEV", "--checkpoint", "DATA", "--out", "NEW"], "dev.tsv"),
        (["train", "--config", "CONFIG", "--data", "BROKEN", "--out", "NEW"], "all.tsv"),
    ],
)
def test_a_failure_should_be_one_clear_line_and_status_1(
    tmp_path: Path, data: Path, bundle: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    (tmp_path / "empty.tsv").touch()
    (tmp_path / "three.tsv").write_text("a\tb\tc\n", encoding="utf-8")
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "tokenizer.json").unlink()
    names = {
        "BUNDLE": bundle,
        "BROKEN": broken,
        "DATA": data,
        "DEV": data / "dev.tsv",
        "CONFIG": data / "config.toml",
        "EMPTY": tmp_path / "empty.tsv",
        "THREE": tmp_path / "three.tsv",
        "NEW": tmp_path / "new",
    }
    assert main([str(names.get(word, word)) for word in words]) == 1
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["verify"],
        ["verify", "/nowhere"],
        ["train", "--steps", "0"],
        ["score", "--colour", "."],
        ["score-aer", "."],
    ],
)
def test_wrong_usage_should_be_one_line_and_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--help" in error


@pytest.mark.parametrize(
    "command", ["train", "guide", "save-marian", "import-marian", "export", "verify", "score", "score-aer"]
)
def test_each_command_should_have_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"usage: model-export {command}" in capsys.readouterr().out


def test_debug_should_show_where(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(ValueError, match="no line to score"):
        main(["--debug", "score", str(bundle), str(tmp_path / "empty.tsv")])


def test_batches_should_put_like_lengths_together_within_bounds() -> None:
    assert list(batches([3, 9, 5])) == [[1, 2, 0]]
    assert list(batches([1500, 1, 1000, 5000])) == [[3], [0], [2, 1]]
    assert [len(batch) for batch in batches([1] * 130)] == [64, 64, 2]


def test_tokenised_scores_should_be_of_moses_tokens_in_lower_case() -> None:
    assert moses(["L’été, c'est BEAU!", "Don't stop."], "fr") == ["l' été , c' est beau !", "don' t stop ."]
    assert moses(["Don't stop."], "en") == ["don 't stop ."]
