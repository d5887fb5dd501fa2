import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from conftest import golden_with

from model_export.bundle import (
    BundleError,
    export,
    faults,
    golden_sentences,
    put_in_place,
    read_golden,
    read_json,
    record,
    write_manifest,
)
from model_export.config import Config
from model_export.runtime import BundleRuntime
from model_export.verify import checks, verify


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def change(folder: Path, **fields: Any) -> None:
    manifest = read_json(folder) | fields
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_bundle_should_be_these_files_and_fields(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == [
        *("README.md", "bundle.json", "golden.tsv", "model.onnx", "tokenizer.json")
    ]
    manifest = read_json(bundle)
    assert list(manifest) == sorted(manifest)
    assert manifest["limits"] == {
        "max_source_tokens": 200,
        "max_target_tokens": 256,
        "target_offset": 20,
        "target_ratio": 2,
    }
    assert manifest["special_ids"] == {"end": 2, "pad": 0, "start": 1, "unknown": 3}
    assert manifest["training"]["data"][0] == {"file": "all.tsv", "licence": "CC0", "lines": 36}
    assert manifest["training"]["updates"] in (4, 8)
    assert manifest["decoding"] == {
        "beam_size": 4,
        "beam_threshold": 0.0,
        "early_stopping": False,
        "end_at_limit": False,
        "length_penalty": 1.0,
        "suppressed": [0],
    }
    assert manifest["model"]["system"] == "rnnsearch"
    assert faults(bundle) == []


def test_the_model_card_should_carry_licence_and_attribution(bundle: Path) -> None:
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert "# tiny 0.1.0: French to English" in card
    assert "| `all.tsv` | 36 | CC0 |" in card
    assert "Invented for a test" in card
    assert "Not scored yet" in card
    assert "teach-alignment" not in card
    assert "average\nat the validation with the best greedy BLEU, stored as float16" in card


def test_the_model_card_should_say_which_weights_were_kept_and_what_links_a_head_was_taught(copy: Path) -> None:
    head = {"config": "default/pairs.toml", "updates": 1500, "target_tokens": 5000, "processor_hours": 0.1, "seed": 1}
    training = read_json(copy)["training"] | {"alignment_head": head, "kept": "last"}
    write_manifest(copy, read_json(copy) | {"training": training})
    card = (copy / "README.md").read_text(encoding="utf-8")
    assert "average\nat its end, stored as float16" in card
    assert "an aligner's links on 5,000 target subwords" in card
    assert "guide --config model-export/configs/default/pairs.toml --data DATA --out RUN\n" in card
    teach = "teach-alignment BUNDLE --config model-export/configs/default/pairs.toml --data DATA --guide RUN/links.npz"
    assert f"{teach} --updates 1500 --links dropped,mean,argmax\n" in card


def test_golden_should_hold_every_sentence_with_rows_that_sum_to_1(bundle: Path) -> None:
    lines = (bundle / "golden.tsv").read_text(encoding="utf-8").split("\n")
    assert lines[0].startswith("# source\ttranslation\t")
    rows = read_golden(bundle)
    assert [row[0] for row in rows] == golden_sentences("fr")
    assert rows[0][0] == "Le chat noir est sur le tapis"
    runtime = BundleRuntime(bundle)
    for source, _, _, score, weights in rows:
        assert float(score) < 0
        for row in weights.split(";"):
            values = [float(value) for value in row.split(",")]
            assert len(values) == len(runtime.source_ids(source))
            assert sum(values) == pytest.approx(1, abs=1e-4)


def test_a_bundle_should_keep_the_contract(bundle: Path, trained: Path) -> None:
    said: list[str] = []
    verify(bundle, trained, said.append)
    assert len(said) == 11
    assert all(line.startswith("ok") for line in said)
    verify(bundle, trained / "best.pt", said.append)
    verify(bundle, None, said.append)


def test_export_should_not_overwrite_unless_forced(copy: Path, config: Config, trained: Path) -> None:
    before = (copy / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="--force"):
        export(config, trained, copy, force=False, verify=lambda _: None)
    export(config, trained, copy, force=True, verify=lambda _: None)
    assert (copy / "bundle.json").read_bytes() == before


def test_a_bundle_that_fails_verification_should_not_appear(tmp_path: Path, config: Config, trained: Path) -> None:
    def refuse(_: Path) -> None:
        raise BundleError("refused")

    with pytest.raises(BundleError, match="refused"):
        export(config, trained, tmp_path / "new", force=False, verify=refuse)
    assert list(tmp_path.iterdir()) == []


def test_an_old_bundle_should_survive_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").touch()

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        put_in_place(target, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_missing_weights_should_be_named(tmp_path: Path, config: Config) -> None:
    with pytest.raises(BundleError, match=r"best\.pt is missing"):
        export(config, tmp_path, tmp_path / "new", force=False, verify=lambda _: None)


def test_every_fault_should_be_in_one_message(copy: Path) -> None:
    model = copy / "model.onnx"
    model.write_bytes(model.read_bytes()[:5000])
    (copy / "README.md").write_text("changed", encoding="utf-8")
    (copy / "golden.tsv").unlink()
    change(
        copy,
        format_version=9,
        vocabulary={"source_size": 7, "target_size": 300, "sha256": "0"},
        special_ids={"pad": 1, "start": 1, "end": 2},
        surprise=1,
    )
    with pytest.raises(BundleError) as caught:
        verify(copy, None, lambda _: None)
    for expected in (
        "format_version should be 1: was 9",
        "field surprise is unknown",
        "model.onnx: should have",
        "model.onnx: sha256 should be",
        "model.onnx: cannot be read",
        "README.md: sha256 should be",
        "golden.tsv: missing",
        "special_ids.unknown should be an id of the vocabulary: was None",
        "vocabulary.sha256 should be the sha256 of tokenizer.json",
    ):
        assert expected in str(caught.value)


def test_a_graph_of_another_vocabulary_should_be_refused(copy: Path) -> None:
    manifest = read_json(copy)
    change(copy, vocabulary=manifest["vocabulary"] | {"source_size": 301, "target_size": 299})
    found = " ".join(faults(copy))
    assert "vocabulary.source_size should be at most tokenizer.json's 300: was 301" in found
    assert "metadata dragoman.source_vocabulary should be 301: was 300" in found
    assert "metadata dragoman.target_vocabulary should be 299: was 300" in found


def test_metadata_of_another_bundle_should_be_refused(copy: Path) -> None:
    model = onnx.load(copy / "model.onnx")
    onnx.helper.set_model_props(model, {"dragoman.format_version": "2", "dragoman.architecture": "S1"})
    onnx.save(model, copy / "model.onnx")
    write_manifest(copy, read_json(copy))
    found = " ".join(faults(copy))
    assert "metadata dragoman.format_version should be 1: was 2" in found
    assert "metadata dragoman.vocabulary_sha256 should be" in found


@pytest.mark.parametrize("threshold", [-1, "2", None, float("inf")])
def test_a_threshold_that_is_none_should_be_refused(copy: Path, threshold: object) -> None:
    change(copy, decoding=read_json(copy)["decoding"] | {"beam_threshold": threshold})
    assert "decoding.beam_threshold should be a number of 0 (none) or more" in " ".join(faults(copy))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 3}', '{"files": {"model.onnx": 1}, "vocabulary": 2}'])
def test_a_manifest_that_is_none_should_be_refused_without_a_crash(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text, encoding="utf-8")
    assert faults(copy)


@pytest.mark.parametrize("column", [1, 2])
def test_a_golden_file_that_differs_should_fail_its_check(copy: Path, column: int) -> None:
    columns = read_golden(copy)[0]
    golden_with(copy, 1, [*columns[:column], "7-7", *columns[column + 1 :]])
    failed = [check.name for check in checks(copy) if not check.holds]
    assert failed == ["golden file reproduced"]


def test_weights_of_another_training_should_fail_against_pytorch(copy: Path, trained: Path, tmp_path: Path) -> None:
    import torch

    saved = torch.load(trained / "best.pt", weights_only=True)
    saved["model"]["decoder.output_bias"][5] += 3
    torch.save(saved, tmp_path / "best.pt")
    with pytest.raises(BundleError, match=r"ONNX = PyTorch, beam 1; ONNX = PyTorch, beam 4"):
        verify(copy, tmp_path / "best.pt", lambda _: None)


def test_a_recorded_score_should_be_in_manifest_and_card(copy: Path) -> None:
    record(copy, "dev", {"bleu": 12.34, "chrf": 45.67, "sentences": 5, "beam_size": 4})
    assert read_json(copy)["scores"]["dev"]["bleu"] == 12.34
    assert "| dev | 12.3 | 45.7 | 5 | 4 |" in (copy / "README.md").read_text(encoding="utf-8")
    assert faults(copy) == []
