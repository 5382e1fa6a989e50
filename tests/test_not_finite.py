"""NaN and infinity are refused where they come in, and leave what was there as it was."""

import math

import numpy as np
import pytest
import torch
from helpers import make

from ctxmem_env.memory import FrameMemory
from ctxmem_env.selftest.soak import soak
from ctxmem_env.testing import PoseGenerator

BAD = [math.nan, math.inf, -math.inf]


class Breaks(PoseGenerator):
    """Paints a depth that is no number from the third view on."""

    def __init__(self, value):
        super().__init__()
        self.value, self.views = value, 0

    def generate(self, *arguments):
        view = super().generate(*arguments)
        self.views += 1
        if self.views > 2:
            view.depth[:, 3, 4] = self.value
        return view


@pytest.mark.parametrize("value", BAD)
def test_depth_that_a_generator_paints(value):
    env = make(model=Breaks(value)).unwrapped
    env.reset(seed=0)
    env.step(1), env.step(5)
    length, poses = env.world.memory.lengths.clone(), env.world.poses.clone()
    with pytest.raises(ValueError, match="NaN or infinity"):
        env.step(1)
    assert torch.equal(env.world.memory.lengths, length) and torch.equal(env.world.poses, poses)
    assert len(env._track) == 3


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("part", ["depth", "poses"])
def test_what_a_memory_is_given(part, value):
    memory = FrameMemory(1, 4, 4)
    parts = {
        "frames": torch.zeros(1, 4, 4, 3, dtype=torch.uint8),
        "depth": torch.ones(1, 4, 4),
        "poses": torch.zeros(1, 6),
    }
    parts[part].view(-1)[2] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        memory.append(**parts)
    assert memory.lengths.tolist() == [0]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("axis", range(4))
def test_actions(axis, value):
    env = make(actions="continuous").unwrapped
    env.reset(seed=0)
    action = np.zeros(4, np.float32)
    action[axis] = value
    with pytest.raises(ValueError, match=r"action=.*expected four finite numbers"):
        env.step(action)
    assert len(env._track) == 1


@pytest.mark.parametrize("option", ["pose", "goal", "fov", "distance"])
@pytest.mark.parametrize("value", BAD)
def test_reset_options(option, value):
    env = make(task="image_goal")
    given = {"pose": [0, 0, 1.5, value, 0, 0], "goal": [0, value, 1.5, 0, 0, 0]}.get(option, value)
    options = {option: given} | ({"image": np.zeros((8, 8, 3), np.uint8)} if option == "distance" else {})
    with pytest.raises(ValueError, match=rf"options\['{option}'\]"):
        env.reset(seed=0, options=options)


def test_a_long_walk_counts_what_is_not_finite(tmp_path, monkeypatch):
    """What the memory refuses cannot come so far: here it is let through."""
    monkeypatch.setattr(FrameMemory, "check_entry", lambda *arguments: None)
    told = soak(tmp_path, Breaks(math.nan), steps=10, capacity=16, weighings=2, quiet=True)
    assert told["not_finite"] == 8
