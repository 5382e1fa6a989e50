"""Policies take the observation of one world as well as a batch of them, as those of Stable-Baselines3 do."""

import gymnasium as gym
import numpy as np
import pytest

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.policies import POLICIES, NetworkPolicy, RandomActions, make_policy, packaged_policies

TASKS = {"wall_follower": "explore", "homing": "look_back", "ppo_explore": "explore"}  # point_goal for the others
STEPS = 8


def make_env(task="point_goal", **kwargs):
    return gym.make("CtxMemTrueScene-v0", task=task, **{"observation": "dict", "tour": 0} | kwargs)


def batch_of_one(observation):
    return {name: value[None] for name, value in observation.items()}


def assert_in(space, action):
    """The action is one that the space could have sampled, of the same type."""
    assert space.contains(action)
    if isinstance(action, dict):
        for name in action:
            assert_in(space[name], action[name])
    else:
        sample = space.sample()
        assert (type(action), action.dtype, action.shape) == (type(sample), sample.dtype, sample.shape)


@pytest.mark.parametrize("name", [*POLICIES, *packaged_policies()])
def test_one_observation_gets_the_action_of_a_batch_of_one(name):
    """In an episode and in the next one, with what the policy remembers."""
    env, one, batch = make_env(TASKS.get(name, "point_goal")), make_policy(name), make_policy(name)
    state = batch_state = None
    for episode in range(2):
        observation, _ = env.reset(seed=episode)
        for step in range(STEPS):
            start = np.array([step == 0])
            action, state = one.predict(observation, state, start if episode else start[0])
            wanted, batch_state = batch.predict(batch_of_one(observation), batch_state, start)
            assert_in(env.action_space, action)
            assert action == wanted[0]
            observation, *_ = env.step(action)
    env.close()


@pytest.mark.parametrize("actions", ["discrete", "continuous", "keyboard_mouse"])
@pytest.mark.parametrize("observation", ["rgb", "dict"])
def test_one_random_action_is_a_sample_of_the_space(actions, observation):
    env = make_env("roam", actions=actions, observation=observation, height=32, width=32)
    seen, _ = env.reset(seed=0)
    action, _ = RandomActions(0, actions).predict(seen)
    assert_in(env.action_space, action)
    env.step(action)
    env.close()


def test_a_picture_that_is_a_goal_and_a_picture_alone_are_one_observation():
    encoder = {"images": ["rgb", "goal"], "height": 36, "width": 36, "features": 8}
    picture = np.random.default_rng(0).integers(256, size=(36, 36, 3), dtype=np.uint8)
    both, alone = NetworkPolicy("look_back", encoder, (4,)), NetworkPolicy("roam", encoder | {"images": ["rgb"]}, (4,))
    for policy, one in ((both, {"rgb": picture, "goal": picture}), (alone, {"rgb": picture}), (alone, picture)):
        batch = batch_of_one(one) if isinstance(one, dict) else one[None]
        action, _ = policy.predict(one, deterministic=True)
        assert action.shape == () and action == policy.predict(batch, deterministic=True)[0][0]


def test_a_goal_alone_is_told_from_a_batch_of_them():
    policy = make_policy("turn_and_go")
    assert policy.predict({"goal": np.array([2.0, 1.0])})[0].shape == ()
    assert policy.predict({"goal": np.array([[2.0, 1.0]])})[0].shape == (1,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"depth": (1, 64, 64, 1)},
            r"shapes: 'depth' \(1, 64, 64, 1\), .*'rgb' \(64, 64, 3\); expected all parts of one",
        ),
        ({"goal": (1, 2)}, r"has 'goal' of shape \(1, 1, 2\), worlds first; NetworkPolicy expects \(N, numbers\) or"),
    ],
)
def test_parts_of_one_world_and_of_a_batch_get_one_clear_error(changes, message):
    shapes = {"rgb": (64, 64, 3), "depth": (64, 64, 1), "pose": (6,), "goal": (2,)} | changes
    observation = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        make_policy("ppo_point_goal").predict(observation)


def test_starts_of_a_batch_are_refused_with_one_observation():
    with pytest.raises(ValueError, match="episode_start holds 3 entries; expected 1"):
        make_policy("turn_and_go").predict({"goal": np.array([2.0, 1.0])}, episode_start=np.ones(3, bool))


def test_logits_are_those_of_batches():
    observation = {"depth": np.ones((64, 64, 1), np.float32), "goal": np.ones(2, np.float32)}
    with pytest.raises(ValueError, match=r"has 'depth' of shape \(64, 64, 1\), worlds first; .* \(N, H, W, 1\) of N"):
        make_policy("ppo_point_goal").logits(observation)
