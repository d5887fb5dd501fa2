from pathlib import Path

import pytest

from model_export.config import Config, ConfigError, Decoding, read_config
from model_export.rnnsearch import Sizes
from model_export.systems import SYSTEMS

CONFIGS = sorted((Path(__file__).parents[1] / "configs").rglob("*.toml"))
CONFIGS = [path for path in CONFIGS if path.name != "base.toml"]
FR_EN = Path(__file__).parents[1] / "configs" / "fr-en.rnnsearch.toml"


def test_the_released_configuration_should_be_readable() -> None:
    config = read_config(FR_EN)
    assert config.sizes == Sizes(8000, embedding=256, encoder=256, decoder=512, attention=256, dropout=0.1)
    assert all(file.licence and file.holds for file in config.train)
    assert len(config.attribution) == 2


def test_decoding_should_default_to_beam_4_and_penalty_1(config: Config) -> None:
    assert config.decoding == Decoding(beam_size=4, length_penalty=1.0)


def test_rate_should_rise_stay_and_fall(config: Config) -> None:
    rates = [round(0.01 * config.training.factor(step), 4) for step in range(8)]
    assert rates == [0.005, 0.01, 0.01, 0.01, 0.01, 0.0075, 0.005, 0.0025]


def test_every_fault_should_be_in_one_message(tmp_path: Path, data: Path) -> None:
    text = (data / "config.toml").read_text(encoding="utf-8")
    text = text.replace("steps = 8", 'steps = "many"').replace("seed = 8", "sead = 8").replace("size = 300", "size = 9")
    text = text.replace('system = "rnnsearch"', 'system = "other"').replace("clip = 1.0", "clip = -1.0\njoined = 1.1")
    (tmp_path / "x.toml").write_text(text.replace('name = "tiny"', ""), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "x.toml")
    for expected in (
        "training.steps: should be int: was 'many'",
        "training.sead: unknown setting",
        "training.seed: missing",
        "training.clip: should be at least 0: was -1.0",
        "training.joined: should be at most 1: was 1.1",
        "vocabulary.size: should be above 260 and below 65536: was 9",
        "system: should be one of",
        "config.name: missing",
    ):
        assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["not = [toml", "train = 3", "vocabulary = 1"])
def test_a_file_that_is_no_configuration_should_be_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.toml"):
        read_config(tmp_path / "x.toml")


def test_lower_case_should_need_byte_pairs(tmp_path: Path, data: Path) -> None:
    text = (data / "config.toml").read_text(encoding="utf-8")
    changed = text.replace("[vocabulary]", '[vocabulary]\nlower_case = true\nkind = "sentencepiece"')
    assert changed != text
    (tmp_path / "x.toml").write_text(changed, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"vocabulary\.lower_case: needs vocabulary\.kind = bpe"):
        read_config(tmp_path / "x.toml")


def test_a_missing_file_should_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_should_be_readable_and_name_its_licences(path: Path) -> None:
    config = read_config(path)
    assert all(file.licence and file.holds for file in config.train)
    assert SYSTEMS[config.system].system(config.sizes).sizes == config.sizes


def test_sizes_that_contradict_each_other_should_be_a_fault(tmp_path: Path, data: Path) -> None:
    text = (data / "config.toml").read_text(encoding="utf-8").replace("rnnsearch", "transformer")
    sizes = "[sizes]\nwidth = 15\nheads = 4\n[[train]]"
    text = text[: text.index("[sizes]")] + sizes + text[text.index("[[train]]") + 9 :]
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"sizes\.width should be a multiple of sizes\.heads"):
        read_config(tmp_path / "x.toml")


def test_a_base_should_be_under_what_a_file_says(tmp_path: Path, data: Path) -> None:
    (tmp_path / "base.toml").write_text((data / "config.toml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "x.toml").write_text('base = "base.toml"\nname = "other"\n[training]\nsteps = 3\n', encoding="utf-8")
    found, base = read_config(tmp_path / "x.toml"), read_config(tmp_path / "base.toml")
    assert (found.name, found.training.steps) == ("other", 3)
    assert (found.training.seed, found.train, found.sizes) == (base.training.seed, base.train, base.sizes)


@pytest.mark.parametrize("base", ['"../base.toml"', "3", '"x.toml"', '"none.toml"'])
def test_a_base_that_is_no_file_beside_it_should_be_a_fault(tmp_path: Path, base: str) -> None:
    (tmp_path / "x.toml").write_text(f"base = {base}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\.toml"):
        read_config(tmp_path / "x.toml")


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_is_none_should_be_refused(data: Path, tmp_path: Path, number: str) -> None:
    text = (data / "config.toml").read_text(encoding="utf-8").replace("seed = 8", f"seed = 8\napart = {number}")
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"training.apart: should be finite: was {number}"):
        read_config(tmp_path / "x.toml")
