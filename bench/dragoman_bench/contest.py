"""One contest: the engines made ready for a checkpoint and its sentences, then held, one beam size after the other."""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sacrebleu
from model_export.data import read_lines

from dragoman_bench import checkpoint as made
from dragoman_bench.measure import Comparison, commands, run
from dragoman_bench.texts import HOME, SAMPLES

SEED = 20151
OPUS_LONGEST = 32  # random weights end nothing: every translation is as long
INSTRUCTIONS = {  # by the kernel's name of them, the widest first
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 with VNNI",
    "avx_vnni": "AVX2 with VNNI",
    "avx512bw": "AVX-512",
    "avx2": "AVX2",
}
STORED = {"float16": "half"}  # what Dragoman calls weights that others name by their type


@dataclass(frozen=True)
class Contest:
    """Models and sentences; `rows` are sentences, or sentences and their references."""

    name: str
    checkpoint: Path
    models: dict[str, Path]  # of Dragoman and CTranslate2, by engine
    parameters: int
    rows: list[list[str]]
    source: str
    longest: int
    device: str
    log: Path
    beam_threshold: float = 0.0  # of Dragoman's 8-bit bundle

    @classmethod
    def of(
        cls,
        options: argparse.Namespace,
        types: Sequence[str],
        device: str,
        say: Callable[[str], None],
        threshold: float = 0.0,
    ) -> Contest:
        """Makes what is not there yet: `options` are those of `add_contest`, `types` what is computed in; `threshold`
        is of the search of a bundle of 8 bits, and the others have none.
        """
        rows = sentences(options.text or SAMPLES, options.swap, options.sentences)
        default = HOME / "model-export/checkpoints/fr-en"
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman/bench"
        cache.mkdir(parents=True, exist_ok=True)
        checkpoint = options.checkpoint or default
        if options.model == "opus":
            checkpoint = made.sized(default, cache / "opus-sized", made.Shape())
        longest = options.longest or (OPUS_LONGEST if options.model == "opus" else 256)
        exporter = HOME / "model-export/model_export"  # another one may make another bundle
        room = cache / f"{made.digest(checkpoint)}-{made.digest(exporter)}"
        room.mkdir(exist_ok=True)
        ours = {
            kind: made.bundle_of(
                checkpoint, STORED.get(kind, kind), longest, room, say, threshold if kind == "int8" else 0.0
            )
            for kind in types
        }
        models = {f"dragoman {kind}": bundle for kind, bundle in ours.items()}
        models |= dict.fromkeys((f"ctranslate2 {kind}" for kind in types), made.converted(checkpoint, room))
        return cls(
            name=options.model if options.checkpoint is None else checkpoint.name,
            checkpoint=checkpoint,
            models=models,
            parameters=made.parameters(next(iter(ours.values()))),
            rows=rows,
            source=(options.text or SAMPLES).name,
            longest=longest,
            device=device,
            log=cache / "engines.log",
            beam_threshold=threshold,
        )

    @contextmanager
    def commands(self, beam: int) -> Iterator[dict[str, list[str | Path]]]:
        """How each engine is started, while the file of their sentences is there."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            file = Path(folder) / "sentences.txt"
            file.write_text("".join(row[0] + "\n" for row in self.rows), encoding="utf-8")
            yield commands(
                HOME, sys.executable, self.models, self.checkpoint, file, beam, threads(), self.longest, self.device
            )

    def hold(
        self,
        beam: int,
        rounds: int,
        singly: int,
        warm_up: float,
        only: Sequence[str] | None,
        say: Callable[[str], None],
    ) -> Comparison:
        """All engines, or those whose name holds one of the words `only`."""
        references = [row[1] for row in self.rows if len(row) == 2]
        with self.commands(beam) as started:
            if only:
                started = {n: c for n, c in started.items() if any(word in n for word in only)}
            self.log.write_text("")
            figures = run(
                started,
                self.log,
                count=len(self.rows),
                rounds=rounds,
                singly=min(singly, len(self.rows)),
                warm_up=warm_up,
                bleu=(lambda texts: sacrebleu.corpus_bleu(texts, [references]).score) if references else None,
                say=say,
            )
        return Comparison(
            self.name,
            self.parameters,
            beam,
            threads(),
            self.longest,
            len(self.rows),
            self.source,
            figures,
            warm_up,
            java(),
            self.beam_threshold,
            processor() if self.device == "cpu" else "",
        )


def java() -> str:
    """Which Java runs Dragoman here, and whether it starts with what bin/aot-cache left."""
    program = Path(os.environ["JAVA_HOME"]) / "bin/java" if os.environ.get("JAVA_HOME") else Path("java")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None:
        raise ValueError(f"{program} -version should say its version: was {said.strip()[:200]}")
    cache, jars = HOME / "pipeline/target/dragoman.aot", (HOME / "pipeline/target").glob("dragoman-pipeline-*.jar")
    warm = int(found[1]) >= 25 and cache.is_file() and all(cache.stat().st_mtime > j.stat().st_mtime for j in jars)
    return f"Java {found[1]}" + (", started with what `bin/aot-cache` left" if warm else "")


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself, and the widest of its instructions that 8-bit products can use; `cpuinfo` as on
    x86 Linux, elsewhere its architecture.
    """
    found: dict[str, str] = {}
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    able = found.get("flags", "").split()
    widest = next((name for flag, name in INSTRUCTIONS.items() if flag in able), "")
    return ", ".join(filter(None, [found.get("model name") or platform.machine(), widest]))


def threads() -> int:
    """The cores this may use."""
    return len(os.sched_getaffinity(0))


def sentences(text: Path, swap: bool, count: int) -> list[list[str]]:
    """The first `count` lines of `text` that hold something, in columns, repeated if they are fewer, and shuffled.

    So any part of them is a fair sample of the whole: the few that are asked one by one, and those of a slow engine.
    """
    rows = [line.split("\t")[:: -1 if swap else 1] for _, line in read_lines(text) if line.strip()]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows[0]) > 2:
        raise ValueError(f"{text}: should have one or two columns in every line")
    chosen = [rows[number % len(rows)] for number in range(count)]
    random.Random(SEED).shuffle(chosen)
    return chosen
