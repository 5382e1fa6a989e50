"""Two cameras in one generated world: what the first has painted the second finds, though it comes from the other side.

The first camera turns to the left, the second one to the right until it looks where the first one did. In a world of
its own, where nobody has been on the left before, it paints something else.

pip install -e ".[pettingzoo]"
python examples/two_cameras.py --out two_cameras.png
"""

import argparse

import gymnasium as gym
import numpy as np
from PIL import Image

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.actions import DiscreteActions
from ctxmem_env.parallel import parallel_env

STAY, TURN_LEFT, TURN_RIGHT = (DiscreteActions.names.index(name) for name in ("stay", "turn_left", "turn_right"))


def look(env, agent: str, action: int, steps: int) -> np.ndarray:
    """What an agent sees after so many turns, while the others stand still."""
    for _ in range(steps):
        observations, *_ = env.step(dict.fromkeys(env.agents, STAY) | {agent: action})
    return observations[agent]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--out", default="two_cameras.png")
    args = parser.parse_args()

    # In a picture all cameras begin at the same place; any photograph will do.
    picture, _ = gym.make("CtxMemTrueScene-v0").reset(seed=0)
    shared, alone = (parallel_env(model=args.model, num_cameras=count, turn_angle=30.0) for count in (2, 1))
    for env in (shared, alone):
        env.reset(seed=0, options={"image": picture})
    views = {
        "the first camera, 150 degrees to the left": look(shared, "camera_0", TURN_LEFT, 5),
        "the second camera, 210 degrees to the right": look(shared, "camera_1", TURN_RIGHT, 7),
        "a camera in a world of its own": look(alone, "camera_0", TURN_RIGHT, 7),
    }
    first, *others = views.values()
    for name, view in list(views.items())[1:]:
        error = np.square(first.astype(float) - view).mean()
        print(f"{name}: PSNR {10 * np.log10(255**2 / max(error, 1e-9)):.1f} dB against the first")
    Image.fromarray(np.concatenate([first, *others], axis=1)).save(args.out)


if __name__ == "__main__":
    main()
