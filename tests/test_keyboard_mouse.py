"""Keyboard and mouse as GameFactory defines them, in every face."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from helpers import make

from ctxmem_env.actions import KeyboardMouseActions
from ctxmem_env.camera import move
from ctxmem_env.parallel import parallel_env
from ctxmem_env.policies import RandomActions
from ctxmem_env.sb3 import make_sb3_vec_env
from ctxmem_env.testing import PoseGenerator

STANDING = torch.tensor([[0.0, 0, 1.5, 0, 0, 0]])  # facing east
ACTIONS = KeyboardMouseActions(step_length=0.5, turn_angle=15)
STAY = {"keys": [0, 0, 0], "mouse": [0.0, 0.0]}


def act(ws=0, ad=0, scs=0, pitch=0.0, yaw=0.0):
    return {"keys": np.array([ws, ad, scs]), "mouse": np.array([pitch, yaw], np.float32)}


def batched(*actions):
    return {name: np.stack([action[name] for action in actions]) for name in ("keys", "mouse")}


@pytest.mark.parametrize(
    ("action", "east", "north", "yaw", "pitch"),
    [
        (act(), 0, 0, 0, 0),
        (act(ws=1), 0.5, 0, 0, 0),
        (act(ws=2), -0.5, 0, 0, 0),
        (act(ad=1), 0, 0.5, 0, 0),
        (act(ad=2), 0, -0.5, 0, 0),
        (act(ws=1, ad=2), 0.5 / math.sqrt(2), -0.5 / math.sqrt(2), 0, 0),
        (act(ws=1, scs=1), 0.5, 0, 0, 0),
        (act(ws=1, scs=2), 0.15, 0, 0, 0),
        (act(ws=1, scs=3), 0.65, 0, 0, 0),
        (act(scs=1), 0, 0, 0, 0),
        (act(yaw=1), 0, 0, -15, 0),
        (act(pitch=1), 0, 0, 0, -15),
        (act(ws=1, pitch=-0.5, yaw=-0.5), 0.5, 0, 7.5, 7.5),
    ],
)
def test_keys_and_mouse_move_the_camera_as_in_minecraft(action, east, north, yaw, pitch):
    moved = move(STANDING, ACTIONS.to_motion(batched(action)))
    torch.testing.assert_close(moved, torch.tensor([[east, north, 1.5, math.radians(yaw), math.radians(pitch), 0]]))


@pytest.mark.parametrize(
    "bad",
    [
        1,
        {"keys": [[0, 0, 0]]},
        {**STAY, "jump": 1},
        {"keys": [[3, 0, 0]], "mouse": [[0, 0]]},
        {"keys": [[0, 0, 4]], "mouse": [[0, 0]]},
        {"keys": [[0, -1, 0]], "mouse": [[0, 0]]},
        {"keys": [[0.0, 0, 0]], "mouse": [[0, 0]]},
        {"keys": [[0, 0, 0]], "mouse": [[0, 1.01]]},
        {"keys": [[0, 0, 0]], "mouse": [[math.nan, 0]]},
        {"keys": [[0, 0, 0], [0, 0, 0]], "mouse": [[0, 0]]},
        {"keys": [0, 0, 0], "mouse": [0, 0]},
    ],
)
def test_what_is_no_such_action_is_named(bad):
    with pytest.raises(ValueError, match=r"action=.*; expected 'keys', three integers a world, ws from 0 to 2"):
        ACTIONS.to_motion(bad)


@pytest.mark.parametrize("env_id", ["CtxMemScene-v0", "CtxMemTrueScene-v0"])
def test_a_single_environment_takes_them(env_id):
    env = make(env_id, actions="keyboard_mouse", collisions=False)
    check_env(env.unwrapped, skip_render_check=True)
    pose = env.reset(seed=0)[1]["pose"]
    _, _, _, _, info = env.step(act(ws=1, yaw=1))
    expected = move(torch.from_numpy(pose), torch.tensor([0.25, 0, -math.radians(15), 0]))
    np.testing.assert_allclose(info["pose"], expected, atol=1e-6)
    with pytest.raises(ValueError, match="expected 'keys', three integers"):
        env.step(act(ws=3))


def test_many_worlds_take_them_as_one_by_one():
    arguments = {"model": PoseGenerator(), "actions": "keyboard_mouse", "tour": 1}
    envs = gym.make_vec("CtxMemScene-v0", num_envs=2, **arguments)
    actions = act(ws=1, scs=3), act(ad=1, pitch=0.5)
    envs.reset(seed=0)
    _, _, _, _, infos = envs.step(batched(*actions))
    for i, action in enumerate(actions):
        env = gym.make("CtxMemScene-v0", **arguments)
        env.reset(seed=i)
        np.testing.assert_array_equal(env.step(action)[4]["pose"], infos["pose"][i])
    assert envs.step(envs.action_space.sample())[0].shape[0] == 2
    with pytest.raises(ValueError, match=r"world 1: action=.* No world has moved"):
        envs.step(batched(act(), act(ws=3)))
    with pytest.raises(ValueError, match=r"actions\['keys'\] holds 1 entries; expected one action a world, 2 in all"):
        envs.step({"keys": np.zeros((1, 3), int), "mouse": np.zeros((2, 2))})


def test_cameras_of_one_world_take_them():
    cameras = parallel_env(num_cameras=2, model=PoseGenerator(), actions="keyboard_mouse", tour=1, collisions=False)
    _, before = cameras.reset(seed=0)
    _, _, _, _, after = cameras.step({"camera_0": act(yaw=1), "camera_1": act(yaw=-1)})
    turns = [after[camera]["pose"][3] - before[camera]["pose"][3] for camera in ("camera_0", "camera_1")]
    np.testing.assert_allclose(np.cos(turns), math.cos(math.radians(15)), atol=1e-5)
    assert np.sin(turns[0]) < 0 < np.sin(turns[1])


def test_stable_baselines_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="actions='keyboard_mouse' are a Dict, for which Stable-Baselines3 has no"):
        make_sb3_vec_env(n_envs=1, env_kwargs={"model": PoseGenerator(), "actions": "keyboard_mouse"})


def test_random_ones_are_actions():
    actions, _ = RandomActions(0, "keyboard_mouse").predict(np.zeros((50, 4, 4, 3)))
    motions = KeyboardMouseActions().to_motion(actions)
    assert motions.shape == (50, 4) and bool((motions != 0).any(0).all())
