"""PPO of Stable-Baselines3 in a generated world. A few steps only: it shows how the two fit together.

The task "roam" pays no reward, so a wrapper pays one for standing where the camera has not been before.

pip install -e ".[agents]"
python agents/ppo.py --steps 256
"""

import argparse

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor

import ctxmem_env  # noqa: F401  registers the environments


class NewPlaces(gym.Wrapper):
    """Reward 1 for each square of half a metre that the camera enters for the first time."""

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        self.visited = {self.square(info)}
        return observation, info

    def step(self, action):
        observation, _, terminated, truncated, info = self.env.step(action)
        reward = float(self.square(info) not in self.visited)
        self.visited.add(self.square(info))
        return observation, reward, terminated, truncated, info

    @staticmethod
    def square(info):
        return tuple((info["pose"][:2] // 0.5).astype(int).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=256)
    args = parser.parse_args()

    env = Monitor(NewPlaces(gym.make("CtxMemScene-v0", model=args.model, max_episode_steps=64)))
    agent = PPO("CnnPolicy", env, n_steps=64, batch_size=32, n_epochs=2, seed=0, verbose=1)
    agent.learn(args.steps)
    print(f"{args.steps} steps, returns of the episodes: {env.get_episode_rewards()}")


if __name__ == "__main__":
    main()
