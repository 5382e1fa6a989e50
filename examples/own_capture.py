"""Step into a place that was photographed from many sides: the posed pictures are what the world remembers.

python examples/own_capture.py FOLDER --out capture.mp4

FOLDER is a capture in one of the layouts that `ctxmem_env.captures` reads, such as that of nerfstudio or COLMAP;
without one a short walk through a true scene is written and opened.
"""

import argparse
import tempfile
from pathlib import Path

import gymnasium as gym

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.actions import DiscreteActions
from ctxmem_env.cli import main as ctxmem
from ctxmem_env.recording import write_video

PATH = ["turn_left"] * 3 + ["forward"] * 2 + ["back"] * 2 + ["turn_right"] * 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", nargs="?", help="a folder of pictures with poses")
    parser.add_argument("--tour", type=int, help="how many of the pictures are remembered beside the first view")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--out", default="own_capture.mp4")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        capture = args.capture
        if capture is None:
            capture = str(Path(folder) / "capture")
            ctxmem(["collect", "--scene", "5", "--steps", "5", "--out", capture])
        env = gym.make("CtxMemScene-v0", model=args.model, render_mode="rgb_array")
        env.reset(seed=0, options={"capture": capture, "tour": args.tour})
        panels = [env.render()]
        for name in PATH:
            env.step(DiscreteActions.names.index(name))
            panels.append(env.render())
        env.close()
    print(f"saved {write_video(args.out, panels)}")


if __name__ == "__main__":
    main()
