from pathlib import Path

import pytest
import zstandard
from tokenizers import Tokenizer

from model_export.data import Corpus, batches, make_batch, read_pairs

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
    batch = make_batch([[5, 6], [7]], [[8], [9, 10]])
    assert batch.source.tolist() == [[5, 6, 2], [7, 2, 0]]
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.previous.tolist() == [[1, 8, 0], [1, 9, 10]]
    assert batch.target.tolist() == [[8, 2, 0], [9, 10, 2]]
    assert batch.target_tokens == 5


def test_batches_should_hold_every_pair_once_within_their_bound(tokenizer: Tokenizer) -> None:
    pairs = [("le " * n, "the " * n) for n in range(1, 12)]
    corpus = Corpus(tokenizer, pairs, longest=100)
    found = list(batches([corpus], tokens=60, seed=1))
    assert sum(len(batch.source) for batch in found) == len(pairs)
    assert all(len(b.source) == 1 or len(b.source) * max(b.source.shape[1], b.target.shape[1]) <= 60 for b in found)
    again = list(batches([corpus], tokens=60, seed=1))
    assert all(a.source.equal(b.source) for a, b in zip(found, again, strict=True))


def test_pairs_that_are_empty_or_too_long_should_be_left_out(tokenizer: Tokenizer) -> None:
    assert len(Corpus(tokenizer, [("", "x"), ("x", " "), ("x" * 30, "x"), ("x", "x")], longest=10)) == 1
