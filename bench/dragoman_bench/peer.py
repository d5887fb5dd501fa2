"""CTranslate2 and Hugging Face's `generate()` as engines (see `engines`): `python -m dragoman_bench.peer --help`.

Both get ids or pieces, not text: tokenisation costs them nothing here, while Dragoman's pipeline pays for its own.
Both run at the batch size that was the fastest for these sentences, found when a kind of round is asked for first: all
sizes over some sentences, and the fastest few again over more, because a short run is noisy and favours small ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dragoman_bench.engines import Answer

TUNED_ON = 256  # sentences
FINALISTS, FINAL_ON, FINALS = 3, 1024, 2  # settings that were fastest, on how many sentences again, how often


class Setting(NamedTuple):
    """How an engine cuts its work: `parallel` batches at once, each on `threads` threads, of `size` rows or tokens."""

    parallel: int
    threads: int
    kind: str
    size: int

    def __str__(self) -> str:
        return f"{self.parallel} x {self.threads} threads, batches of {self.size} {self.kind}"


class Peer(Protocol):
    """What is asked for, in which settings, and how one of them does some of the sentences, given by their numbers."""

    kinds: tuple[str, ...]

    def settings(self) -> Iterable[Setting]: ...

    def run(self, kind: str, setting: Setting, sentences: Sequence[int]) -> list[Any]: ...

    def text(self, found: Any) -> str: ...

    def tokens(self, found: Any) -> int:
        """How many were written, the end of the sentence included."""
        ...


class CTranslate2:
    """`translate_batch` of all sentences at once: it sorts by length and cuts batches itself."""

    kinds: tuple[str, ...] = ("engine", "attention")

    def __init__(self, lines: Sequence[str], options: argparse.Namespace) -> None:
        from sentencepiece import SentencePieceProcessor

        self._model, self._options = str(options.model), options
        source, self._target = (
            SentencePieceProcessor(model_file=str(options.checkpoint / f"{side}.spm")) for side in ("source", "target")
        )
        self._pieces = [[*source.encode(line, out_type=str), "</s>"] for line in lines]
        self._opened: tuple[tuple[int, int], Any] | None = None

    def settings(self) -> Iterator[Setting]:
        threads = self._options.threads
        if self._options.device != "cpu":
            for kind, size in (("examples", 128), ("examples", 512), ("tokens", 4096), ("tokens", 16384)):
                yield Setting(1, 1, kind, size)
            return
        for parallel in sorted({1, threads}):
            for kind, size in (
                ("examples", 16),
                ("examples", 32),
                ("examples", 64),
                ("tokens", 1024),
                ("tokens", 2048),
            ):
                yield Setting(parallel, threads // parallel, kind, size)

    def _translator(self, parallel: int, threads: int) -> Any:
        import ctranslate2

        if self._opened is None or self._opened[0] != (parallel, threads):
            opened = ctranslate2.Translator(
                self._model,
                device=self._options.device,
                compute_type=self._options.type,
                inter_threads=parallel,
                intra_threads=threads,
            )
            self._opened = (parallel, threads), opened
        return self._opened[1]

    def run(self, kind: str, setting: Setting, sentences: Sequence[int]) -> list[Any]:
        found: list[Any] = self._translator(setting.parallel, setting.threads).translate_batch(
            [self._pieces[number] for number in sentences],
            beam_size=self._options.beam,
            max_batch_size=setting.size,
            batch_type=setting.kind,
            max_decoding_length=self._options.longest,
            return_attention=kind == "attention",
        )
        return found

    def text(self, found: Any) -> str:
        return str(self._target.decode(found.hypotheses[0]))

    def tokens(self, found: Any) -> int:
        written = len(found.hypotheses[0])  # without the end, which comes unless the longest comes first
        return written + int(written < self._options.longest)


class HuggingFace:
    """`generate()` over batches of about one length, in 32-bit floats."""

    kinds: tuple[str, ...] = ("engine",)

    def __init__(self, lines: Sequence[str], options: argparse.Namespace) -> None:
        import torch
        from transformers import MarianMTModel, MarianTokenizer

        torch.set_num_threads(options.threads)
        self._torch, self._options = torch, options
        self._tokenizer = MarianTokenizer.from_pretrained(options.checkpoint)
        self._device = options.device if torch.cuda.is_available() else "cpu"
        self._model = MarianMTModel.from_pretrained(options.model, dtype=torch.float32).eval().to(self._device)
        self._ids = [self._tokenizer(line).input_ids for line in lines]

    def settings(self) -> Iterator[Setting]:
        for size in (16, 32, 64):
            yield Setting(1, self._options.threads, "examples", size)

    def run(self, kind: str, setting: Setting, sentences: Sequence[int]) -> list[Any]:
        found: dict[int, Any] = {}
        order = sorted(sentences, key=lambda number: -len(self._ids[number]))
        for start in range(0, len(order), setting.size):
            chosen = order[start : start + setting.size]
            batch = self._tokenizer.pad({"input_ids": [self._ids[n] for n in chosen]}, return_tensors="pt")
            batch = batch.to(self._device)
            with self._torch.no_grad():
                made = self._model.generate(**batch, num_beams=self._options.beam, max_new_tokens=self._options.longest)
            found |= zip(chosen, made.cpu(), strict=True)
        return [found[number] for number in sentences]

    def text(self, found: Any) -> str:
        return str(self._tokenizer.decode(found, skip_special_tokens=True))

    def tokens(self, found: Any) -> int:
        return int((found != self._tokenizer.pad_token_id).sum())  # which the first is as well


class Rounds:
    """What a peer is asked, done and timed."""

    def __init__(self, peer: Peer, count: int) -> None:
        self._peer, self._count = peer, count
        self._best: dict[str, Setting] = {}

    def answer(self, request: str) -> Answer:
        what, _, number = request.partition(" ")
        kind = what.removesuffix("-singly")
        if kind not in self._peer.kinds or not number.isdigit() or not 0 < int(number) <= self._count:
            raise ValueError(f"a request should be one of {', '.join(self._peer.kinds)} and a count: was {request!r}")
        sentences = range(int(number))
        if what != kind:
            return self._singly(kind, sentences)
        setting = self._tuned(kind)
        began = time.perf_counter()
        found = self._peer.run(kind, setting, sentences)
        return self._answered(time.perf_counter() - began, [], found, str(setting))

    def _tuned(self, kind: str) -> Setting:
        if kind not in self._best:
            settings = list(self._peer.settings())
            some = self._times(kind, settings, TUNED_ON)
            if len(settings) > FINALISTS:
                settings = sorted(settings, key=some.__getitem__)[:FINALISTS]
                finals = [self._times(kind, settings, FINAL_ON) for _ in range(FINALS)]
                some = {setting: min(times[setting] for times in finals) for setting in settings}
            self._best[kind] = min(settings, key=some.__getitem__)
        return self._best[kind]

    def _times(self, kind: str, settings: Iterable[Setting], most: int) -> dict[Setting, float]:
        """Seconds that each takes over so many sentences."""
        sentences = range(min(self._count, most))
        times: dict[Setting, float] = {}
        for setting in settings:
            self._peer.run(kind, setting, sentences[:16])
            began = time.perf_counter()
            self._peer.run(kind, setting, sentences)
            times[setting] = time.perf_counter() - began
        return times

    def _singly(self, kind: str, sentences: Sequence[int]) -> Answer:
        whole = max(self._peer.settings(), key=lambda setting: setting.threads)  # all threads on the one sentence
        self._peer.run(kind, whole, sentences[:1])
        millis, found = [], []
        for number in sentences:
            began = time.perf_counter()
            found += self._peer.run(kind, whole, [number])
            millis.append(1000 * (time.perf_counter() - began))
        return self._answered(sum(millis) / 1000, millis, found, "")

    def _answered(self, seconds: float, millis: list[float], found: list[Any], setting: str) -> Answer:
        tokens = sum(map(self._peer.tokens, found))
        return Answer(seconds, list(map(self._peer.text, found)), tokens, millis, peak_memory(), setting)


def peak_memory() -> int:
    """Highest resident set of this program in bytes; `getrusage` would count that of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="dragoman_bench.peer", description=__doc__)
    parser.add_argument("engine", choices=("ctranslate2", "transformers"))
    parser.add_argument("--model", type=Path, required=True, help="what the engine loads")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the MarianMT folder, for its tokenizer")
    parser.add_argument("--type", default="float32", help="CTranslate2's compute type")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--file", type=Path, required=True, help="sentences, one a line")
    parser.add_argument("--beam", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--longest", type=int, required=True, help="target tokens")
    options = parser.parse_args()
    lines = options.file.read_text(encoding="utf-8").splitlines()
    made = CTranslate2 if options.engine == "ctranslate2" else HuggingFace
    rounds = Rounds(made(lines, options), len(lines))
    for request in sys.stdin:
        print(rounds.answer(request.strip()).line(), flush=True)


if __name__ == "__main__":
    main()
