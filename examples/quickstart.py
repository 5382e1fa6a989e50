"""Take 50 random steps in a generated world and save what was seen.

python examples/quickstart.py --out quickstart.png
"""

import argparse

import gymnasium as gym
import numpy as np
from PIL import Image

import ctxmem_env  # noqa: F401  registers the environments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", default="quickstart.png")
    args = parser.parse_args()

    env = gym.make("CtxMemScene-v0", model=args.model)
    observation, info = env.reset(seed=0)
    env.action_space.seed(0)
    frames = [observation]
    for _ in range(args.steps):
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        frames.append(observation)
        if terminated or truncated:
            observation, info = env.reset()
    env.close()

    shown = frames[:: max(1, len(frames) // 10)]
    Image.fromarray(np.concatenate(shown, axis=1)).save(args.out)
    print(f"{len(frames)} frames, the camera ended at {np.round(info['pose'], 2).tolist()}; saved {args.out}")


if __name__ == "__main__":
    main()
