"""The way behind a camera: it says all that it was told, and a long one takes few bytes."""

import tracemalloc
from copy import deepcopy

import numpy as np
import pytest

from ctxmem_env.track import Track


@pytest.mark.parametrize("steps", [5, 1024, 2500])
def test_what_was_walked_and_earned_is_told_in_order(steps):
    poses = np.random.default_rng(0).normal(size=(steps, 6)).astype(np.float32)
    track = Track()
    for i, pose in enumerate(poses):
        if i:
            track.go(np.full(4, i), 0.5 * i)
        track.arrive(pose)
    assert len(track) == steps and track.num_rewards == steps - 1
    np.testing.assert_array_equal(track.poses, poses)
    np.testing.assert_array_equal(track.rewards, 0.5 * np.arange(1, steps))
    np.testing.assert_array_equal(track.motion, np.full(4, steps - 1))


def test_a_track_from_arrays_goes_on_as_the_one_they_came_from():
    poses, rewards = np.ones((3, 6), np.float32), np.array([1, 2], np.float32)
    track = Track(poses, rewards)
    track.arrive(np.zeros(6))
    assert track.poses.shape == (4, 6) and track.rewards.tolist() == [1, 2]


def test_what_is_told_is_a_copy():
    track = Track(np.ones((1, 6)), np.ones(1))
    track.poses[:], track.rewards[:] = 0, 0
    assert track.poses.all() and track.rewards.all()


def test_a_step_takes_few_bytes():
    steps, pose, motion = 20_000, np.zeros(6, np.float32), np.zeros(4, np.float32)
    track = Track()
    tracemalloc.start()
    for _ in range(steps):
        track.go(motion, 0.0)
        track.arrive(pose)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.1 * 28 * steps


def test_copies_go_ways_of_their_own_and_share_what_is_full():
    track = Track(np.ones((2000, 6)), np.ones(1999))
    tracemalloc.start()
    other = deepcopy(track)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    other.arrive(np.zeros(6))
    track.arrive(np.full(6, 2))
    assert other.poses[-1].tolist() == [0] * 6 and track.poses[-1].tolist() == [2] * 6
    assert len(other) == len(track) == 2001 and held < 40_000  # of 56,000 bytes


def test_copies_share_the_scene_that_nobody_changes():
    track = Track()
    track.scenes, track.record = [1], [1]
    other = deepcopy(track)
    assert other.scenes is track.scenes and other.record is not track.record
