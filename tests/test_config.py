"""Configurations: YAML files hold values only, and every value means something."""

import dataclasses
import re
from pathlib import Path

import pytest

import ctxmem_env
from ctxmem_env.config import DataConfig, TrainConfig, from_dict, load_config
from ctxmem_env.training.wan_config import WanTrainConfig, is_wan

PACKAGE = Path(ctxmem_env.__file__).parent
CONFIGS = sorted((PACKAGE.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_configs_of_the_repository_load(path):
    config = load_config(WanTrainConfig if is_wan(path) else TrainConfig, path)
    assert config.name == path.stem


def test_values_of_a_file_replace_defaults_and_nothing_else(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("name: some\nlearning_rate: 1\ndata: {tour: 5}\n")
    config = load_config(TrainConfig, path)
    assert config == TrainConfig(name="some", learning_rate=1.0, data=DataConfig(tour=5))
    assert isinstance(config.learning_rate, float)
    path.write_text("")
    assert load_config(TrainConfig, path) == TrainConfig()


@pytest.mark.parametrize("cls", [TrainConfig, DataConfig])
def test_every_field_is_read_by_some_code(cls):
    sources = [path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "config.py"]
    unread = [
        field.name
        for field in dataclasses.fields(cls)
        if not any(re.search(rf"\b(?:config|config\.data|c)\.{field.name}\b", source) for source in sources)
    ]
    assert unread == []


def test_a_config_cannot_be_changed_once_it_is_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lerning_rate": 1.0}, r"file: key='lerning_rate' is unknown\. Did you mean 'learning_rate'\?"),
        ({"data": {"walk_lenght": 64}}, r"file: data: key='walk_lenght' is unknown\. Did you mean 'walk_length'\?"),
        ({"num_steps": 10.5}, r"file: num_steps must be of type int, got 10\.5"),
        ({"num_steps": True}, r"file: num_steps must be of type int, got True"),
        ({"learning_rate": "fast"}, r"file: learning_rate must be of type float, got 'fast'"),
        ({"learning_rate": True}, r"file: learning_rate must be of type float, got True"),
        ({"compile": 1}, r"file: compile must be of type bool, got 1"),
        ({"model": [64, 64]}, r"file: model must be of type dict, got \[64, 64\]"),
        ({"data": 3}, r"file: data: expected a mapping of names to values, got int"),
        (["num_steps"], r"file: expected a mapping of names to values, got list"),
        ({"precision": "bfloat"}, r"file: precision='bfloat' is unknown\. Did you mean 'bfloat16'\?"),
        ({"validate_every": 0}, r"file: validate_every=0 is out of range; expected an integer of at least 1"),
        ({"seed": -1}, r"file: seed=-1 is out of range; expected an integer in \[0, 4294967295\]"),
        ({"seed": 2**32}, r"file: seed=4294967296 is out of range; expected an integer in \[0, 4294967295\]"),
        ({"init_layers": {"blocks": 3}, "init": "nano"}, r"file: init_layers: blocks=3; expected a list of numbers"),
        (
            {"init_layers": {"blocks": [0]}},
            r"file: init_layers says which layers of init to keep, and there is no init",
        ),
        ({"self_context": 1.5}, r"file: self_context=1\.5 is out of range; expected a number in \[0, 1\]"),
        ({"data": {"num_context": 1}}, r"file: data: num_context=1 .* at least 2"),
        ({"data": {"walk_length": 15}}, r"file: data: walk_length=15 .* at least 16"),
        ({"data": {"corrupt": float("nan")}}, r"file: data: corrupt must be a finite number, got nan"),
        (
            {"data": {"min_fov": 120}},
            r"file: data: min_fov=120\.0, max_fov=.*; expected 0 < min_fov <= max_fov < 180",
        ),
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(TrainConfig, values, "file")


@pytest.mark.parametrize("text", ["[]", "- name", "3"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"some\.yaml: expected a mapping of names to values, got (list|int)"):
        load_config(TrainConfig, path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"config: no such file '.*nano\.yml'; expected a YAML file such as"):
        load_config(TrainConfig, tmp_path / "nano.yml")
    with pytest.raises(ValueError, match="config: no such file"):
        load_config(TrainConfig, tmp_path)


def test_a_file_that_is_not_yaml_is_refused(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("model: {height: 64")
    with pytest.raises(ValueError, match=r"config: .*some\.yaml is not valid YAML"):
        load_config(TrainConfig, path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(ValueError, match=r"config: .*some\.yaml is not valid YAML"):
        load_config(TrainConfig, path)
