"""Shared fixtures. Tests run on one thread, which on few cores is the fastest."""

import os

import pytest
import torch

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no display; before pygame is imported
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory):
    """The folder of a small generator as it is before training."""
    from ctxmem_env.generator.pipeline import SceneGenerator
    from ctxmem_env.generator.store import save_generator
    from ctxmem_env.generator.transformer import SceneTransformer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = SceneTransformer(
            height=48, width=48, patch_size=8, dim=32, num_heads=2, num_layers=2, num_context_layers=1, pixel_dim=8
        )
    return save_generator(SceneGenerator(transformer), tmp_path_factory.mktemp("models") / "untrained")


@pytest.fixture
def pose_generator():
    from ctxmem_env.testing import PoseGenerator

    return PoseGenerator()
