from dataclasses import replace

import pytest

from model_export.vocabulary import BYTES, SPECIAL, SpecialIds, Subwords, learn

IDS = SpecialIds()


def test_special_ids_and_bytes_should_come_first(subwords: Subwords) -> None:
    assert [subwords.source.id_to_token(i) for i in (IDS.pad, IDS.start, IDS.end, IDS.unknown)] == list(SPECIAL)
    assert [subwords.source.id_to_token(len(SPECIAL) + byte) for byte in (0, 255)] == ["<0x00>", "<0xFF>"]
    assert subwords.source.get_vocab_size() == 300 > len(SPECIAL) + len(BYTES)


@pytest.mark.parametrize("text", ["</s>", "a </s> b <pad>", "<unk>", "<0x41>"])
def test_a_text_that_spells_a_special_token_should_stay_text(subwords: Subwords, text: str) -> None:
    ids = subwords.source.encode(text).ids
    assert min(ids) >= len(SPECIAL)
    assert subwords.decode(ids) == text


@pytest.mark.parametrize("text", ["Le chat dort.", "😀", "ⴰⵎⴰⵏ", "日本語 et 1234,5 %", "l'été", "\U0001f469\U0001f3fd"])
def test_nothing_should_be_lost(subwords: Subwords, text: str) -> None:
    assert subwords.decode(subwords.source.encode(text).ids) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  a\t\n b\u00a0 c ", "a b c"),
        ("l\u2019eau", "l'eau"),
        ("a\u200bb\u00ad\ufeff", "ab"),
        ("e\u0301", "é"),
        ("a\u0000b", "a b"),
        (" \n", ""),
    ],
)
def test_cleaning_should_be_part_of_the_tokenizer(subwords: Subwords, text: str, clean: str) -> None:
    assert subwords.decode(subwords.source.encode(text).ids) == clean


def test_a_lower_case_vocabulary_should_read_and_write_lower_case() -> None:
    tokenizer = learn(["Le Chat noir", "Été"] * 9, 300, lower_case=True)
    lower = Subwords(tokenizer, tokenizer, IDS, (300, 300))
    assert lower.decode(lower.source_ids(["LE CHAT ÉTÉ X"])[0]) == "le chat été x"


def test_digits_should_stand_alone(subwords: Subwords) -> None:
    assert subwords.source.encode("x 2024").tokens[-4:] == [
        "<0x32>",
        "<0x30>",
        "<0x32>",
        "<0x34>",
    ]


def test_decode_should_stop_at_the_end_token_and_leave_specials_out(subwords: Subwords) -> None:
    ids = subwords.source.encode("chat").ids
    assert subwords.decode([IDS.start, *ids, IDS.unknown, IDS.end, *ids]) == "chat"


def test_pieces_beyond_the_models_words_should_be_unknown(subwords: Subwords) -> None:
    [whole] = subwords.source_ids(["Le chat dort"])
    small = replace(subwords, sizes=(max(whole), subwords.sizes[1]))
    [found] = small.source_ids(["Le chat dort"])
    assert [a for a, b in zip(found, whole, strict=True) if a != b] == [IDS.unknown] * whole.count(max(whole))
