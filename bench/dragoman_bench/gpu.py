"""`bench/gpu`: the table of `bench/run` on a CUDA device, and a soak; writes gpu.json, gpu-soak.json and GPU.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from model_export.__main__ import OneLineParser, existing

from dragoman_bench.__main__ import add_contest, keep, kept, say, with_one_more
from dragoman_bench.contest import Contest
from dragoman_bench.engines import Engine
from dragoman_bench.page import draw, page
from dragoman_bench.soak import Card, Process, Soak, soak
from dragoman_bench.texts import HOME

TYPES = {"cuda": "float16", "cpu": "float32"}  # CTranslate2 has no float16 on a CPU
HEAP = "-Xmx8g"  # batches are large here, and so are their weights
HEAD = """# Dragoman on a GPU, beside the engines a user would pick instead

Made by `bench/gpu`; see `bench/gpu --help`. It measures what `bench/run` measures on a CPU, and its page explains the
columns; Dragoman's graph and CTranslate2 compute in float16. Every engine is a process of its own, all are started
before the first round, and they take turns on the same sentences, weights, beam size and longest output. CTranslate2
runs at the batch size that was fastest for it here.

Wanted of the model of OPUS-MT's size, end to end: 20,000 target tokens a second, at least as fast as CTranslate2 in
float16, and memory that does not grow.
"""


def parser() -> OneLineParser:
    top = OneLineParser(
        prog="bench/gpu",
        description="What bench/run measures, on a CUDA device: Dragoman in half precision beside CTranslate2 in"
        " float16 and generate(); then the pipeline alone for ten minutes, with the device's memory and utilisation.",
    )
    add_contest(top)
    top.set_defaults(model="opus", sentences=8192, longest=64, singly=40)
    top.add_argument("--only", nargs="+", metavar="WORD", help="engines whose name holds one of these words")
    top.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: try everything out, in float32")
    top.add_argument("--soak", type=float, default=10, metavar="MINUTES", help="0: none (10)")
    top.add_argument(
        "--native", type=existing, metavar="DIR", help="ONNX Runtime's libraries for CUDA 13, see the README"
    )
    top.add_argument("--out", type=Path, default=HOME / "bench", metavar="DIR", help="for the results (bench/)")
    top.add_argument("--page", action="store_true", help="measure nothing, make the page of gpu.json again")
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        if not options.page:
            _measure(options)
        _write_page(options.out)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as fault:
        print(f"bench/gpu: {fault}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace) -> None:
    if options.device == "cuda":
        _ready()
    given = [os.environ.get("DRAGOMAN_JAVA_OPTS", ""), HEAP]
    if options.native:
        given.append(f"-Donnxruntime.native.path={options.native.resolve()}")
    os.environ["DRAGOMAN_JAVA_OPTS"] = " ".join(filter(None, given))
    torch.set_num_threads(1)
    contest = Contest.of(options, [TYPES[options.device]], options.device, say)
    file = options.out / "gpu.json"
    compared = kept(file)
    for beam in options.beam:
        compared = with_one_more(
            compared, contest.hold(beam, options.rounds, options.singly, options.warm_up, options.only, say)
        )
        keep(compared, file)
    if options.soak > 0:
        state = _soaked(contest, options).state()
        (options.out / "gpu-soak.json").write_text(json.dumps(state) + "\n", encoding="utf-8")


def _ready() -> None:
    """A device, its tool and a build for it, which is made when it is not there."""
    if shutil.which("nvidia-smi") is None:
        raise RuntimeError("nvidia-smi is missing: a CUDA device and its driver are needed (--device cpu tries it out)")
    if not list((HOME / "pipeline/target/lib").glob("onnxruntime_gpu-*.jar")):
        say("building Dragoman for CUDA (mvn -DskipTests -Pgpu clean package)")
        subprocess.run(["mvn", "-q", "-B", "-DskipTests", "-Pgpu", "clean", "package"], cwd=HOME, check=True)


def _soaked(contest: Contest, options: argparse.Namespace) -> Soak:
    name, beam = f"dragoman {TYPES[options.device]}", options.beam[0]
    with (
        contest.commands(beam) as commands,
        contest.log.open("a", encoding="utf-8") as log,
        Engine(name, commands[name], log) as engine,
    ):
        meter = Card() if options.device == "cuda" else Process(engine.pid)
        return soak(engine, meter, len(contest.rows), Soak(contest.name, beam, options.soak), say)


def _write_page(out: Path) -> None:
    found = kept(out / "gpu.json")
    if not found:
        raise ValueError(f"{out / 'gpu.json'} is missing: run without --page first")
    plot = out / "GPU.svg"
    draw(found, plot)
    text = page(found, plot, HEAD, "bench/gpu")
    soaked = out / "gpu-soak.json"
    if soaked.exists():
        text += "\n" + "\n".join(Soak.of(json.loads(soaked.read_text(encoding="utf-8"))).lines())
    (out / "GPU.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
