"""`RESULTS.md` and its plot, of whatever comparisons `results.json` holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from dragoman_bench.measure import REFERENCE, Comparison, Figures

# What a ratio is of, and what it should be at least (None: no promise).
RATIOS = (
    ("Dragoman int8, end to end", "CTranslate2 int8", 1.0),
    ("Dragoman int8, end to end", "CTranslate2 int8, return_attention", 1.5),
    ("Dragoman int8, end to end", "Dragoman int8, engine", 1 / 1.05),
    ("Dragoman float32, end to end", "CTranslate2 float32", 1.0),
    ("Dragoman int8, end to end", REFERENCE, None),
    ("Dragoman float16, end to end", "CTranslate2 float16", 1.0),
    ("Dragoman float16, end to end", "CTranslate2 float16, return_attention", None),
    ("Dragoman float16, end to end", "Dragoman float16, engine", 1 / 1.05),
    ("Dragoman float16, end to end", REFERENCE, None),
)
HEAD = """# Dragoman beside the engines a user would pick instead

Made by `bench/run`; see `bench/run --help`. Every engine is a process of its own, all are started before the first
round, and they take turns on the same sentences, weights, beam size, threads and longest output. CTranslate2 and
Hugging Face get ids, and run at the batch size that was fastest for them here; Dragoman's *engine* gets ids as well,
*end to end* goes from a sentence sent to Kafka to its translation and alignment records seen by a `read_committed`
consumer: tokenisation, exactly-once and Avro included, alignments of every sentence published. It is a pipeline that
has been running for a while: its JVM goes on compiling for some minutes, so it runs for as many seconds as
`--warm-up` says before the first round, with the flags of `bin/dragoman run`; and each of its threads reads 4,000
sentences ahead (`read.ahead.rows`), where its peers are given all before they form a batch. *Target tokens* are
those an engine wrote for its best translations, ends of sentences included. BLEU is sacrebleu's.
Dragoman's bundle of 8 bits gives up a beam whose log-probability is `--beam-threshold` below the best's (0: none);
its peers and the bundle of 32 bits have no such rule and search all beams to the end.
*As reference* is the share of translations that are those of Hugging Face's `generate()` in 32-bit floats to the
letter. At the longest, where `generate()` and Dragoman put the end, CTranslate2 chooses one more word: the model of
OPUS-MT's size, whose random weights end nothing, has none as reference there.
"""


def page(found: Sequence[Comparison], plot: Path, head: str = HEAD, command: str = "bench/run") -> str:
    parts = [head, f"![Sentences a second]({plot.name})\n"]
    parts += [_section(comparison, command) for comparison in found]
    return "\n".join(parts)


def _section(found: Comparison, command: str) -> str:
    which = "--model" if found.model in ("default", "opus") else "--checkpoint"
    lines = [
        f"## {found.title}\n",
        f"{found.parameters / 1e6:.1f} M parameters, {found.threads} threads, {found.sentences} sentences of"
        f" {found.source}, at most {found.longest} target tokens, {len(found.rows[0].seconds)} rounds."
        + (f" {found.java}." if found.java else "")
        + "\n",
        f"`{command} {which} {found.model} --text {found.source} --sentences {found.sentences}"
        f" --rounds {len(found.rows[0].seconds)} --singly {len(found.rows[0].millis)}"
        + (f" --warm-up {found.warm_up:.0f}" if found.warm_up else "")
        + f" --beam-threshold {found.beam_threshold:g}" * (command == "bench/run")
        + f" --beam {found.beam}`\n",
        "| engine | sentences/s | target tokens/s | one alone: p50, p95, p99 ms | peak memory, MB | BLEU | as reference"
        " |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(row) for row in found.rows]
    lines += ["", "| ratio of sentences/s | median | lowest, highest round | wanted |", "| --- | --- | --- | --- |"]
    for of, to, wanted in RATIOS:
        one, other = found.row(of), found.row(to)
        if one is not None and other is not None:
            middle, low, high = ratio(one, other)
            goal = "" if wanted is None else f"{wanted:.2f}"
            lines.append(f"| {of} / {to} | {middle:.2f} | {low:.2f}, {high:.2f} | {goal} |")
    unsteady = [row.name for row in found.rows if not row.steady]
    if unsteady:
        lines += ["", f"Translated differently from round to round: {', '.join(unsteady)}."]
    settings = [f"{row.name}: {row.setting}" for row in found.rows if row.setting]
    return "\n".join([*lines, "", "Fastest for them: " + "; ".join(settings) + ".", ""] if settings else [*lines, ""])


def rates(row: Figures) -> list[float]:
    """Sentences a second of each round."""
    return [row.sentences / seconds for seconds in row.seconds]


def _row(row: Figures) -> str:
    tokens = row.target_tokens / statistics.median(row.seconds)
    alone = ", ".join(f"{quantile(row.millis, q):.1f}" for q in (0.5, 0.95, 0.99)) if row.millis else ""
    bleu = "" if row.bleu is None else f"{row.bleu:.2f}"
    same = "" if row.same is None else f"{100 * row.same:.1f} %"
    rate = rates(row)
    return (
        f"| {row.name} | {statistics.median(rate):.1f} ({min(rate):.1f} to {max(rate):.1f}) | {tokens:.0f} |"
        f" {alone} | {row.memory / 1e6:.0f} | {bleu} | {same} |"
    )


def ratio(of: Figures, to: Figures) -> tuple[float, float, float]:
    """Median, lowest and highest over the rounds of how many times as fast `of` was as `to` in the same round."""
    found = [one / other for one, other in zip(rates(of), rates(to), strict=True)]
    return statistics.median(found), min(found), max(found)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def draw(found: Sequence[Comparison], plot: Path) -> None:
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "dragoman"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(found), 1, figsize=(8, 0.6 + 2.6 * len(found)), squeeze=False)
    for axis, comparison in zip(axes[:, 0], found, strict=True):
        rows = list(reversed(comparison.rows))
        middles = [statistics.median(rates(row)) for row in rows]
        spread = [
            [middle - min(rates(row)) for middle, row in zip(middles, rows, strict=True)],
            [max(rates(row)) - middle for middle, row in zip(middles, rows, strict=True)],
        ]
        colours = ["tab:blue" if row.name.startswith("Dragoman") else "tab:grey" for row in rows]
        axis.barh([row.name for row in rows], middles, xerr=spread, color=colours, ecolor="black", capsize=2)
        axis.set_title(comparison.title, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.set_xlabel("sentences/s", fontsize=8)
    figure.tight_layout()
    figure.savefig(plot, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
