"""What a policy leaves of the rate of bare worlds: PPO of Stable-Baselines3 on a batch of them."""

import importlib.util

import numpy as np

from ctxmem_env.bench.measure import Stopwatch
from ctxmem_env.bench.random_walk import MAX_EPISODE_STEPS, RandomWalk
from ctxmem_env.device import resolve_device

# RL Zoo's for Atari, but for a shorter rollout.
HYPERPARAMETERS = {"n_epochs": 4, "batch_size": 256}
_PARTS = ("environment", "forward", "update")


def check_sb3() -> None:
    """ValueError where Stable-Baselines3 is missing."""
    if importlib.util.find_spec("stable_baselines3") is None:
        raise ValueError("sb3 needs stable-baselines3, which is not installed; pip install 'ctxmem-env[agents]'.")


def bench_ppo(num_envs: int = 8, rollout: int = 64, repeats: int = 5, device: str = "auto", **arguments) -> dict:
    """The rate of `PPO.learn` beside that of the bare vector environment, measured in turn, `repeats` times.

    Args:
        num_envs: worlds.
        rollout: steps of all worlds between two updates, and in one measurement.
        arguments: of the environment.

    Returns:
        num_envs, rollout, n_epochs, batch_size, learn_steps_per_second and bare_steps_per_second of all worlds
        together; ratio of the two; and what share of `learn` is spent in the environment_share, in the policy's
        forward_share and update_share, and in rest_share. Medians.

    Raises:
        ValueError: Stable-Baselines3 is not installed.
    """
    check_sb3()
    from stable_baselines3 import PPO

    from ctxmem_env.sb3 import make_sb3_vec_env

    bare = RandomWalk(num_envs, device=device, **arguments)
    own = {"tour": 0, "max_episode_steps": MAX_EPISODE_STEPS, "device": device, "render_mode": None}
    envs = make_sb3_vec_env(n_envs=num_envs, env_kwargs=own | arguments)
    options = HYPERPARAMETERS | {"batch_size": min(HYPERPARAMETERS["batch_size"], num_envs * rollout)}
    agent = PPO("CnnPolicy", envs, n_steps=rollout, **options, seed=0, device=resolve_device(device))
    watch = Stopwatch()
    for part, owner, method in zip(_PARTS, (agent.env, agent.policy, agent), ("step", "forward", "train"), strict=True):
        setattr(owner, method, watch.timed(part, getattr(owner, method)))
    learn, rounds = watch.timed("learn", agent.learn), []
    for _ in range(repeats + 1):
        watch.seconds.clear()
        learn(num_envs * rollout, reset_num_timesteps=False)
        rounds.append([*(watch.seconds[part] for part in ("learn", *_PARTS)), bare.seconds(rollout)])
    bare.close()
    envs.close()
    # In the first round the worlds are opened.
    total, *parts, alone = np.array(rounds[1:]).T
    shares = [*(part / total for part in parts), 1 - sum(parts) / total]
    steps = num_envs * rollout
    return {
        "num_envs": num_envs,
        "rollout": rollout,
        **options,
        "learn_steps_per_second": round(float(steps / np.median(total)), 2),
        "bare_steps_per_second": round(float(steps / np.median(alone)), 2),
        "ratio": round(float(np.median(alone / total)), 3),
        **_shares(shares, total),
    }


def _shares(shares: list[np.ndarray], total: np.ndarray) -> dict[str, float]:
    """Those of the median round, which add up to 1."""
    middle = np.argsort(total)[(len(total) - 1) // 2]
    return {
        f"{part}_share": round(float(share[middle]), 4) for part, share in zip((*_PARTS, "rest"), shares, strict=True)
    }
