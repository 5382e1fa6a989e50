"""What is wrong for one world of many gives one clear error that names it, and no world is harmed."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import N, assert_same, make_vec, walk
from gymnasium.error import ResetNeeded
from helpers import FORWARD, make

from ctxmem_env.opening import open_worlds
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.world import SceneWorld


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, r"num_envs=0 is out of range; expected an integer in \[1, 281474976710656\]"),
        (
            {"num_envs": 2**64},
            r"num_envs=18446744073709551616 is out of range; expected an integer in \[1, 281474976710656\]",
        ),
        ({"num_envs": -2}, "num_envs=-2 is out of range"),
        ({"num_envs": 2.0}, "num_envs=2.0 is a float"),
        ({"max_episode_steps": 0}, "max_episode_steps=0 is out of range"),
        ({"autoreset_mode": "NextSteps"}, "autoreset_mode='NextSteps' is unknown. Did you mean 'NextStep'"),
        ({"array": "jax"}, "array='jax' is unknown. Known: 'numpy', 'torch'"),
        ({"render_mode": "human"}, "render_mode='human' is unknown. Known: 'rgb_array'"),
        ({"num_context": 9, "memory_capacity": 8}, "num_context=9 is larger than memory_capacity=8.*Lower"),
        ({"tour": 8, "memory_capacity": 8}, "tour=8 frames and the first frame do not fit.*at most 7"),
        ({"device": "gpu"}, "device='gpu' is not a torch device"),
        ({"task": "raom"}, "task='raom' is unknown. Did you mean 'roam'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_vec(**kwargs)


def test_arguments_are_those_of_the_single_environment():
    with pytest.raises(ValueError, match=r"kwargs key='num_contexts' is unknown\. Did you mean 'num_context'\?"):
        make_vec(num_contexts=3)
    for misspelt, meant in (("taks", "task"), ("autoreset", "autoreset_mode"), ("heigth", "height")):
        with pytest.raises(ValueError, match=rf"kwargs key='{misspelt}' is unknown\. Did you mean '{meant}'\?"):
            gym.make_vec("CtxMemTrueScene-v0", 2, **{misspelt: 1})
    assert vars(make_vec(model="nano", tour=12).settings).keys() == vars(make().unwrapped.settings).keys()
    one, other = gym.make_vec("CtxMemScene-v0", 2).settings, gym.make("CtxMemScene-v0").unwrapped.settings
    names = vars(one).keys() - {"task", "actions"}
    assert {name: vars(one)[name] for name in names} == {name: vars(other)[name] for name in names}


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="device='cuda:99' is not available here"):
        make_vec(device="cuda:99").reset(seed=0)


@pytest.mark.parametrize(
    ("actions", "bad", "message"),
    [
        ("discrete", [1, 9, 1], r"world 1: action=\[9\].*expected one integer from 0 to 8.*No world has moved"),
        ("discrete", [1, 1, -1], "world 2: action="),
        ("discrete", [1, "left", 1], r"world 1: action=\['left'\]"),
        ("discrete", [1, [1, 2], 1], "world 1: action="),
        ("discrete", np.array([1.0, 1.0, 1.0]), "world 0: action="),
        ("discrete", torch.tensor([1, 1, 9]), r"world 2: action=\[9\]"),
        ("discrete", [1, 1], "actions holds 2 entries; expected one action a world, 3 in all"),
        ("discrete", 1, "actions is a int; expected one action a world"),
        ("discrete", np.array(1), "actions is a ndarray; expected one action a world"),
        ("continuous", np.array([[0] * 4, [0] * 4, [0, np.nan, 0, 0]]), "world 2: action=.*four finite numbers"),
        ("continuous", [[0] * 4, [0] * 3, [0] * 4], "world 1: action="),
        ("continuous", np.zeros((N, 5)), "world 0: action=.*shape"),
        ("continuous", np.array([[0] * 4, [0, 0, 2, 0], [0] * 4]), "world 1: action="),
    ],
)
def test_an_action_that_is_wrong_for_one_world_moves_none(actions, bad, message):
    envs, undisturbed = make_vec(actions=actions), make_vec(actions=actions)
    good = np.full(N, FORWARD) if actions == "discrete" else np.full((N, 4), 0.5, np.float32)
    for each in (envs, undisturbed):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(bad)
    assert_same(envs.step(good), undisturbed.step(good))


def test_the_action_of_a_world_that_starts_over_is_ignored():
    envs = make_vec(max_episode_steps=2, actions="continuous")
    walk(envs, actions=[np.zeros((N, 4))] * 2)
    _, rewards, terminations, truncations, _ = envs.step(np.full((N, 4), np.nan))
    assert not (rewards.any() or terminations.any() or truncations.any())
    with pytest.raises(ValueError, match="world 0: action="):
        envs.step(np.full((N, 4), np.nan))


def test_a_world_that_starts_over_remembers_nothing_of_that_step():
    envs = make_vec(max_episode_steps=2, tour=0)
    walk(envs, steps=1)
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.step(np.full(N, FORWARD))
    memory, remembered = envs.world.memory, []
    append = memory.append
    memory.append = lambda frames, *rest, **kwargs: remembered.append(len(frames)) or append(frames, *rest, **kwargs)
    envs.step(np.full(N, FORWARD))
    assert remembered == [1, 1, 1]  # the world that went on, then the first frames of the two others
    assert memory.lengths.tolist() == [3, 1, 1]


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        ({"seed": [1, 2]}, "seed holds 2 entries; expected one a world, 3 in all"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"seed": [1, 2.5, 3]}, r"seed\[1\]=2.5 is a float"),
        ({"options": [1]}, r"options=\[1\] is a list; expected a dict"),
        ({"options": {"scenes": 1}}, "reset option='scenes' is unknown. Did you mean 'scene'"),
        ({"options": {"worlds": [{}, {}]}}, r"options\['worlds'\]=.*expected a list of 3 dicts or None"),
        ({"options": {"worlds": [{}, 3, {}]}}, r"options\['worlds'\]=.*expected a list of 3 dicts or None"),
        ({"options": {"worlds": [{}, {"scene": -1}, {}]}}, r"world 1: options\['scene'\]=-1 is out of range"),
        ({"options": {"worlds": [{}, {}, {"pose": (500, 500, 1, 0, 0, 0)}]}}, r"world 2: options\['pose'\] stands at"),
        ({"options": {"reset_mask": np.zeros(N, bool)}}, "with 0 worlds to reset; expected bool .* at least one True"),
        ({"options": {"reset_mask": [0, 1, 0]}}, r"options\['reset_mask'\] is int64.*expected bool of shape \(3,\)"),
        ({"options": {"reset_mask": np.ones(2, bool)}}, r"options\['reset_mask'\] is bool of shape \(2,\)"),
    ],
)
def test_a_reset_that_is_refused_leaves_every_world_as_it_is(reset, message):
    envs, undisturbed = make_vec(max_episode_steps=3), make_vec(max_episode_steps=3)
    for each in (envs, undisturbed):
        walk(each, steps=1)
    with pytest.raises(ValueError, match=message):
        envs.reset(**reset)
    for _ in range(4):  # into the next episode, whose randomness is to be the same too
        assert_same(envs.step(np.full(N, FORWARD)), undisturbed.step(np.full(N, FORWARD)))


def test_depth_that_is_none_leaves_the_worlds_before_it_as_they_are_too(monkeypatch):
    envs, undisturbed = make_vec(task="point_goal"), make_vec(task="point_goal")
    for each in (envs, undisturbed):
        walk(each, steps=1)
    monkeypatch.setattr(PoseGenerator, "estimate_depth", lambda *_: torch.full((1, 48, 48), torch.nan))
    with pytest.raises(ValueError, match="world 2: estimate_depth of the generator gave shape"):
        envs.reset(options={"worlds": [{"scene": 5}, {}, {"image": np.zeros((48, 48, 3), np.uint8)}]})
    assert_same(envs.step(np.full(N, FORWARD)), undisturbed.step(np.full(N, FORWARD)))


def test_true_scenes_refuse_photographs_for_any_world():
    envs, image = make_vec(env_id="CtxMemTrueScene-v0"), np.zeros((8, 8, 3), np.uint8)
    for options in ({"image": image}, {"worlds": [None, {"image": image}, None]}):
        with pytest.raises(ValueError, match="no true scene behind it"):
            envs.reset(options=options)


def test_worlds_are_reset_before_they_are_stepped():
    envs = make_vec(autoreset_mode="Disabled", max_episode_steps=2, render_mode="rgb_array")
    actions = np.full(N, FORWARD)
    for call in (lambda: envs.step(actions), envs.render, lambda: envs.world):
        with pytest.raises(ResetNeeded, match="call reset"):
            call()
    with pytest.raises(ResetNeeded, match="never reset; reset all of them first"):
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.reset(seed=0)
    envs.step(actions)
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.step(actions)
    with pytest.raises(ResetNeeded, match=r"worlds \[1, 2\] have ended; reset them with options\['reset_mask'\]"):
        envs.step(actions)
    envs.reset(options={"reset_mask": torch.tensor([False, True, True])})
    assert envs.step(actions)[3].tolist() == [True, False, False]


def test_full_memory_names_the_numbers_that_would_fit():
    message = r"worlds do not fit into memory\. A remembered frame of 48 x 48 pixels takes 11,520 bytes.*stays below"
    beyond_any_address = 20 * 10**12
    with pytest.raises(ValueError, match=message):
        make_vec(beyond_any_address, memory_capacity=64)  # NumPy has no room for the spaces
    with pytest.raises(ValueError, match=message):
        open_worlds(make_vec().settings, beyond_any_address)  # torch has none for the memory
    memory = SceneWorld(PoseGenerator(), 2, memory_capacity=10).memory
    assert memory._frames.nbytes + memory._depth.nbytes == 2 * 10 * 11_520


def test_another_error_while_worlds_are_made_stays_what_it_is(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("the driver is too old")

    monkeypatch.setattr("ctxmem_env.opening.SceneWorld", fail)
    with pytest.raises(RuntimeError, match="the driver is too old"):
        make_vec().reset(seed=0)
