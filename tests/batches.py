"""Batches of small worlds, walks in them and their comparison, for the tests."""

import gymnasium as gym
import numpy as np

import ctxmem_env  # noqa: F401  (registers the ids)
from ctxmem_env.testing import PoseGenerator

N = 3


def make_vec(num_envs=N, env_id="CtxMemScene-v0", **kwargs):
    small = {"model": PoseGenerator()} if env_id == "CtxMemScene-v0" else {"height": 48, "width": 48}
    return gym.make_vec(env_id, num_envs, **{"tour": 2, **small, **kwargs})


def make_sync(num_envs=N, mode="NextStep", **kwargs):
    return make_vec(num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **kwargs)


def walk(envs, steps=11, seed=0, actions=None, **reset):
    """What a reset and steps return, the actions the same for every call."""
    rng = np.random.default_rng(0)
    if actions is None:
        actions = [rng.integers(0, 9, envs.num_envs) for _ in range(steps)]
    return [envs.reset(seed=seed, **reset), *(envs.step(action) for action in actions)]


def assert_same(one, other, **tolerance):
    """The same structure, types and values; values of real numbers within a tolerance, if there is one."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = zip(*((one[key], other[key]) for key in one), strict=True) if one else ((), ())
    if isinstance(one, list | tuple) or (isinstance(one, np.ndarray) and one.dtype == object):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, **tolerance)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        check = np.testing.assert_allclose if tolerance and one.dtype.kind == "f" else np.testing.assert_array_equal
        check(one, other, **(tolerance if check is np.testing.assert_allclose else {}))
    else:
        assert one == other
