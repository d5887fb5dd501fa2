"""SentencePiece unigram models (Kudo 2018): learning one for a MarianMT checkpoint, reading one as `tokenizer.json`.

MarianMT keeps a model for each side and one list of words, `vocab.json`, for both. A piece that the list lacks is the
unknown word.
"""

from __future__ import annotations

import importlib
import io
import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from model_export.vocabulary import MARK, SpecialIds, decoder

_MESSAGES: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")  # generated, without types
SPACE = "\u2581"
END, UNKNOWN, PADDING = "</s>", "<unk>", "<pad>"
_CUT = "\U000f0003"  # private use: stands where a grapheme is cut in two
_UNMARKED = "\U000f0004"  # and where a text has MARK itself
_EXTENDING = (
    r"[\p{M}\x{0E33}\x{0EB3}\x{200C}\x{200D}\x{1F3FB}-\x{1F3FF}]"  # what makes one grapheme with what stands before it
)


def _rules() -> Iterator[tuple[str, str]]:
    """What cleaning does, as (text, replacement): composed accents, straight apostrophes, plain spaces, no controls."""
    for point in range(0xA0, 0x3000):
        character = chr(point)
        composed = unicodedata.normalize("NFC", character)
        for spelled in (unicodedata.normalize("NFD", character), character):
            if spelled != composed:
                yield spelled, composed
    for character in "\u2019\u02bc":
        yield character, "'"
    invisible = [*range(1, 9), *range(0xE, 0x20), *range(0x7F, 0xA0), 0xAD, *range(0x200B, 0x2010)]
    for point in [*invisible, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF]:
        yield chr(point), ""
    for point in [*range(9, 0xE), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]:
        yield chr(point), " "


def learn(texts: Iterable[str], size: int, folder: Path) -> None:
    """Writes `source.spm`, `target.spm` (the same) and `vocab.json` of `size` words: the end first, padding last."""
    rules = {
        " ".join(f"{ord(c):X}" for c in spelled): " ".join(f"{ord(c):X}" for c in made) for spelled, made in _rules()
    }
    tsv = folder / "normalization.tsv"
    tsv.write_text("".join(f"{spelled}\t{made}\n" for spelled, made in rules.items()), encoding="utf-8")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size - 1,
        model_type="unigram",
        normalization_rule_tsv=str(tsv),
        character_coverage=0.9999,
        split_digits=True,
        hard_vocab_limit=False,
        num_threads=2,
        input_sentence_size=400_000,
        bos_id=-1,
        eos_id=0,
        unk_id=1,
        pad_id=-1,
        minloglevel=2,
    )
    tsv.unlink()
    for side in ("source", "target"):
        (folder / f"{side}.spm").write_bytes(model.getvalue())
    pieces = [piece.piece for piece in _parse(model.getvalue(), "the model just learned").pieces]
    words = {piece: number for number, piece in enumerate([*pieces, PADDING])}
    (folder / "vocab.json").write_text(json.dumps(words, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _parse(model: bytes, where: str) -> Any:
    proto = _MESSAGES.ModelProto()
    try:
        proto.ParseFromString(model)
    except Exception as fault:  # protobuf's DecodeError has no public home
        raise ValueError(f"{where}: no SentencePiece model: {fault}") from fault
    if not proto.pieces:
        raise ValueError(f"{where}: no SentencePiece model: it has no pieces")
    return proto


def read_words(path: Path) -> dict[str, int]:
    """`vocab.json`: the id of each word, 0 to their number - 1, each once."""
    words = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(words, dict) or sorted(words.values()) != list(range(len(words))):
        raise ValueError(f"{path}: should give each word an id of its own, from 0 to their number - 1")
    return words


def special_ids(words: Mapping[str, int], start: int | None = None) -> SpecialIds:
    """MarianMT's special ids; the start token is the padding's unless `start` says otherwise."""
    missing = [token for token in (END, UNKNOWN, PADDING) if token not in words]
    if missing:
        raise ValueError("vocab.json lacks " + ", ".join(missing))
    padding = words[PADDING]
    return SpecialIds(padding, padding if start is None else start, words[END], words[UNKNOWN])


def to_tokenizer(path: Path, words: Mapping[str, int]) -> Tokenizer:
    """The tokenizer whose ids are `words`'s for the pieces that the model at `path` cuts a text into.

    Pieces that `words` lacks come after its ids: they are the unknown word to whoever knows how many words there are.
    A text that spells `</s>` stays text. Raises ValueError for models that could not be read the same way.
    """
    proto = _parse(path.read_bytes(), str(path))
    kind, spec = _MESSAGES.ModelProto.SentencePiece, proto.normalizer_spec
    faults = []
    if proto.trainer_spec.model_type != proto.trainer_spec.UNIGRAM:
        faults.append("its model type should be unigram")
    if proto.trainer_spec.treat_whitespace_as_suffix:
        faults.append("treat_whitespace_as_suffix is not known here")
    if not (spec.escape_whitespaces and spec.add_dummy_prefix and spec.remove_extra_whitespaces):
        faults.append("escape_whitespaces, add_dummy_prefix and remove_extra_whitespaces should be on")
    defined = [p.piece for p in proto.pieces if p.type == kind.USER_DEFINED]
    if defined:
        faults.append(f"user-defined pieces are not known here: {', '.join(defined[:5])}")
    if faults:
        raise ValueError(f"{path}: " + "; ".join(faults))
    normal = [p for p in proto.pieces if p.type in (kind.NORMAL, kind.BYTE)]
    scores = {p.piece: float(p.score) for p in normal}
    spanning = any(SPACE in p.piece[1:] for p in normal)
    by_id = sorted(words, key=words.__getitem__)
    languages = [word for word in by_id if word.startswith(">>") and word.endswith("<<")]
    letters = {piece for piece in scores if len(piece) == 1}
    foreign = set() if proto.trainer_spec.byte_fallback or not letters else _foreign(by_id, letters)
    # An unknown character stands ten below the least likely piece, so what cannot be reached must not be less likely.
    least = min(p.score for p in normal if p.type == kind.NORMAL)
    vocabulary: list[tuple[str, float]] = []
    for number, word in enumerate(by_id):
        if word in scores:
            vocabulary.append((word, scores.pop(word)))
        elif word in languages or word in foreign:
            vocabulary.append((f"{MARK}{word}", 0.0))
        elif word == UNKNOWN:
            vocabulary.append((word, least))
        else:  # of the other side, or never in a text; a space within makes it unreachable
            vocabulary.append((f"{word}{SPACE}{number}", least))
    vocabulary += list(scores.items())
    tokenizer = Tokenizer(models.Unigram(vocabulary, words[UNKNOWN], proto.trainer_spec.byte_fallback))
    cleaning: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        cut = _cut_graphemes(path)
        cleaning += [cut, normalizers.Precompiled(spec.precompiled_charsmap), normalizers.Replace(_CUT, "")]
    cleaning += [
        normalizers.Replace(Regex(rf"\A +|[ {SPACE}]+\z"), ""),
        normalizers.Replace(Regex(" +"), SPACE),
        normalizers.Prepend(SPACE),
    ]
    if languages or foreign:
        cleaning.append(normalizers.Replace(MARK, _UNMARKED))
    if foreign:
        cleaning.append(_mark_foreign(foreign, letters))
    cuts: list[pre_tokenizers.PreTokenizer] = []
    if languages:
        known = "|".join(language.strip("<>") for language in languages)
        cleaning.append(normalizers.Replace(Regex(rf"\A{SPACE}(?=>>({known})<<)"), MARK))
        cuts.append(pre_tokenizers.Split(Regex(rf"\A{MARK}>>({known})<<"), "isolated"))
    if not spanning:
        cuts.append(pre_tokenizers.Split(SPACE, "merged_with_next"))
    tokenizer.normalizer = normalizers.Sequence(cleaning)
    if cuts:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    tokenizer.decoder = decoder()
    return tokenizer


def _foreign(words: Iterable[str], letters: Collection[str]) -> set[str]:
    """The words without any of the model's `letters`.

    MarianMT looks up what a model cuts off in a list of words of both sides, and SentencePiece leaves characters that
    it does not know, as many as stand together, as one piece: that may be a word of the other side's model.
    """
    known = ("", END, UNKNOWN, PADDING)
    return {word for word in words if word not in known and not any(c in letters for c in word)}


def _mark_foreign(foreign: Iterable[str], letters: Iterable[str]) -> normalizers.Normalizer:
    """Puts MARK before those that have only `letters`, or an end of the text, around them.

    The other side may have tens of thousands: a place where no unknown characters begin is left at once, and words
    with the same beginning are tried together.
    """
    other = f"[^{''.join(_ranges(sorted(ord(letter) for letter in letters)))}]"
    rests: dict[str, list[str]] = {}
    for word in sorted(foreign):
        rests.setdefault(word[0], []).append("".join(_escaped(ord(c)) for c in word[1:]))
    either = "|".join(f"{_escaped(ord(first))}(?:{'|'.join(after)})" for first, after in rests.items())
    return normalizers.Replace(Regex(rf"(?<!{other})(?={other})(?=(?:{either})(?!{other}))"), MARK)


def _cut_graphemes(path: Path) -> normalizers.Normalizer:
    """Puts `_CUT` before every mark, unless the model replaces it together with what stands before it.

    `normalizers.Precompiled` looks at whole graphemes: where a replacement fits the beginning of a short one it loses
    the rest, and in a long one it replaces character by character. SentencePiece takes the longest replacement at each
    position, wherever graphemes end.

    What stays different: sequences of 6 bytes and more that a model replaces as one, which are conjoining Hangul and
    kana with a voicing mark of its own; text in its usual, composed form has none.
    """
    clean = sentencepiece.SentencePieceNormalizer(
        model_file=str(path), add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    ).normalize
    together: dict[int, dict[str, set[int]]] = {}  # mark -> what stands right before it -> the characters before that
    for point in range(0xA0, 0x30000):
        spelled = unicodedata.normalize("NFD", chr(point)) if not 0xD800 <= point < 0xE000 else ""
        for end in range(2, len(spelled) + 1):
            if clean(spelled[:end]) != clean(spelled[: end - 1]) + clean(spelled[end - 1]):
                between = "".join(_escaped(ord(c)) for c in spelled[1 : end - 1])
                together.setdefault(ord(spelled[end - 1]), {}).setdefault(between, set()).add(ord(spelled[0]))
    known = "".join(_ranges(sorted(together)))
    cuts = [
        "".join(f"(?<![{''.join(_ranges(sorted(first)))}]{between})" for between, first in before.items())
        + f"(?={_escaped(mark)})"
        for mark, before in together.items()
    ]
    anywhere = f"(?![{known}])" if known else ""
    pattern = rf"(?={_EXTENDING})(?<!\A)(?:{'|'.join([*cuts, anywhere])})"
    return normalizers.Replace(Regex(pattern), _CUT)


def _escaped(character: int) -> str:
    return f"\\x{{{character:X}}}"


def _ranges(points: list[int]) -> Iterator[str]:
    """Code points in order, as the ranges of a regular expression's class."""
    first = last = None
    for point in [*points, None]:
        if last is not None and point != last + 1:
            assert first is not None
            yield _escaped(first) if first == last else f"{_escaped(first)}-{_escaped(last)}"
            first = point
        elif first is None:
            first = point
        last = point
