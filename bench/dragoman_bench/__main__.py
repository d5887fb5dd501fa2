"""The command line: makes the models, starts the engines, writes results.json, RESULTS.md and RESULTS.svg."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from model_export.__main__ import OneLineParser, existing, positive

if TYPE_CHECKING:
    from dragoman_bench.measure import Comparison

HOME = Path(__file__).resolve().parents[2]


def parser() -> OneLineParser:
    top = OneLineParser(
        prog="bench/run",
        description="Dragoman beside CTranslate2 and Hugging Face's generate(): same sentences, weights, beam, threads"
        " and longest output, in turns. It uses the cores it may: `taskset -c 0 bench/run` measures on one.",
    )
    top.add_argument(
        "--model",
        choices=("default", "opus"),
        default="default",
        help="the checkpoint of the default bundle, or random weights of OPUS-MT's size, 6+6 layers of 512 (default)",
    )
    top.add_argument("--checkpoint", type=existing, metavar="DIR", help="another MarianMT checkpoint")
    top.add_argument(
        "--text",
        type=existing,
        metavar="FILE",
        help="sentences, or sentences and their references split by one TAB, .zst or plain (the samples, without BLEU)",
    )
    top.add_argument("--swap", action="store_true", help="the second column is the source")
    top.add_argument("--sentences", type=positive, default=2048, metavar="N", help="how many of them (2048)")
    top.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds (5)")
    top.add_argument("--singly", type=positive, default=100, metavar="N", help="how many to ask one by one (100)")
    top.add_argument("--beam", type=positive, nargs="+", default=[4, 1], metavar="K", help="beam sizes (4 1)")
    top.add_argument("--longest", type=positive, metavar="N", help="target tokens (256; opus: 32)")
    top.add_argument("--only", nargs="+", metavar="WORD", help="engines whose name holds one of these words")
    top.add_argument("--out", type=Path, default=HOME / "bench", metavar="DIR", help="for the results (bench/)")
    top.add_argument("--page", action="store_true", help="measure nothing, make the page of results.json again")
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        if not options.page:
            _measure(options)
        _write_page(options.out)
    except (OSError, RuntimeError, ValueError) as fault:
        print(f"bench/run: {fault}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace) -> None:
    import sacrebleu
    import torch
    from model_export.data import read_lines
    from transformers import MarianTokenizer

    from dragoman_bench import checkpoint as made
    from dragoman_bench.measure import Comparison, commands, run

    text = options.text or HOME / "pipeline/src/main/resources/samples.fr.txt"
    rows = [line.split("\t")[:: -1 if options.swap else 1] for _, line in read_lines(text) if line.strip()]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows[0]) > 2:
        raise ValueError(f"{text}: should have one or two columns in every line")
    rows = [rows[number % len(rows)] for number in range(options.sentences)]

    torch.set_num_threads(1)
    default = HOME / "model-export/checkpoints/fr-en"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman/bench"
    cache.mkdir(parents=True, exist_ok=True)
    checkpoint = options.checkpoint or default
    if options.model == "opus":
        checkpoint = made.sized(default, cache / "opus-sized", made.Shape())
    longest = options.longest or (32 if options.model == "opus" else 256)
    exporter = HOME / "model-export/model_export"  # another one may make another bundle
    room = cache / f"{made.digest(checkpoint)}-{made.digest(exporter)}"
    room.mkdir(exist_ok=True)
    models = {f"dragoman {kind}": made.bundle_of(checkpoint, kind, longest, room, _say) for kind in ("int8", "float32")}
    models |= dict.fromkeys(("ctranslate2 int8", "ctranslate2 float32"), made.converted(checkpoint, room))
    tokenizer = MarianTokenizer.from_pretrained(checkpoint)
    name = options.model if options.checkpoint is None else checkpoint.name
    compared = _kept(options.out)
    for beam in options.beam:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            file = Path(folder) / "sentences.txt"
            file.write_text("".join(row[0] + "\n" for row in rows), encoding="utf-8")
            threads = len(os.sched_getaffinity(0))
            started = commands(HOME, sys.executable, models, checkpoint, file, beam, threads, longest)
            if options.only:
                started = {n: c for n, c in started.items() if any(word in n for word in options.only)}
            log = cache / "engines.log"
            log.write_text("")
            figures = run(
                started,
                log,
                count=len(rows),
                rounds=options.rounds,
                singly=min(options.singly, len(rows)),
                tokens=lambda texts: sum(len(tokenizer(text_target=text).input_ids) for text in texts),
                bleu=None
                if len(rows[0]) == 1
                else lambda texts: sacrebleu.corpus_bleu(texts, [[row[1] for row in rows]]).score,
                say=_say,
            )
        parameters = made.parameters(models["dragoman float32"])
        one = Comparison(name, parameters, beam, threads, longest, len(rows), text.name, figures)
        compared = [c for c in compared if (c.model, c.beam) != (name, beam)] + [one]
        options.out.mkdir(parents=True, exist_ok=True)
        state = [c.state() for c in compared]
        (options.out / "results.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def _kept(out: Path) -> list[Comparison]:
    from dragoman_bench.measure import Comparison

    file = out / "results.json"
    return [Comparison.of(state) for state in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []


def _write_page(out: Path) -> None:
    from dragoman_bench.page import draw, page

    found = _kept(out)
    if not found:
        raise ValueError(f"{out / 'results.json'} is missing: run without --page first")
    plot = out / "RESULTS.svg"
    draw(found, plot)
    (out / "RESULTS.md").write_text(page(found, plot), encoding="utf-8")
    print((out / "RESULTS.md").read_text(encoding="utf-8"))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
