"""What a full memory forgets, read from what it still remembers."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxmem_env.eviction import EVICTIONS
from ctxmem_env.memory import FrameMemory
from ctxmem_env.overlap import in_sector, in_view_frame, pitch_overlap
from ctxmem_env.retrieval import select_context


def pose(x=0.0, y=0.0, yaw=0.0, pitch=0.0):
    return torch.tensor([x, y, 1.5, math.radians(yaw), math.radians(pitch), 0.0])


def random_poses(*shape, seed=0, size=1.5):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([size, size, 0, math.pi, 0.3, 0])
    return (2 * torch.rand(*shape, 6, generator=generator) - 1) * scale


def memory(capacity, num_worlds=1, eviction="coverage"):
    return FrameMemory(num_worlds, 1, 1, capacity, eviction=eviction)


def remember(store, poses, worlds=None):
    """One more frame, of one pixel, for each of poses (n, 6)."""
    count = len(poses)
    store.append(torch.zeros(count, 1, 1, 3, dtype=torch.uint8), torch.ones(count, 1, 1), poses, worlds)


def kept(store, world=0):
    """Numbers of the frames that a world remembers."""
    return store.times[world, : int(store.lengths[world])].tolist()


def walked(poses, capacity, eviction="coverage", seed=0):
    """The numbers of those of poses (T, 6) that a memory still holds."""
    store = memory(capacity, eviction=eviction)
    store.clear(seed=seed)
    for row in poses:
        remember(store, row[None])
    return kept(store)


# Every policy


@pytest.mark.parametrize("eviction", EVICTIONS)
@settings(deadline=None, max_examples=25)
@given(st.lists(st.sets(st.integers(0, 2), min_size=1), max_size=40), st.integers(1, 6), st.integers(0, 99))
def test_what_is_left_is_in_order_with_the_newest_and_a_batch_forgets_as_worlds_alone(eviction, steps, capacity, seed):
    poses = random_poses(len(steps), 3, seed=seed)
    store, given_to = memory(capacity, 3, eviction), [[], [], []]
    store.clear(seed=seed)
    for row, worlds in zip(poses, steps, strict=True):
        worlds = sorted(worlds)
        remember(store, row[worlds], worlds)
        for world in worlds:
            given_to[world].append(row[world])
    assert store.lengths.tolist() == [min(len(rows), capacity) for rows in given_to]
    for world, rows in enumerate(given_to):
        times = kept(store, world)
        assert times == sorted(set(times)) and times[-1:] == list(range(len(rows)))[-1:]
        assert torch.equal(
            store.poses[world, : len(times)], torch.stack(rows)[times] if rows else store.poses[world, :0]
        )
        assert times == walked(rows, capacity, eviction, seed)


@pytest.mark.parametrize("eviction", EVICTIONS)
def test_the_index_finds_what_is_left(eviction):
    store, poses = memory(40, eviction=eviction), random_poses(200)
    for row in poses:
        remember(store, row[None])
    view = store.poses, store.lengths, poses[:1], 8, 90.0
    assert torch.equal(select_context("fov", *view, index=store.index).indices, select_context("fov", *view).indices)


@pytest.mark.parametrize("eviction", EVICTIONS)
def test_a_copy_forgets_as_the_original_does_and_apart_from_it(eviction):
    store, poses = memory(10, eviction=eviction), random_poses(60)
    for row in poses[:30]:
        remember(store, row[None])
    twin = copy.deepcopy(store)
    for row in poses[30:]:
        remember(store, row[None])
    assert kept(twin) != kept(store)
    for row in poses[30:]:
        remember(twin, row[None])
    assert kept(twin) == kept(store)


@pytest.mark.parametrize("eviction", EVICTIONS)
def test_a_cleared_world_forgets_as_a_new_one_does(eviction):
    store, poses = memory(10, 2, eviction), random_poses(60, 2)
    for row in poses:
        remember(store, row)
    untouched = kept(store, 1)
    store.clear([0], seed=5)
    for row in poses.flip(0):
        remember(store, row[:1], [0])
    assert kept(store, 0) == walked(poses.flip(0)[:, 0], 10, eviction, seed=5)
    assert kept(store, 1) == untouched


# Coverage


def overlaps(poses, fov):
    """The share of the view from each of poses (T, 6) that each other one is expected to show, (T, T)."""
    shares = torch.full((len(poses), len(poses)), -1.0, dtype=torch.float64)
    fovs = torch.tensor([fov], dtype=torch.float64)
    for i, view in enumerate(poses):
        x, y, z, heading, pitch = in_view_frame(poses[None], view[None])
        near = torch.exp(-torch.sqrt(x * x + y * y + z * z) / 2) * pitch_overlap(pitch, fovs)
        shares[i] = (near * in_sector(x, y, heading, fovs, (8, 3)).double().mean(1))[0]
        shares[i, i] = -1
    return shares


@pytest.mark.parametrize("fov", [60.0, 90.0])
def test_the_frame_goes_that_is_missed_least(fov):
    store, poses = memory(8), random_poses(60, size=0.8)
    store.clear(fov=fov)
    numbers, stands_for = [], {}
    for number, row in enumerate(poses):
        if len(numbers) == 8:
            shares = overlaps(poses[numbers], fov)
            missed = [
                stands_for[n] * (1 - max(0, float(share.max()))) for n, share in zip(numbers, shares, strict=True)
            ]
            least = missed.index(min(missed))
            gone, heir = numbers[least], numbers[int(shares[least].argmax())]
            stands_for[heir] += stands_for.pop(gone)
            numbers.remove(gone)
        remember(store, row[None])
        numbers.append(number)
        stands_for[number] = 1
        assert kept(store) == numbers
    assert numbers != list(range(52, 60)) and sum(stands_for.values()) == 60


def test_another_device_which_is_asked_for_nothing_forgets_the_same(monkeypatch):
    poses = random_poses(100)
    here = walked(poses, capacity=12)
    monkeypatch.setattr("ctxmem_env.eviction.is_host", lambda tensor: False)
    assert walked(poses, capacity=12) == here


def test_where_the_camera_was_often_more_frames_are_kept():
    rare, often = random_poses(40, seed=1), random_poses(400, seed=2) + torch.tensor([20.0, 0, 0, 0, 0, 0])
    mixed = torch.stack([rare[i // 11] if i % 11 == 0 else often[i - 1 - i // 11] for i in range(440)])
    times = torch.tensor(walked(mixed, capacity=60))
    of_rare = int((times % 11 == 0).sum())
    assert 8 <= of_rare <= 24


def test_of_frames_of_one_view_the_originals_are_kept():
    others = [pose(x=5 * i) for i in range(1, 5)]
    assert walked([pose(), *others, pose(), pose(), pose(), pose()], capacity=6) == [0, 1, 2, 3, 4, 8]


def test_an_agent_that_stands_still_forgets_nothing_else():
    around = [pose(yaw=30 * i) for i in range(12)]
    assert walked(around + [pose(yaw=90)] * 200, capacity=13) == [*range(12), 211]


def test_a_place_that_was_left_is_remembered():
    first = [pose(x=0.25 * i, yaw=y) for i in range(8) for y in (0, 90, 180, 270)]
    second = [pose(x=20 + 0.05 * i, yaw=90 * i) for i in range(300)]
    times = walked(first + second, capacity=64)
    view = first[13] + torch.tensor([0.05, 0.05, 0, 0.05, 0, 0])
    there = torch.stack(first)[[t for t in times if t < len(first)]]
    assert len(there) >= 6
    assert float((there[:, :4] - view[:4]).norm(dim=1).min()) < 0.5
    assert walked(first + second, capacity=64, eviction="oldest")[0] > len(first)


# Reservoir


def test_the_reservoir_is_a_uniform_sample_of_the_past():
    counts = torch.zeros(40)
    for seed in range(200):
        counts[walked(random_poses(40), 11, "reservoir", seed)] += 1
    assert counts[-1] == 200
    # Of each of the others 10 / 39 of 200 are expected: 51.3 with a standard deviation of 6.2.
    assert bool(((counts[:-1] - 200 * 10 / 39).abs() < 28).all())


def test_the_reservoir_follows_its_seed():
    poses = random_poses(40)
    assert walked(poses, 10, "reservoir", 1) == walked(poses, 10, "reservoir", 1)
    assert walked(poses, 10, "reservoir", 1) != walked(poses, 10, "reservoir", 2)


def test_an_unknown_policy_is_named():
    with pytest.raises(ValueError, match=r"eviction='covrage' is unknown. Did you mean 'coverage'\? Known: 'coverage'"):
        memory(4, eviction="covrage")
