"""Rounds in turn: every engine does the same sentences, one engine after the other, round after round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dragoman_bench.engines import Answer, Engine

READ_AHEAD = "read.ahead.rows=4000"  # peers are given all sentences before they form a batch
REFERENCE = "transformers float32"


class Asked(Protocol):
    """What `Engine` is to this page."""

    def ask(self, what: str, count: int) -> Answer: ...


@dataclass(frozen=True)
class Contestant:
    """A row of the table: WHAT to ask of which engine."""

    name: str
    engine: str
    what: str
    compiled: bool = False  # as it goes, by a JVM
    most: int = 1 << 30  # sentences of a timed round: so that a slow one does not hold up the others


@dataclass
class Figures:
    """What is known of a row; `seconds` one for each round, `millis` one for each sentence asked alone."""

    name: str
    sentences: int = 0  # of a round
    seconds: list[float] = field(default_factory=list)
    millis: list[float] = field(default_factory=list)
    memory: int = 0
    target_tokens: int = 0  # that the engine wrote in a round, ends of sentences included
    bleu: float | None = None
    steady: bool = True  # whether every round gave the same translations
    same: float | None = None  # share of the translations that are the reference's to the letter, if that was asked
    setting: str = ""


@dataclass
class Comparison:
    """All rows of one model and one beam size."""

    model: str
    parameters: int
    beam: int
    threads: int
    longest: int
    sentences: int
    source: str
    rows: list[Figures]
    warm_up: float = 0.0  # seconds of what is compiled as it goes
    java: str = ""  # that ran Dragoman
    beam_threshold: float = 0.0  # of Dragoman's 8-bit bundle
    processor: str = ""

    @property
    def title(self) -> str:
        """What was compared; one that is measured again takes the place of that with the same."""
        of = f"{self.model}, beam {self.beam}, {self.source}"
        return f"{of}, on {self.processor}" if self.processor else of

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Comparison:
        return cls(**{**state, "rows": [Figures(**row) for row in state["rows"]]})

    def row(self, name: str) -> Figures | None:
        return next((row for row in self.rows if row.name == name), None)


CONTESTANTS = (
    Contestant("Dragoman int8, end to end", "dragoman int8", "pipeline", compiled=True),
    Contestant("Dragoman int8, engine", "dragoman int8", "engine"),
    Contestant("CTranslate2 int8", "ctranslate2 int8", "engine"),
    Contestant("CTranslate2 int8, return_attention", "ctranslate2 int8", "attention"),
    Contestant("Dragoman float32, end to end", "dragoman float32", "pipeline", compiled=True),
    Contestant("Dragoman float32, engine", "dragoman float32", "engine"),
    Contestant("CTranslate2 float32", "ctranslate2 float32", "engine"),
    Contestant("CTranslate2 float32, return_attention", "ctranslate2 float32", "attention"),
    Contestant("Dragoman float16, end to end", "dragoman float16", "pipeline", compiled=True),
    Contestant("Dragoman float16, engine", "dragoman float16", "engine"),
    Contestant("CTranslate2 float16", "ctranslate2 float16", "engine"),
    Contestant("CTranslate2 float16, return_attention", "ctranslate2 float16", "attention"),
    Contestant(REFERENCE, "transformers", "engine", most=256),
)


def commands(
    home: Path,
    python: str,
    models: Mapping[str, Path],
    checkpoint: Path,
    file: Path,
    beam: int,
    threads: int,
    longest: int,
    device: str = "cpu",
) -> dict[str, list[str | Path]]:
    """How each engine of `models` is started, by a path for each, and `transformers`, which loads the checkpoint."""
    found: dict[str, list[str | Path]] = {}
    for name in [*models, "transformers"]:
        engine, _, kind = name.partition(" ")
        if engine == "dragoman":
            found[name] = [home / "bin/dragoman", "bench", "--on-request", "--bundle", models[name], "--file", file]
            found[name] += ["--beam-size", str(beam), "--set", f"model.device={device}", "--set", READ_AHEAD]
        else:
            found[name] = [python, "-m", "dragoman_bench.peer", engine, "--model", models.get(name, checkpoint)]
            found[name] += ["--checkpoint", checkpoint, "--type", kind or "float32", "--file", file]
            found[name] += ["--beam", str(beam), "--threads", str(threads), "--longest", str(longest)]
            found[name] += ["--device", device]
    return found


def compare(
    engines: Mapping[str, Asked],
    count: int,
    rounds: int,
    singly: int,
    warm_up: float,
    bleu: Callable[[Sequence[str]], float] | None,
    say: Callable[[str], None],
) -> list[Figures]:
    """Figures of the contestants whose engine is there.

    `singly` sentences are asked one by one; a JVM has `warm_up` seconds to compile what is often used; `bleu` scores
    the translations.
    """
    contestants = [contestant for contestant in CONTESTANTS if contestant.engine in engines]
    figures = {c.name: Figures(c.name, min(count, c.most)) for c in contestants}
    texts: dict[str, list[str]] = {}
    for contestant in contestants:
        say(f"{contestant.name}: warming up")
        start = time.monotonic()
        engines[contestant.engine].ask(contestant.what, min(count, 64))
        # A whole round: caches, compilers, batch sizes; and all translations, to compare and to score
        texts[contestant.name] = engines[contestant.engine].ask(contestant.what, count).texts
        while contestant.compiled and time.monotonic() - start < warm_up:
            engines[contestant.engine].ask(contestant.what, count)
    for turn in range(rounds):
        for contestant in contestants if turn % 2 == 0 else reversed(contestants):
            found = figures[contestant.name]
            answer = engines[contestant.engine].ask(contestant.what, found.sentences)
            if answer.texts != texts[contestant.name][: found.sentences]:
                say(f"{contestant.name} translates differently in other rounds")
                found.steady = False
            found.seconds.append(answer.seconds)
            found.target_tokens = answer.tokens
            found.setting = answer.setting
            say(f"round {turn + 1}  {contestant.name}: {found.sentences / answer.seconds:.1f} sentences/s")
    for contestant in contestants:
        found = figures[contestant.name]
        if singly:
            found.millis = engines[contestant.engine].ask(f"{contestant.what}-singly", singly).millis
        found.memory = engines[contestant.engine].ask(contestant.what, min(count, 8)).memory
        found.bleu = None if bleu is None else round(bleu(texts[contestant.name]), 2)
        if REFERENCE in texts:
            pairs = zip(texts[contestant.name], texts[REFERENCE], strict=True)
            found.same = statistics.fmean(text == reference for text, reference in pairs)
    return list(figures.values())


def run(commands: Mapping[str, Sequence[str | Path]], log: Path, **asked: Any) -> list[Figures]:
    """`compare` with engines started by `commands`, all at once, idle but for the one that is asked."""
    with log.open("a", encoding="utf-8") as lines, ExitStack() as started:
        engines = {name: started.enter_context(Engine(name, command, lines)) for name, command in commands.items()}
        return compare(engines, **asked)
