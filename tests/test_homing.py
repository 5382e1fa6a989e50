"""Homing by sight: it finds the place whose view it keeps, and none where nothing looks as it did."""

import gymnasium as gym
import numpy as np
import pytest

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.evaluation.policies import evaluate_policy
from ctxmem_env.policies import VisualHoming
from ctxmem_env.policies.homing import _way
from ctxmem_env.policies.moves import FORWARD, TURN_LEFT, TURN_RIGHT


def walk(env, observation, actions):
    for action in actions:
        observation, *_ = env.step(action)
    return observation


def look_for_home(away, seed=2):
    """What homing finds after `away` actions in a true scene, and the pose of home as it is seen from there."""
    env = gym.make("CtxMemTrueScene-v0", tour=0, observation="rgbd", collisions=False)
    observation, info = env.reset(seed=0, options={"scene": 1_000_000 + seed})
    home, policy = info["pose"], VisualHoming()
    _, (walker,) = policy.predict(
        {name: value[None] for name, value in observation.items()} | {"goal": np.ones((1, 1))}
    )
    here = walk(env, observation, away)
    circle = []
    for _ in range(24):
        circle.append((here["rgb"] / 255, here["depth"][..., 0]))
        here, *_, info = env.step(TURN_LEFT)
    walker.circle = circle
    x, y = home[:2] - info["pose"][:2]
    cos, sin = np.cos(info["pose"][3]), np.sin(info["pose"][3])
    turn = (home[3] - info["pose"][3] + np.pi) % (2 * np.pi) - np.pi
    env.close()
    return policy._find(walker), (cos * x + sin * y, cos * y - sin * x, np.degrees(turn))


@pytest.mark.parametrize(
    "away", [[], [TURN_RIGHT] * 7, [FORWARD] * 5, [TURN_LEFT] * 5 + [FORWARD] * 4 + [TURN_LEFT] * 3]
)
def test_home_is_found_where_it_is(away):
    (ahead, left, turns), wanted = look_for_home(away)
    assert (ahead, left) == pytest.approx(wanted[:2], abs=0.3)
    assert (turns * 15 - wanted[2] + 180) % 360 - 180 == pytest.approx(0, abs=20)


def test_a_way_leads_where_it_says():
    for ahead, left, turns in [(1.0, 0.0, 0), (0.0, 0.75, 4), (-0.5, -0.5, 20), (0.0, 0.0, 13), (1.5, -1.5, 12)]:
        x, y, yaw = 0.0, 0.0, 0
        for action in _way(ahead, left, turns):
            if action == FORWARD:
                x, y = x + 0.25 * np.cos(np.radians(yaw)), y + 0.25 * np.sin(np.radians(yaw))
            yaw += {TURN_LEFT: 15, TURN_RIGHT: -15}.get(action, 0)
        assert (x, y) == pytest.approx((ahead, left), abs=0.3)
        assert (yaw - 15 * turns) % 360 == 0


def test_it_comes_home_in_true_scenes():
    figures = evaluate_policy(
        VisualHoming(), "CtxMemTrueScene-v0", "look_back", 6, 120, "validation", quiet=True, tour=0, sliding=True
    )["figures"]
    assert figures["success"]["mean"] >= 0.5  # 0.06 for random actions


def test_a_ceaselessly_changing_place_is_no_home():
    rng, policy, state, found = np.random.default_rng(0), VisualHoming(), None, []

    def noise(left):
        return {
            "rgb": rng.integers(256, size=(1, 64, 64, 3), dtype=np.uint8),
            "depth": rng.uniform(1, 6, (1, 64, 64, 1)).astype(np.float32),
            "goal": np.full((1, 1), left),
        }

    for step in range(100):
        actions, state = policy.predict(noise(float(step < 20)), state, np.array([step == 0]))
        found.append(int(actions[0]))
    assert set(found[20:43]) == {TURN_LEFT}  # it looks around
    assert set(found[43:]) - {TURN_LEFT}  # goes somewhere
