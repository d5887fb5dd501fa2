import json
from pathlib import Path

import numpy as np
import pytest
from conftest import PAIRS

from model_export import results
from model_export.results import Figures, collect, matrix, measure, measure_speed, page, speed_of

PRINTED = """beam 4: 800 sentences, 20.0 source tokens each, batches of at most 64 rows and 4096 tokens, 2 workers
round 1
  bare model      196.0 sentences/s, 1 target tokens/s, 40.0 rows a batch, 5 % padding
  pipeline        182.5 sentences/s, 1 target tokens/s, 40.0 rows a batch, 5 % padding
round 2
  bare model      196.0 sentences/s, 1 target tokens/s, 40.0 rows a batch, 5 % padding
  pipeline        150.5 sentences/s, 1 target tokens/s, 40.0 rows a batch, 5 % padding
round 3
  bare model      196.0 sentences/s, 1 target tokens/s, 40.0 rows a batch, 5 % padding
  pipeline        190.0 sentences/s, 1 target tokens/s, 40.0 rows a batch, 5 % padding
"""


@pytest.fixture
def configs(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two systems, with and without attention, and the sets they are scored by."""
    text = (data / "config.toml").read_text(encoding="utf-8")
    # Long enough that they do more than say a few pieces again and again, in any order that is as likely
    text = text.replace("steps = 8", "steps = 120").replace("validate_every = 4", "validate_every = 60")
    bare = text[: text.index("[sizes]")] + "[sizes]\nembedding = 16\nhidden = 12\n" + text[text.index("[[train]]") :]
    (tmp_path / "rnnsearch.toml").write_text(text, encoding="utf-8")
    (tmp_path / "seq2seq.toml").write_text(bare.replace("rnnsearch", "seq2seq"), encoding="utf-8")
    gold = "".join(f"{source}\t{target}\t0-0\t1-1\n" for source, target in PAIRS[:4])
    (data / "gold.tsv").write_text(gold, encoding="utf-8")
    long = " ".join(["Le chat noir dort sur le pont."] * 6)
    (data / "long.tsv").write_text(f"{long}\tThe black cat sleeps.\n", encoding="utf-8")
    monkeypatch.setattr(results, "SETS", ("dev.tsv", "long.tsv"))
    monkeypatch.setattr(results, "GOLD", "gold.tsv")
    monkeypatch.setattr(results, "_speed", lambda *_: 12.0)  # the Java side is not built where these tests run
    return [tmp_path / "rnnsearch.toml", tmp_path / "seq2seq.toml"]


def test_systems_should_be_trained_scored_and_put_side_by_side(tmp_path: Path, data: Path, configs: list[Path]) -> None:
    made = [measure(config, data, tmp_path / "runs", lambda _: None) for config in configs]
    assert [figures.speed for figures in made] == [None, None]
    assert [measure_speed(tmp_path / "runs" / config.stem, data, tmp_path) for config in configs] == [12.0, 12.0]
    assert made[0].aer is not None
    assert made[1].aer is None
    assert made[0].sentences == {"1-10": 5, "11-20": 0, "21-30": 0, "31-50": 1, "over 50": 0}
    assert set(made[0].bleu) == {"dev", "long"}
    kept = tmp_path / "kept.json"
    text = page(configs, collect(configs, tmp_path / "runs", kept), tmp_path / "plot.svg")
    assert text.index("| S0 | Seq2Seq |") < text.index("| S1 | RNNsearch |")
    assert "no attention" in text
    assert "from 1-10 to 31-50 words" in text
    assert f"a straight diagonal has {made[0].aer_diagonal:.1f}." in text
    assert 0 < made[0].aer_diagonal < 100
    assert "Le chat noir est sur le tapis  →  " in text
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "Two trainings" not in text

    (tmp_path / "runs" / "seq2seq" / "results.json").unlink()  # its run is gone, its figures are not
    assert page(configs, collect(configs, tmp_path / "runs", kept), tmp_path / "plot.svg") == text
    known = json.loads(kept.read_text(encoding="utf-8"))
    kept.write_text(json.dumps([f | {"updates": 7} if f["system"] == "seq2seq" else f for f in known]))
    other = page(configs, collect(configs, tmp_path / "runs", kept), tmp_path / "plot.svg")
    assert "The figures of Seq2Seq are of an earlier one" in other
    assert "from 1-10 to 31-50 words" not in other  # nothing that trained like it to hold it against
    kept.write_text(json.dumps(known[:1]))
    assert "Not measured yet: seq2seq." in page(
        configs, collect(configs, tmp_path / "runs", kept), tmp_path / "plot.svg"
    )


def test_a_page_of_nothing_should_be_refused(tmp_path: Path, configs: list[Path]) -> None:
    with pytest.raises(ValueError, match=r"holds results: measure a system first"):
        collect(configs, tmp_path, tmp_path / "kept.json")


def test_speed_should_be_the_median_of_the_rounds() -> None:
    assert speed_of(PRINTED) == 182.5
    assert speed_of("nothing") is None


def test_a_matrix_should_be_darker_for_more() -> None:
    assert matrix(["a", "</s>"], ["▁Le", "x"], np.array([[0.0, 1.0], [0.4, 0.6]])) == [
        "     Le x",
        "   a    █",
        "</s> ▒▒ ▓",
    ]


def test_figures_should_survive_their_file() -> None:
    figures = Figures("seq2seq", 1, 2, 0.5, 3, bleu={"x": 1.0})
    assert Figures(**json.loads(json.dumps(figures.__dict__))) == figures
