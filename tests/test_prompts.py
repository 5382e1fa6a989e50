"""Worlds that are told in words what to show: by `reset`, in mid-episode, and refused where nobody listens."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import FORWARD, make
from told_generators import Told

from ctxmem_env.parallel import parallel_env
from ctxmem_env.scenes import STYLES
from ctxmem_env.testing import check_generator

SILENT = {"collisions": False, "tour": 1}


def test_the_generator_of_these_tests_conforms():
    check_generator(Told())


def test_a_prompt_of_reset_holds_until_another_one_is_set():
    env = make(model=Told(), **SILENT)
    env.reset(seed=0, options={"prompt": "snow"})
    assert env.step(FORWARD)[0].max() == len("snow") == env.step(FORWARD)[0].max()
    env.unwrapped.set_prompt("a dragon flies by")
    assert env.step(FORWARD)[0].max() == len("a dragon flies by")
    env.reset(seed=0)
    assert env.step(FORWARD)[0].max() == 0


def test_moments_and_files_know_the_prompt(tmp_path):
    env = make(model=Told(), **SILENT).unwrapped
    env.reset(seed=0, options={"prompt": "snow"})
    moment, path = env.clone_state(), env.save(tmp_path / "a.ctxworld")
    env.set_prompt("rain falls")
    env.restore_state(moment)
    assert env.step(FORWARD)[0].max() == len("snow")
    other = make(model=Told(), **SILENT).unwrapped
    other.load(path)
    assert other.step(FORWARD)[0].max() == len("snow")


def test_each_of_many_worlds_is_told_its_own():
    envs = gym.make_vec("CtxMemScene-v0", num_envs=3, model=Told(), **SILENT)
    envs.reset(seed=0, options={"prompt": "snow", "worlds": [None, {"prompt": "rain!"}, None]})

    def shown():
        return envs.step(np.full(3, FORWARD))[0].max(axis=(1, 2, 3)).tolist()

    assert shown() == [4, 5, 4]
    envs.set_prompt(["", None, "fog"])
    assert shown() == [0, 5, 3]
    envs.set_prompt("sun")
    assert shown() == [3, 3, 3]
    with pytest.raises(ValueError, match=r"prompt holds 2 texts; expected one, or one a world, 3 in all"):
        envs.set_prompt(["", ""])
    with pytest.raises(ValueError, match=r"prompt\[1\]=7 is a int; expected a text"):
        envs.set_prompt(["changed", 7, "changed"])
    assert shown() == [3, 3, 3]


def test_cameras_that_share_a_world_are_told_the_same():
    cameras = parallel_env(num_cameras=2, model=Told(), **SILENT)
    cameras.reset(seed=0, options={"prompt": "snow"})
    actions = dict.fromkeys(cameras.agents, FORWARD)
    assert [frame.max() for frame in cameras.step(actions)[0].values()] == [4, 4]
    cameras.set_prompt("fog")
    assert [frame.max() for frame in cameras.step(actions)[0].values()] == [3, 3]


@pytest.mark.parametrize("env_id", ["CtxMemScene-v0", "CtxMemTrueScene-v0"])
def test_who_takes_no_text_says_so_and_what_else_does(env_id):
    env = gym.make(env_id, **({"model": "nano"} if env_id == "CtxMemScene-v0" else {}))
    env.reset(seed=0, options={"tour": 0})
    message = (
        r"takes no text; those do that are built on a text-to-video model, such as model='wan:FOLDER'.*: .*library"
    )
    with pytest.raises(ValueError, match=r"options\['prompt'\]='snow' was given, but .*" + message):
        env.reset(options={"prompt": "snow"})
    with pytest.raises(ValueError, match="prompt='snow' was given, but .*" + message):
        env.unwrapped.set_prompt("snow")
    with pytest.raises(ValueError, match=r"options\['prompt'\]=1 is a int; expected a text"):
        env.reset(options={"prompt": 1})


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_a_word_for_a_scene(style):
    env = make(tour=0)
    frame, _ = env.reset(seed=0, options={"scene": style})
    assert frame.std() > 1


def test_without_depth_nothing_stops_the_camera_and_a_warning_says_so():
    with pytest.warns(UserWarning, match="the Told predicts no depth, so nothing stops the camera; collisions=False"):
        env = make(model=Told())
    assert env.unwrapped.settings.dynamics is None
    for observation in ("rgbd", "dict"):
        with pytest.raises(ValueError, match=f"observation='{observation}', but the Told predicts no depth"):
            make(model=Told(), observation=observation, **SILENT)
    with pytest.raises(ValueError, match="task='explore' pays by depth, which the Told does not predict"):
        make(model=Told(), task="explore", **SILENT)
