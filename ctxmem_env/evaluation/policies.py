"""Policies in test scenes: one episode in each, many worlds in a batch."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from tqdm import tqdm

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.evaluation.metrics import mean_interval, wilson_interval
from ctxmem_env.policies import Policy, check_policy, environment_arguments
from ctxmem_env.scenes import SPLITS

ENV_IDS = ("CtxMemScene-v0", "CtxMemTrueScene-v0")
_WORLDS = 8  # that are stepped side by side
_LAST = ("success", "spl", "distance_to_goal", "seen_area")  # of an episode its last info tells them, if the task does


def evaluate_policy(
    policy: Policy,
    env_id: str = "CtxMemScene-v0",
    task: str = "point_goal",
    scenes: int = 32,
    max_episode_steps: int = 200,
    split: str = "test",
    seed: int = 0,
    deterministic: bool = False,
    quiet: bool = False,
    **env_kwargs: Any,
) -> dict:
    """One episode in each of the first `scenes` scenes of a split.

    Scene i is opened with seed + i, so that starts and goals are the same for every policy and in both environments
    (unless seed_depth="estimated": what the model sees of its tour is then its own estimate).

    Args:
        policy: see `ctxmem_env.policies.Policy`; it sets `observation` and `actions` of the environment.
        env_id: "CtxMemScene-v0" or "CtxMemTrueScene-v0".
        task: a name from `ctxmem_env.tasks.TASKS`.
        scenes: at least 2, for there is an interval.
        max_episode_steps: steps after which an episode is truncated.
        split: "train", "validation" or "test".
        seed: of the first scene's episode, at least 0.
        deterministic: as `Policy.predict` takes it. A policy that remembers nothing and draws nothing may go to and fro
            between two views for ever.
        quiet: no progress bar.
        env_kwargs: arguments of the environment.

    Returns:
        the arguments; `figures`, a dict of mean, low and high, the ends of the 95 % interval over episodes (that of
        Wilson for `success`), for `return`, `steps`, `collisions` (the share of steps that a surface cut short) and,
        where the task has them, `success`, `spl`, `distance_to_goal` (metres, at the end) and `seen_area` (m^2); and
        `episodes`, the values themselves in the order of `scene`, their seeds.

    Raises:
        ValueError: arguments that do not fit, or a policy that does not fit the environment.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    check_integer("scenes", scenes, 2, len(SPLITS[split]))
    check_integer("max_episode_steps", max_episode_steps, 1)
    check_integer("seed", seed, 0)
    seeds = list(SPLITS[split][:scenes])
    envs = make_worlds(policy, env_id, min(_WORLDS, scenes), task, max_episode_steps, **env_kwargs)
    try:
        episodes = run_episodes(policy, envs, seeds, seed, deterministic, quiet)
    finally:
        envs.close()
    shown = {name: value for name, value in env_kwargs.items() if isinstance(value, str | int | float | None)}
    return {
        "env_id": env_id,
        "task": task,
        "scenes": {"split": split, "seeds": [seeds[0], seeds[-1]]},
        "seed": seed,
        "max_episode_steps": max_episode_steps,
        "deterministic": deterministic,
        "env_kwargs": shown,
        "figures": {name: summarize(name, values) for name, values in episodes.items() if name != "scene"},
        "episodes": episodes,
    }


def make_worlds(
    policy: Policy, env_id: str, num_envs: int, task: str, max_episode_steps: int | None = None, **env_kwargs: Any
) -> gym.vector.VectorEnv:
    """Worlds in which the policy can act, autoreset mode DISABLED; ValueError where it does not fit `env_kwargs`."""
    if not isinstance(policy, Policy):
        raise ValueError(f"policy={policy!r} has no method predict; make one with ctxmem_env.policies.make_policy.")
    if env_id not in ENV_IDS:
        raise unknown_name("env_id", env_id, ENV_IDS)
    arguments = environment_arguments(policy) | env_kwargs
    envs = gym.make_vec(
        env_id,
        num_envs,
        task=task,
        max_episode_steps=max_episode_steps,
        autoreset_mode=AutoresetMode.DISABLED,
        **arguments,
    )
    spaces = envs.single_observation_space, envs.single_action_space
    check_policy(policy, task, arguments["observation"], arguments["actions"], *spaces)
    return envs


def run_episodes(
    policy: Policy, envs: gym.vector.VectorEnv, scenes: Sequence[int], seed: int, deterministic: bool, quiet: bool
) -> dict[str, list]:
    """One episode in each of the scenes; `envs` with autoreset mode DISABLED. Scene i is opened with seed + i.

    A world whose episode has ended goes on with the next scene. When none is left it is opened once more, since no
    world may rest while others step, and counts no further.
    """
    worlds, count = envs.num_envs, len(scenes)
    queue = iter(range(count))
    episode = np.full(worlds, count)  # of each world; the number `count` is that of episodes that do not count
    episodes: dict[str, list] = {"scene": list(scenes)}
    returns, steps, collisions = (np.zeros(count + 1) for _ in range(3))
    last: dict[str, np.ndarray] = {}

    def start(starting: np.ndarray) -> Any:
        for world in np.flatnonzero(starting):
            episode[world] = next(queue, count)
        opened = [min(number, count - 1) for number in episode.tolist()]
        options = {"worlds": [{"scene": scenes[number]} for number in opened], "reset_mask": starting}
        return envs.reset(seed=[seed + number for number in opened], options=options)[0]

    starting, state = np.ones(worlds, bool), None
    observation = start(starting)
    with tqdm(total=count, disable=quiet, desc="episodes", unit="episode") as progress:
        while (episode < count).any():
            actions, state = policy.predict(observation, state, starting, deterministic)
            observation, rewards, terminations, truncations, infos = envs.step(actions)
            starting = terminations | truncations
            returns[episode] += rewards
            steps[episode] += 1
            collisions[episode] += infos["collision"]
            for name in _LAST:
                if name in infos:
                    last.setdefault(name, np.zeros(count + 1))[episode] = infos[name]
            progress.update(int((starting & (episode < count)).sum()))
            if starting.any():
                observation = start(starting)
    figures = {"return": returns, "steps": steps, "collisions": collisions / steps.clip(1), **last}
    for name, values in figures.items():
        values = values[:count].tolist()
        episodes[name] = [int(value) for value in values] if name in ("steps", "success") else values
    return episodes


def summarize(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean of the episodes' values and the ends of its 95 % interval."""
    if name == "success":
        mean = sum(values) / len(values)
        low, high = wilson_interval(sum(values), len(values))
    else:
        mean, half = mean_interval(torch.tensor(values))
        low, high = mean - half, mean + half
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}
