"""Shared fixtures. Tests run on one thread, which on few cores is the fastest."""

import os

import pytest
import torch

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no display; before pygame is imported
torch.set_num_threads(1)


@pytest.fixture
def pose_generator():
    from ctxmem_env.testing import PoseGenerator

    return PoseGenerator()
