"""Generators with optional traits, for tests: they write what they were told into the frames."""

import torch

from ctxmem_env.generator import Generated


class Told:
    """Takes text and paints its length; no depth."""

    height = width = 32
    default_num_steps = 1
    takes_text, predicts_depth = True, False

    def encode(self, frames, depth, poses, fov):
        return {}

    def generate(self, poses, context, fov, num_steps, generators):
        frames = torch.zeros(len(poses), 32, 32, 3, dtype=torch.uint8)
        for frame, prompt in zip(frames, context.prompts or [""] * len(poses), strict=True):
            frame[:] = len(prompt)
        depth = torch.full(frames.shape[:3], 100.0)
        return Generated(frames, depth, torch.ones_like(depth))

    def estimate_depth(self, frames, poses, fov):
        return torch.full(frames.shape[:3], 100.0)


class Chunked(Told):
    """Paints three frames a step, of the colour 1, 2 and 3, and each pose into its first pixels."""

    frames_per_step = 3
    takes_text, predicts_depth = False, True

    def generate(self, poses, context, fov, num_steps, generators):
        self.way = poses
        colours = torch.arange(1, 4, dtype=torch.uint8)[:, None, None, None]
        frames = colours.expand(3, 32, 32, 3).repeat(len(poses), 1, 1, 1, 1)
        depth = torch.full(frames.shape[:4], 100.0)
        return Generated(frames, depth, torch.ones_like(depth))
