"""A generator of one's own: it paints what the best remembered frame shows, turned as far as the camera has turned.

    python examples/own_generator.py

`check_generator` tells what a world asks of it and it does not keep; then it walks.
"""

import argparse

import gymnasium as gym
import torch

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.camera import wrap_angle
from ctxmem_env.generator import Context, Generated
from ctxmem_env.overlap import view_overlap
from ctxmem_env.testing import check_generator


class ShiftedFrame:
    """The frame of the context that overlaps most, shifted sideways by the turn; grey where it shows nothing."""

    height = width = 64
    default_num_steps = 1

    def encode(self, frames, depth, poses, fov):
        return {}  # features of a frame to keep, computed once

    def generate(self, poses, context: Context, fov, num_steps, generators) -> Generated:
        best = view_overlap(context.poses, poses, fov).masked_fill(~context.mask, -1).argmax(1)
        world = torch.arange(len(poses))
        frames, depth = context.frames[world, best], context.depth[world, best]
        turn = wrap_angle(poses[:, 3] - context.poses[world, best, 3])  # to the left, so that the picture moves right
        shift = (self.width * turn / torch.deg2rad(fov)).round().long()
        column = torch.arange(self.width) - shift[:, None]
        shown = (column >= 0) & (column < self.width) & context.mask[world, best][:, None]
        at = column.clamp(0, self.width - 1)[:, None].expand(-1, self.height, -1)
        frames = frames.gather(2, at[..., None].expand(-1, -1, -1, 3))
        frames = frames.where(shown[:, None, :, None], 128)
        depth = depth.gather(2, at).where(shown[:, None], 3.0)
        return Generated(frames, depth, own_weight=(~shown[:, None]).float().expand_as(depth))

    def estimate_depth(self, frames, poses, fov):
        return torch.full(frames.shape[:3], 3.0)  # metres


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=24, help="steps to turn left")
    steps = parser.parse_args().steps
    check_generator(ShiftedFrame())
    env = gym.make("CtxMemScene-v0", model=ShiftedFrame())
    env.reset(seed=0)
    for step in range(steps):
        frame, _, _, _, info = env.step(5)
        print(f"step {step}: overlap {info['overlap'].max():.2f}, brightness {frame.mean():.0f}")
