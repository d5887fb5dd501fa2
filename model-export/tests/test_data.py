from pathlib import Path

import numpy as np
import pytest
import zstandard

from model_export.data import IGNORED, Corpus, batches, make_batch, read_pairs
from model_export.vocabulary import SpecialIds, Subwords

TEXT = "a\tA\nb\tB\nc\tC\n"


@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.zst"])
def test_pairs_should_be_read_from_plain_and_compressed_files(tmp_path: Path, name: str) -> None:
    raw = TEXT.encode()
    (tmp_path / name).write_bytes(zstandard.compress(raw) if name.endswith("zst") else raw)
    assert read_pairs(tmp_path / name) == [("a", "A"), ("b", "B"), ("c", "C")]
    assert read_pairs(tmp_path / name, first=1, count=1, swap=True) == [("B", "b")]


def test_a_line_without_two_columns_should_be_named(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\tA\nb\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.tsv:2: expected 2 columns split by one TAB, found 1"):
        read_pairs(tmp_path / "x.tsv")


def test_bytes_that_are_no_text_should_be_named(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_bytes(b"a\tA\n\xff\tB\n")
    with pytest.raises(ValueError, match=r"x\.tsv: not UTF-8"):
        read_pairs(tmp_path / "x.tsv")


def test_a_damaged_archive_should_be_named(tmp_path: Path) -> None:
    (tmp_path / "x.tsv.zst").write_bytes(b"no archive at all")
    with pytest.raises(ValueError, match=r"x\.tsv\.zst: not readable as zstd"):
        read_pairs(tmp_path / "x.tsv.zst")


def test_a_batch_should_pad_on_the_right_and_shift_the_target() -> None:
    batch = make_batch([[5, 6], [7]], [[8], [9, 10]], SpecialIds())
    assert batch.source.tolist() == [[5, 6, 2], [7, 2, 0]]
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.previous.tolist() == [[1, 8, 0], [1, 9, 10]]
    assert batch.target.tolist() == [[8, 2, IGNORED], [9, 10, 2]]
    assert batch.target_tokens == 5


def test_batches_should_hold_every_pair_once_within_their_bound(subwords: Subwords) -> None:
    pairs = [("le " * n, "the " * n) for n in range(1, 12)]
    corpus = Corpus(subwords, pairs, longest=100)
    found = list(batches([corpus], tokens=60, seed=1, special=subwords.special))
    assert sum(len(batch.source) for batch in found) == len(pairs)
    assert all(len(b.source) == 1 or len(b.source) * max(b.source.shape[1], b.target.shape[1]) <= 60 for b in found)
    again = list(batches([corpus], tokens=60, seed=1, special=subwords.special))
    assert all(a.source.equal(b.source) for a, b in zip(found, again, strict=True))


def test_pairs_that_are_empty_or_too_long_should_be_left_out(subwords: Subwords) -> None:
    assert len(Corpus(subwords, [("", "x"), ("x", " "), ("x" * 30, "x"), ("x", "x")], longest=10)) == 1


def test_both_directions_should_turn_pairs_and_their_links(subwords: Subwords) -> None:
    taught = np.array([[0, 1], [1, 0]], np.uint8)
    there, back = Corpus(subwords, [("le chat", "the cat")], 50, [taught], turned=True).pairs
    assert there[0].tolist() == back[1].tolist()
    assert there[1].tolist() == back[0].tolist()
    assert back[2] is not None
    assert back[2].tolist() == [[1, 0], [0, 1]]


def test_padding_may_be_any_id_that_a_text_has_not() -> None:
    batch = make_batch([[5], [0, 1, 7]], [[8], [9]], SpecialIds(pad=20, start=20, end=0, unknown=1))
    assert batch.source.tolist() == [[5, 0, 20, 20], [0, 1, 7, 0]]
    assert batch.mask.sum(1).tolist() == [2, 4]
    assert batch.previous.tolist() == [[20, 8], [20, 9]]
