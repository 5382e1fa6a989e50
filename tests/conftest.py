"""Shared fixtures. Tests run on one thread, which on few cores is the fastest."""

import json
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


@pytest.fixture(scope="module")
def short_bench():
    """Small matrices and a short run-up: how fast this machine is, is no test's subject."""
    from ctxmem_env.bench import machine

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(machine._SIZES, "cpu", 64)
        patch.setattr("ctxmem_env.bench.step._WARM_UP", 1)
        patch.setattr("ctxmem_env.bench.random_walk.WARM_UP", 1)
        yield


@pytest.fixture
def run(capsys):
    """Runs the command; the JSON of its last line, and what it wrote to standard error."""
    from ctxmem_env.cli import main

    def run_command(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out.splitlines()[-1]), err

    return run_command


@pytest.fixture
def fail(capsys):
    """Runs the command, which must fail; what it wrote to standard error."""
    from ctxmem_env.cli import main

    def run_command(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return run_command
