"""Arguments, reset options and actions for the fuzzer; each function gets an empty folder and gives a `Target`."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
from PIL import Image

from ctxmem_env.selftest.target import Target


def small_env(**kwargs):
    """An environment of tiny frames, without weights and without the wrappers of `gymnasium.make`."""
    from ctxmem_env.env import GenerativeSceneEnv
    from ctxmem_env.testing import PoseGenerator

    return GenerativeSceneEnv(**{"model": PoseGenerator(16, 16), "tour": 1, "num_context": 2, **kwargs})


def arguments(folder: Path) -> Target:
    """Arguments of environments."""

    kinds = {"env": small_env, "true": _small_true, "vector": _small_vector}
    several = {"task": "look_back", "observation": "dict", "memory_capacity": 9, "retrieval": "recent", "fov": 60.0,
               "collisions": True, "body_radius": 0.1, "sliding": True, "seed_depth": "estimated", "device": "cpu",
               "eviction": "oldest", "num_steps": 1, "step_length": 0.1, "turn_angle": 30, "reward": "sparse",
               "actions": "continuous", "num_context": 3, "tour": 2, "render_mode": "rgb_array"}  # fmt: skip
    seeds = [{"env": {}}, {"env": several}, {"true": {"height": 16, "width": 16}}, {"vector": {"num_envs": 2}}]

    def run(data: bytes) -> None:
        for kind, kwargs in read_object(data).items():
            env = kinds[kind if kind in kinds else "env"](**read_object(kwargs))
            # A world of many frames takes its time, which is what was asked for.
            if env.settings.tour <= 3 and kind != "vector" and env.settings.height <= 64 and env.settings.width <= 64:
                env.reset(seed=0)
                observation = env.step(env.action_space.sample())[0]
                assert env.observation_space.contains(observation), "an observation outside of its space"

    return Target([json.dumps(seed).encode() for seed in seeds], run, (ValueError, OSError, TypeError))


def _small_true(**kwargs):
    from ctxmem_env.true_scene import TrueSceneEnv

    return TrueSceneEnv(**{"height": 16, "width": 16, "tour": 1, **kwargs})


def _small_vector(**kwargs):
    from ctxmem_env.testing import PoseGenerator
    from ctxmem_env.vector import GenerativeSceneVectorEnv

    return GenerativeSceneVectorEnv(**{"num_envs": 1, "model": PoseGenerator(16, 16), "tour": 1, **kwargs})


def reset_options(folder: Path) -> Target:
    """Seeds and options of reset; the present world must stay where they are refused."""
    env = small_env(task="point_goal")
    env.reset(seed=0)
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    seeds = [
        {"seed": 3, "options": {"scene": 5, "tour": 2, "pose": [0, 0, 1.5, 0, 0, 0], "fov": 70, "goal": [1.0, 2.0]}},
        {"seed": None, "options": {"scene": "library"}},
        {"options": {"image": str(folder / "a.png"), "distance": 3.0, "goal": [1, 1]}},
        {"options": {"capture": str(folder)}},
    ]

    def run(data: bytes) -> None:
        given = read_object(data)
        options = given.get("options")
        if isinstance(options, dict) and isinstance(options.get("tour"), int) and options["tour"] > 3:
            options["tour"] = options["tour"] if options["tour"] > 10**6 else 3
        track = env._track
        try:
            env.reset(seed=given.get("seed"), options=options)
        except Exception:
            assert env._track is track, "a world that is not the one before"
            raise

    return Target([json.dumps(seed).encode() for seed in seeds], run, (ValueError, OSError, gym.error.Error))


def actions(folder: Path) -> Target:
    """Actions of either space; the world must stay where they are refused."""
    envs = {name: small_env(actions=name) for name in ("discrete", "continuous")}
    for env in envs.values():
        env.reset(seed=0)
    moments = {name: env.clone_state() for name, env in envs.items()}

    def run(data: bytes) -> None:
        for kind, action in read_object(data).items():
            name = kind if kind in envs else "discrete"
            env = envs[name]
            steps = len(env._track)
            try:
                env.step(action)
            except Exception:
                assert len(env._track) == steps, "a world that went on"
                raise
            if steps > 50:
                env.restore_state(moments[name])

    seeds = [{"discrete": 1}, {"continuous": [0.1, 0, -1, 1]}, {"discrete": [3], "continuous": [[0, 0, 0, 0]]}]
    return Target([json.dumps(seed).encode() for seed in seeds], run)


def read_object(data: bytes | Any) -> dict:
    """A JSON object; ValueError for anything else."""
    try:
        value = json.loads(data) if isinstance(data, bytes) else data
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value
