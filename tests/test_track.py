"""The way behind a camera: it says all that it was told, and a long one takes few bytes."""

import sys
import tracemalloc

import numpy as np

from ctxmem_env.track import Track


def test_what_was_walked_and_earned_is_told_in_order():
    poses = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    track = Track()
    for i, pose in enumerate(poses):
        if i:
            track.go(np.full(4, i), 0.5 * i)
        track.arrive(pose)
    assert len(track) == 5
    np.testing.assert_array_equal(track.poses, poses)
    np.testing.assert_array_equal(track.rewards, [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_array_equal(track.motion, [4, 4, 4, 4])


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
    assert held < 1.3 * 28 * steps + sys.getsizeof(track)  # arrays grow by an eighth at a time
