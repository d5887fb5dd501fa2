from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dragoman_bench import scaling
from dragoman_bench.scaling import GROWTHS, Curve, draw, lengths, main, measure_batch, measure_partitions, page


def curve(name: str, order: float, xs: Sequence[int] = (1, 2, 4, 8)) -> Curve:
    return Curve(name, "a setting", [(x, [2.0 * x**order, 3.0 * x**order, 2.5 * x**order]) for x in xs])


@pytest.mark.parametrize("order", [-0.5, 0.0, 1.0, 2.0])
def test_the_order_should_be_that_of_the_medians(order: float) -> None:
    assert curve("length", order).order(0) == pytest.approx(order)


def test_the_order_should_be_read_where_it_counts() -> None:
    found = Curve("backlog", "s", [(1_000, [9.0]), (10_000, [2.0]), (100_000, [2.0])])
    assert found.order(10_000) == pytest.approx(0)
    assert found.order(0) < -0.1
    assert str(found.order(100_000)) == "nan"


def test_sentences_should_have_the_length_asked_for() -> None:
    samples = ["one two three", "four five six seven"]
    found = lengths(samples, lambda text: 2 * len(text.split()), 10)
    assert [len(text.split()) for text in found] == [5, 5]
    assert lengths(samples, lambda text: 2 * len(text.split()), 1) == ["one", "one"]
    assert all(2 * len(text.split()) == 40 for text in lengths(samples, lambda text: 2 * len(text.split()), 41))


class Fake:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def rounds_of(
        self, bundle: str, sentences: Sequence[str], what: str, count: int, settings: Mapping[str, object]
    ) -> list[float]:
        self.asked.append((bundle, what, count, dict(settings)))
        return [float(len(self.asked))]

    def say(self, line: str) -> None: ...


def test_a_curve_should_have_a_point_for_each_setting() -> None:
    machine = Fake()
    found = measure_batch(machine, ["a"])  # type: ignore[arg-type]
    assert [x for x, _ in found.points] == [1, 2, 4, 8, 16, 32, 64]
    assert machine.asked[2] == ("fr-en", "engine", 512, {"batch.max.rows": 4})
    measure_partitions(machine, ["a"])  # type: ignore[arg-type]
    assert machine.asked[-1] == ("fr-en", "pipeline", 1024, {"topic.partitions": 32, "model.beam.size": 1})


def test_the_page_should_say_what_is_worse_than_expected(tmp_path: Path) -> None:
    curves = [curve("length", 1.2), curve("partitions", 0.4)]
    draw(curves, tmp_path / "a.svg")
    text = page(curves, tmp_path / "a.svg", "bench/scaling", 2)
    assert "![Milliseconds a sentence](a.svg)" in text
    assert "Measured: **1.20**, as expected or better." in text
    assert "Measured: **0.40**, **worse than expected**." in text
    assert "| 4 | 13.195 | 10.556, 15.834 |" in text
    assert "Sentences that wait" not in text
    few = page([Curve("backlog", "s", [(1_000, [9.0]), (10_000, [2.0])])], tmp_path / "a.svg", "bench/scaling", 2)
    assert "Measured, from 10,000 on: of too few points." in few
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    first = (tmp_path / "a.svg").read_bytes()
    draw(curves, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == first


def test_measured_curves_should_stay_until_they_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "measure_batch", lambda *_: curve("batch", -0.5))
    monkeypatch.setattr(scaling, "measure_partitions", lambda *_: curve("partitions", 0.0))
    assert main(["--only", "partitions", "--out", str(tmp_path)]) == 0
    assert main(["--only", "batch", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "SCALING.md").read_text(encoding="utf-8")
    assert text.index("## Most sentences in a batch") < text.index("## Partitions of each topic")
    assert "Measured: **-0.50**, as expected or better." in text
    (tmp_path / "empty").write_text("\n")
    capsys.readouterr()
    assert main(["--text", str(tmp_path / "empty"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"bench/scaling: {tmp_path / 'empty'}: should have at least one sentence\n"


def test_every_curve_should_have_an_expectation() -> None:
    assert [growth.name for growth in GROWTHS] == scaling.parser().get_default("only")
