"""A vector environment that random actions drive: what a policy's rate is compared with."""

import time

import gymnasium as gym

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.bench.machine import synchronize

WARM_UP = 15  # steps, after which most frames that worlds use again are encoded
MAX_EPISODE_STEPS = 1_000_000  # no episode ends while a clock runs
_ENV_ID = "CtxMemScene-v0"
_SEED = 0


class RandomWalk:
    """`num_envs` worlds behind `gym.make_vec`, each opened by one true frame and walked in at random."""

    def __init__(self, num_envs: int, **arguments) -> None:
        self.envs = gym.make_vec(_ENV_ID, num_envs=num_envs, tour=0, max_episode_steps=MAX_EPISODE_STEPS, **arguments)
        self.envs.action_space.seed(_SEED)
        self.envs.reset(seed=_SEED)
        self.seconds(WARM_UP)

    def seconds(self, steps: int) -> float:
        """How long that many steps of all worlds take."""
        synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            self.envs.step(self.envs.action_space.sample())
        synchronize()
        return time.perf_counter() - began

    def close(self) -> None:
        self.envs.close()
