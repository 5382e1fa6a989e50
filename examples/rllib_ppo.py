"""PPO of Ray RLlib over remote env runners, each of which holds a batch of generated worlds.

The worlds of a runner are one vector environment, so that its step is one call of the generator for all of them. The
task "roam" pays no reward; a wrapper pays one for standing where the camera has not been before.

pip install -e ".[rllib]"
python examples/rllib_ppo.py --runners 2 --envs-per-runner 8 --iterations 10
"""

import argparse

import gymnasium as gym
import numpy as np
from gymnasium.wrappers.vector import DtypeObservation, RescaleObservation
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune import register_env


class NewPlaces(gym.vector.VectorWrapper):
    """Reward 1 for each square of half a metre that a camera enters for the first time."""

    def reset(self, **kwargs):
        observations, infos = self.env.reset(**kwargs)
        self.visited = [{square} for square in self.squares(infos)]
        self.ended = np.zeros(self.num_envs, bool)
        return observations, infos

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        for world, square in enumerate(self.squares(infos)):
            if self.ended[world]:  # this step has opened a new world
                self.visited[world] = {square}
            rewards[world] = square not in self.visited[world]
            self.visited[world].add(square)
        self.ended = terminations | truncations
        return observations, rewards, terminations, truncations, infos

    @staticmethod
    def squares(infos):
        return [tuple(square) for square in (infos["pose"][:, :2] // 0.5).astype(int).tolist()]


def make_worlds(config):
    """What an env runner steps; RLlib adds num_envs to its env_config."""
    worlds = gym.make_vec(
        "ctxmem_env:CtxMemScene-v0",  # the module's name has a remote process import it
        num_envs=config["num_envs"],
        vectorization_mode="vector_entry_point",
        model=config["model"],
        max_episode_steps=config["max_episode_steps"],
    )
    return RescaleObservation(DtypeObservation(NewPlaces(worlds), np.float32), np.float32(-1), np.float32(1))


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
    config = (
        PPOConfig()
        .environment("generated_worlds", env_config={"model": args.model, "max_episode_steps": args.episode})
        .env_runners(
            num_env_runners=args.runners,
            num_envs_per_env_runner=args.envs_per_runner,
            gym_env_vectorize_mode="vector_entry_point",
        )
        .training(train_batch_size_per_learner=args.steps, minibatch_size=min(128, args.steps), num_epochs=4)
    )
    algorithm = config.build_algo()
    for iteration in range(1, args.iterations + 1):
        results = algorithm.train()
        sampled = results["env_runners"]
        print(
            f"iteration {iteration}: {sampled['num_env_steps_sampled_lifetime']:.0f} env-steps, "
            f"return {sampled.get('episode_return_mean', float('nan')):.2f}"
        )
    algorithm.stop()


if __name__ == "__main__":
    main()
