"""The command line: makes the models, starts the engines, writes results.json, RESULTS.md and RESULTS.svg."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model_export.__main__ import OneLineParser, existing, positive, threshold

from dragoman_bench.engines import WARM_UP_SECONDS
from dragoman_bench.texts import HOME

if TYPE_CHECKING:
    from dragoman_bench.measure import Comparison


def parser() -> OneLineParser:
    top = OneLineParser(
        prog="bench/run",
        description="Dragoman beside CTranslate2 and Hugging Face's generate(): same sentences, weights, beam, threads"
        " and longest output, in turns. It uses the cores it may: `taskset -c 0 bench/run` measures on one.",
    )
    add_contest(top)
    top.add_argument(
        "--beam-threshold",
        type=threshold,
        metavar="X",
        help="how far below the best Dragoman's 8-bit bundle gives a beam up, 0: never (as its bundle does)",
    )
    top.add_argument("--only", nargs="+", metavar="WORD", help="engines whose name holds one of these words")
    top.add_argument("--out", type=Path, default=HOME / "bench", metavar="DIR", help="for the results (bench/)")
    top.add_argument("--page", action="store_true", help="measure nothing, make the page of results.json again")
    return top


def add_contest(top: argparse.ArgumentParser) -> None:
    """What is asked of every contest."""
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
    top.add_argument("--sentences", type=positive, default=4096, metavar="N", help="the first N of them (4096)")
    top.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds (5)")
    top.add_argument("--singly", type=positive, default=100, metavar="N", help="how many to ask one by one (100)")
    top.add_argument(
        "--warm-up",
        type=positive,
        default=WARM_UP_SECONDS,
        metavar="SECONDS",
        help=f"how long the pipeline runs before the first round: its JVM compiles meanwhile ({WARM_UP_SECONDS})",
    )
    top.add_argument("--beam", type=positive, nargs="+", default=[4, 1], metavar="K", help="beam sizes (4 1)")
    top.add_argument("--longest", type=positive, metavar="N", help="target tokens (256; opus: 32)")


def given_up(options: argparse.Namespace) -> float:
    """The threshold of the 8-bit bundle's search: what was asked for, or what a user has.

    That is none of an imported checkpoint; and of the beams of random weights the default bundle's leaves hardly one.
    """
    if options.beam_threshold is not None:
        return float(options.beam_threshold)
    if options.model != "default" or options.checkpoint is not None:
        return 0.0
    manifest = json.loads((HOME / "model-export/bundles/fr-en/bundle.json").read_text(encoding="utf-8"))
    return float(manifest["decoding"].get("beam_threshold", 0.0))


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
    import torch

    from dragoman_bench.contest import Contest

    torch.set_num_threads(1)
    contest = Contest.of(options, ("int8", "float32"), "cpu", say, given_up(options))
    compared = kept(options.out / "results.json")
    for beam in options.beam:
        compared = with_one_more(
            compared, contest.hold(beam, options.rounds, options.singly, options.warm_up, options.only, say)
        )
        keep(compared, options.out / "results.json")


def with_one_more(compared: Sequence[Comparison], one: Comparison) -> list[Comparison]:
    """`one` in the place of what there was of its model, beam and sentences on such a processor."""
    return [c for c in compared if c.title != one.title] + [one]


def keep(compared: Sequence[Comparison], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([c.state() for c in compared], indent=1) + "\n", encoding="utf-8")


def kept(file: Path) -> list[Comparison]:
    from dragoman_bench.measure import Comparison

    return [Comparison.of(state) for state in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []


def _write_page(out: Path) -> None:
    from dragoman_bench.page import draw, page

    found = kept(out / "results.json")
    if not found:
        raise ValueError(f"{out / 'results.json'} is missing: run without --page first")
    plot = out / "RESULTS.svg"
    draw(found, plot)
    (out / "RESULTS.md").write_text(page(found, plot), encoding="utf-8")
    print((out / "RESULTS.md").read_text(encoding="utf-8"))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
