"""The command line: `model-export train | export | verify | score | score-aer`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from model_export.link_choices import Line

DONE, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130
THRESHOLD = "give up beams whose log-probability is so far below the best's, as in 2; 0: none"
LINKS = "END,MERGE,THRESHOLD[,JOINED,SOURCE_THRESHOLD]"


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and points at the help."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number above 0: was {text}")
    return int(text)


def threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"should be a number of 0 (none) or more: was {text}")
    return value


def parser() -> argparse.ArgumentParser:
    """Each command's options; nothing heavy is imported for it, so that --help is quick."""
    top = OneLineParser(
        prog="model-export", description="Trains translation models and makes Dragoman's bundles of them."
    )
    top.add_argument("--debug", action="store_true", help="show the stack trace of a failure")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="learn a vocabulary and train a model; resumes where it stopped")
    train.add_argument(
        "--data", type=existing, required=True, metavar="DIR", help="folder the config's files are below"
    )
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where weights and log go, or resume from"
    )
    train.add_argument("--steps", type=positive, metavar="N", help="updates in all, instead of the config's")
    train.add_argument(
        "--begin",
        type=existing,
        metavar="DIR",
        help="a run or a MarianMT checkpoint to go on from, instead of those that the config names",
    )

    guide = commands.add_parser("guide", help="align training text with eflomal, for attention to be taught by")
    guide.add_argument(
        "--data", type=existing, required=True, metavar="DIR", help="folder the config's files are below"
    )
    guide.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder train will write to")
    guide.add_argument(
        "--lines", type=positive, default=300_000, metavar="N", help="of each training file (default 300000)"
    )

    save = commands.add_parser("save-marian", help="write the best weights as a MarianMT checkpoint (transformers)")
    save.add_argument("--checkpoint", type=existing, required=True, metavar="DIR", help="the folder train wrote")
    save.add_argument("--out", type=Path, required=True, metavar="DIR", help="the checkpoint's folder")
    save.add_argument(
        "--data",
        type=existing,
        metavar="DIR",
        help="of the training: list the words its targets use, for a faster bundle",
    )
    save.add_argument(
        "--last", action="store_true", help="the weights at the end of training, not the best validation's"
    )
    save.add_argument("--half", action="store_true", help="store weights in 16 bits, half the size")
    save.add_argument("--force", action="store_true", help="replace what is there")

    marian = commands.add_parser("import-marian", help="make a bundle of a MarianMT checkpoint, verified")
    marian.add_argument("folder", type=existing, metavar="DIR", help="config.json, weights, source.spm, target.spm ...")
    marian.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the bundle's folder")
    marian.add_argument("--from", dest="source", required=True, metavar="LANGUAGE", help="source language, as in fr")
    marian.add_argument("--to", dest="target", required=True, metavar="LANGUAGE", help="target language, as in en")
    marian.add_argument("--name", metavar="NAME", help="the bundle's name (the folder's when not given)")
    marian.add_argument("--version", default="1.0.0", metavar="VERSION", help="the bundle's version (1.0.0)")
    marian.add_argument("--layer", type=int, metavar="N", help="decoder layer whose attention is published (the last)")
    marian.add_argument("--heads", type=int, nargs="+", metavar="N", help="heads whose mean is published (all)")
    marian.add_argument(
        "--shift",
        type=int,
        choices=(0, 1),
        help="1: a token's attention is of the step that reads it (0; 1 for an alignment head)",
    )
    marian.add_argument(
        "--links",
        metavar=LINKS,
        help="how links come from attention, as in dropped,mean,0.2 or dropped,mean,0.4,grow-diag,0.1",
    )
    marian.add_argument("--beam-size", type=positive, metavar="K", help="instead of the checkpoint's")
    marian.add_argument("--beam-threshold", type=threshold, default=0.0, metavar="X", help=THRESHOLD)
    marian.add_argument(
        "--limit", type=int, nargs=2, metavar=("RATIO", "OFFSET"), help="target tokens: RATIO x source tokens + OFFSET"
    )
    marian.add_argument(
        "--weights",
        choices=("float32", "float16", "int8", "half"),
        default="float32",
        help="how weights are stored (float32); float16: half the size; int8: a quarter, computed with so, for CPUs;"
        " half: as float16, computed with so, for GPUs",
    )
    marian.add_argument("--golden", type=existing, metavar="FILE", help="sentences for the golden file, one a line")
    marian.add_argument("--force", action="store_true", help="replace the bundle that is there")

    export = commands.add_parser("export", help="write a bundle of the best weights, verified before it appears")
    export.add_argument("--checkpoint", type=existing, required=True, metavar="DIR", help="the folder train wrote")
    export.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the bundle's folder")
    export.add_argument("--force", action="store_true", help="replace the bundle that is there")

    spoil = commands.add_parser("spoil", help="write a bundle that fails on four sentences, for fault tests")
    spoil.add_argument("bundle", type=Path, metavar="BUNDLE")
    spoil.add_argument("--out", type=Path, required=True, metavar="SPOILED", help="the spoiled bundle's folder")

    rebuild = commands.add_parser("rebuild", help="make a bundle's graph again with this exporter, of its own weights")
    rebuild.add_argument("bundle", type=existing, metavar="BUNDLE")
    rebuild.add_argument("--links", metavar=LINKS, help="how links come from its attention from now on")
    rebuild.add_argument(
        "--beam-threshold", type=threshold, metavar="X", help=f"{THRESHOLD} (as the bundle's until now)"
    )
    rebuild.add_argument(
        "--new-golden", action="store_true", help="write the golden file anew: 8-bit numbers are rounded otherwise now"
    )

    teach = commands.add_parser(
        "teach-alignment", help="put an alignment head on a Transformer's bundle; its translations stay as they are"
    )
    teach.add_argument("bundle", type=existing, metavar="BUNDLE")
    teach.add_argument(
        "--data", type=existing, required=True, metavar="DIR", help="folder the config's files are below"
    )
    teach.add_argument("--guide", type=existing, required=True, metavar="FILE", help="links.npz, as guide wrote it")
    teach.add_argument("--updates", type=positive, default=2000, metavar="N", help="of the head (2000)")
    teach.add_argument("--links", metavar=LINKS, help="how links come from its attention (as the bundle's until now)")
    teach.add_argument(
        "--checkpoint", type=existing, metavar="DIR", help="a MarianMT folder: the head is put there as well"
    )

    verify = commands.add_parser("verify", help="check a bundle's files and that its graph keeps the contract")
    verify.add_argument("bundle", type=existing, metavar="BUNDLE")
    verify.add_argument(
        "--checkpoint",
        type=existing,
        metavar="DIR",
        help="compare with PyTorch too: what train wrote, or a MarianMT folder",
    )

    score = commands.add_parser("score", help="BLEU and chrF of a bundle over a two-column file (.tsv or .tsv.zst)")
    score.add_argument("bundle", type=existing, metavar="BUNDLE")
    score.add_argument("file", type=existing, metavar="FILE")
    score.add_argument("--swap", action="store_true", help="the file's second column is the source")
    score.add_argument("--lines", type=positive, metavar="N", help="only the first N lines")
    score.add_argument("--skip", type=existing, metavar="FILE", help="two 0/1 columns a line: leave out lines with a 1")
    score.add_argument("--tokenised", action="store_true", help="as in older papers: Moses tokens in lower case")
    score.add_argument("--beam-size", type=positive, metavar="K", help="instead of the bundle's")
    score.add_argument(
        "--length-penalty",
        type=float,
        nargs="+",
        default=[],
        metavar="X",
        help="instead of the bundle's; several to compare",
    )
    score.add_argument("--record", metavar="NAME", help="write the result into the bundle's manifest and model card")

    aer = commands.add_parser("score-aer", help="alignment error rate of a links file, or of a bundle, over gold links")
    aer.add_argument(
        "gold", type=existing, metavar="GOLD", help="source TAB target TAB sure TAB possible links (.tsv or .tsv.zst)"
    )
    of = aer.add_mutually_exclusive_group(required=True)
    of.add_argument("--links", type=existing, metavar="FILE", help="i-j links, one line for each of GOLD's pairs")
    of.add_argument("--bundle", type=existing, metavar="BUNDLE", help="links off its attention, GOLD's targets given")
    of.add_argument("--marian", type=existing, metavar="DIR", help="a MarianMT checkpoint: each layer and head")
    aer.add_argument("--best", type=positive, metavar="N", help="print the best N lines only")
    aer.add_argument("--reverse", type=existing, metavar="BUNDLE", help="a bundle of the other direction: both, as one")
    aer.add_argument("--swap", action="store_true", help="GOLD's second column is the source")
    aer.add_argument(
        "--choices",
        choices=("all", "default"),
        default="default",
        help="how links come from attention: as the product makes them (default), or every way there is",
    )
    results = commands.add_parser("results", help="train, export and score systems side by side; writes RESULTS.md")
    results.add_argument("--data", type=existing, required=True, metavar="DIR", help="folder of all data sets")
    results.add_argument("--runs", type=Path, required=True, metavar="DIR", help="one folder in it for each system")
    results.add_argument("--systems", nargs="*", metavar="NAME", help="which to measure (all)")
    results.add_argument("--only", choices=("speed", "page"), help="measure their speed again, or make the page again")
    results.add_argument("--configs", type=existing, metavar="DIR", help="their configurations (configs/compare)")
    results.add_argument("--out", type=Path, metavar="FILE", help="the page (RESULTS.md of this folder)")

    for command in (train, guide, save, export, teach):
        command.add_argument(
            "--config", type=existing, required=True, metavar="FILE", help="what to train: a TOML file of configs/"
        )
    for command in (train, guide, save, marian, export, rebuild, teach, verify, score, aer, results):
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return top


def run(arguments: argparse.Namespace) -> None:
    import torch

    from model_export import bundle
    from model_export.config import read_config

    if arguments.command != "train":
        torch.set_num_threads(1)  # the checks' products are small: on busy cores two threads took ten times as long

    match arguments.command:
        case "train":
            from model_export.train import train

            train(read_config(arguments.config), arguments.data, arguments.out, arguments.steps, arguments.begin)
        case "guide":
            from model_export.guide import make_links

            arguments.out.mkdir(parents=True, exist_ok=True)
            count = make_links(read_config(arguments.config), arguments.data, arguments.out, arguments.lines)
            print(f"wrote {arguments.out / 'links.npz'}: links of {count:,} pairs")
        case "save-marian":
            from model_export.import_marian import save_marian

            config = read_config(arguments.config)
            save_marian(
                config,
                arguments.checkpoint,
                arguments.out,
                arguments.force,
                arguments.half,
                arguments.data,
                arguments.last,
            )
            print(f"wrote {arguments.out}")
        case "import-marian":
            _import_marian(arguments)
        case "export":
            from model_export.verify import verify

            bundle.export(
                read_config(arguments.config),
                arguments.checkpoint,
                arguments.out,
                arguments.force,
                lambda folder: verify(folder, arguments.checkpoint),
            )
            print(f"wrote {arguments.out}")
        case "verify":
            from model_export.verify import verify

            verify(arguments.bundle, arguments.checkpoint)
        case "rebuild":
            from model_export.alignment import choice_named
            from model_export.rebuild import rebuild
            from model_export.verify import verify

            choice = choice_named(arguments.links) if arguments.links else None
            rebuild(arguments.bundle, verify, choice, arguments.new_golden, arguments.beam_threshold)
            print(f"made {arguments.bundle} again")
        case "teach-alignment":
            _teach(arguments)
        case "results":
            _results(arguments)
        case "spoil":
            _spoil(arguments)
        case "score":
            _score(arguments)
        case "score-aer":
            _score_aer(arguments)


def _results(arguments: argparse.Namespace) -> None:
    from model_export.results import collect, measure, measure_speed, page

    home = Path(__file__).resolve().parents[2]
    folder = arguments.configs or home / "model-export" / "configs" / "compare"
    configs = sorted(path for path in folder.glob("*.toml") if path.name != "base.toml")
    names = [path.stem for path in configs]
    wanted = names if arguments.systems is None else arguments.systems
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise ValueError(f"systems should be among {', '.join(names)}: was {', '.join(unknown)}")
    out = arguments.out or home / "model-export" / "RESULTS.md"
    for name in wanted if arguments.only is None else ():
        print(f"== {name}", flush=True)
        measure(folder / f"{name}.toml", arguments.data, arguments.runs, print)
    for name in wanted if arguments.only != "page" else ():
        speed = measure_speed(arguments.runs / name, arguments.data, home)
        print(f"{name}: " + ("no speed measured" if speed is None else f"{speed:.0f} sentences/s"), flush=True)
    found = collect(configs, arguments.runs, out.with_name("results.json"))
    text = page(configs, found, out.with_suffix(".svg"))
    out.write_text(text, encoding="utf-8", newline="\n")
    print(f"wrote {out}")


def _teach(arguments: argparse.Namespace) -> None:
    from model_export.alignment import choice_named
    from model_export.config import read_config
    from model_export.teach import teach
    from model_export.verify import verify

    teach(
        arguments.bundle,
        read_config(arguments.config),
        arguments.data,
        arguments.guide,
        arguments.updates,
        verify,
        choice=choice_named(arguments.links) if arguments.links else None,
        checkpoint=arguments.checkpoint,
    )
    print(f"put an alignment head on {arguments.bundle}")


def _spoil(arguments: argparse.Namespace) -> None:
    from model_export.spoil import SENTENCES, spoil

    for fault in spoil(arguments.bundle, arguments.out):
        print(f"{fault}: {SENTENCES[fault]}")
    print(f"wrote {arguments.out}")


def _import_marian(arguments: argparse.Namespace) -> None:
    from model_export.alignment import DEFAULT, choice_named
    from model_export.import_marian import import_marian
    from model_export.verify import verify

    golden = arguments.golden.read_text(encoding="utf-8").splitlines() if arguments.golden else ()
    import_marian(
        arguments.folder,
        arguments.out,
        (arguments.source, arguments.target),
        verify,
        name=arguments.name,
        version=arguments.version,
        layer=arguments.layer,
        heads=arguments.heads,
        shift=arguments.shift,
        choice=choice_named(arguments.links) if arguments.links else DEFAULT,
        beam_size=arguments.beam_size,
        beam_threshold=arguments.beam_threshold,
        limit=tuple(arguments.limit) if arguments.limit else None,
        weights=arguments.weights,
        golden=golden,
        force=arguments.force,
    )
    print(f"wrote {arguments.out}")


def _score(arguments: argparse.Namespace) -> None:
    from model_export import bundle
    from model_export.score import score

    if arguments.record and len(arguments.length_penalty) > 1:
        raise ValueError("--record needs one length penalty: several were given")
    found = bundle.faults(arguments.bundle)
    if found:
        raise bundle.BundleError(f"{arguments.bundle} cannot be used: " + "; ".join(found))
    scores, sentences, beam_size = score(
        arguments.bundle,
        arguments.file,
        swap=arguments.swap,
        lines=arguments.lines,
        penalties=arguments.length_penalty,
        beam_size=arguments.beam_size,
        skip=arguments.skip,
        tokenised=arguments.tokenised,
    )
    for line in scores:
        print(
            f"{arguments.file.name}: BLEU {line.bleu:.2f}  chrF {line.chrf:.2f}  "
            f"({sentences:,} sentences, beam {beam_size}, length penalty {line.length_penalty:g})"
        )
    if arguments.record:
        bundle.record(
            arguments.bundle,
            arguments.record,
            {"bleu": scores[0].bleu, "chrf": scores[0].chrf, "sentences": sentences, "beam_size": beam_size},
        )
        print(f"recorded as {arguments.record}")


def _score_aer(arguments: argparse.Namespace) -> None:
    from model_export.aer import agreement, read_gold, read_links
    from model_export.link_choices import Line, all_choices, reasons, score_choices, score_places

    if (arguments.links or arguments.marian) and (arguments.reverse or arguments.choices == "all"):
        raise ValueError("--reverse and --choices go with --bundle: a links file is scored as it is")
    gold = read_gold(arguments.gold, swap=arguments.swap)
    if arguments.marian:
        report = score_places(gold, arguments.marian, all_choices(thresholds=(0.2,)))
        _print_agreement("choice", report.lines, arguments.best)
        print(f"{arguments.gold.name}: {report.scored:,} of {len(gold):,} pairs")
        return
    if arguments.links:
        counts = agreement(read_links(arguments.links, gold), gold)
        _print_agreement("links", [Line(arguments.links.name, counts, False)])
        print(f"{arguments.gold.name}: {len(gold):,} pairs")
        return
    choices = all_choices() if arguments.choices == "all" else None
    report = score_choices(gold, arguments.bundle, choices, arguments.reverse)
    _print_agreement("choice", report.lines, arguments.best)
    if not choices and not arguments.reverse:
        _print_agreement("source", report.by_length, ordered=False)
    print(f"{arguments.gold.name}: {report.scored:,} of {len(gold):,} pairs; * is what the product publishes")
    if report.left_out:
        print(f"left out: {reasons(report.left_out)}")


def _print_agreement(title: str, lines: Sequence[Line], best: int | None = None, ordered: bool = True) -> None:
    """A table in percent, the lowest error first when `ordered`."""
    width = max(len(title), *(len(line.name) for line in lines))
    print(f"  {title:<{width}}   AER      P      R     F1    links")
    for name, counts, default in (sorted(lines, key=lambda line: line.agreement.aer) if ordered else lines)[:best]:
        shares = (counts.aer, counts.precision, counts.recall, counts.f1)
        numbers = " ".join(f"{100 * share:6.1f}" for share in shares)
        print(f"{'*' if default else ' '} {name:<{width}} {numbers} {counts.links:8,}")


def main(words: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    try:
        run(arguments)
    except KeyboardInterrupt:
        print("model-export: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as fault:
        if arguments.debug:
            raise
        message = " ".join(str(fault).split()) or type(fault).__name__
        print(f"model-export {arguments.command}: {message} (--debug shows where)", file=sys.stderr)
        return FAILURE
    return DONE


if __name__ == "__main__":
    sys.exit(main())
