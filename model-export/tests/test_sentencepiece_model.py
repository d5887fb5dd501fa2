import random
from pathlib import Path

import pytest
import sentencepiece
from conftest import PAIRS
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from model_export import sentencepiece_model
from model_export.vocabulary import SpecialIds, Subwords


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pieces")
    sentencepiece_model.learn((text for pair in PAIRS for text in pair), 120, made)
    return made


class Both:
    """The library's model and the tokenizer made of it."""

    def __init__(self, model: Path) -> None:
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
        count = self.pieces.get_piece_size()
        words = {self.pieces.id_to_piece(i): i for i in range(count)}
        words.setdefault("<pad>", count)
        self.tokenizer: Tokenizer = sentencepiece_model.to_tokenizer(model, words)

    def check(self, text: str) -> None:
        assert self.tokenizer.encode(text, add_special_tokens=False).ids == self.pieces.encode(text), text


@pytest.fixture(scope="module")
def learned(folder: Path) -> Both:
    return Both(folder / "source.spm")


@pytest.fixture(scope="module", params=["nmt_nfkc", "nmt_nfkc_cf", "identity", "bytes"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Models as others train them."""
    made = tmp_path_factory.mktemp("other") / "m"
    with_bytes = request.param == "bytes"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for pair in PAIRS for text in pair),
        model_prefix=str(made),
        vocab_size=400 if with_bytes else 120,
        hard_vocab_limit=False,
        byte_fallback=with_bytes,
        normalization_rule_name="nmt_nfkc" if with_bytes else request.param,
        bos_id=-1,
        eos_id=0,
        unk_id=1,
        minloglevel=2,
    )
    return Both(made.with_suffix(".model"))


AWKWARD = "abé\u0301\u0307e\u2019 \u00a0\u3000漢字😀👍🏽\u200d\ufe0fßفÅ▁<>/s0１ⅧΩ㌔ﬁﬃ½ガ각หำहि"
AWKWARD += ".,\t\n\u200b\u00adİi\u0307™️"


@given(st.text(alphabet=AWKWARD, max_size=40))
@settings(max_examples=400, deadline=None)
def test_awkward_texts_should_have_the_models_ids(learned: Both, text: str) -> None:
    learned.check(text)


@given(st.text(max_size=40).filter(lambda text: "\U000f0003" not in text))
@settings(max_examples=400, deadline=None)
def test_any_text_should_have_the_models_ids(learned: Both, text: str) -> None:
    learned.check(text)


def test_other_models_should_be_read_alike(other: Both) -> None:
    chance = random.Random(3)
    for _ in range(3000):
        other.check("".join(chance.choice(AWKWARD) for _ in range(chance.randint(0, 25))))
    for source, target in PAIRS:
        other.check(source)
        other.check(target)


FOREIGN = ("", "漢", "字字", "漢字", "-", "--", "漢a", "▁漢", "é")


@pytest.fixture(scope="module")
def one_side(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A model that does not know some of what stands in its list of words."""
    path = tmp_path_factory.mktemp("side") / "m"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a ba b", "ab abe", "bab aa e", "be ea abb"] * 20),
        model_prefix=str(path),
        vocab_size=14,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    model = path.with_suffix(".model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    own = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size()) if not pieces.is_control(i)]
    return model, {word: i for i, word in enumerate(dict.fromkeys([*own, "</s>", *FOREIGN, "<pad>"]))}


@given(st.lists(st.text(alphabet="ab eé漢字-\u0002\U000f0004😀", max_size=20), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_what_only_the_other_side_writes_should_have_its_ids(
    one_side: tuple[Path, dict[str, int]], texts: list[str]
) -> None:
    """As MarianTokenizer looks pieces up: in the words of both sides, whatever SentencePiece cut them from."""
    model, words = one_side
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    tokenizer = sentencepiece_model.to_tokenizer(model, words)
    for text in texts:
        cut = pieces.encode(text, out_type=str)
        found = tokenizer.encode(text, add_special_tokens=False).ids
        unknown = words["<unk>"]
        assert [i if i < len(words) else unknown for i in found] == [words.get(p, unknown) for p in cut], (text, cut)


def test_learning_should_clean_and_cut_digits(folder: Path) -> None:
    words = sentencepiece_model.read_words(folder / "vocab.json")
    special = sentencepiece_model.special_ids(words)
    assert special == SpecialIds(pad=len(words) - 1, start=len(words) - 1, end=0, unknown=1)
    tokenizer = sentencepiece_model.to_tokenizer(folder / "source.spm", words)
    subwords = Subwords(tokenizer, tokenizer, special, (len(words), len(words)))
    assert subwords.decode(tokenizer.encode("  Le\u00a0chat\tdort. ").ids) == "Le chat dort."
    assert subwords.decode([*tokenizer.encode("Le chat").ids, special.end, 5]) == "Le chat"
    assert subwords.piece(special.end) == "</s>"
    assert special.end not in tokenizer.encode("a </s> b").ids


def test_a_model_of_another_kind_should_be_refused_with_every_reason(tmp_path: Path) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for pair in PAIRS for text in pair),
        model_prefix=str(tmp_path / "m"),
        vocab_size=60,
        hard_vocab_limit=False,
        model_type="bpe",
        add_dummy_prefix=False,
        user_defined_symbols=["<x>"],
        minloglevel=2,
    )
    with pytest.raises(ValueError, match=r"unigram; .*add_dummy_prefix.*; user-defined pieces .* <x>"):
        sentencepiece_model.to_tokenizer(tmp_path / "m.model", {"</s>": 0, "<unk>": 1, "<pad>": 2})


def test_a_file_that_is_no_model_should_be_named(tmp_path: Path) -> None:
    (tmp_path / "x.spm").write_bytes(b"\xff\x00\x01")
    with pytest.raises(ValueError, match=r"x\.spm: no SentencePiece model"):
        sentencepiece_model.to_tokenizer(tmp_path / "x.spm", {"</s>": 0, "<unk>": 1, "<pad>": 2})


def test_missing_special_words_should_be_named() -> None:
    with pytest.raises(ValueError, match=r"lacks </s>, <pad>"):
        sentencepiece_model.special_ids({"<unk>": 0})
