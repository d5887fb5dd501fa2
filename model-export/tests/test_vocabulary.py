import pytest
from tokenizers import Tokenizer

from model_export.vocabulary import BYTES, END, PAD, SPECIAL, START, UNKNOWN, decode


def test_special_ids_and_bytes_should_come_first(tokenizer: Tokenizer) -> None:
    assert [tokenizer.id_to_token(i) for i in (PAD, START, END, UNKNOWN)] == list(SPECIAL)
    assert [tokenizer.id_to_token(len(SPECIAL) + byte) for byte in (0, 255)] == ["<0x00>", "<0xFF>"]
    assert tokenizer.get_vocab_size() == 300 > len(SPECIAL) + len(BYTES)


@pytest.mark.parametrize("text", ["</s>", "a </s> b <pad>", "<unk>", "<0x41>"])
def test_a_text_that_spells_a_special_token_should_stay_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert min(ids) >= len(SPECIAL)
    assert decode(tokenizer, ids) == text


@pytest.mark.parametrize("text", ["Le chat dort.", "😀", "ⴰⵎⴰⵏ", "日本語 et 1234,5 %", "l'été", "\U0001f469\U0001f3fd"])
def test_nothing_should_be_lost(tokenizer: Tokenizer, text: str) -> None:
    assert decode(tokenizer, tokenizer.encode(text).ids) == text


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
def test_cleaning_should_be_part_of_the_tokenizer(tokenizer: Tokenizer, text: str, clean: str) -> None:
    assert decode(tokenizer, tokenizer.encode(text).ids) == clean


def test_digits_should_stand_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("x 2024").tokens[-4:] == ["<0x32>", "<0x30>", "<0x32>", "<0x34>"]  # no digit was learned


def test_decode_should_stop_at_the_end_token_and_leave_specials_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("chat").ids
    assert decode(tokenizer, [START, *ids, UNKNOWN, END, *ids]) == "chat"
