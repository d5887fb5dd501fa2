"""The model card of a bundle, written from its manifest alone."""

from __future__ import annotations

from typing import Any

from model_export.alignment import choice_of
from model_export.systems import SYSTEMS

_NAMES = {"de": "German", "en": "English", "es": "Spanish", "fr": "French", "ro": "Romanian"}


def _processor(training: dict[str, Any]) -> str:
    return f" ({training['processor_hours']} of processor time)" if "processor_hours" in training else ""


def write(manifest: dict[str, Any]) -> str:
    """Markdown for people; every figure in it comes from the manifest."""
    source, target = (_NAMES.get(manifest["languages"][side], "?") for side in ("source", "target"))
    sections = (
        _head(manifest, source, target),
        _scores(manifest["scores"]),
        _use(manifest),
        _data(manifest["training"]),
    )
    return "\n\n".join((*sections, _making(manifest))) + "\n"


def _head(manifest: dict[str, Any], source: str, target: str) -> str:
    entry, published = SYSTEMS[manifest["model"]["system"]], manifest["attention"]
    attention = "It has no attention, so translations come without alignments."
    if published["published"]:
        rows = "of the step that reads a token" if published["shift"] else "of the step that chooses a token"
        attention = f"The attention published with each token is the decoder's own, {rows}"
        heads = ", ".join(map(str, published["heads"]))
        several = manifest["architecture"] in ("S11", "S12")
        attention += f" (layer {published['layer']}, heads {heads}; both count from 0)." if several else "."
        if several and not heads:
            attention = f"The attention published with each token is that of an alignment head, {rows}."
    some = manifest["model"].get("written_words")
    subwords = f"{manifest['vocabulary']['target_size']:,} subwords"
    subwords += f", {some:,} of which it writes" if some else ""
    return f"""# {manifest["name"]} {manifest["version"]}: {source} to {target}

{manifest["architecture_name"]} (system {manifest["architecture"]}): {entry.description} ({entry.paper}).
{manifest["model"]["parameters"]:,} parameters, {subwords}. {attention}"""


def _scores(scores: dict[str, dict[str, float]]) -> str:
    if not scores:
        return "## Scores\nNot scored yet: `bin/model-export score BUNDLE FILE --record NAME`."
    rows = "\n".join(
        f"| {name} | {s['bleu']:.1f} | {s['chrf']:.1f} | {s['sentences']:,} | {s['beam_size']} |"
        for name, s in sorted(scores.items())
    )
    return f"""## Scores
| set | BLEU | chrF | sentences | beam |
|---|---|---|---|---|
{rows}

sacrebleu's defaults (13a tokens, case kept), one reference. Sets named `dev` also chose the weights to keep."""


def _use(manifest: dict[str, Any]) -> str:
    limits, decoding, training = manifest["limits"], manifest["decoding"], manifest["training"]
    threshold = decoding.get("beam_threshold", 0)
    beam = f"Beam {decoding['beam_size']}"
    beam += f", without hypotheses whose log-probability is {threshold:g} below the best's" if threshold else ""
    knows = "short everyday sentences"
    if any("europarl" in file["file"] for file in training.get("data", ())):
        knows += " and the register of parliament"
    return f"""## Use and limits
{beam}; hypotheses are compared by log-probability / length^{decoding["length_penalty"]}.
At most {limits["max_source_tokens"]} source and {limits["max_target_tokens"]} target subwords, the end included,
and at most {limits["target_ratio"]} x source + {limits["target_offset"]} target subwords.

A small model: it knows {knows}, and gets names, rare words, numbers and
other registers wrong. It was trained on texts of at most {training.get("longest", 80) - 1} subwords a side; longer ones
come out worse. Do not rely on it where a mistranslation does harm. Its attention is a soft alignment, not an
explanation of its choices."""


def _data(training: dict[str, Any]) -> str:
    if "source" in training:
        return f"## Training data\n{training['source']}: see its own model card for data and licence."
    rows = "\n".join(f"| `{f['file']}` | {f['lines']:,} | {f['licence']} |" for f in training["data"])
    attribution = "\n".join(f"- {sentence}" for sentence in training["attribution"])
    return f"""## Training data
| file | lines in it | licence |
|---|---|---|
{rows}

Keep these acknowledgements with the weights:

{attribution}"""


_STORED = {
    "float32": "stored as they are",
    "float16": "stored as float16 and computed with as float32",
    "int8": "stored as 8-bit numbers with a step for each row, and computed with so",
    "half": "stored as float16, and computed with so",
}


def _making(manifest: dict[str, Any]) -> str:
    training, pair = manifest["training"], "-".join(manifest["languages"][side] for side in ("source", "target"))
    if "source" in training:
        return "## How it was made\nWith `bin/model-export import-marian` from the checkpoint named above."
    weights = manifest["model"].get("weights", "float16")
    config = f"model-export/configs/{training.get('config', '?')}"
    verify = "bin/model-export verify BUNDLE --checkpoint RUN"
    export = f"bin/model-export export --config {config} --checkpoint RUN --out BUNDLE"
    if manifest["model"]["system"] == "marian":
        data = " --data DATA" if manifest["model"].get("written_words") else ""
        end = " --last" if training.get("kept") == "last" else ""
        export = f"bin/model-export save-marian --config {config} --checkpoint RUN{data}{end} --out CHECKPOINT\n"
        languages = f"--from {pair[:2]} --to {pair[3:]}"
        limit = "{target_ratio} {target_offset}".format_map(manifest["limits"])
        export += (
            f"bin/model-export import-marian CHECKPOINT {languages} --out BUNDLE --weights {weights} --limit {limit}"
        )
        verify = "bin/model-export verify BUNDLE --checkpoint CHECKPOINT"
    remark = f"\n\n{training['remark']}" if training.get("remark") else ""
    if head := training.get("alignment_head"):
        remark += f"""

Then an alignment head was taught an aligner's links on {head["target_tokens"]:,} target subwords ({head["updates"]:,}
updates, {head["processor_hours"]} hours of processor time); nothing of it goes into the translations."""
        pairs = f"model-export/configs/{head.get('config', training.get('config', '?'))}"
        guide = f"bin/model-export guide --config {pairs} --data DATA --out RUN"
        teach = f"bin/model-export teach-alignment BUNDLE --config {pairs} --data DATA --guide RUN/links.npz"
        teach += f" --updates {head['updates']} --links {choice_of(manifest).name}"
        verify = f"{guide}\n{teach}\n{verify}"
    kept = "its end" if training.get("kept") == "last" else "the validation with the best greedy BLEU"
    hours = f"{training['hours']} hours{_processor(training)}"
    return f"""## How it was made
{training["updates"]:,} updates, {training["target_tokens"]:,} target subwords, {hours},
seed {training["seed"]}, code at commit `{training["commit"]}`. The weights are training's exponential average
at {kept}, {_STORED[weights]}.
The configuration says how much of each file one pass takes.{remark}

```
bin/model-export train  --config {config} --data DATA --out RUN
{export}
{verify}
bin/model-export score  BUNDLE FILE --record NAME
```"""
