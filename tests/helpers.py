"""Small environments and walks for the tests."""

import gymnasium as gym

import ctxmem_env  # noqa: F401  (registers the ids)
from ctxmem_env.tasks import Task
from ctxmem_env.testing import PoseGenerator

IDS = ("CtxMemScene-v0", "CtxMemTrueScene-v0")
FORWARD, TURN_LEFT, TURN_RIGHT = 1, 5, 6


def make(env_id="CtxMemScene-v0", **kwargs):
    """A small environment: the weights' place is taken by a generator that paints what it was asked."""
    small = {"model": PoseGenerator()} if env_id == "CtxMemScene-v0" else {"height": 48, "width": 48}
    return gym.make(env_id, **{"tour": 2, **small, **kwargs})


def walk(env, actions, seed=0, **options):
    """Observations of a reset and of the given actions."""
    observations = [env.reset(seed=seed, options=options or None)[0]]
    return observations + [env.step(action)[0] for action in actions]


class Escape(Task):
    """Reward for metres from the origin, and the end beyond a line that some worlds cross sooner than others."""

    def evaluate(self, poses, frames, depth):
        return poses[:, :2].norm(dim=-1), poses[:, 3].abs() > 0.7
