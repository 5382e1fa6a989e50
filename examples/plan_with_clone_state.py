"""Plan by trying: go to where a picture was taken by walking many ways in the model's imagination first.

Random shooting: from the present state some random ways are walked and taken back, and the first actions of the one
that paid most are carried out. `clone_state` keeps the moment to come back to; no frame is copied for it.

python examples/plan_with_clone_state.py
"""

import argparse

import gymnasium as gym
import numpy as np

import ctxmem_env  # noqa: F401  registers the environments


def best_way(env: gym.Env, ways: int, length: int, rng: np.random.Generator) -> tuple[list[int], float]:
    """The actions that paid most, of `ways` random ones of at most `length` steps, and what they paid."""
    present, best = env.clone_state(), ([], -np.inf)
    for _ in range(ways):
        # Every action is held for two steps, which leads further than a new one at each step.
        actions, paid = rng.integers(1, 7, -(-length // 2)).repeat(2)[:length].tolist(), 0.0
        for steps, action in enumerate(actions, 1):
            _, reward, terminated, _, _ = env.step(action)
            paid += reward
            if paid > best[1]:
                best = actions[:steps], paid
            if terminated:
                break
        env.restore_state(present)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=60, help="at most so many steps")
    parser.add_argument("--ways", type=int, default=16, help="tried before each of them is chosen")
    parser.add_argument("--length", type=int, default=8, help="of a way, in steps")
    args = parser.parse_args()

    # States are those of the environment itself, not of the wrappers around it.
    env = gym.make("CtxMemScene-v0", model=args.model, task="image_goal").unwrapped
    _, info = env.reset(seed=0)
    rng, taken = np.random.default_rng(0), 0
    print(f"the goal is {info['distance_to_goal']:.2f} m away")
    while taken < args.steps and not info["success"]:
        actions, paid = best_way(env, args.ways, args.length, rng)
        for action in actions[: args.steps - taken]:
            info = env.step(action)[4]
        taken += len(actions)
        print(f"step {taken}: {info['distance_to_goal']:.2f} m; the way was expected to pay {paid:.2f}")
    print("arrived" if info["success"] else "not arrived")


if __name__ == "__main__":
    main()
