"""The test of memory: look away, look back, and compare the view with what was there before.

With retrieval="fov" the frames that saw the view are context again when the camera returns. With "none" nothing is
remembered, and the model paints something else.

python examples/look_away_and_back.py --out look_away_and_back.png
"""

import argparse

import gymnasium as gym
import numpy as np
from PIL import Image

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.actions import DiscreteActions

TURN_LEFT, TURN_RIGHT = (DiscreteActions.names.index(name) for name in ("turn_left", "turn_right"))


def look_away_and_back(model: str, retrieval: str, turns: int) -> tuple[np.ndarray, np.ndarray]:
    """The frame one turn to the left of the first one, and the frame there after looking further and coming back."""
    # Without a tour, all but the first frame is painted by the model.
    env = gym.make("CtxMemScene-v0", model=model, retrieval=retrieval, tour=0)
    env.reset(seed=0)
    before = env.step(TURN_LEFT)[0]
    for action in [TURN_LEFT] * turns + [TURN_RIGHT] * turns:
        after = env.step(action)[0]
    env.close()
    return before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--out", default="look_away_and_back.png")
    args = parser.parse_args()

    rows = []
    for retrieval in ("fov", "none"):
        before, after = look_away_and_back(args.model, retrieval, args.turns)
        error = np.square(before.astype(float) - after).mean()
        print(f"retrieval={retrieval}: PSNR {10 * np.log10(255**2 / max(error, 1e-9)):.1f} dB between before and after")
        rows.append(np.concatenate([before, after], axis=1))
    Image.fromarray(np.concatenate(rows)).save(args.out)


if __name__ == "__main__":
    main()
