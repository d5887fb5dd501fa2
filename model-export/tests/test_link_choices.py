import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import PAIRS

from model_export.__main__ import main
from model_export.aer import GoldPair
from model_export.alignment import DEFAULT, Attended, Choice, choice_named, choice_of, links, pharaoh, words
from model_export.link_choices import ForcedBundle, all_choices, score_choices
from model_export.runtime import BundleRuntime

# Two source words of one and two tokens, two target words of two and one; the end row and column last.
ATTENDED = Attended(
    np.array([[0.0, 0.2, 0.35, 0.45], [0.6, 0.1, 0.1, 0.2], [0.05, 0.1, 0.05, 0.8], [0.5, 0.3, 0.1, 0.1]], np.float32),
    source_words=[0, 1, 1],
    target_words=[0, 0, 1],
)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), {(1, 0), (1, 1)}),  # 0.3 0.375 | 0.05 0.15
        (Choice(merge="max"), {(0, 0), (1, 1)}),  # 0.6 0.55 | 0.05 0.15
        (Choice(merge="sum"), {(1, 0), (1, 1)}),  # 0.6 0.75 | 0.05 0.15
        (Choice(end="kept"), {(1, 0)}),  # 0.3 0.375 0.325 | 0.05 0.15 0.8
        (Choice(end="kept", merge="max"), {(0, 0)}),
        (Choice(shift=1), {(0, 0), (0, 1)}),  # 0.325 0.175 | 0.5 0.4
        (Choice(threshold=0.32), {(1, 0)}),
        (Choice(threshold=0.1), {(0, 0), (1, 0), (1, 1)}),
        (Choice(end="kept", threshold=0.1), {(0, 0), (1, 0)}),
        (Choice(end="renormalised"), {(1, 0), (1, 1)}),  # 0.375 0.625 | 0.25 0.75
        (Choice(end="renormalised", threshold=0.32), {(0, 0), (1, 0), (1, 1)}),
        (Choice(merge="sum", threshold=0.5), {(0, 0), (1, 0)}),
        (Choice(merge="max", threshold=0.58), {(0, 0)}),
    ],
    ids=str,
)
def test_each_choice_should_give_its_links(choice: Choice, expected: set[tuple[int, int]]) -> None:
    assert choice.links(ATTENDED) == expected


# Six words a side, a token each, where links grow.
GROWING = Attended(
    np.array(
        [
            [0.00, 0.01, 0.00, 0.80, 0.04, 0.14, 0.01],
            [0.14, 0.28, 0.09, 0.03, 0.02, 0.38, 0.06],
            [0.00, 0.04, 0.12, 0.40, 0.00, 0.03, 0.41],
            [0.02, 0.00, 0.77, 0.06, 0.01, 0.00, 0.14],
            [0.19, 0.00, 0.46, 0.26, 0.00, 0.02, 0.07],
            [0.02, 0.03, 0.34, 0.00, 0.03, 0.34, 0.24],
            [0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 1.00],
        ],
        np.float32,
    ),
    source_words=[0, 1, 2, 3, 4, 5],
    target_words=[0, 1, 2, 3, 4, 5],
)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("dropped,mean,argmax,intersection,argmax", "3-0 5-1 2-3"),
        ("dropped,mean,0.4,intersection,argmax", "3-0 2-3"),
        ("dropped,mean,0.3,intersection,0.4", "3-0 2-3"),
        ("dropped,mean,argmax,grow-diag,argmax", "3-0 4-0 5-1 3-2 2-3 2-4 2-5"),
        ("dropped,mean,0.4,grow-diag,argmax", "3-0 4-0 5-1 3-2 2-3 2-4"),
        ("dropped,max,argmax,grow-diag,0.3", "3-0 5-1 3-2 2-3 2-4 2-5"),
        ("kept,mean,argmax,grow-diag,argmax", "3-0 4-0 5-1 2-3 2-4 2-5"),
        ("kept,mean,0.3,grow-diag,0.4", "3-0 2-3 2-4 2-5"),
    ],
)
def test_both_sides_may_choose(choice: str, expected: str) -> None:
    chosen = choice_named(choice)
    assert pharaoh(list(chosen.links(GROWING))) == expected
    assert choice_of({"attention": {"links": chosen.manifest()}}) == chosen
    assert chosen.name == choice


@pytest.mark.parametrize(
    "text", ["dropped", "dropped,mean", "dropped,mean,nan", "dropped,mean,0.2,union,0.1", "dropped,mean,0.2,grow-diag"]
)
def test_a_choice_that_is_none_should_be_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"links should be END,MERGE,THRESHOLD or .*: was"):
        choice_named(text)


def test_a_tie_should_go_to_the_first_source_word() -> None:
    even = Attended(np.full((2, 3), 1 / 3, np.float32), [0, 1], [0])
    assert Choice().links(even) == {(0, 0)}
    assert Choice(end="kept").links(even) == {(0, 0)}


def test_a_word_without_a_token_should_get_no_link() -> None:
    assert Choice().links(ATTENDED._replace(target_words=[0, 0, 2])) == {(1, 0), (1, 2)}


def test_all_choices_should_be_different_and_begin_with_the_default() -> None:
    choices = all_choices(thresholds=[0.2])
    assert choices[0] == DEFAULT == Choice(end="dropped", shift=0, merge="mean", threshold=None)
    assert len(choices) == len(set(map(str, choices))) == 3 * 2 * (2 + 3) + 2 * 2 * 2 * (2 * 2 * 2)


def test_the_default_should_be_what_the_product_publishes(bundle: Path) -> None:
    runtime, given = BundleRuntime(bundle), ForcedBundle(bundle)
    for source, target in [*PAIRS[:8], ("un \U0001f600 l’été .", "a \U0001f600 , summer !")]:
        [attended] = given.attention([(source, target)])
        expected = links(runtime.subwords, source, given.target_ids(target), attended.weights)
        assert DEFAULT.links(attended) == set(expected)
        assert [j for _, j in expected] == list(range(len(words(target))))


def test_a_pair_should_get_the_same_attention_alone_and_in_a_batch(bundle: Path) -> None:
    given = ForcedBundle(bundle)
    pairs = [("Le chat", "The cat sleeps in the garden, in the garden, in the garden."), *PAIRS[:3]]
    for pair, attended in zip(pairs, given.attention(pairs), strict=True):
        [alone] = given.attention([pair])
        assert attended.weights.shape == (len(given.target_ids(pair[1])), len(given.source_ids(pair[0])))
        np.testing.assert_allclose(attended.weights, alone.weights, atol=1e-5)
        np.testing.assert_allclose(attended.weights.sum(axis=1), 1, atol=1e-5)


def test_pairs_that_cannot_be_scored_should_be_counted_with_the_reason(bundle: Path) -> None:
    def pair(source: str, target: str) -> GoldPair:
        return GoldPair(source, target, frozenset({(0, 0)}), frozenset({(0, 0)}))

    gold = [
        pair(*PAIRS[0]),
        pair("le " * 300, "the"),
        pair("", "the"),
        pair("le\u00a0chat", "cat"),
        pair("le", "x " * 300),
    ]
    gold = [pair(g.source.strip(" "), g.target.strip(" ")) for g in gold]
    report = score_choices(gold, bundle, [DEFAULT])
    assert report.scored == 1
    assert report.left_out == {
        "longer than the bundle's 200 source or 256 target tokens": 2,
        "without a text on both sides": 1,
        "whose words are split by more than single spaces": 1,
    }
    assert report.lines[0].agreement.sure == 1
    with pytest.raises(ValueError, match="no pair can be scored: 1 without a text on both sides"):
        score_choices(gold[2:3], bundle, [DEFAULT])


@pytest.fixture
def gold_file(tmp_path: Path) -> Path:
    """Four pairs, and one that is too long."""
    lines = [f"{source}\t{target}\t0-0 1-2 2-1\t3-3" for source, target in PAIRS[:4]]
    (tmp_path / "gold.tsv").write_text("\n".join([*lines, "le" + " le" * 300 + "\tthe\t0-0\t", ""]), encoding="utf-8")
    return tmp_path / "gold.tsv"


@pytest.fixture
def reverse(tmp_path: Path, bundle: Path) -> Path:
    """The same weights, said to be of the other direction."""
    folder = shutil.copytree(bundle, tmp_path / "en-fr")
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    manifest["languages"] = {"source": "en", "target": "fr"}
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_score_aer_should_print_the_default_and_what_was_left_out(
    bundle: Path, gold_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score-aer", str(gold_file), "--bundle", str(bundle)]) == 0
    head, line, by_length, short, pairs, left_out = capsys.readouterr().out.splitlines()
    assert head.split() == ["choice", "AER", "P", "R", "F1", "links"]
    assert line.startswith("* end dropped, shift 0, mean, argmax ")
    assert int(line.split()[-1]) == sum(len(target.split()) for _, target in PAIRS[:4])
    assert by_length.split() == ["source", *head.split()[1:]]
    assert short.startswith("  1-10 words ")
    assert short.split()[2:] == line.split()[-5:]
    assert pairs == "gold.tsv: 4 of 5 pairs; * is what the product publishes"
    assert left_out == "left out: 1 longer than the bundle's 200 source or 256 target tokens"


def test_score_aer_should_compare_choices_and_symmetrise_two_directions(
    bundle: Path, reverse: Path, gold_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--bundle", str(bundle), "--reverse", str(reverse)]
    assert main(["score-aer", str(gold_file), *options]) == 0
    lines = capsys.readouterr().out.splitlines()[1:-2]
    names = sorted(line[2:].rsplit(maxsplit=5)[0] for line in lines)
    heuristics = [
        "",
        ", grow-diag",
        ", grow-diag-final",
        ", grow-diag-final-and",
        ", intersection",
        ", reverse",
        ", union",
    ]
    assert names == ["end dropped, shift 0, mean, argmax" + name for name in heuristics]
    assert [line[0] for line in lines].count("*") == 1
    errors = [float(line.split()[-5]) for line in lines]
    assert errors == sorted(errors)

    assert main(["score-aer", str(gold_file), *options, "--choices", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:-2]
    # argmax, and where both sides choose: both directions, five as one; thresholds: directions only
    assert len(lines) == 3 * 2 * (2 * 7 + 3 * 5 * 2) + 2 * 2 * 2 * (6 * 2 * 4) * 7


def test_swap_should_make_the_second_column_the_source(
    bundle: Path, reverse: Path, gold_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(*options: str) -> list[str]:
        assert main(["score-aer", str(gold_file), *options]) == 0
        return capsys.readouterr().out.splitlines()

    there = lines("--bundle", str(bundle), "--reverse", str(reverse))
    back = lines("--bundle", str(reverse), "--reverse", str(bundle), "--swap")
    [forward] = [line for line in there if line.startswith("*")]
    [reversed_again] = [line for line in back if ", reverse" in line]
    assert reversed_again.split()[-5:] == forward.split()[-5:]


def test_score_aer_should_score_a_links_file(
    tmp_path: Path, gold_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.links").write_text("0-0 1-2\n" * 4 + "0-0\n", encoding="utf-8")
    assert main(["score-aer", str(gold_file), "--links", str(tmp_path / "a.links")]) == 0
    _, line, pairs = capsys.readouterr().out.splitlines()
    assert line.split() == ["a.links", "18.2", "100.0", "69.2", "81.8", "9"]
    assert pairs == "gold.tsv: 5 pairs"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--links", "EMPTY"], "expected a line for each of the gold file's 5 pairs, found 0"),
        (["--links", "EMPTY", "--choices", "all"], "--reverse and --choices go with --bundle"),
        (["--bundle", "BUNDLE", "--reverse", "BUNDLE"], "should translate the other way round"),
        (["--bundle", "FOLDER"], "bundle.json: cannot be read"),
    ],
)
def test_a_failure_should_be_one_clear_line(
    tmp_path: Path,
    bundle: Path,
    gold_file: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    expected: str,
) -> None:
    (tmp_path / "empty").touch()
    names = {"EMPTY": tmp_path / "empty", "BUNDLE": bundle, "FOLDER": tmp_path}
    assert main(["score-aer", str(gold_file), *[str(names.get(word, word)) for word in options]]) == 1
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
