"""Step into a photograph: it becomes the first frame, and the model paints what lies around it.

python examples/own_photograph.py photo.jpg --fov 65 --out photo.mp4
"""

import argparse

import gymnasium as gym
from PIL import Image, ImageOps

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.actions import DiscreteActions
from ctxmem_env.camera import cropped_fov
from ctxmem_env.recording import write_video

PATH = ["turn_left"] * 2 + ["turn_right"] * 4 + ["turn_left"] * 2 + ["forward"] * 4 + ["back"] * 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photograph", help="an image file; its middle is cropped to the shape of a frame")
    parser.add_argument("--fov", type=float, default=65.0, help="degrees across the photograph (65: a phone)")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--out", default="own_photograph.mp4")
    args = parser.parse_args()

    env = gym.make("CtxMemScene-v0", model=args.model, render_mode="rgb_array")
    picture = ImageOps.exif_transpose(Image.open(args.photograph))
    fov = cropped_fov(args.fov, picture.width, min(picture.size))  # of the square frame
    env.reset(seed=0, options={"image": picture, "fov": fov})
    panels = [env.render()]
    for name in PATH:
        env.step(DiscreteActions.names.index(name))
        panels.append(env.render())
    env.close()
    print(f"saved {write_video(args.out, panels)}")


if __name__ == "__main__":
    main()
