import json
import os
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PAIRS
from torch import Tensor

from model_export import import_marian, marian
from model_export import train as training
from model_export.__main__ import main
from model_export.config import Config, read_config
from model_export.data import Batch, make_batch
from model_export.guide import FORMS, Form, alignment_loss, guide_loss, make_links, of_tokens, read_links, units
from model_export.train import learn_vocabulary, train
from model_export.vocabulary import SpecialIds, Subwords

# Stands for the aligner: every pair's tokens one to one, forward; backward the first token alone.
ALIGNER = """#!/usr/bin/env python3
import sys
given = dict(zip(sys.argv[1::1], sys.argv[2::1]))
with open(given["-s"]) as s, open(given["-t"]) as t, open(given["-f"], "w") as f, open(given["-r"], "w") as r:
    for a, b in zip(s, t):
        f.write(" ".join(f"{i}-{i}" for i in range(min(len(a.split()), len(b.split())))) + "\\n")
        r.write("0-0\\n")
"""

TRANSFORMER = """
system = "transformer"
[sizes]
width = 16
inner = 24
heads = 2
encoder_layers = 1
decoder_layers = 2
"""


@pytest.fixture
def aligner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "eflomal-align"
    program.parent.mkdir()
    program.write_text(ALIGNER, encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def taught(tmp_path: Path, data: Path) -> Config:
    """The tiny configuration as a transformer whose attention is taught, trained by Muon, in both directions."""
    text = (data / "config.toml").read_text(encoding="utf-8")
    text = text[: text.index("[sizes]")] + text[text.index("[[train]]") :]
    text = text.replace('system = "rnnsearch"', "").replace("[vocabulary]", '[vocabulary]\nkind = "sentencepiece"')
    text = text.replace("size = 300", "size = 262").replace('file = "part.tsv"', 'file = "part.tsv"\nswap = true')
    head, body = text.split("attribution", 1)
    system, sizes = TRANSFORMER.split("[sizes]")
    text = head + system + "attribution" + body + "\n[sizes]" + sizes
    text = text.replace("seed = 8", 'seed = 8\noptimizer = "muon"\nboth_directions = true\nguide = 0.5')
    (tmp_path / "taught.toml").write_text(text, encoding="utf-8")
    return read_config(tmp_path / "taught.toml")


def small(config: Config, size: int) -> Config:
    """With as many words as were found in the invented text."""
    return replace(config, sizes=replace(config.sizes, vocabulary=size))


def test_loss_should_be_the_cross_entropy_of_the_rows_that_read_a_linked_token() -> None:
    attention = torch.tensor([[[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.3, 0.7], [0.5, 0.5]]])
    links = [np.array([[0, 0], [0, 1], [1, 1]], np.uint8), None]
    expected = -(np.log(0.9) + 0.5 * np.log(0.2) + 0.5 * np.log(0.8)) / 2
    assert float(guide_loss(attention, links)) == pytest.approx(expected, abs=1e-6)
    assert float(guide_loss(attention, [None, None])) == 0


def test_tokens_without_a_link_should_be_taught_the_sources_end() -> None:
    batch = make_batch([[4, 5], [4]], [[4, 5, 6], [4]], SpecialIds(), [np.array([[1, 1]], np.uint8), None])
    goal = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]])  # rows read start, 4 to 6
    attention = torch.full((2, 4, 3), 0.1)
    assert float(alignment_loss(attention, batch)) == pytest.approx(-np.log(0.1))
    attention[0] = goal
    assert float(alignment_loss(attention, batch)) == pytest.approx(0)
    attention[0, 0], attention[1] = 0.1, 0.0  # what reads the start, and a pair without links
    assert float(alignment_loss(attention, batch)) == pytest.approx(0)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("L'homme qu\u2019il a vu, aujourd'hui.", "L' homme qu\u2019 il a vu , aujourd 'hui ."),
        ("I don't like the dog's 3.5 'bones'", "I don 't like the dog 's 3 . 5 ' bones '"),
        ("a'b'c abc'd'e ''x'' a_b", "a' b' c abc 'd 'e ' ' x ' ' a _ b"),
        ("'", "'"),
        (" ", ""),
    ],
)
def test_units_should_be_words_and_marks(text: str, parts: str) -> None:
    assert " ".join(text[a:b] for a, b in units(text)) == parts


@pytest.mark.parametrize("form", FORMS)
def test_links_of_units_should_become_links_of_their_tokens(subwords: Subwords, form: Form) -> None:
    pair = ("L'ours, le chat", "the cat, the Bear")
    linked = np.array([[0, 3], [1, 4], [2, 2], [3, 0], [4, 1]], np.uint8)
    [(source, target), unlinked], [found, nothing] = of_tokens(subwords, [pair, pair], [linked, None], [form, form])
    assert unlinked == pair
    assert nothing is None
    written = {"plain": pair, "apart": ("L' ours , le chat", "the cat , the Bear")}
    assert (source, target) == written.get(form, ("l' ours , le chat", "the cat , the bear"))
    assert found is not None
    here, there = (subwords.source.encode(text, add_special_tokens=False).offsets for text in (source, target))
    linked_to: dict[tuple[int, ...], list[int]] = {}
    for j in range(len(there)):
        linked_to.setdefault(tuple(found[found[:, 1] == j, 0].tolist()), []).append(j)
    words = {
        source[here[i[0]][0] : here[i[-1]][1]].strip(): target[there[j[0]][0] : there[j[-1]][1]].strip()
        for i, j in linked_to.items()
    }
    expected = {"L'": "the", "ours": "Bear", ",": ",", "le": "the", "chat": "cat"}
    assert words == ({i.lower(): j.lower() for i, j in expected.items()} if form == "lower" else expected)


def test_pairs_of_too_many_tokens_should_have_no_links(subwords: Subwords) -> None:
    linked = np.array([[0, 0]], np.uint8)
    _, [short, long] = of_tokens(subwords, [("x" * 100, "x"), ("x" * 300, "x")], [linked] * 2, ["plain"] * 2)
    assert short is not None
    assert len({i for i, _ in short.tolist()}) == len(subwords.source_ids(["x" * 100])[0])
    assert long is None


@pytest.mark.usefixtures("aligner", "taught")
def test_links_should_be_found_by_file_and_line_either_way_round(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--config", str(tmp_path / "taught.toml"), "--data", str(data), "--out", str(tmp_path)]
    assert main(["guide", *given, "--lines", "7"]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'links.npz'}: links of 14 pairs\n"
    links = read_links(tmp_path / "links.npz")
    [first] = links.of("all.tsv", 0, 1, swap=False)
    assert first is not None
    count = min(len(units(text)) for text in PAIRS[0])
    assert first.tolist() == [[i, i] for i in range(count)]  # grown along the diagonal
    there, back = (links.of("part.tsv", 2, 9, swap=swap) for swap in (False, True))
    assert [link is None for link in there] == [False] * 5 + [True] * 4
    assert there[0] is not None
    assert back[0] is not None
    assert there[0][:, ::-1].tolist() == back[0].tolist()


def perfect(batch: Batch, like: Tensor) -> Tensor:
    """The rows [B, T, S] that the loss asks for."""
    rows = torch.zeros_like(like)
    for row, links in zip(rows, batch.links, strict=True):
        for i, j in [] if links is None else links.tolist():
            row[j + 1, i] = 1
    return rows / rows.sum(2, keepdim=True).clamp(min=1)


@pytest.mark.usefixtures("aligner")
def test_taught_attention_should_follow_its_links(tmp_path: Path, taught: Config, data: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    subwords = learn_vocabulary(taught, data, run)
    config = small(taught, subwords.sizes[1])
    config = replace(config, training=replace(config.training, steps=60, validate_every=60, cool_down=0.1))
    make_links(config, data, run, 36)
    train(config, data, run)
    model = training.make_system(config)
    model.load_state_dict(torch.load(run / "best.pt", weights_only=True)["model"])
    batch = next(training.stream(config, data, subwords, 0, read_links(run / "links.npz")))
    with torch.no_grad():
        _, attention = model.eval()(batch.source, batch.mask, batch.previous)
        untaught = training.make_system(config).eval()(batch.source, batch.mask, batch.previous)[1]
    assert attention is not None
    assert untaught is not None
    taught_it, not_taught, least = (
        float(guide_loss(rows, batch.links)) for rows in (attention, untaught, perfect(batch, attention))
    )
    assert taught_it - least < 0.6 * (not_taught - least)


def test_a_run_should_go_on_from_anothers_vocabulary_and_weights(tmp_path: Path, taught: Config, data: Path) -> None:
    plain = replace(taught, training=replace(taught.training, guide=0.0))
    (tmp_path / "first").mkdir()
    size = learn_vocabulary(plain, data, tmp_path / "first").sizes[1]
    train(small(plain, size), data, tmp_path / "first")
    second = replace(small(plain, size), vocabulary=replace(plain.vocabulary, run="first"))
    (tmp_path / "second").mkdir()
    once = replace(plain.training, steps=1, validate_every=1, begin="first")
    train(replace(second, training=once), data, tmp_path / "second")
    for name in ("tokenizer.json", "source.spm", "vocab.json"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    before, after = (torch.load(tmp_path / run / "last.pt", weights_only=True)["model"] for run in ("first", "second"))
    assert max(float((before[n] - after[n]).abs().max()) for n in before) < 0.1


def test_a_run_should_go_on_from_a_marian_checkpoint(
    tmp_path: Path, taught: Config, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = replace(taught, training=replace(taught.training, guide=0.0))
    (tmp_path / "first").mkdir()
    size = learn_vocabulary(plain, data, tmp_path / "first").sizes[1]
    config, checkpoint = small(plain, size), tmp_path / "checkpoint"
    train(config, data, tmp_path / "first")
    import_marian.save_marian(config, tmp_path / "first", checkpoint, force=False)
    # Both what the configuration names give way: there is no run of these names.
    on = replace(
        config,
        vocabulary=replace(config.vocabulary, run="gone"),
        training=replace(
            config.training, steps=1, validate_every=1, begin="gone", learning_rate=1e-9, matrix_rate=1e-9
        ),
    )
    train(on, data, tmp_path / "second", begin=checkpoint)
    assert f"weights begin as {checkpoint}'s, which knows {size} of the subwords" in capsys.readouterr().out
    for name in ("tokenizer.json", "source.spm", "vocab.json"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    before = torch.load(tmp_path / "first" / "best.pt", weights_only=True)["model"]
    after = torch.load(tmp_path / "second" / "last.pt", weights_only=True)["model"]
    for name in before:
        assert float((before[name] - after[name]).abs().max()) < 1e-6, name


def test_a_run_should_begin_with_the_rows_of_the_subwords_its_parent_knows(
    tmp_path: Path, taught: Config, data: Path
) -> None:
    plain = replace(taught, training=replace(taught.training, guide=0.0))
    for run, seen in (("parent", plain.vocabulary.lines), ("child", 9)):
        (tmp_path / run).mkdir()
        learn_vocabulary(replace(plain, vocabulary=replace(plain.vocabulary, lines=seen)), data, tmp_path / run)
    parent, child = (training.subwords_of(plain, tmp_path / run) for run in ("parent", "child"))
    train(small(plain, parent.sizes[1]), data, tmp_path / "parent")
    model = training.make_system(small(plain, child.sizes[1]))
    fresh = model.state_dict()["embedding.weight"].clone()
    known = training.begin_as(model, child, tmp_path / "parent")
    before = torch.load(tmp_path / "parent" / "last.pt", weights_only=True)["model"]
    there = parent.target.get_vocab()
    assert 0 < known < child.sizes[1] != parent.sizes[1]
    for piece, i in child.target.get_vocab().items():
        row = before["embedding.weight"][there[piece]] if piece in there else fresh[i]
        assert model.state_dict()["embedding.weight"][i].equal(row), piece
    assert model.state_dict()["encoder.0.inner.weight"].equal(before["encoder.0.inner.weight"])


def test_a_saved_checkpoint_should_list_the_words_of_its_training_targets_but_the_rarest(
    tmp_path: Path, taught: Config, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replace(taught, training=replace(taught.training, guide=0.0))
    run = tmp_path / "run"
    run.mkdir()
    subwords = learn_vocabulary(plain, data, run)
    config = small(plain, subwords.sizes[1])
    train(config, data, run)
    forward = replace(config, train=tuple(replace(file, swap=False) for file in config.train))
    import_marian.save_marian(forward, run, tmp_path / "marian", force=False, data=data)
    listed = set(json.loads((tmp_path / "marian" / "target_words.json").read_text(encoding="utf-8")))
    used = {subwords.piece(i) for ids in subwords.target_ids([pair[1] for pair in PAIRS]) for i in ids}
    sources = {subwords.piece(i) for ids in subwords.source_ids([pair[0] for pair in PAIRS]) for i in ids}
    assert used | {"</s>", "\u2581"} <= listed
    assert "<pad>" not in listed
    assert any(len(piece) > 2 and piece not in listed for piece in sources - used)

    monkeypatch.setattr(import_marian, "RAREST", 20)
    counts = Counter(subwords.piece(i) for ids in subwords.target_ids([pair[1] for pair in PAIRS]) for i in ids)
    often = {piece for piece, count in counts.items() if 20 * count >= counts.total()}
    rare = {piece for piece in used - often if len(piece.removeprefix("\u2581")) > 1}
    kept = set(import_marian.written_words(forward, data, subwords))
    assert often
    assert often <= kept
    assert rare
    assert rare.isdisjoint(kept)


@pytest.mark.parametrize("last", [False, True])
def test_a_saved_checkpoint_should_be_of_the_best_validation_or_of_the_end(
    tmp_path: Path, taught: Config, data: Path, last: bool
) -> None:
    plain = replace(taught, training=replace(taught.training, guide=0.0))
    run, out = tmp_path / "run", tmp_path / "marian"
    run.mkdir()
    config = small(plain, learn_vocabulary(plain, data, run).sizes[1])
    train(config, data, run)
    best, end = (torch.load(run / name, weights_only=True) for name in ("best.pt", "last.pt"))
    best["model"]["embedding.weight"][7] += 1  # so that they differ, whichever validation was best
    torch.save(best, run / "best.pt")
    import_marian.save_marian(config, run, out, force=False, last=last)
    kept = marian.read(out).system.state_dict()["embedding.weight"]
    assert kept.equal((end["averaged"] if last else best["model"])["embedding.weight"])
    record = json.loads((out / "dragoman.json").read_text(encoding="utf-8"))
    assert record.get("kept") == ("last" if last else None)
    assert record["updates"] == (end if last else best)["state"]["step"]


def test_a_parent_that_cannot_be_begun_with_should_be_named(tmp_path: Path, taught: Config, data: Path) -> None:
    plain = replace(taught, training=replace(taught.training, guide=0.0, begin="parent"))
    size = learn_vocabulary(plain, data, tmp_path).sizes[1]
    with pytest.raises(ValueError, match=r"parent.last\.pt is missing: train that run first"):
        train(small(plain, size), data, tmp_path)
    with pytest.raises(ValueError, match=r"data.*last\.pt is missing: .* or --begin with another run or a MarianMT"):
        train(small(plain, size), data, tmp_path, begin=data)
    without = replace(small(plain, size), vocabulary=replace(plain.vocabulary, run="parent"))
    with pytest.raises(
        ValueError, match=r"parent has no vocabulary: train that run first, or --begin with another run"
    ):
        train(without, data, tmp_path / "child")


def test_a_missing_aligner_should_be_named_with_its_remedy(
    tmp_path: Path, taught: Config, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="pip install eflomal"):
        make_links(taught, data, tmp_path, 3)


@pytest.mark.parametrize("content", [b"", b"no links", None])
def test_a_file_without_links_should_be_named_with_its_remedy(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "links.npz"
    if content is None:
        np.savez(file, other=np.zeros(3))
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"links\.npz holds no links between words: `model-export guide` makes"):
        read_links(file)


def test_missing_links_should_be_named_with_their_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model-export guide"):
        read_links(tmp_path / "links.npz")
