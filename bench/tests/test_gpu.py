import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_bench import Fake, comparison

from dragoman_bench.engines import Answer
from dragoman_bench.gpu import main
from dragoman_bench.measure import Figures
from dragoman_bench.soak import Card, Process, Sample, Soak, soak


class Busy(Fake):
    def ask(self, what: str, count: int) -> Answer:
        time.sleep(0.02)
        return super().ask(what, count)


class Rising:
    """A device whose memory grows with every look."""

    def __init__(self) -> None:
        self.megabytes = 100.0

    def look(self) -> tuple[float, float]:
        self.megabytes += 1
        return self.megabytes, 40.0


def test_a_soak_should_keep_the_pipeline_busy_and_watch_the_device() -> None:
    engine = Busy(20.0, "a")
    found = soak(engine, Rising(), 10, Soak("m", 4, 0.01), lambda _: None, every=0.01)
    assert set(engine.asked) == {"pipeline"}
    assert len(engine.asked) == len(found.rates) + 1 > 5  # the first one warms up
    assert set(found.rates) == {20.0}
    assert len(found.samples) > 5
    assert found.growth() > 0
    assert Soak.of(json.loads(json.dumps(found.state()))) == found


def test_a_device_that_cannot_be_watched_should_end_the_soak() -> None:
    class Gone:
        def look(self) -> tuple[float, float]:
            raise OSError("no such device")

    with pytest.raises(RuntimeError, match="the device could not be watched: no such device"):
        soak(Busy(1.0, "a"), Gone(), 10, Soak("m", 4, 5), lambda _: None, every=0.01)


def test_growth_should_leave_out_the_time_in_which_memory_is_asked_for() -> None:
    flat = [Sample(second, 100.0 if second < 12 else 900.0, 50.0) for second in range(60)]
    assert Soak("m", 4, 1, [1.0], flat).growth() == 0
    rising = [sample._replace(megabytes=900.0 + max(0, sample.second - 12)) for sample in flat]
    found = Soak("m", 4, 1, [10.0, 20.0, 30.0], rising)
    assert found.growth() == pytest.approx(38.5, abs=1)
    assert "| sentences/s, of each round | 20.0 (10.0 to 30.0) |" in found.lines()
    assert "| memory, highest | 947 MB |" in found.lines()


def test_a_process_should_be_measured_by_its_own_figures() -> None:
    meter = Process(os.getpid())
    meter.look()
    block = bytearray(100_000_000)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    megabytes, busy = meter.look()
    assert megabytes > 100
    assert busy > 5
    del block


def test_a_card_should_be_read_by_nvidias_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 1234, 87\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert Card().look() == (1234.0, 87.0)
    tool.write_text("#!/bin/sh\necho lost >&2; exit 9\n", encoding="utf-8")
    with pytest.raises(subprocess.SubprocessError):
        Card().look()


def test_without_a_device_the_remedy_should_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path)])
    assert main() == 1
    expected = "nvidia-smi is missing: a CUDA device and its driver are needed (--device cpu tries it out)"
    assert capsys.readouterr().err == f"bench/gpu: {expected}\n"


def test_the_page_should_hold_the_table_and_the_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        Figures("Dragoman float16, end to end", 100, [1.0, 1.0], [3.0], 5, 900),
        Figures("CTranslate2 float16", 100, [2.0, 2.0], [3.0], 5, 900),
    ]
    state = comparison(model="opus", rows=rows).state()
    (tmp_path / "gpu.json").write_text(json.dumps([state]), encoding="utf-8")
    seen = Soak("opus", 4, 10, [99.0], [Sample(0, 10, 90)])
    (tmp_path / "gpu-soak.json").write_text(json.dumps(seen.state()), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["gpu", "--page", "--out", str(tmp_path)])
    assert main() == 0
    text = (tmp_path / "GPU.md").read_text(encoding="utf-8")
    assert "| Dragoman float16, end to end / CTranslate2 float16 | 2.00 | 2.00, 2.00 | 1.00 |" in text.splitlines()
    assert "`bench/gpu --model opus" in text
    assert "| utilisation, median of every second | 90 % |" in text.splitlines()
    assert (tmp_path / "GPU.svg").exists()
