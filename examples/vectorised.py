"""Many worlds in one batch: one call of the model paints a view of each, and one episode's end touches no other.

python examples/vectorised.py --num-envs 16 --out vectorised.png
"""

import argparse
import time

import gymnasium as gym
import numpy as np
from PIL import Image

import ctxmem_env  # noqa: F401  registers the environments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", default="vectorised.png")
    args = parser.parse_args()

    envs = gym.make_vec(
        "CtxMemScene-v0", num_envs=args.num_envs, model=args.model, task="explore", max_episode_steps=30
    )
    observations, infos = envs.reset(seed=0)
    envs.action_space.seed(0)
    first, ended, began = observations.copy(), 0, time.perf_counter()
    for _ in range(args.steps):
        observations, _, terminations, truncations, infos = envs.step(envs.action_space.sample())
        ended += int((terminations | truncations).sum())  # such a world opens anew with the next step
    rate = args.steps * args.num_envs / (time.perf_counter() - began)
    envs.close()

    rows = [np.concatenate(list(frames), axis=1) for frames in (first, observations)]
    Image.fromarray(np.concatenate(rows)).save(args.out)
    print(f"{rate:.0f} env-steps a second, {ended} episodes ended, {infos['seen_area'].mean():.1f} m² seen; {args.out}")


if __name__ == "__main__":
    main()
