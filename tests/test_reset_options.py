"""Options of every reset: episodes of a batch stay in the scenes, or in the picture, that they were meant for."""

import gymnasium as gym
import numpy as np
import pytest
from batches import make_vec
from gymnasium.vector import AutoresetMode
from helpers import FORWARD, make

from ctxmem_env.filming import Filmed
from ctxmem_env.parallel import TrueSceneParallelEnv, parallel_env
from ctxmem_env.scenes import SPLITS
from ctxmem_env.testing import PoseGenerator

TRUE = "CtxMemTrueScene-v0"


def seeds_of(env):
    return env.unwrapped.world.generator.scenes.seed.tolist()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_episodes_of_a_batch_stay_in_the_scenes_that_were_asked_for(mode):
    envs = make_vec(env_id=TRUE, max_episode_steps=2, autoreset_mode=mode, reset_options={"scene": "test"})
    envs.reset(seed=0)
    seen = [seeds_of(envs)]
    for _ in range(9):
        envs.step(np.full(envs.num_envs, FORWARD))
        seen.append(seeds_of(envs))
    assert len({tuple(seeds) for seeds in seen}) > 2  # episodes have ended
    assert all(seed in SPLITS["test"] for seeds in seen for seed in seeds)


def test_a_picture_opens_every_episode_of_a_batch():
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    envs = make_vec(max_episode_steps=1, autoreset_mode="SameStep", reset_options={"image": picture, "fov": 90.0})
    frames, _ = envs.reset(seed=0)
    again, *_ = envs.step(np.full(envs.num_envs, FORWARD))
    np.testing.assert_array_equal(again, frames)


def test_cameras_that_share_a_world_open_in_it():
    cameras = TrueSceneParallelEnv(num_cameras=2, height=48, width=48, tour=1, reset_options={"scene": 2_000_003})
    for _ in range(2):
        cameras.reset(seed=0)
        assert set(cameras._world.generator.scenes.seed.tolist()) == {2_000_003}


def test_what_a_reset_is_given_goes_before_and_for_once():
    env = make(TRUE, reset_options={"scene": 7, "tour": 3, "fov": 70.0})

    def opened(**options):
        env.reset(seed=0, options=options)
        return seeds_of(env)[0], env.unwrapped.world.memory.lengths.item(), env.unwrapped.world.fov.item()

    assert opened() == (7, 4, 70.0)
    assert opened(scene=8, tour=1) == (8, 2, 70.0)
    assert opened(scene=None)[0] not in (7, 8)
    assert opened() == (7, 4, 70.0)


@pytest.mark.parametrize("defaults", [{"scene": "test", "tour": 4}, {"tour": 4}])
def test_a_picture_takes_the_place_of_a_scene_and_the_other_way_round(defaults):
    picture, kept = np.zeros((48, 48, 3), np.uint8), {"fov": 70.0}
    env, envs = make(reset_options=defaults | kept), make_vec(reset_options=defaults | kept)
    for one, options in ((env, {"image": picture}), (envs, {"worlds": [{"image": picture}, {}, {}]})):
        one.reset(seed=0, options=options)
        assert one.unwrapped.world.memory.lengths[0] < 5 and one.unwrapped.world.fov[0] == 70
    assert envs.unwrapped.world.memory.lengths[1] == 5
    env = make(reset_options={"image": picture, "distance": 2.0} | kept)
    env.reset(seed=0, options={"scene": 3, "tour": 1})
    assert env.unwrapped.world.memory.lengths.tolist() == [2] and env.unwrapped.world.fov[0] == 70


def test_options_that_change_later_change_nothing():
    scenes = [5]
    env = make(TRUE, tour=0, reset_options={"scene": scenes})
    scenes[0] = 6
    for options in (None, {"fov": 70.0}):
        env.reset(seed=0, options=options)
        assert seeds_of(env) == [5]


@pytest.mark.parametrize("scenes", [[5, 1_000_007, 2_000_003], range(40, 43), np.array([9, 11])])
def test_each_of_the_scenes_in_a_list_is_drawn(scenes):
    env = make(TRUE, tour=0, reset_options={"scene": scenes})
    drawn = set()
    for seed in range(25):
        env.reset(seed=seed)
        drawn.update(seeds_of(env))
    assert drawn == set(map(int, scenes))


def test_scenes_of_the_training_split_are_those_that_are_drawn_anyway():
    env, same = make(TRUE, tour=0), make(TRUE, tour=0, reset_options={"scene": "train"})
    for seed in range(3):
        env.reset(seed=seed), same.reset(seed=seed)
        assert seeds_of(env) == seeds_of(same)


def test_films_show_the_scene_that_was_asked_for():
    env = Filmed(make(render_mode="rgb_array", reset_options={"scene": 2_000_003}))
    env.reset(seed=0)
    env.render()
    assert env.likeness[0] > 40 and env.unwrapped._track.scenes.seed.item() == 2_000_003
    env = Filmed(make(render_mode="rgb_array", reset_options={"image": np.zeros((48, 48, 3), np.uint8)}))
    env.reset(seed=0)
    env.render()
    assert env.likeness == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenes": 1}, "reset option='scenes' is unknown. Did you mean 'scene'"),
        ({"scene": []}, r"options\['scene'\]=\[\] is empty; expected seeds of scenes"),
        ({"scene": [3, -1]}, r"options\['scene'\]\[1\]=-1 is out of range"),
        ({"scene": [3, 1_500_000]}, r"options\['scene'\]\[1\]=1500000: .* in no split"),
        ({"scene": "tests"}, r"options\['scene'\]='tests' is unknown. Did you mean 'test'"),
        ("test", "options='test' is a str; expected a dict or None"),
    ],
)
def test_options_that_do_not_fit_are_refused_when_the_environment_is_made(options, message):
    makers = make, make_vec, lambda **kwargs: parallel_env(model=PoseGenerator(), tour=1, **kwargs)
    for maker in makers:
        with pytest.raises(ValueError, match=f"^reset_options: {message}"):
            maker(reset_options=options)


def test_a_true_scene_refuses_a_picture_for_every_reset():
    for maker in (gym.make, gym.make_vec):
        with pytest.raises(ValueError, match=r"^reset_options: options\['image'\] was given, but a photograph"):
            maker(TRUE, reset_options={"image": np.zeros((8, 8, 3), np.uint8)})
