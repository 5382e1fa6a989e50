"""Wan bases, adapters and episodes that fuzzing found to break something: each is refused by name, and at once."""

import json
import time

import gymnasium as gym
import pytest
import torch
from wan_folders import tiny_base

from ctxmem_env.episodes import RecordEpisode, load_episode, replay
from ctxmem_env.generator.wan.folders import Found, read_adapter, read_base
from ctxmem_env.generator.wan.options import WanOptions
from ctxmem_env.generator.wan.store import check, save_adapter

DEEP = "[" * 200_000


@pytest.fixture
def base(tmp_path):
    """The folder of a tiny Wan base."""
    return tiny_base(tmp_path / "base", text=False)


def set_header(path, change):
    """The same weights under a header that `change` was given, with its length."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda header: 7,
        lambda header: dict.fromkeys(header, "many"),
        lambda header: {name: entry | {"shape": ["many"]} for name, entry in header.items()},
        lambda header: {name: entry | {"shape": 3} for name, entry in header.items()},
        lambda header: header | {"a": {"shape": [-1], "data_offsets": [0, 0]}},
    ],
)
def test_weights_of_a_wan_base_with_a_header_that_is_none_are_refused(change, base):
    def changed(header):
        return change({name: entry for name, entry in header.items() if name != "__metadata__"})

    set_header(base / "transformer" / "diffusion_pytorch_model.safetensors", changed)
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model.safetensors that is truncated or altered \("):
        read_base(base)


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_a_wan_base_whose_json_is_nested_too_deep_is_refused(part, base):
    (base / part / "config.json").write_text(DEEP)
    with pytest.raises(ValueError, match=rf"has {part}/config.json, which cannot be read \(maximum recursion"):
        read_base(base)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("transformer", {"patch_size": True}, "patch_size=True; expected"),
        ("transformer", {"num_layers": 10**9}, r"num_layers=1000000000; expected an integer in \[1, 256\]"),
        ("transformer", {"rope_max_seq_len": 2**63}, "rope_max_seq_len=9223372036854775808; expected an integer"),
        ("transformer", {"ffn_dim": "x" * 5000}, r"ffn_dim='x{39}\.\.\.; expected an integer"),
        ("vae", {"num_res_blocks": 2**31}, "num_res_blocks=2147483648; expected an integer"),
    ],
)
def test_a_wan_base_of_no_sane_size_is_refused_at_once(part, values, message, base):
    path, began = base / part / "config.json", time.process_time()
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(ValueError, match=message):
        read_base(base)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("placed", [None, [], ["a"], {"a": 7}, {"a": "../secret.safetensors"}, {"a": ".."}])
def test_weights_of_a_wan_base_lie_beside_their_index(placed, base):
    name = "diffusion_pytorch_model.safetensors"
    (base / "transformer" / name).rename(base / "secret.safetensors")
    (base / "transformer" / f"{name}.index.json").write_text(json.dumps({"weight_map": placed}))
    with pytest.raises(ValueError, match=r"index.json without a weight_map of names of files beside it"):
        read_base(base)


def test_a_wan_base_of_which_no_network_can_be_made_is_refused(base, tmp_path):
    options = WanOptions(32, 32, 5)
    found = read_base(base)
    adapter = save_adapter(
        tmp_path / "a", {"b": torch.ones(1)}, str(base), found.architecture, options, None, "adapter"
    )
    path = base / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attention_head_dim": 5}))
    with pytest.raises(ValueError, match=r"has transformer/config.json, of which no network can be made"):
        check(Found(read_base(base), read_adapter(adapter)))


@pytest.fixture
def episode(tmp_path):
    """Changes an episode of a true scene; its file."""
    env = RecordEpisode(gym.make("CtxMemTrueScene-v0", height=16, width=16, tour=1, actions="keyboard_mouse"))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    path = env.episode().save(tmp_path / "episode.json")

    def change(**values):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        return path

    return change


def test_an_episode_that_is_nested_too_deep_is_refused(episode):
    path = episode()
    path.write_text(DEEP)
    with pytest.raises(ValueError, match=r"expected a file that `ctxmem rollout --save-episode` .*maximum recursion"):
        load_episode(path)


@pytest.mark.parametrize(
    ("arguments", "actions"),
    [
        ({}, {"keys": [[float("inf"), 0, 0]], "mouse": [[0, 0]]}),
        ({}, {"keys": [[0, 0, 0], [0, 0, 0]], "mouse": [[0, 0]]}),
        ({"actions": "discrete"}, [10**30]),
    ],
    ids=["infinite", "uneven", "large"],
)
def test_an_episode_with_actions_that_are_none_is_refused(arguments, actions, episode):
    path = episode(arguments={"height": 16, "width": 16, "tour": 1, "actions": "keyboard_mouse"} | arguments)
    path = episode(arguments=json.loads(path.read_text())["arguments"], actions=actions)
    with pytest.raises(ValueError, match="the episode holds actions that are none of"):
        list(replay(path))
