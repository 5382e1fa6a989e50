import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxmem_env.camera import move
from ctxmem_env.greedy import choose_among_all
from ctxmem_env.nearby import choose_nearby
from ctxmem_env.retrieval import select_context
from ctxmem_env.spatial_index import SpatialIndex

KEPT = 24  # frames of the same view that look-ups find


def index_of(*worlds):
    """An index of worlds, each given as poses (T, 6), whose slots are 0 to T - 1."""
    index = SpatialIndex(len(worlds))
    for world, poses in enumerate(worlds):
        for slot, pose in enumerate(poses.tolist()):
            index.append(world, slot, pose)
    return index


def random_path(length, seed=0, spread=0.0):
    """Runs of steps and of turns on the open plane; with `spread` no two steps are alike."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 3, (length // 4 + 1,), generator=rng).repeat_interleave(4)[:length]
    motions = torch.tensor([[0.25, 0, 0, 0], [0, 0, 0.2618, 0], [0, 0, -0.2618, 0]], dtype=torch.float64)[kinds]
    motions += spread * torch.randn(length, 4, generator=rng, dtype=torch.float64) * torch.tensor([0.1, 0.1, 0.2, 0.05])
    pose = torch.tensor([0, 0, 1.5, 0, 0, 0], dtype=torch.float64)
    poses = []
    for motion in motions:
        pose = move(pose, motion)
        poses.append(pose)
    return torch.stack(poses).float()


def room_path(length, seed=0, half=2.0):
    """A path through a square room of 2 `half` metres, every place of which is seen again and again."""
    rng = np.random.default_rng(seed)
    poses = np.zeros((length, 6))
    x, y, yaw = 0.0, 0.0, 0.0
    for i in range(length):
        if rng.random() < 0.4:
            yaw += math.radians(15) * rng.choice([-1, 1])
        else:
            x = float(np.clip(x + 0.25 * math.cos(yaw), -half, half))
            y = float(np.clip(y + 0.25 * math.sin(yaw), -half, half))
        poses[i] = x, y, 1.5, (yaw + math.pi) % (2 * math.pi) - math.pi, 0.2 * (rng.random() < 0.1), 0
    return torch.tensor(poses, dtype=torch.float32)


def looping_path(length, radius, spread=0.03, seed=0):
    """Round after round on a circle, facing ahead."""
    rng = np.random.default_rng(seed)
    angle = np.arange(length) * 0.25 / radius
    poses = np.zeros((length, 6))
    poses[:, :3] = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(length, 1.5)], axis=1)
    poses[:, :2] += spread * rng.normal(size=(length, 2))
    poses[:, 3] = (angle + math.pi / 2 + spread * rng.normal(size=length) + math.pi) % (2 * math.pi) - math.pi
    return torch.tensor(poses, dtype=torch.float32)


PATHS = {
    "random": lambda n: random_path(n),
    "random, steps of any size": lambda n: random_path(n, spread=1.0),
    "room": lambda n: room_path(n),
    "loop of 2 m": lambda n: looping_path(n, 2.0),
    "loop of 20 m": lambda n: looping_path(n, 20.0),
    "loop without deviation": lambda n: looping_path(n, 5.0, spread=0.0),
}


def brute_force(poses, pose, num_context=8, fov=90.0):
    fov = torch.tensor([fov], dtype=torch.float64)
    return choose_among_all(poses[None], torch.tensor([len(poses)]), pose[None], num_context, fov)[0].tolist()


# The rule through the index


@pytest.mark.parametrize("path", PATHS)
def test_the_choice_agrees_with_brute_force_over_all_frames(path):
    poses = PATHS[path](4000)
    index, agreed, asked = SpatialIndex(1), 0, 0
    for now, pose in enumerate(poses):
        if now % 37 == 5:
            asked += 1
            agreed += choose_nearby(index, 0, pose.tolist(), 8, 90.0) == brute_force(poses[:now], pose)
        index.append(0, now, pose.tolist())
    assert asked > 100 and agreed >= 0.99 * asked


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1000),
    st.integers(0, 300),
    st.sampled_from([0.05, 0.5, 3.0, 30.0]),
    st.integers(1, 12),
    st.sampled_from([40.0, 90.0, 110.0]),
)
def test_the_choice_among_scattered_frames_agrees_with_brute_force(seed, count, size, num_context, fov):
    rng = torch.Generator().manual_seed(seed)
    scale = torch.tensor([size, size, 0.2, math.pi, 0.6, 0.0])
    poses = (2 * torch.rand(count + 1, 6, generator=rng) - 1) * scale
    chosen = choose_nearby(index_of(poses[:-1]), 0, poses[-1].tolist(), num_context, fov)
    assert chosen == brute_force(poses[:-1], poses[-1], num_context, fov)


def test_a_good_frame_is_found_behind_a_crowd_of_poor_ones():
    rng = torch.Generator().manual_seed(0)
    crowd = 0.3 * torch.randn(3000, 6, generator=rng) * torch.tensor([1, 1, 0, 0, 0, 0])
    crowd[:, 3] = math.radians(80)  # they show a corner of the view
    crowd[1500, :4] = torch.tensor([-1.6, 0, 0, 0])
    pose = torch.zeros(6)
    chosen = choose_nearby(index_of(crowd), 0, pose.tolist(), 8, 90.0)
    assert chosen[1] == 1500 and chosen == brute_force(crowd, pose)


def test_an_agent_that_stands_still_is_given_what_brute_force_gives():
    poses = torch.tensor([0, 0, 1.5, 0, 0, 0.0]).repeat(4000, 1)
    assert choose_nearby(index_of(poses), 0, poses[0].tolist(), 8, 90.0) == brute_force(poses, poses[0])


def looked_at(poses, monkeypatch):
    """How many frames the choices for the last 20 of these poses look at, on average."""
    index, counts = index_of(poses[:-20]), []
    look = index.poses
    monkeypatch.setattr(index, "poses", lambda world, slots: counts.append(len(slots)) or look(world, slots))
    for pose in poses[-20:].tolist():
        choose_nearby(index, 0, pose, 8, 90.0)
    return sum(counts) / 20


@pytest.mark.parametrize("path", PATHS)
def test_a_choice_looks_at_few_frames_however_many_there_are(path, monkeypatch):
    poses = PATHS[path](20_000)
    few, many = looked_at(poses[:2000], monkeypatch), looked_at(poses, monkeypatch)
    assert many < 2.5 * few and many < 2000


def test_frames_of_the_same_view_do_not_make_a_choice_slow(monkeypatch):
    still = torch.tensor([0, 0, 1.5, 0, 0, 0.0]).repeat(20_000, 1)
    assert looked_at(still, monkeypatch) <= KEPT
    lattice = still.clone()
    lattice[:, 3] = math.radians(15) * (torch.arange(20_000) % 24)
    assert looked_at(lattice, monkeypatch) <= 24 * KEPT


@pytest.mark.parametrize("length", [60, 400])
def test_a_batch_of_worlds_chooses_as_without_an_index(length):
    worlds = [room_path(length, seed=3), random_path(length // 2, seed=4), looping_path(length // 3, 2.0)]
    memory = torch.nn.utils.rnn.pad_sequence(worlds, batch_first=True, padding_value=math.nan)
    lengths = torch.tensor([len(poses) for poses in worlds])
    pose = torch.stack([poses[7] + 0.01 for poses in worlds])
    arguments = ("fov", memory, lengths, pose, 8, torch.tensor([90.0, 60.0, 75.0]))
    with_index, without = select_context(*arguments, index=index_of(*worlds)), select_context(*arguments)
    assert torch.equal(with_index.indices, without.indices)
    assert torch.equal(with_index.overlap, without.overlap)


def test_an_index_of_other_frames_is_refused():
    poses = room_path(5)
    with pytest.raises(ValueError, match=r"index holds \[4\] frames of each world; expected lengths=\[5\]"):
        select_context("fov", poses[None], torch.tensor([5]), poses[:1], 2, 90.0, index=index_of(poses[:4]))


# The index itself


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 11)),
        st.tuples(st.just("append many"), st.integers(0, 11)),
        st.tuples(st.just("remove"), st.integers(0, 10_000)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(operations)
def test_an_index_finds_the_oldest_frames_of_each_view_as_frames_come_and_go(steps):
    index, frames, used = SpatialIndex(2), [], 0  # (slot, view), oldest first
    index.append(0, 0, [0.0] * 6)
    for kind, argument in steps:
        if kind == "clear":
            index.clear(1)
            frames = []
        elif kind == "remove" and frames:
            slot, _ = frames.pop(argument % len(frames))
            index.remove(1, slot)
        elif kind.startswith("append"):
            for _ in range(30 if "many" in kind else 1):
                # A slot that is free again is used again, as memory does.
                slot = min(set(range(len(frames) + 1)) - {slot for slot, _ in frames}) if used % 2 else 10_000 + used
                used += 1
                index.append(1, slot, [0.3 * argument, -0.1 * argument, 0.0, 0.0, 0.0, 0.0])
                frames.append((slot, argument))
    assert index.lengths == [1, len(frames)]
    shown = [[slot for slot, view in frames if view == v][:KEPT] for v in range(12)]
    assert sorted(index.within(1, 0.0, 0.0, 10.0)) == sorted(slot for slots in shown for slot in slots)
    slots = np.array([slot for slot, _ in frames], dtype=np.int64)
    assert index.indices(1, slots).tolist() == list(range(len(frames)))
    np.testing.assert_array_equal(index.poses(1, slots)[0], [0.3 * view for _, view in frames])


@settings(deadline=None, max_examples=50)
@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 6), st.integers(0, 100))
def test_all_frames_within_a_radius_are_found_and_few_beyond(x, y, radius, seed):
    poses = np.random.default_rng(seed).uniform(-4, 4, (300, 6))
    found = index_of(torch.tensor(poses)).within(0, x, y, radius)
    distance = np.hypot(poses[:, 0] - x, poses[:, 1] - y)
    assert set((distance <= radius).nonzero()[0]) <= set(found)
    # A strip of ground is 12.5 cm wide.
    assert all(distance[slot] <= radius + 0.125 for slot in found)
