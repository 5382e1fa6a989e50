"""One action that paints several frames: they lie along its way, all are remembered, and the last is observed."""

import gymnasium as gym
import numpy as np
import torch
from helpers import FORWARD, TURN_LEFT, make
from told_generators import Chunked

from ctxmem_env.camera import along, move
from ctxmem_env.parallel import parallel_env
from ctxmem_env.testing import check_generator


def test_the_generator_of_these_tests_conforms():
    check_generator(Chunked())


def test_a_way_is_even_and_ends_where_the_motion_does():
    poses, motion = torch.randn(4, 6), torch.randn(4, 4)
    way = along(poses, motion, 5)
    assert way.shape == (4, 5, 6)
    assert torch.equal(way[:, -1], move(poses, motion))
    steps = torch.cat([poses[:, None], way], 1)[..., :3].diff(dim=1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))


def test_all_frames_of_a_step_are_remembered_and_the_last_is_observed():
    env = make(model=Chunked(), tour=1, collisions=False, num_context=4)
    _, info = env.reset(seed=0)
    start = info["pose"]
    frame, _, _, _, info = env.step(FORWARD)
    assert frame.max() == 3
    memory = env.unwrapped.world.memory
    assert memory.lengths.tolist() == [2 + 3]
    entries = memory.gather(torch.tensor([[2, 3, 4]]))
    assert entries.frames[0, :, 0, 0, 0].tolist() == [1, 2, 3]
    distances = np.linalg.norm(entries.poses[0, :, :3].numpy() - start[:3], axis=-1)
    np.testing.assert_allclose(distances, [0.25 / 3, 0.5 / 3, 0.25], atol=1e-6)
    np.testing.assert_array_equal(entries.poses[0, -1].numpy(), info["pose"])
    _, _, _, _, info = env.step(TURN_LEFT)
    assert info["retrieved"].max() == 4  # the newest frame is the anchor


def test_worlds_that_stand_still_remember_nothing():
    generator = Chunked()
    envs = gym.make_vec(
        "CtxMemScene-v0", num_envs=2, model=generator, tour=1, collisions=False, max_episode_steps=1, memory_capacity=9
    )
    envs.reset(seed=0)
    envs.step(np.full(2, FORWARD))
    envs.step(np.full(2, FORWARD))  # starts both over
    assert envs.world.memory.lengths.tolist() == [2, 2]
    motion = torch.tensor([[0.3, 0, 0, 0]]).repeat(2, 1)
    envs.world.advance(motion, torch.tensor([True, False]))
    assert envs.world.memory.lengths.tolist() == [5, 2]
    assert bool(generator.way[0].diff(dim=0).any()) and not bool(generator.way[1].diff(dim=0).any())


def test_cameras_of_one_world_remember_their_frames_in_turn():
    cameras = parallel_env(num_cameras=2, model=Chunked(), tour=0, collisions=False)
    cameras.reset(seed=0)
    cameras.step(dict.fromkeys(cameras.agents, FORWARD))
    colours = cameras.world.memory.gather(torch.arange(8)[None]).frames[0, 2:, 0, 0, 0]
    assert colours.tolist() == [1, 1, 2, 2, 3, 3]


def test_a_moment_is_taken_up_again(tmp_path):
    env = make(model=Chunked(), tour=1, collisions=False).unwrapped
    env.reset(seed=0)
    env.step(FORWARD)
    path, expected = env.save(tmp_path / "a.ctxworld"), env.step(TURN_LEFT)[4]
    env.load(path)
    found = env.step(TURN_LEFT)[4]
    for name in ("pose", "retrieved", "overlap"):
        np.testing.assert_array_equal(found[name], expected[name])
