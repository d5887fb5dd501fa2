import os
import threading
from pathlib import Path
from typing import Any

import pytest
from model_export.runtime import BundleRuntime

from dragoman_bench import profile
from dragoman_bench.profile import (
    BETWEEN,
    HOME,
    Graph,
    Profile,
    Threads,
    Work,
    batches,
    kind_of,
    main,
    multiply_adds,
    page,
    part_of,
    peaks,
    read_profile,
    thread_kind,
    thread_seconds,
)

BUNDLE = HOME / "model-export/bundles/fr-en"


def node(name: str, operator: str, micros: int, *shapes: list[int]) -> dict[str, Any]:
    """An event of ONNX Runtime's profile; the last shape is the output's."""
    args = {
        "op_name": operator,
        "input_type_shape": [{"float": shape} for shape in shapes[:-1]],
        "output_type_shape": [{"float": shape} for shape in shapes[-1:]],
    }
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": micros, "args": args}


EVENTS = [
    {"cat": "Session", "name": "model_run", "dur": 9_000_000},
    node("decode", "Loop", 900, [1], [1]),
    node("encode.a", "MatMulIntegerToFloat", 400, [6, 8], [8, 5], [6, 5]),
    node("model.b", "MatMul", 200, [2, 3, 4], [2, 4, 7], [2, 3, 7]),
    node("model.c", "MatMul", 100, [3, 4], [4, 7], [3, 7]),
    node("step_TopK_3", "TopK", 100, [4, 9], [4, 2]),
]


def test_a_profile_should_split_the_whole_run_up() -> None:
    found = read_profile(EVENTS, seconds=1e-3, sentences=2, total=7.0)
    assert found.total == 7.0
    assert found.shares == pytest.approx(
        {
            Work("encoder", "products, 8 bits"): 0.4,
            Work("decoder step", "products, 32 bits"): 0.3,
            Work("search", "choice of words"): 0.1,
            Work("all", BETWEEN): 0.2,
        }
    )
    assert found.multiply_adds == {
        "products, 8 bits": 6 * 8 * 5 / 2,
        "products, 32 bits": (2 * 3 * 4 * 7 + 3 * 4 * 7) / 2,
    }
    assert found.least({"products, 8 bits": 1e6, "products, 32 bits": 1e5}) == pytest.approx(0.12 + 1.26)


def test_the_profilers_own_time_should_be_taken_off_every_operator_alike() -> None:
    found = read_profile(EVENTS, seconds=4e-4, sentences=2, total=7.0)
    assert found.shares == pytest.approx(
        {
            Work("encoder", "products, 8 bits"): 0.75,
            Work("decoder step", "products, 32 bits"): 0.25,
            Work("search", "choice of words"): 0.0,
            Work("all", BETWEEN): 0.0,
        }
    )


def test_what_is_no_product_should_have_no_multiply_adds() -> None:
    assert multiply_adds(EVENTS[-1]) == 0
    assert kind_of("NewOperator") == profile.OTHER
    assert part_of("Gather_12") == "search"


def test_threads_should_be_told_apart_by_their_names() -> None:
    names = ["dragoman-model-", "dragoman-1a2b-S", "kafka-producer-", "data-plane-kafk", "C2 CompilerThre"]
    kinds = [thread_kind(name) for name in names]
    assert len(set(kinds)) == len(names)
    assert kinds[3] == profile.BROKER


def test_the_time_of_a_process_s_threads_should_be_found() -> None:
    before = sum(thread_seconds(os.getpid()).values())
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            sum(range(1000))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while sum(thread_seconds(os.getpid()).values()) < before + 0.05:
            pass
    finally:
        done.set()
        thread.join()


def test_a_graph_s_profile_should_hold_its_products(tmp_path: Path) -> None:
    graph = Graph(BUNDLE, ["Bonjour tout le monde.", "Merci."], 2, tmp_path)
    graph.time()
    found = graph.profile()
    assert found.total > 0
    assert sum(found.shares.values()) == pytest.approx(1)
    assert {work.part for work in found.shares} == {"encoder", "decoder step", "search", "all"}
    sizes = 3 * 256 * 256 * 4 + 256 * 1024 * 2  # of an encoder layer, at least, for a token
    assert found.multiply_adds["products, 8 bits"] > 4 * sizes
    assert found.least(peaks(1)) > 0


def test_a_profiled_graph_should_get_what_a_bundle_s_graph_gets() -> None:
    sentences = ["Bonjour tout le monde.", "Merci.", "Le chat noir."]
    runtime = BundleRuntime(BUNDLE)
    wanted = sorted((runtime.source_ids(sentence) for sentence in sentences), key=len)
    cut = batches(BUNDLE, sentences, 2)
    assert [len(ids) for ids, _ in cut] == [2, 1]
    assert [row[m > 0].tolist() for ids, mask in cut for row, m in zip(ids, mask, strict=True)] == wanted


def test_the_page_should_hold_both_bundles_and_the_threads() -> None:
    now = Profile(
        2.0, {Work("encoder", "copies"): 0.25, Work("all", BETWEEN): 0.747, Work("search", "copies"): 0.003}, {"a": 5e6}
    )
    before = Profile(3.0, {Work("encoder", "copies"): 0.5, Work("all", BETWEEN): 0.5}, {"a": 5e6})
    text = page({4: [before, now]}, {4: Threads(1.5, {"model workers": 2.0, "broker": 0.5})}, {"a": 1e10}, "run", 2)
    assert "| encoder | copies | 1.500 | 0.500 | 25.0% |" in text
    assert "| all | what is under 0.5% each | 0.000 | 0.006 | 0.3% |" in text
    assert "At the roof 0.500 ms, 25%. Before / now: **1.500**." in text
    assert "| model workers | 2.000 | 80.0% |" in text
    assert "17% idle" in text


def test_a_text_without_sentences_should_be_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    assert main(["--text", str(tmp_path / "empty.txt")]) == 1
    assert "should have at least one sentence" in capsys.readouterr().err
