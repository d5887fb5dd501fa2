"""Engines as processes: a request is a line `WHAT COUNT`, the answer a line of JSON.

WHAT names what is to be timed over the first COUNT sentences of the file that the process was started with; `-singly`
behind it asks for one sentence at a time. The answer holds `seconds`; `texts`, the translations in the sentences'
order; `tokens`, how many the engine wrote for all of them, ends of sentences included; `millis`, one for each sentence
asked alone; `memory`, the process's highest resident set in bytes; and, when there is something to say about how it was
done, `setting`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

WARM_UP_SECONDS = 240  # how long a pipeline should have run: its JVM compiles meanwhile


class EngineError(RuntimeError):
    """An engine ended or answered something else."""


@dataclass(frozen=True)
class Answer:
    seconds: float
    texts: list[str]
    tokens: int
    millis: list[float]
    memory: int
    setting: str = ""

    def line(self) -> str:
        return json.dumps(vars(self), ensure_ascii=False)

    @classmethod
    def of(cls, line: str) -> Answer:
        found = json.loads(line)
        named = {name: found[name] for name in ("seconds", "texts", "tokens", "millis", "memory")}
        return cls(**named, setting=found.get("setting", ""))


class Engine:
    """One process. Threading: none, a request waits for its answer."""

    def __init__(self, name: str, command: Sequence[str | Path], log: IO[str]) -> None:
        """`log` takes what the process says on standard error; it stays the caller's."""
        self.name, self._log = name, log
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, what: str, count: int, texts: bool = True) -> Answer:
        """`texts`: whether the answer has translations, one for each sentence."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        try:
            self._process.stdin.write(f"{what} {count}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            answer = Answer.of(line)
        except (OSError, ValueError, KeyError) as fault:
            raise EngineError(
                f"{self.name} did not answer {what} {count}: {line.strip()[:200] or 'it ended'}; see {self._log.name}"
            ) from fault
        if len(answer.texts) != (count if texts else 0):
            raise EngineError(f"{self.name} gave {len(answer.texts)} translations of {count} sentences")
        return answer

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()  # the end of its requests ends it
