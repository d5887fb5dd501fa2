"""Memory and utilisation of a device while one engine works for minutes on end."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dragoman_bench.measure import Asked

SETTLED = 0.2  # of the time: after that memory is to stay as it is


class Sample(NamedTuple):
    second: float  # since the start
    megabytes: float
    busy: float  # percent


class Meter(Protocol):
    """What a device holds, in MB, and how busy it is, in percent since the last look."""

    def look(self) -> tuple[float, float]: ...


class Card:
    """A GPU, by NVIDIA's own tool; memory is that of all programs on it."""

    def __init__(self, number: int = 0) -> None:
        self._command = ["nvidia-smi", "-i", str(number), "--query-gpu=memory.used,utilization.gpu"]
        self._command.append("--format=csv,noheader,nounits")

    def look(self) -> tuple[float, float]:
        line = subprocess.run(self._command, check=True, capture_output=True, text=True, timeout=30).stdout
        used, busy = line.split(",")
        return float(used), float(busy)


class Process:
    """A program on the CPU: its resident set, and what it takes of all cores."""

    def __init__(self, pid: int) -> None:
        self._folder, self._last, self._spent = Path(f"/proc/{pid}"), time.monotonic(), 0.0

    def look(self) -> tuple[float, float]:
        lines = (self._folder / "status").read_text(encoding="ascii").splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
        ticks = (self._folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        spent = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        now = time.monotonic()
        busy = 100 * (spent - self._spent) / max(1e-9, now - self._last) / len(os.sched_getaffinity(0))
        self._last, self._spent = now, spent
        return kilobytes / 1000, busy


@dataclass
class Soak:
    """What was seen; `rates` are sentences a second of each round."""

    model: str
    beam: int
    minutes: float
    rates: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Soak:
        return cls(**{**state, "samples": [Sample(*sample) for sample in state["samples"]]})

    @property
    def settled(self) -> Sequence[Sample]:
        """Without the first part, in which memory is asked for."""
        return [sample for sample in self.samples if sample.second >= SETTLED * 60 * self.minutes] or self.samples

    def growth(self) -> float:
        """MB that the last fifth of the settled time holds more than its first, medians of both."""
        megabytes = [sample.megabytes for sample in self.settled]
        fifth = max(1, len(megabytes) // 5)
        return statistics.median(megabytes[-fifth:]) - statistics.median(megabytes[:fifth])

    def lines(self) -> list[str]:
        settled = self.settled
        middle = statistics.median(self.rates)
        return [
            f"## {self.model}, beam {self.beam}: {self.minutes:g} minutes without a pause\n",
            "| | |",
            "| --- | --- |",
            f"| sentences/s, of each round | {middle:.1f} ({min(self.rates):.1f} to {max(self.rates):.1f}) |",
            f"| memory, highest | {max(sample.megabytes for sample in self.samples):.0f} MB |",
            f"| memory, more at the end than after {SETTLED:.0%} of the time | {self.growth():+.0f} MB |",
            f"| utilisation, median of every second | {statistics.median(s.busy for s in settled):.0f} % |",
            "",
        ]


def soak(engine: Asked, meter: Meter, count: int, named: Soak, say: Callable[[str], None], every: float = 1.0) -> Soak:
    """Rounds of `count` sentences through the pipeline until `named.minutes` are over; fills `named`."""
    engine.ask("pipeline", count)  # compiled and in the caches
    start = time.monotonic()
    done = threading.Event()
    faults: list[Exception] = []

    def watch() -> None:
        try:
            while not done.is_set():
                megabytes, busy = meter.look()
                named.samples.append(Sample(round(time.monotonic() - start, 2), megabytes, busy))
                done.wait(every)
        except (OSError, ValueError, subprocess.SubprocessError) as fault:
            faults.append(fault)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        while time.monotonic() - start < 60 * named.minutes and not faults:
            named.rates.append(count / engine.ask("pipeline", count).seconds)
            say(f"{(time.monotonic() - start) / 60:.1f} minutes: {named.rates[-1]:.1f} sentences/s")
    finally:
        done.set()
        watcher.join()
    if faults:
        raise RuntimeError(f"the device could not be watched: {faults[0]}")
    return named
