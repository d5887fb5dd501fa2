"""MarianMT folders as the transformers library writes and reads them; its `generate` is what an import has to equal."""

import itertools
import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conftest import ANIMALS, COLOURS, PAIRS, PLACES, TRAINING, golden_with
from safetensors.torch import load_file, save_file

from model_export import marian, sentencepiece_model
from model_export.__main__ import main
from model_export.alignment import Choice, word_weights
from model_export.bundle import BundleError, read_golden, read_json, write_manifest
from model_export.config import read_config
from model_export.eight_bit_system import EightBit
from model_export.guide import units
from model_export.import_marian import import_marian
from model_export.link_choices import ForcedBundle
from model_export.marian import MarianError
from model_export.rebuild import rebuild
from model_export.runtime import BundleRuntime, Reference
from model_export.system import UNWRITTEN, System
from model_export.teach import Teaching, teach
from model_export.verify import GOLDEN, verify

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

LONGEST = 24
SENTENCES = [
    f"{article} {animal} {colour} {verb} {place}{end}"
    for article, animal, colour, verb, place, end in itertools.product(
        ("Le", "Un"), ANIMALS, COLOURS, ("dort", "mange", "attend"), PLACES, (".", " !", "")
    )
]


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`source.spm`, `target.spm` and `vocab.json`; the two models differ, and the words are those of both."""
    folder = tmp_path_factory.mktemp("spoken")
    for side, texts in (("source", [s for s, _ in PAIRS]), ("target", [t for _, t in PAIRS])):
        (folder / side).mkdir()
        sentencepiece_model.learn(texts, 70, folder / side)
        shutil.copyfile(folder / side / "source.spm", folder / f"{side}.spm")
    words: dict[str, int] = {}
    for side in ("source", "target"):
        for word in sentencepiece_model.read_words(folder / side / "vocab.json"):
            if word not in ("<pad>", "▁jardin"):  # a piece without a word: the unknown word
                words.setdefault(word, len(words))
    for word in (">>fra<<", "<pad>"):
        words[word] = len(words)
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    return folder


def save(folder: Path, spoken: Path, **settings: Any) -> Path:
    """A checkpoint of random weights, large enough for sharp and varied choices, by the library itself."""
    words = sentencepiece_model.read_words(spoken / "vocab.json")
    torch.manual_seed(5)
    config = MarianConfig(
        **{
            "vocab_size": len(words),
            "d_model": 16,
            **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
            **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 32),
            **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
            "activation_function": "swish",
            "max_position_embeddings": 64,
            "scale_embedding": True,
            "eos_token_id": words["</s>"],
            "forced_eos_token_id": words["</s>"],
            **dict.fromkeys(("pad_token_id", "decoder_start_token_id"), words["<pad>"]),
            "init_std": 0.5,
            **settings,
        }
    )
    model = MarianMTModel(config).eval()
    with torch.no_grad():
        model.final_logits_bias[0, words["</s>"]] = 3.0
        model.final_logits_bias[0, words["<pad>"]] = 2.0
    model.generation_config.max_length = LONGEST
    model.generation_config.bad_words_ids = [[words["<pad>"]]]
    model.save_pretrained(folder)
    for name in ("source.spm", "target.spm", "vocab.json"):
        shutil.copyfile(spoken / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, spoken: Path) -> Path:
    return save(tmp_path_factory.mktemp("checkpoint") / "opus-mt-tiny", spoken)


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "fr-en"
    import_marian(checkpoint, folder, ("fr", "en"), check)
    return folder


def check(folder: Path, system: System) -> None:
    verify(folder, system, lambda _: None)


def unchecked(folder: Path, system: System) -> None:
    """For what another bundle of the same test is checked for."""


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def generated(checkpoint: Path, texts: list[str], **settings: Any) -> Iterator[str]:
    """What the library makes of `texts`."""
    model = MarianMTModel.from_pretrained(checkpoint).eval()
    tokenizer = MarianTokenizer.from_pretrained(checkpoint)
    for start in range(0, len(texts), 32):
        batch = tokenizer(texts[start : start + 32], return_tensors="pt", padding=True)
        with torch.no_grad():
            yield from tokenizer.batch_decode(model.generate(**batch, **settings), skip_special_tokens=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("beams", [1, 4])
def test_an_import_should_translate_as_generate_does(checkpoint: Path, imported: Path, beams: int) -> None:
    texts = SENTENCES[: 504 if beams == 4 else 64]
    expected = list(generated(checkpoint, texts, num_beams=beams))
    runtime = BundleRuntime(imported, beam_size=beams)
    found = [t.text for start in range(0, len(texts), 36) for t in runtime.translate(texts[start : start + 36])]
    assert found == expected
    assert len(set(found)) > 12


@pytest.mark.filterwarnings("ignore")
def test_other_settings_of_generate_should_be_honoured(tmp_path: Path, spoken: Path) -> None:
    folder = save(tmp_path / "other", spoken)
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    generation |= {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True, "bad_words_ids": [[5], [7]]}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    import_marian(folder, tmp_path / "bundle", ("fr", "en"), check)
    found = [t.text for t in BundleRuntime(tmp_path / "bundle").translate(SENTENCES[:48])]
    assert found == list(generated(folder, SENTENCES[:48]))
    assert read_json(tmp_path / "bundle")["decoding"]["suppressed"] == [5, 7]


@pytest.mark.filterwarnings("ignore")
def test_ids_should_be_the_librarys_for_any_text(checkpoint: Path, imported: Path) -> None:
    tokenizer, runtime = MarianTokenizer.from_pretrained(checkpoint), BundleRuntime(imported)
    texts = [
        *SENTENCES[:50],
        "",
        "   ",
        "Le jardin.",
        "</s ><pad",
        "a\u0301\u0307 ﬁ ½ Ⅷ ㌔",
        "日本語 ",
        "👩🏽‍🚀\u200d!",
        "1,5 %",
    ]
    texts += [
        ">>fra<< Le chat",
        ">>fra<<  chat",
        "le >>chat<<",
        "▁▁x▁",
        "x" * 500,
        "\u00a0\u3000 a\u200bb",
        "ภาษาไทย हिन्दी",
    ]
    for text in texts:
        assert runtime.subwords.source_ids([text])[0] == tokenizer(text)["input_ids"][:-1], text
    for text in (pair[1] for pair in PAIRS):
        assert runtime.subwords.target_ids([text])[0] == tokenizer(text_target=text)["input_ids"][:-1]


def test_what_is_written_should_be_read_as_it_was(tmp_path: Path, checkpoint: Path) -> None:
    read = marian.read(checkpoint)
    marian.write(read.system, tmp_path, checkpoint, read.rules, read.beam_size)
    again = marian.read(tmp_path)
    assert again.system.sizes == read.system.sizes
    assert (again.rules, again.beam_size) == (read.rules, read.beam_size)
    for name, value in read.system.state_dict().items():
        assert value.equal(again.system.state_dict()[name])


def test_half_the_size_should_cost_half_the_digits(tmp_path: Path, checkpoint: Path) -> None:
    read = marian.read(checkpoint)
    for half in (False, True):
        marian.write(read.system, tmp_path / str(half), checkpoint, read.rules, read.beam_size, half)
    sizes = [(tmp_path / str(half) / "model.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.7 * sizes[0]
    again = marian.read(tmp_path / "True").system.state_dict()
    for name, value in read.system.state_dict().items():
        assert torch.allclose(again[name], value, rtol=1e-3, atol=1e-6), name


@pytest.mark.filterwarnings("ignore")
def test_what_is_written_should_load_in_the_library(tmp_path: Path, checkpoint: Path) -> None:
    read = marian.read(checkpoint)
    marian.write(read.system, tmp_path, checkpoint, read.rules, read.beam_size)
    settings = {"num_beams": 4, "max_length": LONGEST}
    assert list(generated(tmp_path, SENTENCES[:8], **settings)) == list(
        generated(checkpoint, SENTENCES[:8], **settings)
    )


def test_layer_and_heads_should_choose_the_attention(tmp_path: Path, checkpoint: Path) -> None:
    import_marian(checkpoint, tmp_path / "b", ("fr", "en"), check, layer=0, heads=[1, 3], shift=1)
    manifest = read_json(tmp_path / "b")
    assert {key: manifest["attention"][key] for key in ("layer", "heads", "shift")} == {
        "layer": 0,
        "heads": [1, 3],
        "shift": 1,
    }
    runtime, read = BundleRuntime(tmp_path / "b"), marian.read(checkpoint)
    [found] = runtime.translate(["Le chat dort."])
    ids, special = runtime.source_ids("Le chat dort."), runtime.subwords.special
    previous = torch.tensor([[special.start, *found.hypothesis.ids[:-1]]])
    with torch.no_grad():
        _, weights = read.system.attentions(torch.tensor([ids]), torch.ones(1, len(ids)).bool(), previous)
    expected = weights[0][0, [1, 3]].mean(0)  # [T, S]
    assert found.hypothesis.attention is not None
    torch.testing.assert_close(found.hypothesis.attention[:-1], expected[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_list_of_target_words_should_be_all_that_is_written(copy: Path, tmp_path: Path, weights: str) -> None:
    pieces = list(sentencepiece_model.read_words(copy / "vocab.json"))
    listed = ["</s>", *(piece for number, piece in enumerate(pieces) if number % 2 == 0)]
    (copy / "target_words.json").write_text(json.dumps(listed), encoding="utf-8")
    import_marian(copy, tmp_path / "b", ("fr", "en"), check, weights=weights)  # verified: ONNX = PyTorch
    runtime = BundleRuntime(tmp_path / "b")
    translated = runtime.translate(SENTENCES[:20])
    assert {runtime.subwords.piece(i) for t in translated for i in t.hypothesis.ids} <= set(listed)
    source = runtime.source_ids(SENTENCES[0])
    ids = [pieces.index(listed[3]), next(i for i, piece in enumerate(pieces) if piece not in listed)]
    given = [*ids, runtime.rules.end]
    [forced] = runtime.best([source], runtime.run([source], 4, [given]))
    assert forced.ids == given
    assert float(forced.log_probs[1]) == UNWRITTEN
    system = marian.read(copy).system
    if weights == "float32":
        reference = Reference(tmp_path / "b", system)
        [expected] = reference.best([source], reference.run([source], 4, [given]))
        assert torch.allclose(expected.log_probs, forced.log_probs, atol=1e-4)
    assert system.log_probs(torch.zeros(1, len(set(listed)))).exp().sum() == pytest.approx(1)


def trained(checkpoint: Path) -> None:
    """No two tensors alike, as after training: an untrained one's biases are all zeros, and its graph keeps one."""
    torch.manual_seed(9)
    tensors = load_file(checkpoint / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.dim() == 1 or name == "final_logits_bias":
            tensors[name] = (tensor + 0.1 * torch.randn(tensor.shape)).half().float()
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})


@pytest.mark.first
@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
def test_a_bundle_should_be_made_again_of_the_weights_in_its_graph(copy: Path, tmp_path: Path, weights: str) -> None:
    trained(copy)
    pieces = list(sentencepiece_model.read_words(copy / "vocab.json"))
    if weights == "int8":
        (copy / "target_words.json").write_text(json.dumps(["</s>", *pieces[::2]]), encoding="utf-8")
    bundle = tmp_path / "b"
    import_marian(copy, bundle, ("fr", "en"), unchecked, weights=weights)  # as it is made again, which is checked
    before = {file.name: file.read_bytes() for file in bundle.iterdir()}
    graph = onnx.load(bundle / "model.onnx")
    graph.doc_string = "an older exporter's"
    onnx.save(graph, bundle / "model.onnx")
    write_manifest(
        bundle, read_json(bundle) | {"scores": {"dev": {"bleu": 1.0, "chrf": 2.0, "sentences": 2, "beam_size": 4}}}
    )
    checked = []

    rebuild(bundle, lambda folder, system: (verify(folder, system, checked.append), None)[1])

    after = {file.name: file.read_bytes() for file in bundle.iterdir()}
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == ["README.md", "bundle.json"]
    assert read_json(bundle)["scores"]["dev"]["bleu"] == 1.0
    assert any("ONNX = PyTorch" in line for line in checked)

    rebuild(bundle, check, beam_threshold=1.5)
    assert "hypotheses whose log-probability is 1.5 below the best's" in (bundle / "README.md").read_text("utf-8")
    import_marian(copy, tmp_path / "c", ("fr", "en"), unchecked, name="b", weights=weights, beam_threshold=1.5)
    for name in ("model.onnx", "golden.tsv"):
        assert (bundle / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    assert (bundle / "model.onnx").read_bytes() != before["model.onnx"]


def test_a_golden_file_should_be_made_anew_when_that_is_asked_for(copy: Path, tmp_path: Path) -> None:
    trained(copy)
    bundle = tmp_path / "b"
    import_marian(copy, bundle, ("fr", "en"), unchecked)
    before = (bundle / "golden.tsv").read_bytes()
    golden_with(bundle, 1, [*read_golden(bundle)[0][:1], "another answer", *read_golden(bundle)[0][2:]])
    rebuild(bundle, check, new_golden=True)
    assert (bundle / "golden.tsv").read_bytes() == before


def test_a_bundle_should_stay_as_it_was_when_it_cannot_be_made_again(bundle: Path, imported: Path) -> None:
    with pytest.raises(BundleError, match="only a Transformer's weights can be read from its graph"):
        rebuild(bundle, lambda *_: None)
    before = {file.name: file.read_bytes() for file in imported.iterdir()}
    with pytest.raises(BundleError, match=r"weights that are not found in the graph: .*self_norm\.bias"):
        rebuild(imported, lambda *_: None)  # untrained: equal tensors are kept once, under the first one's name
    assert {file.name: file.read_bytes() for file in imported.iterdir()} == before


def test_a_list_of_target_words_that_cannot_be_should_be_named(copy: Path, tmp_path: Path) -> None:
    for content, expected in (
        ('["x y z", "</s>"]', r"target_words\.json: 1 words are not in vocab\.json: x y z"),
        ('["."]', r"target_words\.json: should have the end token </s>"),
        ("{}", r"target_words\.json: should be a list of words"),
        ("[", r"target_words\.json: Expecting value"),
    ):
        (copy / "target_words.json").write_text(content, encoding="utf-8")
        with pytest.raises(MarianError, match=expected):
            import_marian(copy, tmp_path / "b", ("fr", "en"), check)
        assert not (tmp_path / "b").exists()


def constant_bytes(bundle: Path) -> int:
    """Of the weights alone: in a model this small the nodes take more room."""
    return sum(len(tensor.raw_data) for tensor in onnx.load(bundle / "model.onnx").graph.initializer)


def test_float16_should_halve_the_graph(tmp_path: Path, checkpoint: Path, imported: Path) -> None:
    import_marian(checkpoint, tmp_path / "b", ("fr", "en"), check, weights="float16")
    assert constant_bytes(imported) > 1.8 * constant_bytes(tmp_path / "b")


def test_a_bundle_of_8_bits_should_verify_be_small_and_stay_near_float32(
    tmp_path: Path, checkpoint: Path, imported: Path
) -> None:
    import_marian(checkpoint, tmp_path / "b", ("fr", "en"), check, weights="int8")
    assert read_json(tmp_path / "b")["model"]["weights"] == "int8"
    assert constant_bytes(imported) > 2.5 * constant_bytes(tmp_path / "b")
    texts = ["Le chat dort.", "Une petite phrase, puis une plus longue, avec des virgules.", "Oui."]
    runtimes = [BundleRuntime(folder) for folder in (tmp_path / "b", imported)]
    eight, full = ([runtime.translate([text])[0] for text in texts] for runtime in runtimes)
    same = [(a.hypothesis, b.hypothesis) for a, b in zip(eight, full, strict=True) if a.text == b.text]
    assert same
    for a, b in same:
        assert a.attention is not None
        assert b.attention is not None
        assert 0 < float((a.attention - b.attention).abs().max()) < 0.1
    together = runtimes[0].translate(texts)
    for alone, padded in zip(eight, together, strict=True):
        assert alone.hypothesis.ids == padded.hypothesis.ids
        assert alone.hypothesis.log_probs.equal(padded.hypothesis.log_probs)


def test_a_bundle_in_half_precision_should_verify_and_stay_near_float32(
    tmp_path: Path, checkpoint: Path, imported: Path
) -> None:
    import_marian(checkpoint, tmp_path / "b", ("fr", "en"), check, weights="half")
    assert read_json(tmp_path / "b")["model"]["weights"] == "half"
    graph = onnx.load(tmp_path / "b/model.onnx").graph
    [loop] = [node for node in graph.node if node.op_type == "Loop"]
    [body] = [a.g for a in loop.attribute if a.name == "body"]
    states = [value for value in body.input if value.name.startswith("state_")]
    assert states
    assert {value.type.tensor_type.elem_type for value in states} == {onnx.TensorProto.FLOAT16}
    texts = ["Le chat dort.", "Une petite phrase, puis une plus longue, avec des virgules.", "Oui."]
    half, full = (BundleRuntime(folder).translate(texts) for folder in (tmp_path / "b", imported))
    same = [(a.hypothesis, b.hypothesis) for a, b in zip(half, full, strict=True) if a.text == b.text]
    assert same
    for a, b in same:
        assert a.attention is not None
        assert b.attention is not None
        assert 0 < float((a.attention - b.attention).abs().max()) < 0.02
        torch.testing.assert_close(a.attention.sum(dim=1), torch.ones(len(a.ids)), atol=1e-5, rtol=0)


def test_pytorch_should_compute_in_8_bits_only_inside_the_wrapper(checkpoint: Path) -> None:
    system = marian.read(checkpoint).system
    wrapped = EightBit(system)
    source, previous = torch.tensor([[5, 6, 7, 0]]), torch.tensor([[1, 5, 6]])
    mask = torch.ones(1, 4).bool()
    wrapped.calibrate(lambda: system(source, mask, previous))
    with torch.no_grad():
        inside, outside = wrapped(source, mask, previous)[0], wrapped.system(source, mask, previous)[0]
    assert not inside.equal(outside)
    torch.testing.assert_close(inside, outside, atol=0.5, rtol=0.5)


@pytest.mark.parametrize("record", ["[]", "{broken", '{"data": 3}', "\x00"])
def test_a_record_that_is_none_should_be_named(copy: Path, tmp_path: Path, record: str) -> None:
    (copy / "dragoman.json").write_text(record, encoding="utf-8")
    with pytest.raises(ValueError, match=r"dragoman\.json should be what save-marian says"):
        import_marian(copy, tmp_path / "b", ("fr", "en"), unchecked)
    assert not (tmp_path / "b").exists()


def change(folder: Path, name: str, **values: Any) -> None:
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(content | values), encoding="utf-8")


def weights_of(folder: Path, **values: torch.Tensor | None) -> None:
    state = load_file(folder / "model.safetensors") | values
    save_file({k: v for k, v in state.items() if v is not None}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("config.json", {"model_type": "bart"}, "model_type should be marian: was 'bart'"),
        ("config.json", {"d_model": "wide"}, "d_model should be whole numbers"),
        ("config.json", {"activation_function": "mish"}, "activation_function should be one of"),
        ("config.json", {"tie_word_embeddings": False}, "tie_word_embeddings is off"),
        ("config.json", {"normalize_before": True}, "normalize_before should be off"),
        ("config.json", {"decoder_ffn_dim": 64}, "decoder_ffn_dim should be encoder_ffn_dim's 32: was 64"),
        ("config.json", {"vocab_size": 20}, "vocab.json has"),
        ("config.json", {"encoder_layers": 3}, "the weights lack encoder.2."),
        ("config.json", {"encoder_layers": 1}, "which config.json has no layer for"),
        ("config.json", {"pad_token_id": 3}, "pad_token_id should be vocab.json's"),
        ("config.json", {"decoder_start_token_id": 900}, "decoder_start_token_id should be a word's id: was 900"),
        ("generation_config.json", {"repetition_penalty": 1.3}, "repetition_penalty = 1.3 is not known here"),
        ("generation_config.json", {"bad_words_ids": [[1, 2]]}, "bad_words_ids should be single words"),
        ("vocab.json", {"x": 3}, "should give each word an id of its own"),
    ],
)
def test_what_cannot_be_imported_should_be_named(copy: Path, name: str, values: dict[str, Any], expected: str) -> None:
    change(copy, name, **values)
    with pytest.raises(MarianError) as caught:
        marian.read(copy)
    assert expected in str(caught.value)


def test_weights_that_contradict_the_configuration_should_be_named(copy: Path) -> None:
    shared = load_file(copy / "model.safetensors")["model.shared.weight"]
    weights_of(
        copy,
        **{
            "lm_head.weight": shared + 1,
            "model.encoder.embed_positions.weight": torch.ones(64, 16),
            "model.encoder.layers.0.fc1.bias": None,
            "model.decoder.adapter.weight": torch.ones(2),
        },
    )
    with pytest.raises(MarianError) as caught:
        marian.read(copy)
    assert "lm_head.weight differs from model.shared.weight" in str(caught.value)
    weights_of(copy, **{"lm_head.weight": None})
    with pytest.raises(MarianError) as caught:
        marian.read(copy)
    for expected in ("should be sinusoids", "the weights lack encoder.0.inner.bias", "model.decoder.adapter.weight"):
        assert expected in str(caught.value)


def test_a_folder_that_is_none_should_be_refused_with_every_reason(tmp_path: Path) -> None:
    with pytest.raises(MarianError) as caught:
        marian.read(tmp_path)
    for name in ("config.json", "source.spm", "target.spm", "vocab.json", "model.safetensors or pytorch_model.bin"):
        assert f"{name} is missing" in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "source.spm", "model.safetensors"])
def test_a_damaged_file_should_be_named(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"\xff\x00 not this")
    with pytest.raises(MarianError, match=name.replace(".", r"\.")):
        marian.read(copy)


def test_a_pickle_that_runs_code_should_be_refused(copy: Path, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harmed",)

    (copy / "model.safetensors").unlink()
    torch.save({"model.shared.weight": Harmful()}, copy / "pytorch_model.bin")
    with pytest.raises(MarianError, match=r"pytorch_model\.bin: cannot be read"):
        marian.read(copy)
    assert not (tmp_path / "harmed").exists()


def test_an_import_should_not_overwrite_nor_leave_a_half(tmp_path: Path, checkpoint: Path, imported: Path) -> None:
    with pytest.raises(BundleError, match="--force"):
        import_marian(checkpoint, imported, ("fr", "en"), check)

    def refuse(_: Path, __: System) -> None:
        raise BundleError("refused")

    with pytest.raises(BundleError, match="refused"):
        import_marian(checkpoint, tmp_path / "b", ("fr", "en"), refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_language_without_golden_sentences_should_ask_for_them(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(BundleError, match="--golden"):
        import_marian(checkpoint, tmp_path / "b", ("xx", "en"), check)
    import_marian(checkpoint, tmp_path / "b", ("xx", "en"), check, golden=["Le chat dort."])
    assert BundleRuntime(tmp_path / "b").translate(["Le chat"])[0].text


def test_the_commands_should_import_and_compare_layers_and_heads(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["import-marian", str(checkpoint), "--from", "fr", "--to", "en", "--out", str(tmp_path / "b")]
    options = [
        "--name",
        "tiny",
        "--layer",
        "0",
        "--heads",
        "2",
        "--links",
        "kept,max,0.3",
        "--limit",
        "2",
        "9",
        "--weights",
        "float16",
    ]
    assert main([*arguments, *options]) == 0
    manifest = read_json(tmp_path / "b")
    assert manifest["name"] == "tiny"
    assert manifest["attention"]["links"] == {"end": "kept", "merge": "max", "threshold": 0.3}
    assert (manifest["limits"]["target_ratio"], manifest["limits"]["target_offset"]) == (2, 9)
    assert main([*arguments, "--force", "--links", "kept,most,0.3"]) == 1
    assert "links should be END,MERGE,THRESHOLD" in capsys.readouterr().err

    gold = tmp_path / "gold.tsv"
    gold.write_text("".join(f"{source}\t{target}\t0-0\t1-1\n" for source, target in PAIRS[:3]), encoding="utf-8")
    assert main(["score-aer", str(gold), "--marian", str(checkpoint), "--best", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[1].split(",")[0].strip() in ("layer 0", "layer 1")
    assert lines[-1] == "gold.tsv: 3 of 3 pairs"


@pytest.mark.large
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_opus_mts_size_should_be_imported_and_translate_alike(tmp_path: Path, spoken: Path) -> None:
    """6 + 6 layers, d = 512, 60,000 words: random weights, words beyond the text's own invented."""
    words = sentencepiece_model.read_words(spoken / "vocab.json")
    padding = words.pop("<pad>")
    for number in range(60_000 - len(words) - 1):
        words[f"w{number}"] = padding + number
    words["<pad>"] = len(words)
    large = Path(shutil.copytree(spoken, tmp_path / "spoken"))
    (large / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    folder = save(
        tmp_path / "opus-mt-large",
        large,
        d_model=512,
        **dict.fromkeys(("encoder_layers", "decoder_layers"), 6),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 2048),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 8),
        max_position_embeddings=512,
        init_std=0.05,
    )
    golden = SENTENCES[:3]
    import_marian(folder, tmp_path / "b", ("fr", "en"), check, golden=golden)
    found = [t.text for t in BundleRuntime(tmp_path / "b").translate(SENTENCES[:12])]
    assert found == list(generated(folder, SENTENCES[:12], num_beams=4))


TEACHING = """
name = "taught"
version = "1.0.0"
source_language = "fr"
target_language = "en"
system = "transformer"
attribution = ["Invented for a test"]
[vocabulary]
kind = "sentencepiece"
size = 300
lines = 36
[sizes]
width = 16
[[train]]
file = "all.tsv"
holds = 36
licence = "CC0"
[[validate]]
name = "dev"
file = "dev.tsv"
"""


@pytest.fixture
def teaching(tmp_path: Path) -> dict[str, Any]:
    """What `teach` is given: the first half of each target's words linked to the source's first."""
    (tmp_path / "teaching.toml").write_text(TEACHING + TRAINING, encoding="utf-8")
    (tmp_path / "all.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in PAIRS), encoding="utf-8")
    links = [[[0, i] for i in range(len(units(target)) // 2)] for _, target in PAIRS]
    np.savez(
        tmp_path / "links.npz",
        files_of_units=np.array(["all.tsv"]),
        lines_0=np.arange(len(PAIRS)),
        ends_0=np.cumsum([len(row) for row in links]),
        links_0=np.concatenate([np.array(row, np.uint8) for row in links]),
    )
    config = read_config(tmp_path / "teaching.toml")
    return {"config": config, "data": tmp_path, "links": tmp_path / "links.npz"}


@pytest.mark.first
@pytest.mark.parametrize(("weights", "heads"), [("float32", 1), ("int8", 2)])
def test_an_alignment_head_should_learn_its_links_and_change_no_translation(
    copy: Path, tmp_path: Path, teaching: dict[str, Any], weights: str, heads: int
) -> None:
    trained(copy)
    bundle, again = tmp_path / "b", tmp_path / "again"
    import_marian(copy, bundle, ("fr", "en"), unchecked, weights=weights, layer=0, heads=[1])
    before = BundleRuntime(bundle).translate(SENTENCES[:20])
    choice = Choice("dropped", 0, "mean", 0.4, "grow-diag", 0.1)

    alone = Teaching(width=24, heads=heads, joined=0.0, apart=0.0, longest=60)
    teach(bundle, **teaching, updates=500, verify=check, teaching=alone, choice=choice, checkpoint=copy)

    manifest = read_json(bundle)
    assert (manifest["attention"]["heads"], manifest["attention"]["shift"]) == ([], 1)
    assert manifest["training"]["alignment_head"]["updates"] == 500
    assert manifest["training"]["alignment_head"]["config"] == teaching["config"].file
    after = BundleRuntime(bundle)
    assert after.choice == choice
    for a, b in zip(before, after.translate(SENTENCES[:20]), strict=True):
        assert a.hypothesis.ids == b.hypothesis.ids
        assert a.hypothesis.log_probs.equal(b.hypothesis.log_probs)
    [attended] = ForcedBundle(bundle).attention([PAIRS[7]])
    of_words = word_weights(attended.weights[:-1, :-1], attended.source_words, attended.target_words)
    assert of_words[:2, 0].mean() > 0.5
    rows = attended.weights[: len(attended.target_words)]
    assert rows[-4:, -1].mean() > 0.5  # what has no link looks at the end

    import_marian(copy, again, ("fr", "en"), unchecked, weights=weights)
    assert (again / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    links = [row[2] for row in read_golden(bundle)]
    rebuild(bundle, unchecked, Choice("kept", 0, "max", 0.2))
    assert (again / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert BundleRuntime(bundle).choice == Choice("kept", 0, "max", 0.2)
    assert (
        links
        != [row[2] for row in read_golden(bundle)]
        == [t.links for t in BundleRuntime(bundle).translate([row[0] for row in read_golden(bundle)])]
    )
    verify(bundle, copy, lambda _: None)
    assert marian.read(copy, layer=0).system.aligner is None

    rows = read_golden(bundle)
    now = BundleRuntime(bundle).translate([row[0] for row in rows])
    same = next(i for i, row in enumerate(rows) if now[i].text == row[1])  # what differs, as 8 bits may, has no links
    golden_with(bundle, same + 1, [*rows[same][:2], "7-7", *rows[same][3:]])
    with pytest.raises(BundleError, match=GOLDEN):
        verify(bundle, None, lambda _: None)
    assert json.loads((copy / "dragoman.json").read_text(encoding="utf-8")) == {
        "alignment_head": manifest["training"]["alignment_head"]
    }
    assert "trained elsewhere" in read_json(again)["training"]["source"]
    assert read_json(again)["training"]["alignment_head"] == manifest["training"]["alignment_head"]


def test_teaching_should_refuse_what_does_not_fit(
    copy: Path, bundle: Path, tmp_path: Path, teaching: dict[str, Any]
) -> None:
    trained(copy)
    made = tmp_path / "b"
    import_marian(copy, made, ("fr", "en"), check)
    before = (made / "model.onnx").read_bytes()
    english = replace(teaching["config"], source_language="en", target_language="fr")
    for folder, other, fault in (
        (bundle, {}, "only a Transformer's weights can be read from its graph"),
        (copy, {}, "is no bundle"),
        (made, {"config": english}, r"is of another pair than .*fr-en is asked for"),
        (made, {"links": tmp_path / "none.npz"}, "model-export guide"),
    ):
        with pytest.raises(ValueError, match=fault):
            teach(folder, **{**teaching, **other}, updates=1, verify=check)
    assert (made / "model.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("heads", "fault"),
    [
        ("3", r"alignment_head\.safetensors: heads should divide query\.bias's 4: was 3"),
        ("0", r"heads should divide query\.bias's 4: was 0"),
        ("many", r"alignment_head\.safetensors: cannot be read"),
    ],
)
def test_heads_that_do_not_fit_should_be_refused(copy: Path, heads: str, fault: str) -> None:
    save_file({"query.bias": torch.zeros(4)}, copy / "alignment_head.safetensors", metadata={"heads": heads})
    with pytest.raises(MarianError, match=fault):
        marian.read(copy)


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        (b"nothing of the kind", r"alignment_head\.safetensors: cannot be read"),
        ({"key.bias": torch.zeros(4)}, r"alignment_head\.safetensors: should hold query\.bias"),
        ({"query.bias": torch.zeros(4)}, r"the weights lack aligner\.query\.weight"),
        ({"query.bias": torch.zeros(4), "query.weight": torch.zeros(4, 3)}, r"aligner\.query\.weight should be"),
    ],
)
def test_an_alignment_head_that_does_not_fit_should_be_refused(copy: Path, tensors: Any, fault: str) -> None:
    file = copy / "alignment_head.safetensors"
    file.write_bytes(tensors) if isinstance(tensors, bytes) else save_file(tensors, file)
    with pytest.raises(MarianError, match=fault):
        marian.read(copy)
