"""The contract of an environment: the standard checkers, wrappers, specs, copies and the docstring."""

import copy
import inspect
import json
import pickle
import re
import shutil
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics, RecordVideo
from helpers import FORWARD, IDS, TURN_LEFT, make, walk
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import ctxmem_env
from ctxmem_env.env import OBSERVATIONS, GenerativeSceneEnv
from ctxmem_env.tasks import TASKS, make_task


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("actions", ["discrete", "continuous"])
@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_checker_passes(env_id, actions, observation):
    env = make(env_id, actions=actions, observation=observation, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=False)


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
@pytest.mark.parametrize("env_id", IDS)
def test_stable_baselines_checker_passes(env_id, actions):
    sb3_check_env(make(env_id, actions=actions, render_mode="rgb_array"), skip_render_check=False)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("env_id", IDS)
def test_both_checkers_pass_for_every_task(env_id, task):
    for kwargs in ({"actions": "discrete"}, {"actions": "continuous", "reward": "sparse", "sliding": True}):
        env = make(env_id, task=task, tour=4, **kwargs)
        check_env(env.unwrapped, skip_render_check=True)
        sb3_check_env(env)


@pytest.mark.parametrize("observation", ["rgbd", "dict"])
@pytest.mark.parametrize("env_id", IDS)
def test_stable_baselines_only_remarks_that_depth_is_not_an_8_bit_image(env_id, observation):
    with pytest.warns(UserWarning, match="depth") as caught:
        sb3_check_env(make(env_id, observation=observation))
    assert all("observation depth" in str(w.message) or "space depth" in str(w.message) for w in caught)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("env_id", IDS)
def test_a_copied_environment_goes_on_where_it_stood(env_id, duplicate):
    env = make(env_id, render_mode="rgb_array")
    fresh = duplicate(env)
    np.testing.assert_array_equal(walk(env, [FORWARD, FORWARD]), walk(fresh, [FORWARD, FORWARD]))
    env.render()
    twin = duplicate(env)
    for action in (TURN_LEFT, FORWARD):
        np.testing.assert_array_equal(env.step(action)[0], twin.step(action)[0])
    np.testing.assert_array_equal(env.render(), twin.render())
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


@pytest.mark.parametrize("env_id", IDS)
def test_spec_is_json(env_id):
    spec = json.loads(gym.spec(env_id).to_json())
    assert spec["id"] == env_id and spec["max_episode_steps"] == 500
    assert json.loads(make("CtxMemTrueScene-v0", fov=80.0).spec.to_json())["kwargs"]["fov"] == 80.0


@pytest.mark.parametrize("env_id", IDS)
def test_wrappers_work(env_id, tmp_path):
    env = make(env_id, render_mode="rgb_array", max_episode_steps=4)
    env = RecordVideo(RecordEpisodeStatistics(env), str(tmp_path / "videos"), name_prefix="roam")
    env = FrameStackObservation(env, 3)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (3, 48, 48, 3)
    truncated = False
    while not truncated:
        observation, _, _, truncated, info = env.step(FORWARD)
    env.close()
    assert observation in env.observation_space
    assert info["episode"]["l"] == 4
    assert (tmp_path / "videos" / "roam-episode-0.mp4").stat().st_size > 1000


def test_action_tables_of_the_docstring_match_the_spaces():
    def table(heading):
        text = GenerativeSceneEnv.__doc__.split("## Action Space")[1].split("## Observation Space")[0]
        text = text.split(heading)[1].split("With `actions=")[0]
        return [tuple(cell.strip() for cell in row) for row in re.findall(r"\| (\d+) *\| (\w+) *\|", text)]

    discrete, continuous = make(actions="discrete").unwrapped, make(actions="continuous").unwrapped
    rows = table('`actions="discrete"`')
    assert [name for _, name in rows] == list(discrete._actions.names)
    assert [int(number) for number, _ in rows] == list(range(discrete.action_space.n))
    assert f"Discrete({discrete.action_space.n})" in GenerativeSceneEnv.__doc__
    rows = table('`actions="continuous"`')
    assert [name for _, name in rows] == list(continuous._actions.names)
    assert "Box(-1, 1, (4,), float32)" in GenerativeSceneEnv.__doc__
    assert continuous.action_space == gym.spaces.Box(-1, 1, (4,), np.float32)


def test_task_tables_of_the_docstring_name_every_task():
    rewards = GenerativeSceneEnv.__doc__.split("## Rewards")[1].split("## Starting State")[0]
    assert re.findall(r"\n    \| (\w+) +\|", rewards) == list(TASKS)
    goals = GenerativeSceneEnv.__doc__.split("| `task`     | `goal`")[1].split("X points east")[0]
    assert re.findall(r"\n    \| (\w+) +\|", goals) == [name for name in TASKS if make_task(name).spaces(64, 64)]


def test_arguments_of_the_docstring_match_the_signature():
    rows = re.findall(r"\| `(\w+)` +\| [^|]+\| `([^`]+)` +\|", GenerativeSceneEnv.__doc__.split("## Arguments")[1])
    signature = inspect.signature(GenerativeSceneEnv.__init__).parameters
    expected = {name: p.default for name, p in signature.items() if name != "self"}
    assert {name: json_like(default) for name, default in rows} == expected


def json_like(text):
    return None if text == "None" else json.loads(text)


def test_a_model_folder_opens_and_passes_the_checker(untrained_model):
    env = make(model=str(untrained_model), observation="dict", render_mode="rgb_array")
    check_env(env.unwrapped)
    assert json.loads(env.spec.to_json())["kwargs"]["model"] == str(untrained_model)


def test_weights_are_loaded_at_the_first_reset_and_once(untrained_model, tmp_path):
    env, other = make(model=str(untrained_model)), make(model=str(untrained_model))
    env.reset(seed=0), other.reset(seed=0)
    assert env.unwrapped.world.generator is other.unwrapped.world.generator
    broken = shutil.copytree(untrained_model, tmp_path / "broken")
    weights = next(broken.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    env = make(model=str(broken))
    assert env.observation_space.shape == (48, 48, 3)
    with pytest.raises(ValueError, match="truncated or altered"):
        env.reset(seed=0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_shares_the_weights_and_nothing_else(untrained_model, duplicate):
    env = make(model=str(untrained_model))
    env.reset(seed=0)
    env.step(FORWARD)
    twin = duplicate(env)
    assert twin.unwrapped.world.generator is env.unwrapped.world.generator is not None
    assert b"SceneTransformer" not in pickle.dumps(env)
    other, _ = env.step(TURN_LEFT)[0], env.step(FORWARD)
    # Features are encoded again in the copy, several in one batch, which may round differently.
    np.testing.assert_allclose(twin.step(TURN_LEFT)[0].astype(int), other.astype(int), atol=2)


def test_importing_the_package_loads_no_torch():
    code = "import sys, ctxmem_env, gymnasium as gym; gym.spec('CtxMemScene-v0'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert ctxmem_env.GenerativeSceneEnv is GenerativeSceneEnv
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ctxmem_env.Nothing
