"""The sentences that are measured with, and where Dragoman is."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).resolve().parents[2]  # of Dragoman
SAMPLES = HOME / "pipeline/src/main/resources/samples.fr.txt"


def sentences(text: Path | None, count: int) -> list[str]:
    """The first `count` lines of `text` (the samples without one) that hold something, repeated if they are fewer."""
    file = text or SAMPLES
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{file}: should have at least one sentence")
    return [lines[number % len(lines)] for number in range(count)]
