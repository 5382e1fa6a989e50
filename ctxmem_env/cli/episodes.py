"""Episodes that a policy walks, for `ctxmem collect`, and a Minari dataset of them, for offline learning.

A dataset holds what `gym.make` of its specification gives: observations, one more than there are actions, and actions,
rewards, terminations and truncations. Pictures are kept as they are, not as JPEG.
"""

import importlib.util
import warnings
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from ctxmem_env.cli import Collect
from ctxmem_env.errors import check_integer
from ctxmem_env.policies import Policy, check_policy, environment_arguments, make_policy

IDS = {"generated": "CtxMemScene-v0", "true": "CtxMemTrueScene-v0"}


def make_environment(command: Collect, policy: str, arguments: dict) -> tuple[gym.Env, Policy]:
    """The environment that a command asks for, and the policy of that name, which fits it; ValueError otherwise.

    arguments: go before those that the policy needs.
    """
    acting = make_policy(policy)
    kwargs = environment_arguments(acting) | {"task": command.task or "roam", "max_episode_steps": command.steps}
    if command.env == "generated":
        kwargs["model"] = command.model
    env = gym.make(IDS[command.env], **kwargs | arguments)
    spaces = env.observation_space, env.action_space
    check_policy(acting, kwargs["task"], (kwargs | arguments)["observation"], kwargs["actions"], *spaces)
    return env, acting


def walk(env: gym.Env, policy: Policy, seed: int, scene: int | None, steps: list | None = None) -> Iterator[Any]:
    """Observations of one episode; `steps` gets for each step action, reward, termination and truncation."""
    observation, _ = env.reset(seed=seed, options=None if scene is None else {"scene": scene})
    yield observation
    state, starts, ended = None, np.array([True]), False
    while not ended:
        actions, state = policy.predict(_batch(observation), state, starts)
        action = int(actions[0]) if np.asarray(actions).ndim == 1 else np.asarray(actions)[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        if steps is not None:
            steps.append((action, float(reward), terminated, truncated))
        starts, ended = np.array([False]), terminated or truncated
        yield observation


def _batch(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: np.asarray(part)[None] for name, part in observation.items()}
    return observation[None]


def collect_minari(command: Collect) -> dict:
    """Write `episodes` episodes of a policy as a Minari dataset; episode i has the seed `seed` + i.

    ValueError where Minari is missing, the folder is not new or empty, or the policy does not fit.
    """
    if importlib.util.find_spec("minari") is None or importlib.util.find_spec("h5py") is None:
        raise ValueError("format='minari' needs Minari, which is not installed; pip install 'ctxmem-env[minari]'.")
    from minari.data_collector.episode_buffer import EpisodeBuffer

    from ctxmem_env.captures.write import new_folder

    episodes = check_integer("episodes", 10 if command.episodes is None else command.episodes, 1)
    name = command.policy or "random"
    env, policy = make_environment(command, name, {})
    # Minari joins a relative folder to itself.
    storage = _new_dataset(new_folder(command.out).resolve(), command, name, env)
    returns, total = [], 0
    for i in tqdm(range(episodes), desc="collect", unit="episode", disable=command.quiet, dynamic_ncols=True):
        steps: list = []
        seen = list(walk(env, policy, command.seed + i, command.scene, steps))
        actions, rewards, terminations, truncations = map(list, zip(*steps, strict=True))
        options = None if command.scene is None else {"scene": command.scene}
        observations = {key: [one[key] for one in seen] for key in seen[0]} if isinstance(seen[0], dict) else seen
        data = (observations, actions, rewards, terminations, truncations)
        storage.update_episodes([EpisodeBuffer(i, command.seed + i, options, *data)])
        returns.append(sum(rewards))
        total += len(steps)
    env.close()
    return {
        "format": "minari",
        "episodes": episodes,
        "steps": total,
        "mean_return": round(float(np.mean(returns)), 4),
        "policy": name,
        "task": command.task or "roam",
        "env": IDS[command.env],
        "seed": command.seed,
        "scene": command.scene,
        "out": str(command.out),
    }


def _new_dataset(folder: Path, command: Collect, policy: str, env: gym.Env) -> Any:
    import minari
    from minari.dataset.minari_storage import MinariStorage

    task = command.task or "roam"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an author and a home page, which are the user's to add
        storage = MinariStorage.new(
            folder, env.observation_space, env.action_space, env.spec, data_format="hdf5", jpeg_encoding=False
        )
    true = deepcopy(gym.spec(IDS["true"]))  # that of the registry is not to be changed
    shared = {key: value for key, value in env.spec.kwargs.items() if key != "model"}
    true.kwargs, true.max_episode_steps = {**true.kwargs, **shared}, command.steps
    storage.update_metadata(
        {
            "dataset_id": f"ctxmem/{task.replace('_', '-')}-{command.env}/{Path(policy).stem}-v0",
            "minari_version": minari.__version__,
            "algorithm_name": policy,
            "description": f"Episodes of {policy} in {IDS[command.env]}, task {task}.",
            "requirements": ["ctxmem-env"],
            "eval_env_spec": true.to_json(),
        }
    )
    return storage
