"""PPO of Ray RLlib over remote env runners, each of which holds a batch of generated worlds.

The worlds of a runner are one vector environment, so that its step is one call of the generator for all of them.

pip install -e ".[rllib]"
python examples/rllib_ppo.py --runners 2 --envs-per-runner 8 --iterations 10
"""

import argparse

import gymnasium as gym
import numpy as np
from gymnasium.wrappers.vector import DtypeObservation, RescaleObservation
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune import register_env


def make_worlds(config):
    """What an env runner steps; RLlib adds num_envs to its env_config. Its network takes floats from -1 to 1."""
    # The module's name has a remote process import it.
    name, kind = "ctxmem_env:CtxMemScene-v0", "vector_entry_point"
    worlds = gym.make_vec(name, vectorization_mode=kind, task="explore", **config)
    return RescaleObservation(DtypeObservation(worlds, np.float32), np.float32(-1), np.float32(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--runners", type=int, default=2, help="processes that hold worlds")
    parser.add_argument("--envs-per-runner", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1024, help="env-steps of an iteration")
    parser.add_argument("--episode", type=int, default=64, help="steps of an episode")
    args = parser.parse_args()

    register_env("generated_worlds", make_worlds)
    batches = {"gym_env_vectorize_mode": "vector_entry_point", "num_envs_per_env_runner": args.envs_per_runner}
    # RLlib drops what a runner sampled for longer than a minute, and samples again; a slow machine is waited for.
    batches["sample_timeout_s"] = None
    learning = {"train_batch_size_per_learner": args.steps, "minibatch_size": min(128, args.steps), "num_epochs": 4}
    config = PPOConfig().environment(
        "generated_worlds", env_config={"model": args.model, "max_episode_steps": args.episode}
    )
    config = config.env_runners(num_env_runners=args.runners, **batches).training(**learning)
    algorithm = config.build_algo()
    for iteration in range(1, args.iterations + 1):
        sampled = algorithm.train()["env_runners"]
        steps, paid = sampled["num_env_steps_sampled_lifetime"], sampled.get("episode_return_mean", float("nan"))
        print(f"iteration {iteration}: {steps:.0f} env-steps, return {paid:.2f}")
    algorithm.stop()


if __name__ == "__main__":
    main()
