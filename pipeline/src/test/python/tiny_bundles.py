"""Writes the tests' bundles: untrained models of a hundred kilobytes, in the contract's full form.

    PYTHONPATH=model-export python pipeline/src/test/python/tiny_bundles.py pipeline/src/test/resources

`attending` publishes shifted rows, has a tokenizer for each language, Marian's special ids and a flat length limit;
`blind` is the same without attention, and with one tokenizer. Golden lines are PyTorch's. (`every-slot` is what
`attending` was before graphs had the input `best`.)
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from model_export import onnx_graph
from model_export.alignment import Span, word_indexes
from model_export.link_choices import Attended, Choice
from model_export.rnnsearch import RNNsearch, Sizes
from model_export.search import Hypothesis, SearchRules, beam_search, best

MARK = "\u2581"
END, UNKNOWN, SIZE = 0, 1, 44
PAD = SIZE - 1
BEAM, LIMIT, PENALTY = 3, 12, 0.5
RULES = SearchRules(PAD, END, limit_ratio=0, limit_offset=LIMIT, length_penalty=PENALTY, suppressed=(UNKNOWN, PAD))
CHOICE = Choice(end="kept", merge="max")
SENTENCES = ("le chat noir", "the black cat.", "été", "le noir 42 chat le noir", "chats")
SOURCE_WORDS = ("the", "cat", "black", "le", "chat", "noir")
TARGET_WORDS = ("chat", "noir", "le", "black", "the", "cat")


class Blind(RNNsearch):
    """The same system, its attention kept to itself."""

    publishes = False

    def step(self, *inputs: Any) -> Any:
        logits, _, state = super().step(*inputs)
        return logits, None, state


def tokenizer(words: tuple[str, ...]) -> Tokenizer:
    """The 44 pieces of UnigramTokenizer.java, `words` second to seventh."""
    pieces = [("</s>", -20.0), ("<unk>", 0.0)]
    pieces += [(MARK + word, -2.0 - i / 10) for i, word in enumerate(words)]
    pieces += [(piece, -4.0 - i / 10) for i, piece in enumerate(("no", "ir", "bla", "ck"))]
    pieces += [(MARK + "no", -3.5), (MARK, -3.0), (".", -2.5), ("<0x41>", -9.0)]
    pieces += [(letter, -6.0 - i / 100) for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")]
    pieces += [("\u00e9", -7.0), ("<pad>", -20.0)]
    made = Tokenizer(models.Unigram(pieces, UNKNOWN, False))
    spaces = normalizers.Replace(Regex(r"[\s\u0000-\u001F]+"), " ")
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces, normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    made.decoder = decoders.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    return made


def save(made: Tokenizer, path: Path) -> None:
    text = json.dumps(json.loads(made.to_str()), ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def model(kind: type[RNNsearch]) -> RNNsearch:
    """Weights that float16 holds exactly; the end is likely enough for most sentences to end."""
    torch.manual_seed(20151)
    made = kind(Sizes(SIZE, 8, 8, 8, 8))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
        made.decoder.output_bias[2:8] += 6  # words
        made.decoder.output_bias[END] = 7
        for parameter in made.parameters():
            parameter.copy_(parameter.half().float())
    return made.eval()


def golden_line(system: RNNsearch, rules: SearchRules, source: Tokenizer, target: Tokenizer, sentence: str) -> str:
    encoded = source.encode(sentence, add_special_tokens=False)
    ids = torch.tensor([[*encoded.ids, END]])
    steps = beam_search(system, ids, torch.ones_like(ids, dtype=torch.bool), BEAM, LIMIT, rules)
    found = best(steps, 0, LIMIT, PENALTY, END)
    words = [i for i in found.ids if i != END]
    spelled, spans = "", []
    for piece in (target.id_to_token(i).replace(MARK, " ") for i in words):
        spans.append(Span(len(spelled), len(spelled) + len(piece)))
        spelled += piece
    lead = len(spelled) - len(spelled.lstrip())
    text = spelled.strip()
    spans = [Span(max(0, start - lead), max(0, end - lead)) for start, end in spans]
    links, matrix = "", ""
    if found.attention is not None:
        sources = word_indexes(sentence, [Span(*offsets) for offsets in encoded.offsets])
        pairs = CHOICE.links(Attended(found.attention.numpy(), sources, word_indexes(text, spans)))
        links = " ".join(f"{i}-{j}" for i, j in sorted(pairs, key=lambda pair: (pair[1], pair[0])))
        matrix = ";".join(",".join(f"{weight:.6f}" for weight in row) for row in found.attention.tolist())
    return "\t".join([sentence, text, links, f"{_mean(found):.6f}", matrix])


def _mean(found: Hypothesis) -> float:
    return found.score / len(found.ids)


def write(folder: Path, kind: type[RNNsearch], source: Tokenizer, target: Tokenizer | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save(source, folder / "tokenizer.json")
    if target is not None:
        save(target, folder / "target_tokenizer.json")
    system, digest = model(kind), sha256(folder / "tokenizer.json")
    rules = replace(RULES, shift=int(system.publishes))
    metadata = {
        "dragoman.format_version": "1",
        "dragoman.vocabulary_sha256": digest,
        "dragoman.source_vocabulary": str(SIZE),
        "dragoman.target_vocabulary": str(SIZE),
    }
    onnx.save(onnx_graph.build(system, rules, metadata), folder / "model.onnx")
    lines = [golden_line(system, rules, source, target or source, sentence) for sentence in SENTENCES]
    (folder / "golden.tsv").write_text("# golden\n" + "\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    attention = {"published": True, "layer": 0, "heads": [0], "shift": 1, "links": CHOICE.manifest()}
    manifest = {
        "format_version": 1,
        "name": folder.name,
        "version": "0.0.1",
        "architecture": "S1",
        "languages": {"source": "fr", "target": "en"},
        "vocabulary": {"source_size": SIZE, "target_size": SIZE, "sha256": digest},
        "special_ids": {"pad": PAD, "start": PAD, "end": END, "unknown": UNKNOWN},
        "limits": {"max_source_tokens": 40, "max_target_tokens": LIMIT, "target_ratio": 0, "target_offset": LIMIT},
        "decoding": {"beam_size": BEAM, "length_penalty": PENALTY},
        "attention": attention if system.publishes else {"published": False},
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in sorted(folder.iterdir())
        },
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "bundle.json").write_text(text, encoding="utf-8", newline="\n")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    resources = Path(sys.argv[1])
    save(tokenizer(SOURCE_WORDS), resources / "unigram-tokenizer.json")
    write(resources / "bundles" / "attending", RNNsearch, tokenizer(SOURCE_WORDS), tokenizer(TARGET_WORDS))
    write(resources / "bundles" / "blind", Blind, tokenizer(SOURCE_WORDS), None)
