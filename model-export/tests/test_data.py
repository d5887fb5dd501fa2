from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard

from model_export.data import IGNORED, Corpus, Encoded, batches, joined, make_batch, read_pairs
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
    (tmp_path / "x.tsv").write_bytes(b"a\tA\nb\t\xff\n")
    with pytest.raises(ValueError, match=r"x\.tsv:2: not UTF-8: invalid start byte, byte 3"):
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


def encoded(number: int) -> Encoded:
    """A pair of ids found in no other, with each target token linked to one source token."""
    length = 1 + number % 7
    source, target = np.arange(length, dtype=np.uint16) + 100 * number, np.arange(length + 2, dtype=np.uint16)
    links = np.array([[j % length, j] for j in range(length + 2)], np.uint8)
    return source, (target + 100 * number).astype(np.uint16), links


def linked_ids(pairs: Sequence[Encoded]) -> list[tuple[int, int]]:
    return sorted((int(s[i]), int(t[j])) for s, t, links in pairs if links is not None for i, j in links.tolist())


def test_joined_pairs_should_keep_every_token_and_link_in_texts_of_all_lengths() -> None:
    pairs = [encoded(number) for number in range(200)]
    found = joined(pairs, 1.0, 40, seed=3)
    assert linked_ids(found) == linked_ids(pairs)
    assert sorted(np.concatenate([s for s, _, _ in found]).tolist()) == sorted(
        np.concatenate([s for s, _, _ in pairs]).tolist()
    )
    lengths = [max(len(s), len(t)) for s, t, _ in found]
    assert max(lengths) < 40
    assert sum(length > 20 for length in lengths) > len(lengths) / 4
    again = joined(pairs, 1.0, 40, seed=3)
    assert all(a[0].tolist() == b[0].tolist() for a, b in zip(found, again, strict=True))
    assert {tuple(s.tolist()) for s, _, _ in joined(pairs, 1.0, 40, seed=4)} != {tuple(s.tolist()) for s, _, _ in found}


def test_a_share_of_the_pairs_should_be_joined() -> None:
    pairs = [encoded(number) for number in range(400)]
    alone = {tuple(s.tolist()) for s, _, _ in pairs}
    left = [s for s, _, _ in joined(pairs, 0.5, 1000, seed=3) if tuple(s.tolist()) in alone]
    assert 150 < len(left) < 250
    assert joined(pairs, 0.0, 1000, seed=3) == pairs


def test_links_should_hold_in_texts_of_more_than_256_tokens() -> None:
    pairs = [encoded(number) for number in range(400)]
    found = joined(pairs, 1.0, 4000, seed=3)
    assert max(len(t) for _, t, _ in found) > 300
    assert linked_ids(found) == linked_ids(pairs)


def test_a_joined_text_should_have_no_links_when_one_of_its_pairs_has_none() -> None:
    pairs = [encoded(number) for number in range(9)]
    source, target, _ = pairs[4]
    found = joined([*pairs[:4], (source, target, None), *pairs[5:]], 1.0, 12, seed=3)
    for text, _, links in found:
        assert (links is None) == (int(source[0]) in text.tolist())


def test_padding_may_be_any_id_that_a_text_has_not() -> None:
    batch = make_batch([[5], [0, 1, 7]], [[8], [9]], SpecialIds(pad=20, start=20, end=0, unknown=1))
    assert batch.source.tolist() == [[5, 0, 20, 20], [0, 1, 7, 0]]
    assert batch.mask.sum(1).tolist() == [2, 4]
    assert batch.previous.tolist() == [[20, 8], [20, 9]]
