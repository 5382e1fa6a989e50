"""Ray RLlib over batches of worlds. Ray pins another Gymnasium, so this runs where it was installed on purpose."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.store import save_generator
from ctxmem_env.generator.transformer import SceneTransformer

SCRIPT = str(Path(__file__).parent.parent / "examples/rllib_ppo.py")
STAY, FORWARD = 0, 1

pytestmark = pytest.mark.slow
pytest.importorskip("ray")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a small generator before training, with frames of 64 x 64, which RLlib's own network takes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = SceneTransformer(dim=32, num_heads=2, num_layers=2, num_context_layers=1, pixel_dim=8)
    return str(save_generator(SceneGenerator(transformer), tmp_path_factory.mktemp("models") / "untrained"))


def test_a_batch_of_worlds_is_what_the_network_takes_and_pays_for_new_ground(model):
    make_worlds = runpy.run_path(SCRIPT)["make_worlds"]
    worlds = make_worlds({"num_envs": 2, "model": model, "max_episode_steps": 8})
    observations, _ = worlds.reset(seed=0)
    assert observations.dtype == np.float32 and observations in worlds.observation_space
    assert worlds.single_observation_space.low.min() == -1 and worlds.single_observation_space.high.max() == 1
    assert -1 <= observations.min() < 0 < observations.max() <= 1
    paid = np.array([worlds.step(np.array([STAY, FORWARD]))[1] for _ in range(8)])
    assert (paid >= 0).all() and paid.sum() > 0
    worlds.close()


def test_ppo_trains_over_remote_runners_that_hold_a_batch_each(model):
    sizes = {"runners": 2, "envs-per-runner": 2, "iterations": 2, "steps": 32, "episode": 6}
    arguments = [f"--{name}={value}" for name, value in {"model": model, **sizes}.items()]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^iteration (\d): (\d+) env-steps, return ([\d.]+)$", done.stdout, flags=re.MULTILINE)
    assert [line[:2] for line in lines] == [("1", "32"), ("2", "64")]
    assert all(float(line[2]) >= 0 for line in lines)
