import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from dragoman_bench.__main__ import given_up, main, parser, with_one_more
from dragoman_bench.contest import java, processor, sentences
from dragoman_bench.engines import Answer, Engine, EngineError
from dragoman_bench.measure import CONTESTANTS, REFERENCE, Comparison, Figures, commands, compare
from dragoman_bench.page import draw, page, quantile, ratio
from dragoman_bench.peer import Rounds, Setting, peak_memory

ECHO = """
import json, sys
for line in sys.stdin:
    what, count = line.split()
    if what == "die":
        sys.exit("gone")
    texts = [what] * (int(count) - (what == "short"))
    answer = {"seconds": 2.0, "texts": texts, "tokens": 3, "millis": [1.5], "memory": 7, "setting": "s"}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IO[str]]:
    with (tmp_path / "log").open("w", encoding="utf-8") as opened:
        yield opened


def test_an_engine_should_answer_what_it_is_asked(log: IO[str]) -> None:
    with Engine("echo", [sys.executable, "-c", ECHO], log) as engine:
        assert engine.ask("engine", 2) == Answer(2.0, ["engine", "engine"], 3, [1.5], 7, "s")
        assert engine.ask("pipeline", 1).texts == ["pipeline"]


def test_an_engine_that_fails_should_be_named(log: IO[str]) -> None:
    with Engine("echo", [sys.executable, "-c", ECHO], log) as engine:
        with pytest.raises(EngineError, match="echo gave 2 translations of 3 sentences"):
            engine.ask("short", 3)
        with pytest.raises(EngineError, match=r"echo did not answer die 1: it ended; see .*log"):
            engine.ask("die", 1)
        with pytest.raises(EngineError, match="echo did not answer"):
            engine.ask("engine", 1)


class Fake:
    """An engine of known speed whose translations are `word`."""

    def __init__(self, rate: float, word: str) -> None:
        self.rate, self.word, self.asked = rate, word, list[str]()

    def ask(self, what: str, count: int) -> Answer:
        self.asked.append(what)
        return Answer(count / self.rate, [self.word] * count, 2 * count, [1.0] * count, 1000, "")


def compared(warm_up: float = 0.0, **engines: Any) -> list[Figures]:
    named = {name.replace("_", " "): engine for name, engine in engines.items()}
    return compare(named, 300, 3, 5, warm_up, lambda texts: float(len(texts)), lambda _: None)


def test_rounds_should_take_turns_and_be_counted() -> None:
    ours, theirs = Fake(20.0, "a"), Fake(10.0, "a")
    first, second, last = compared(dragoman_int8=ours, transformers=theirs)
    assert [f.name for f in (first, second, last)] == [
        "Dragoman int8, end to end",
        "Dragoman int8, engine",
        REFERENCE,
    ]
    assert first.seconds == [15.0, 15.0, 15.0]
    assert last.seconds == [25.6, 25.6, 25.6]  # of 256 sentences
    assert (last.sentences, last.target_tokens, last.bleu, last.same) == (256, 512, 300.0, 1.0)
    assert len(first.millis) == 5
    assert ratio(first, last) == (2.0, 2.0, 2.0)
    in_turn = ["pipeline", "engine", "engine", "pipeline", "pipeline", "engine"]
    assert ours.asked[4:10] == in_turn


def test_what_is_compiled_as_it_goes_should_be_warmed_up() -> None:
    ours, theirs = Fake(20.0, "a"), Fake(10.0, "a")
    compared(0.05, dragoman_int8=ours, ctranslate2_int8=theirs)
    assert ours.asked.count("pipeline") > ours.asked.count("engine")
    assert theirs.asked.count("engine") == ours.asked.count("engine")


def test_translations_unlike_the_references_should_show() -> None:
    class Fickle(Fake):
        def ask(self, what: str, count: int) -> Answer:
            self.word += "b"
            return super().ask(what, count)

    found = compared(ctranslate2_int8=Fake(1.0, "other"), transformers=Fickle(1.0, "a"))
    assert [f.same for f in found] == [0.0, 0.0, 1.0]
    assert [f.steady for f in found] == [True, True, False]


def test_nothing_should_be_said_of_a_reference_that_was_not_asked(tmp_path: Path) -> None:
    rows = compared(ctranslate2_int8=Fake(1.0, "a"))
    assert [f.same for f in rows] == [None, None]
    line = next(x for x in page([comparison(rows=rows)], tmp_path / "r.svg").splitlines() if "attention" in x)
    assert line.endswith("| 300.00 |  |")


def comparison(**changes: Any) -> Comparison:
    rows = [
        Figures("Dragoman int8, end to end", 100, [1.0, 2.0, 4.0], [3.0, 1.0, 2.0], 5_000_000, 900, 30.0, True, 0.995),
        Figures("CTranslate2 int8", 100, [2.0, 2.0, 2.0], [4.0], 6_000_000, 900, 30.0, True, 0.5, "2 x 1 threads"),
    ]
    return Comparison(**{"model": "default", "parameters": 7_300_000, "beam": 4, "threads": 2, "longest": 256,
                         "sentences": 100, "source": "x.tsv", "rows": rows, **changes})  # fmt: skip


def test_the_page_should_say_what_was_measured(tmp_path: Path) -> None:
    text = page([comparison()], tmp_path / "RESULTS.svg")
    row = "| Dragoman int8, end to end | 50.0 (25.0 to 100.0) | 450 | 2.0, 3.0, 3.0 | 5 | 30.00 | 99.5 % |"
    assert row in text.splitlines()
    assert "| Dragoman int8, end to end / CTranslate2 int8 | 1.00 | 0.50, 2.00 | 1.00 |" in text.splitlines()
    assert "CTranslate2 int8: 2 x 1 threads" in text
    assert "7.3 M parameters, 2 threads, 100 sentences of x.tsv, at most 256 target tokens, 3 rounds." in text
    assert "differently" not in text
    assert "--beam-threshold 0 --beam 4`" in text
    other = page([comparison(beam_threshold=2.0, processor="Z80, NMOS")], tmp_path / "RESULTS.svg")
    assert "## default, beam 4, x.tsv, on Z80, NMOS\n" in other
    assert "--beam-threshold 2 --beam 4`" in other
    assert "3 rounds. Java 25.\n" in page([comparison(java="Java 25")], tmp_path / "RESULTS.svg")
    draw([comparison(), comparison(beam=1)], tmp_path / "RESULTS.svg")
    assert "default, beam 1" in (tmp_path / "RESULTS.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], 2.0),
        (["--model", "opus"], 0.0),
        (["--checkpoint", "."], 0.0),
        (["--beam-threshold", "0"], 0.0),
        (["--model", "opus", "--beam-threshold", "1.5"], 1.5),
    ],
)
def test_a_model_should_be_searched_as_its_bundle_is(arguments: list[str], expected: float) -> None:
    assert given_up(parser().parse_args(arguments)) == expected


def test_only_what_was_measured_of_the_same_should_be_replaced() -> None:
    before = [comparison(), comparison(source="y.tsv"), comparison(beam=1), comparison(processor="Z80")]
    again = comparison(sentences=7)
    assert with_one_more(before, again) == [*before[1:], again]


def test_the_page_should_be_made_again_of_what_was_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results.json").write_text(json.dumps([comparison().state()]), encoding="utf-8")
    sys.argv = ["bench", "--page", "--out", str(tmp_path)]
    assert main() == 0
    assert (tmp_path / "RESULTS.md").read_text(encoding="utf-8") in capsys.readouterr().out
    sys.argv = ["bench", "--page", "--out", str(tmp_path / "none")]
    assert main() == 1
    assert capsys.readouterr().err.endswith("results.json is missing: run without --page first\n")


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)])
def test_a_quantile_should_be_one_of_the_values(share: float, expected: float) -> None:
    assert quantile([float(n) for n in range(100, 0, -1)], share) == expected


def test_every_engine_should_have_a_command(tmp_path: Path) -> None:
    names = {contestant.engine for contestant in CONTESTANTS}
    models = {name: tmp_path / name for name in names - {"transformers"}}
    found = commands(tmp_path, "python", models, tmp_path / "marian", tmp_path / "s.txt", 4, 2, 256)
    assert set(found) == names
    assert found["dragoman int8"][1:5] == ["bench", "--on-request", "--bundle", tmp_path / "dragoman int8"]
    assert found["transformers"][4:6] == ["--model", tmp_path / "marian"]
    assert found["ctranslate2 int8"][found["ctranslate2 int8"].index("--type") + 1] == "int8"


def test_sentences_should_be_the_files_shuffled_alike_each_time(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"source {n}\ttarget {n}\n" for n in range(40)), encoding="utf-8")
    found = sentences(file, False, 30)
    assert sorted(found) == sorted([f"source {n}", f"target {n}"] for n in range(30))
    assert found == sentences(file, False, 30)
    assert found != sorted(found, key=lambda row: int(row[0].split()[1]))
    assert [row[::-1] for row in found] == sentences(file, True, 30)
    assert len(sentences(file, False, 90)) == 90
    for content in ("a\tb\tc\n", "a\tb\nc\n", "\n"):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match="should have one or two columns in every line"):
            sentences(file, False, 3)


def test_the_java_of_the_figures_should_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/java"
    program.parent.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for said, wanted in (('openjdk version "17.0.16" 2025-07-15', "Java 17"), ('java version "21"', "Java 21")):
        program.write_text(f"#!/bin/sh\necho '{said}' >&2\n", encoding="utf-8")
        program.chmod(0o755)
        assert java() == wanted
    program.write_text("#!/bin/sh\necho 'no idea' >&2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="should say its version: was no idea"):
        java()


def test_the_processor_should_be_named_with_what_its_8_bit_products_use(tmp_path: Path) -> None:
    said = tmp_path / "cpuinfo"
    said.write_text("processor\t: 0\nmodel name\t: A 1\nflags\t\t: fpu avx2 avx512bw avx512_vnni\n\nmodel name\t: B\n")
    assert processor(said) == "A 1, AVX-512 with VNNI"
    said.write_text("model name\t: A 2\nflags\t\t: fpu avx2\n", encoding="utf-8")
    assert processor(said) == "A 2, AVX2"
    assert processor(tmp_path / "none") == platform.machine()


def test_memory_should_be_the_programs_own() -> None:
    before = peak_memory()
    assert before > 10_000_000
    block = bytearray(200_000_000)
    assert peak_memory() - before > 100_000_000
    del block


class Slow:
    kinds: tuple[str, ...] = ("engine",)

    def __init__(self) -> None:
        self.ran: list[tuple[int, int]] = []

    def settings(self) -> list[Setting]:
        return [Setting(1, 2, "examples", 16), Setting(2, 1, "examples", 8)]

    def run(self, kind: str, setting: Setting, sentences: Sequence[int]) -> list[Any]:
        self.ran.append((setting.size, len(sentences)))
        if setting.size == 16:
            sum(range(200_000))
        return list(sentences)

    def text(self, found: Any) -> str:
        return str(found)

    def tokens(self, found: Any) -> int:
        return int(found) + 1


def test_a_peer_should_run_at_its_fastest_setting() -> None:
    peer = Slow()
    rounds = Rounds(peer, 300)
    answer = rounds.answer("engine 3")
    assert (answer.texts, answer.tokens) == (["0", "1", "2"], 1 + 2 + 3)
    assert answer.setting == "2 x 1 threads, batches of 8 examples"
    assert peer.ran == [(16, 16), (16, 256), (8, 16), (8, 256), (8, 3)]
    alone = rounds.answer("engine-singly 2")
    assert (alone.texts, len(alone.millis)) == (["0", "1"], 2)
    for request in ("other 3", "engine 301", "engine", "engine x"):
        with pytest.raises(ValueError, match="a request should be one of engine and a count"):
            rounds.answer(request)


def test_the_fastest_settings_should_be_tried_again_on_more_sentences() -> None:
    class Misleading(Slow):
        def settings(self) -> list[Setting]:
            return [Setting(1, 2, "examples", size) for size in (8, 16, 32, 64)]

        def run(self, kind: str, setting: Setting, sentences: Sequence[int]) -> list[Any]:
            self.ran.append((setting.size, len(sentences)))
            best = 32 if len(sentences) > 256 else 8  # on few sentences the smallest looks best, and 64 worst
            time.sleep(abs(setting.size - best) / 4000)
            return list(sentences)

    peer = Misleading()
    assert Rounds(peer, 2000).answer("engine 3").setting.endswith("of 32 examples")
    tried = [ran for ran in peer.ran if ran[1] > 256]
    assert tried == [(8, 1024), (16, 1024), (32, 1024)] * 2
