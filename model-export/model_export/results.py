"""`RESULTS.md`: every system trained alike, scored alike, side by side; made by one command, one system at a time.

A system's figures are kept in its run's `results.json`, and those of all systems in the file of that name beside the
page, so that the page can be made again of whatever is there, and one system measured again without the others' runs.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import sacrebleu
import torch
from numpy.typing import NDArray

from model_export import bundle
from model_export.aer import LENGTHS, agreement, diagonal, length_class, read_gold
from model_export.config import Config, read_config
from model_export.data import read_pairs
from model_export.link_choices import score_choices
from model_export.runtime import BundleRuntime, Translated
from model_export.score import translations
from model_export.systems import SYSTEMS
from model_export.train import train
from model_export.verify import verify

SETS = ("fra-eng/dev.fra-eng.tsv.zst", "fra-eng/dev-europarl.fra-eng.tsv.zst", "tests/newstest2013.fra-eng.tsv.zst")
GOLD = "gold/fra-eng.alibi-literary.tsv.zst"
# The sentences by which the systems were explained; French, as the models read French.
EXAMPLES = ("Le chat noir est sur le tapis", "Elle porte une robe rouge.", "Il m'a entarté.", "Éteins les lumières.")
SHADES = " ░▒▓█"


@dataclass
class Figures:
    """What is measured of one system."""

    system: str
    parameters: int
    updates: int
    hours: float  # of processor time
    target_tokens: int
    bleu: dict[str, float] = field(default_factory=dict)  # by set
    chrf: dict[str, float] = field(default_factory=dict)
    by_length: dict[str, float] = field(default_factory=dict)  # BLEU by words of the source, over all sets
    sentences: dict[str, int] = field(default_factory=dict)  # how many of each length
    aer: float | None = None
    aer_choice: str = ""
    aer_diagonal: float = 0.0  # of a straight line
    speed: float | None = None  # sentences a second through the pipeline
    examples: list[str] = field(default_factory=list)
    optimizer: str = "adam"


def measure(config_file: Path, data: Path, runs: Path, say: Callable[[str], None]) -> Figures:
    """Trains (or goes on training) a system, makes its bundle, and scores it, all but its speed."""
    config = read_config(config_file)
    run = runs / config_file.stem
    train(config, data, run)
    folder = run / "bundle"
    bundle.export(config, run, folder, True, lambda made: verify(made, run, say))
    figures = _scores(config, folder, data)
    _keep(run, figures)
    return figures


def measure_speed(run: Path, data: Path, home: Path) -> float | None:
    """Adds its speed to a measured system's figures; those of all systems belong one after the other, undisturbed."""
    figures = _kept(run)
    if figures is None:
        return None
    figures.speed = _speed(home, run / "bundle", data, run)
    _keep(run, figures)
    return figures.speed


def _keep(run: Path, figures: Figures) -> None:
    (run / "results.json").write_text(json.dumps(asdict(figures), indent=2, ensure_ascii=False), encoding="utf-8")


def _kept(run: Path) -> Figures | None:
    path = run / "results.json"
    return Figures(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _scores(config: Config, folder: Path, data: Path) -> Figures:
    torch.set_num_threads(1)
    manifest, runtime = bundle.read_json(folder), BundleRuntime(folder)
    training = manifest["training"]
    figures = Figures(
        config.system,
        manifest["model"]["parameters"],
        training["updates"],
        training.get("processor_hours", training["hours"]),
        training["target_tokens"],
        optimizer=config.training.optimizer,
    )
    every: list[tuple[str, str, str]] = []
    for name in SETS:
        pairs = read_pairs(data / name)
        [found] = translations(runtime, [source for source, _ in pairs], [runtime.length_penalty])
        key = Path(name).name.split(".")[0]
        figures.bleu[key], figures.chrf[key] = _both(found, [target for _, target in pairs])
        every += [(source, text, target) for (source, target), text in zip(pairs, found, strict=True)]
    for key in LENGTHS:
        chosen = [row for row in every if length_class(len(row[0].split())) == key]
        figures.sentences[key] = len(chosen)
        if chosen:
            figures.by_length[key] = _both([row[1] for row in chosen], [row[2] for row in chosen])[0]
    if runtime.publishes:
        gold = read_gold(data / GOLD)
        figures.aer_diagonal = round(100 * agreement([diagonal(pair) for pair in gold], gold).aer, 1)
        report = score_choices(gold, folder, _choices())
        best = min(report.lines, key=lambda line: line.agreement.aer)
        figures.aer, figures.aer_choice = round(100 * best.agreement.aer, 1), best.name
    figures.examples = [_heatmap(runtime, found) for found in runtime.translate(EXAMPLES)]
    return figures


def _choices() -> list[Any]:
    """Those of target words alone: what the systems' attention is like, not what joining both sides makes of it."""
    from model_export.link_choices import all_choices

    return [choice for choice in all_choices(thresholds=(0.2,)) if choice.joined is None]


def _both(found: Sequence[str], expected: Sequence[str]) -> tuple[float, float]:
    """BLEU and chrF."""
    references = [list(expected)]
    return (
        round(sacrebleu.corpus_bleu(list(found), references).score, 1),
        round(sacrebleu.corpus_chrf(list(found), references).score, 1),
    )


def _heatmap(runtime: BundleRuntime, found: Translated) -> str:
    """The translation, and where the system has attention a line for each of its tokens."""
    head = f"{found.source}  →  {found.text}"
    attention = found.hypothesis.attention
    if attention is None:
        return head
    columns = [runtime.subwords.piece(i, "source") for i in runtime.source_ids(found.source)]
    rows = [runtime.subwords.piece(i) for i in found.hypothesis.ids]
    return "\n".join([head, *matrix(rows, columns, attention.numpy())])


def matrix(rows: Sequence[str], columns: Sequence[str], weights: NDArray[Any]) -> list[str]:
    """A heatmap in characters, darker for more, columns as wide as their names."""
    columns, rows = ([name.replace("\u2581", " ").strip() or "_" for name in names] for names in (columns, rows))
    width = max(map(len, rows))
    lines = [" " * width + " " + " ".join(columns)]
    for name, row in zip(rows, weights, strict=True):
        cells = (
            SHADES[min(len(SHADES) - 1, round(float(w) * len(SHADES)))] * len(c)
            for w, c in zip(row, columns, strict=True)
        )
        lines.append(f"{name:>{width}} " + " ".join(cells))
    return [line.rstrip() for line in lines]


def _speed(home: Path, folder: Path, data: Path, run: Path) -> float | None:
    """Sentences a second through the pipeline, by the product's own benchmark."""
    sentences = [source for source, _ in read_pairs(data / SETS[1], count=400)]
    (run / "bench.txt").write_text("".join(f"{sentence}\n" for sentence in sentences), encoding="utf-8")
    command = [home / "bin" / "dragoman", "bench", "--bundle", folder, "--file", run / "bench.txt"]
    options = ["--sentences", "800", "--rounds", "3", "--beam-size", "4"]
    done = subprocess.run([*map(str, command), *options], capture_output=True, text=True, check=False)
    return speed_of(done.stdout)


def speed_of(printed: str) -> float | None:
    """The pipeline's sentences a second in what `bin/dragoman bench` printed, the median of its rounds."""
    found = re.findall(r"^ +pipeline +([\d.]+) sentences/s", printed, re.MULTILINE)
    return statistics.median(map(float, found)) if found else None


def collect(configs: Sequence[Path], runs: Path, file: Path) -> list[Figures]:
    """The figures of all systems that have some, from their runs or else from `file`, which is brought up to date."""
    known = {f["system"]: Figures(**f) for f in json.loads(file.read_text(encoding="utf-8"))} if file.exists() else {}
    found = [kept for c in configs if (kept := _kept(runs / c.stem) or known.get(read_config(c).system)) is not None]
    if not found:
        raise ValueError(f"neither {runs} nor {file} holds results: measure a system first")
    text = json.dumps([asdict(figures) for figures in found], indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    return found


def page(configs: Sequence[Path], found: list[Figures], plot: Path) -> str:
    """The page of all systems that have figures; writes the plot beside it."""
    found = sorted(found, key=lambda f: list(SYSTEMS).index(f.system))
    missing = [c.stem for c in configs if c.stem not in {f.system for f in found}]
    draw(found, plot)
    config = read_config(configs[0])
    sections = [_intro(found, missing, config), _table(found), _lengths(found, plot), _claims(found), _examples(found)]
    return "\n\n".join(sections) + "\n"


def _intro(found: Sequence[Figures], missing: Sequence[str], config: Config) -> str:
    lines = ", ".join(f"{f.lines or f.holds:,} lines of `{f.file}`" for f in config.train)
    left = f"\n\nNot measured yet: {', '.join(missing)}." if missing else ""
    return f"""# Results: the systems side by side

Made by `bin/model-export results --data DATA --runs RUNS`, which trains what is not trained, exports each system,
translates through the exported graph (beam 4) and scores. Small models and short trainings, so that a system takes
minutes on one core: the figures compare systems, they are not what a system can reach. Each saw {lines} at each
pass; configurations: [configs/compare](configs/compare).{_otherwise(found, config)}{left}"""


def _training(figures: Figures) -> tuple[int, str]:
    return figures.updates, figures.optimizer


def _otherwise(found: Sequence[Figures], config: Config) -> str:
    """Names the systems whose figures are of another training than the configurations' of now."""
    now = config.training.steps, config.training.optimizer
    other = [f for f in found if _training(f) != now]
    if not other:
        return ""
    names = ", ".join(SYSTEMS[f.system].title for f in other)
    return (
        f"\n\n**Two trainings stand here side by side.** The figures of {names} are of an earlier one (the columns "
        f"*updates* and *by* say of which) and wait for their turn to be measured again by the configurations as they "
        f"are now, {now[0]:,} updates by {now[1].title()}: hold them against one another, not against the others."
    )


def _table(found: Sequence[Figures]) -> str:
    sets = list(found[0].bleu)
    head = "| | system | parameters | updates | by | processor hours | target subwords | " + " | ".join(
        f"BLEU {s}" for s in sets
    )
    head += " | " + " | ".join(f"chrF {s}" for s in sets) + " | AER | sentences/s |"
    rows = [head, "|---" * (head.count("|") - 1) + "|"]
    for f in found:
        entry = SYSTEMS[f.system]
        cells = [entry.row, f"{entry.title}", f"{f.parameters / 1e6:.2f} M", f"{f.updates:,}", f.optimizer.title()]
        cells += [f"{f.hours:.2f}", f"{f.target_tokens:,}"]
        cells += [f"{f.bleu[s]:.1f}" for s in sets] + [f"{f.chrf[s]:.1f}" for s in sets]
        cells += ["no attention" if f.aer is None else f"{f.aer:.1f}", "" if f.speed is None else f"{f.speed:.0f}"]
        rows.append("| " + " | ".join(cells) + " |")
    choices = "; ".join(f"{SYSTEMS[f.system].title}: {f.aer_choice}" for f in found if f.aer is not None)
    return "\n".join(rows) + (
        "\n\nBLEU and chrF: sacrebleu's defaults. AER: forced alignment of gold/fra-eng.alibi-literary, 522 pairs "
        f"(five short stories), in percent, lower is better, by the way of taking links that is best ({choices}). "
        "Sentences/s: 800 sentences of Europarl through the pipeline, beam 4, `bin/dragoman bench`."
    )


def _lengths(found: Sequence[Figures], plot: Path) -> str:
    keys = list(found[0].sentences)
    rows = [
        "## BLEU by source length, in words",
        "| system | " + " | ".join(keys) + " |",
        "|---" * (len(keys) + 1) + "|",
    ]
    rows.append("| sentences | " + " | ".join(f"{found[0].sentences[k]:,}" for k in keys) + " |")
    for f in found:
        values = (f"{f.by_length[k]:.1f}" if k in f.by_length else "" for k in keys)
        rows.append(f"| {SYSTEMS[f.system].title} | " + " | ".join(values) + " |")
    return "\n".join(rows) + f"\n\n![BLEU by source length]({plot.name})"


def _claims(found: Sequence[Figures]) -> str:
    """What the figures say of the claims; every sentence is decided by them, and by systems that trained alike."""
    rows = ["## What the figures bear out"]
    plain = next((f for f in found if f.system == "seq2seq"), None)
    alike = found if plain is None else [f for f in found if _training(f) == _training(plain)]
    attending = [f for f in alike if f.aer is not None]
    short, long = "1-10", "31-50"
    if plain and attending and all(k in plain.by_length for k in (short, long)):
        kept = {f.system: f.by_length[long] / max(f.by_length[short], 0.1) for f in [plain, *attending]}
        better = [f for f in attending if kept[f.system] > kept["seq2seq"]]
        rows.append(
            f"- *Attention removes the bottleneck of one vector*: from {short} to {long} words the system without "
            f"attention keeps {100 * kept['seq2seq']:.0f} % of its BLEU ({plain.by_length[short]:.1f} to "
            f"{plain.by_length[long]:.1f}); {len(better)} of the {len(attending)} systems with attention keep more: "
            + ", ".join(f"{SYSTEMS[f.system].title} {100 * kept[f.system]:.0f} %" for f in attending)
            + "."
        )
    if attending:
        best, worst = (f(attending, key=lambda x: x.aer or 0.0) for f in (min, max))
        rows.append(
            f"- *Alignments come for free*: from {best.aer:.1f} ({SYSTEMS[best.system].title}) to {worst.aer:.1f} "
            f"({SYSTEMS[worst.system].title}) AER without having been taught; a straight "
            f"diagonal has {best.aer_diagonal:.1f}."
        )
    return "\n".join(rows)


def _examples(found: Sequence[Figures]) -> str:
    rows = ["## Heatmaps"]
    for f in found:
        rows += [f"### {SYSTEMS[f.system].row} {SYSTEMS[f.system].title}", "```", "\n\n".join(f.examples), "```"]
    return "\n".join(rows)


def draw(found: Sequence[Figures], plot: Path) -> None:
    """BLEU against source length, a line for each system, as SVG."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "dragoman"
    from matplotlib import pyplot as plt

    keys = list(found[0].sentences)
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for f in found:
        values = [f.by_length.get(k, float("nan")) for k in keys]
        wide = f.system == "seq2seq"
        axes.plot(
            keys, values, marker="o", linewidth=3 if wide else 1.3, color="black" if wide else None,
            linestyle="--" if wide else "-", label=SYSTEMS[f.system].title,
        )  # fmt: skip
    axes.set_xlabel("words of the source sentence")
    axes.set_ylabel("BLEU")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, ncol=2)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(plot, format="svg", metadata={"Date": None})
    plt.close(figure)
