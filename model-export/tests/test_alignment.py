import numpy as np
import pytest

from model_export.alignment import Span, links, pharaoh, source_spans, target_spans, word_indexes, word_weights, words
from model_export.vocabulary import BYTES, SPECIAL, SpecialIds, Subwords

END = SpecialIds().end
AWKWARD = ["Le chat", "  deux   espaces ", "a 😀b", "eau ⴰⵎⴰⵏ.", "l’été", "</s> <0x41>", "x\u00a0y", "e\u0301te\u0301"]


def ids_of(subwords: Subwords, *pieces: str) -> list[int]:
    return [int(subwords.target.token_to_id(piece)) for piece in pieces]


def test_words_should_be_the_runs_of_non_whitespace() -> None:
    assert words("  Le chat\u00a0noir\t. ") == [Span(2, 4), Span(5, 9), Span(10, 14), Span(15, 16)]
    assert words("a a aa") == [Span(0, 1), Span(2, 3), Span(4, 6)]
    assert words(" ") == []


def test_a_token_should_belong_to_the_word_its_trimmed_span_starts_in() -> None:
    text = "Le chat noir"
    assert word_indexes(text, [Span(0, 2), Span(2, 7), Span(7, 9), Span(9, 12)]) == [0, 1, 2, 2]


def test_an_empty_span_should_belong_to_the_word_that_begins_there_or_next() -> None:
    assert word_indexes("a b", [Span(1, 2), Span(2, 2), Span(0, 0), Span(3, 3)]) == [1, 1, 0, 1]


def test_weights_should_be_summed_over_the_source_and_averaged_over_the_target() -> None:
    attention = np.array([[0.1, 0.2, 0.6], [0.5, 0.1, 0.2], [0.0, 0.25, 0.5]], np.float32)
    found = word_weights(attention, [0, 1, 1], [0, 0, 1])
    np.testing.assert_allclose(found, [[0.3, 0.55], [0.0, 0.75]], rtol=1e-6)


def test_links_should_take_the_heaviest_source_word_and_the_first_on_ties(subwords: Subwords) -> None:
    source = "noir le"
    columns = len(subwords.target.encode(source).ids) + 1
    target = [*subwords.target.encode("the dog").ids, END]
    attention = np.full((len(target), columns), 1 / columns, np.float32)
    spans = source_spans(subwords, source)
    per_word = np.bincount(word_indexes(source, spans))
    expected = int(per_word.argmax())
    assert links(subwords, source, target, attention) == [(expected, 0), (expected, 1)]
    attention[0] = np.eye(columns, dtype=np.float32)[-2]
    assert links(subwords, source, target, attention)[0] == (1, 0)


def test_pharaoh_should_sort_by_target_word() -> None:
    assert pharaoh([(0, 2), (3, 0), (1, 1), (0, 1)]) == "3-0 0-1 1-1 0-2"
    assert pharaoh([]) == ""


def test_an_empty_translation_should_have_no_links(subwords: Subwords) -> None:
    assert links(subwords, "le", [END], np.ones((1, 3), np.float32)) == []


@pytest.mark.parametrize("text", AWKWARD)
def test_target_text_should_be_what_decode_gives(subwords: Subwords, text: str) -> None:
    ids = [*subwords.target.encode(text).ids, END, 9]
    found, spans = target_spans(subwords, ids)
    assert found == subwords.decode(ids)
    assert len(spans) == len(ids) - 2
    assert all(0 <= span.start <= span.end <= len(found) for span in spans)
    assert spans[-1].end == len(found)


def test_bytes_of_one_character_should_share_its_span(subwords: Subwords) -> None:
    smile = [len(SPECIAL) + byte for byte in "😀".encode()]
    text, spans = target_spans(subwords, [*ids_of(subwords, "a"), *smile, *ids_of(subwords, "b")])
    assert text == "a😀b"
    assert spans == [Span(0, 1), *[Span(1, 2)] * 4, Span(2, 3)]


def test_bytes_that_are_no_utf8_should_be_one_mark_each(subwords: Subwords) -> None:
    ids = [len(SPECIAL) + 0xF0, len(SPECIAL) + 0x9F, *ids_of(subwords, "b")]
    text, spans = target_spans(subwords, ids)
    assert text == "\ufffd\ufffdb" == subwords.decode(ids)
    assert spans == [Span(0, 2), Span(0, 2), Span(2, 3)]


def test_decode_should_agree_on_random_ids(subwords: Subwords) -> None:
    random = np.random.default_rng(5)
    for _ in range(300):
        ids = random.integers(0, subwords.sizes[1], 12).tolist()
        ids += random.integers(len(SPECIAL), len(SPECIAL) + len(BYTES), 3).tolist()
        assert target_spans(subwords, ids)[0] == subwords.decode(ids)
