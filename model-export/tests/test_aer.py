import os
from math import isnan
from pathlib import Path

import pytest
import zstandard

from model_export.aer import (
    SYMMETRISATIONS,
    Agreement,
    GoldPair,
    Links,
    agreement,
    diagonal,
    grow_diag,
    read_gold,
    read_links,
    turned,
)

GOLD = "le chat dort\tthe cat is sleeping\t0-0 1-1\t2-2 2-3\noui\tyes\t\t\n"


def links(text: str) -> Links:
    return frozenset((int(i), int(j)) for i, _, j in (word.partition("-") for word in text.split()))


def gold(sure: str, possible: str = "") -> GoldPair:
    return GoldPair("a b c", "x y z", links(sure), links(sure) | links(possible))


@pytest.mark.parametrize("name", ["gold.tsv", "gold.tsv.zst"])
def test_gold_should_be_read_with_sure_links_also_possible(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(zstandard.compress(GOLD.encode()) if name.endswith("zst") else GOLD.encode())
    first, second = read_gold(tmp_path / name)
    assert first == ("le chat dort", "the cat is sleeping", links("0-0 1-1"), links("0-0 1-1 2-2 2-3"))
    assert second == ("oui", "yes", frozenset(), frozenset())


def test_swap_should_turn_sentences_and_links_round(tmp_path: Path) -> None:
    (tmp_path / "gold.tsv").write_text(GOLD, encoding="utf-8")
    first = read_gold(tmp_path / "gold.tsv", swap=True)[0]
    assert first == ("the cat is sleeping", "le chat dort", links("0-0 1-1"), links("0-0 1-1 2-2 3-2"))
    assert turned(links("0-1 2-2")) == links("1-0 2-2")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a\tb\t0-0", r"gold\.tsv:2: expected 4 columns split by one TAB .*, found 3"),
        ("a\tb\t0-0\t\t", "gold.tsv:2: expected 4 columns .*, found 5"),
        ("a\tb\t0:0\t", "gold.tsv:2: a link should be i-j, two 0-based word positions: was '0:0'"),
        ("a\tb\t\t-1-0", "gold.tsv:2: a link should be i-j, .*: was '-1-0'"),
        ("a\tb\t\t0-²", "gold.tsv:2: a link should be i-j, .*: was '0-²'"),
        ("a b\tc\t2-0\t", "gold.tsv:2: link 2-0 is outside the sentence, which has 2 and 1 words"),
        ("a b\tc\t\t0-1", "gold.tsv:2: link 0-1 is outside the sentence"),
        ("\tc\t0-0\t", "gold.tsv:2: link 0-0 is outside the sentence, which has 0 and 1 words"),
    ],
)
def test_a_bad_gold_line_should_be_named(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "gold.tsv").write_text(f"a\tb\t0-0\t\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=expected):
        read_gold(tmp_path / "gold.tsv")


def test_links_should_be_read_one_line_a_pair(tmp_path: Path) -> None:
    pairs, file = [gold("0-0"), gold("0-0"), gold("")], tmp_path / "a.links"
    file.write_text("0-0 2-1\n\n1-1\n", encoding="utf-8")
    assert read_links(file, pairs) == [links("0-0 2-1"), frozenset(), links("1-1")]
    file.write_text("0-0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.links: expected a line for each of the gold file's 3 pairs, found 1"):
        read_links(file, pairs)
    file.write_text("0-0\n0-0\n0-3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.links:3: link 0-3 is outside the sentence, which has 3 and 3 words"):
        read_links(file, pairs)


def test_a_possible_link_should_count_for_precision_and_a_sure_one_for_recall_too() -> None:
    found = agreement([links("0-0 1-1 2-2")], [gold("0-0 1-2", "1-1")])
    assert found == Agreement(links=3, sure=2, found_sure=1, found_possible=2)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(1 / 2)
    assert found.f1 == pytest.approx(4 / 7)
    assert found.aer == pytest.approx(1 - 3 / 5)


def test_pairs_should_be_counted_together_not_averaged() -> None:
    found = agreement([links("0-0"), links("0-1 1-1 2-1")], [gold("0-0"), gold("0-0 1-1 2-2")])
    assert found == Agreement(links=4, sure=4, found_sure=2, found_possible=2)
    assert found.aer == pytest.approx(0.5)


def test_a_share_of_nothing_should_be_no_number() -> None:
    assert isnan(agreement([], []).aer)
    nothing_found = agreement([frozenset()], [gold("0-0")])
    assert isnan(nothing_found.precision)
    assert (nothing_found.recall, nothing_found.aer) == (0.0, 1.0)


FORWARD = links("0-0 1-1 3-2 7-7 0-4")
BACKWARD = links("0-0 1-1 2-1 3-3 4-4 6-0")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intersection", "0-0 1-1"),
        ("union", "0-0 1-1 3-2 7-7 0-4 2-1 3-3 4-4 6-0"),
        # 2-1 is next to 1-1, then 3-2, 3-3 and 4-4 one after another; 0-4, 6-0 and 7-7 are next to nothing
        ("grow-diag", "0-0 1-1 2-1 3-2 3-3 4-4"),
        # 7-7 has two words without a link, 6-0 one, 0-4 none
        ("grow-diag-final", "0-0 1-1 2-1 3-2 3-3 4-4 7-7 6-0"),
        ("grow-diag-final-and", "0-0 1-1 2-1 3-2 3-3 4-4 7-7"),
    ],
)
def test_two_directions_should_become_one(name: str, expected: str) -> None:
    assert SYMMETRISATIONS[name](FORWARD, BACKWARD) == links(expected)


def test_growing_should_add_nothing_between_words_that_have_links() -> None:
    assert grow_diag(links("0-0 1-1 0-1"), links("0-0 1-1 1-0")) == links("0-0 1-1")


def test_growing_should_start_from_the_intersection_only() -> None:
    assert grow_diag(links("0-0 1-1"), links("0-1 1-0")) == frozenset()
    assert SYMMETRISATIONS["grow-diag-final"](links("0-0 1-1"), links("0-1 1-0")) == links("0-0 1-1")


def test_growing_should_be_the_same_whichever_side_is_the_source_when_nothing_competes() -> None:
    there = grow_diag(FORWARD, BACKWARD)
    assert turned(grow_diag(turned(FORWARD), turned(BACKWARD))) == there


DATA = os.environ.get("DRAGOMAN_DATA")


@pytest.mark.skipif(DATA is None, reason="DRAGOMAN_DATA names no data folder with gold/ron-eng.naacl2003-test.tsv.zst")
@pytest.mark.parametrize(
    ("aligner", "aer", "precision", "recall"),
    [
        ("fastalign.forward", 33.8, 71.9, 61.4),
        ("fastalign.grow-diag", 32.1, 85.1, 56.5),
        ("fastalign.grow-diag-final", 32.2, 81.4, 58.1),
        ("giza.forward", 28.7, 82.7, 62.6),
        ("giza.grow-diag", 27.9, 94.0, 58.5),
        ("giza.grow-diag-final", 26.4, 90.9, 61.8),
        ("awesome-align", 20.7, 88.6, 71.7),
    ],
)
def test_published_aligners_should_get_their_published_figures(
    aligner: str, aer: float, precision: float, recall: float
) -> None:
    folder = Path(DATA or "") / "gold"
    pairs = read_gold(folder / "ron-eng.naacl2003-test.tsv.zst")
    found = agreement(read_links(folder / f"baselines/ron-eng.naacl2003-test.{aligner}.links.zst", pairs), pairs)
    figures = [round(100 * share, 1) for share in (found.aer, found.precision, found.recall)]
    assert figures == pytest.approx([aer, precision, recall], abs=0.001)


def test_the_diagonal_should_link_each_target_word_at_its_share() -> None:
    pair = GoldPair("a b c d", "x y", frozenset(), frozenset())
    assert diagonal(pair) == {(0, 0), (2, 1)}
    assert diagonal(GoldPair("a", "x y z", frozenset(), frozenset())) == {(0, 0), (0, 1), (0, 2)}
    assert diagonal(GoldPair("", "x", frozenset(), frozenset())) == frozenset()
