"""A tiny model, trained for a few updates on invented sentences, and its bundle: made once for all tests."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from model_export.bundle import export, read_json, write_manifest
from model_export.config import Config, read_config
from model_export.rnnsearch import RNNsearch, Sizes
from model_export.train import train
from model_export.vocabulary import SpecialIds, Subwords, learn

torch.set_num_threads(1)

ANIMALS = {"chat": "cat", "chien": "dog", "cheval": "horse", "lapin": "rabbit"}
COLOURS = {"noir": "black", "blanc": "white", "gris": "grey"}
PLACES = {"dans le jardin": "in the garden", "sur le pont": "on the bridge", "près du lac": "near the lake"}
PAIRS = [
    (f"Le {animal} {colour} dort {place}.", f"The {COLOURS[colour]} {ANIMALS[animal]} sleeps {PLACES[place]}.")
    for animal, colour, place in itertools.product(ANIMALS, COLOURS, PLACES)
]
VOCABULARY = 300

TRAINING = """
[training]
seed = 8
steps = 8
warm_up = 2
cool_down = 0.5
learning_rate = 0.01
batch_tokens = 120
longest = 60
label_smoothing = 0.1
clip = 1.0
average = 0.9
validate_every = 4
validate_lines = 3
"""

CONFIG = """
name = "tiny"
version = "0.1.0"
source_language = "fr"
target_language = "en"
system = "rnnsearch"
attribution = ["Invented for a test"]
[vocabulary]
size = 300
lines = 1000
[sizes]
embedding = 16
encoder = 12
decoder = 20
attention = 14
[[train]]
file = "all.tsv"
holds = 36
licence = "CC0"
[[train]]
file = "part.tsv"
lines = 10
holds = 36
licence = "CC0"
[[validate]]
name = "dev"
file = "dev.tsv"
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those marked `first` first, or in the end one process would be alone with them."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data files and the configuration."""
    folder = tmp_path_factory.mktemp("data")
    for name, pairs in {"all": PAIRS, "part": PAIRS[::-1], "dev": PAIRS[:5]}.items():
        text = "".join(f"{source}\t{target}\n" for source, target in pairs)
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    (folder / "config.toml").write_text(CONFIG + TRAINING, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def config(data: Path) -> Config:
    return read_config(data / "config.toml")


@pytest.fixture(scope="session")
def subwords() -> Subwords:
    """Byte pairs of the invented sentences, for both sides."""
    tokenizer = learn((text for pair in PAIRS for text in pair), VOCABULARY)
    return Subwords(tokenizer, tokenizer, SpecialIds(), (VOCABULARY, VOCABULARY))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, config: Config, data: Path) -> Path:
    """The folder of a whole training run."""
    folder = tmp_path_factory.mktemp("trained")
    train(config, data, folder)
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, config: Config, trained: Path) -> Path:
    """A bundle of the trained weights; copy it before changing anything."""
    folder = tmp_path_factory.mktemp("bundles") / "fr-en"
    export(config, trained, folder, force=False, verify=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def model() -> RNNsearch:
    """Random weights that float16 holds exactly, large enough for sharp and varied choices."""
    torch.manual_seed(3)
    made = RNNsearch(Sizes(50, embedding=16, encoder=12, decoder=20, attention=14)).eval()
    weights = {name: (value * 2.5).half().float() for name, value in made.state_dict().items()}
    weights["decoder.output_bias"] = torch.linspace(-1, 1, 50).half().float()
    weights["decoder.output_bias"][2] = 2.0
    made.load_state_dict(weights)
    return made


def golden_with(bundle: Path, number: int, columns: list[str]) -> None:
    """Puts `columns` in the place of line `number` of the golden file; the manifest lists the file as it is then."""
    golden = bundle / "golden.tsv"
    lines = golden.read_text(encoding="utf-8").split("\n")
    lines[number] = "\t".join(columns)
    golden.write_text("\n".join(lines), encoding="utf-8", newline="\n")
    write_manifest(bundle, read_json(bundle))
