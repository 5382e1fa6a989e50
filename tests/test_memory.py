import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxmem_env.memory import FrameMemory

HEIGHT, WIDTH = 3, 4


def entry(*values):
    """Frames, depth and poses of one row for each value, from which each value can be read back."""
    values = torch.tensor(values)
    frames = values.remainder(256).to(torch.uint8)[:, None, None, None].expand(-1, HEIGHT, WIDTH, 3)
    depth = (values / 8)[:, None, None].expand(-1, HEIGHT, WIDTH)
    return frames, depth, values[:, None].float().expand(-1, 6)


def memory(num_worlds=1, capacity=None):
    return FrameMemory(num_worlds, HEIGHT, WIDTH, capacity, eviction="oldest")


def remembered(store, world):
    """The values that a world remembers, oldest first, after a check that all parts of each entry agree."""
    length = int(store.lengths[world])
    indices = torch.full((store.num_worlds, length), -1)
    indices[world] = torch.arange(length)
    entries = store.gather(indices)
    values = entries.poses[world, :, 0].long()
    for got, expected in zip((entries.frames, entries.depth, entries.poses), entry(*values.tolist()), strict=True):
        assert torch.equal(got[world], expected)
    assert torch.equal(entries.times[world], store.times[world, :length])
    assert torch.equal(entries.poses[world], store.poses[world, :length])
    slots = np.array(store.index.within(world, 0.0, 0.0, 1e4), dtype=np.int64)
    slots = slots[store.index.indices(world, slots).argsort()]
    np.testing.assert_array_equal(store.index.poses(world, slots).T, store.poses[world, :length].numpy())
    return list(zip(values.tolist(), entries.times[world].tolist(), strict=True))


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sets(st.integers(0, 2), min_size=1)),
        st.tuples(st.just("clear"), st.sets(st.integers(0, 2), min_size=1)),
        st.tuples(st.just("append many"), st.integers(1, 90)),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=50)
@given(operations, st.one_of(st.none(), st.integers(1, 100)))
def test_memory_behaves_like_a_list_for_each_world(steps, capacity):
    store, lists, counts, value = memory(3, capacity), [[], [], []], [0, 0, 0], 0
    for kind, argument in steps:
        if kind == "clear":
            store.clear(sorted(argument))
            for world in argument:
                lists[world], counts[world] = [], 0
            continue
        appended = [sorted(argument)] if kind == "append" else [None] * argument
        for worlds in appended:
            rows = range(3) if worlds is None else worlds
            values = [value + i for i in range(len(rows))]
            store.append(*entry(*values), worlds=worlds)
            value += len(rows)
            for world, new in zip(rows, values, strict=True):
                lists[world] = (lists[world] + [(new, counts[world])])[-(capacity or 10**9) :]
                counts[world] += 1
    assert store.lengths.tolist() == [len(entries) for entries in lists]
    for world in range(3):
        assert remembered(store, world) == lists[world]


def test_growth_keeps_everything():
    store = memory()
    for value in range(300):
        store.append(*entry(value))
    assert remembered(store, 0) == [(i, i) for i in range(300)]


def test_a_full_memory_forgets_the_oldest_and_keeps_times():
    store = memory(2, capacity=3)
    for value in range(5):
        store.append(*entry(value), worlds=[0])
    store.append(*entry(9), worlds=[1])
    assert remembered(store, 0) == [(2, 2), (3, 3), (4, 4)]
    assert remembered(store, 1) == [(9, 0)]


def test_storage_never_exceeds_the_capacity():
    store = memory(capacity=100)
    for value in range(250):
        store.append(*entry(value))
    assert store.poses.shape == (1, 100, 6)
    assert store._frames.shape[1] == 100


def test_an_empty_slot_is_zero_with_time_minus_one():
    store = memory(2)
    store.append(*entry(5, 6))
    entries = store.gather(torch.tensor([[0, -1], [-1, -1]]))
    assert entries.times.tolist() == [[0, -1], [-1, -1]]
    for part in entries[:3]:
        assert not part[0, 1].any() and not part[1].any() and part[0, 0].any()


def test_gather_keeps_the_order_asked_for_and_may_repeat():
    store = memory()
    for value in range(6):
        store.append(*entry(value))
    assert store.gather(torch.tensor([[4, 0, -1, 4]])).times.tolist() == [[4, 0, -1, 4]]


def test_entries_are_copies():
    store = memory()
    frames, depth, poses = (part.clone() for part in entry(7))
    store.append(frames, depth, poses)
    frames.zero_(), depth.zero_(), poses.zero_()
    entries = store.gather(torch.tensor([[0]]))
    for part in entries:
        part.zero_()
    assert remembered(store, 0) == [(7, 0)]


def test_depth_is_kept_to_four_millimetres_at_eight_metres_and_never_overflows():
    store = memory()
    depth = torch.rand(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 8
    depth[0, 0, 0] = 1e6
    frames, _, poses = entry(0)
    store.append(frames, depth, poses)
    kept = store.gather(torch.tensor([[0]])).depth
    assert kept.dtype == torch.float32
    assert kept[0, 0, 0, 0] == 65_504
    torch.testing.assert_close(kept[0, 0, 1:], depth[0, 1:], atol=0.004, rtol=0)


def test_a_refused_entry_changes_nothing():
    store = memory(capacity=1)
    store.append(*entry(1))
    frames, depth, poses = entry(2)
    with pytest.raises(ValueError, match="poses holds NaN"):
        store.append(frames, depth, poses * math.nan)
    assert remembered(store, 0) == [(1, 0)]


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        (0, torch.zeros(1, HEIGHT, WIDTH, 3), r"frames is torch.float32 of shape \(1, 3, 4, 3\); expected torch.uint8"),
        (0, torch.zeros(1, WIDTH, HEIGHT, 3, dtype=torch.uint8), r"frames is .* \(1, 4, 3, 3\); .* \(1, 3, 4, 3\)"),
        (1, torch.zeros(1, HEIGHT), r"depth has shape \(1, 3\); expected \(1, 3, 4\)"),
        (1, torch.full((1, HEIGHT, WIDTH), math.inf), "depth holds NaN or infinity; expected finite"),
        (2, torch.zeros(2, 6), r"poses has shape \(2, 6\); expected \(1, 6\)"),
    ],
)
def test_a_bad_entry_is_named(part, wrong, message):
    parts = list(entry(1))
    parts[part] = wrong
    with pytest.raises(ValueError, match=message):
        memory().append(*parts)


@pytest.mark.parametrize("worlds", [[2], [-1], [0, 0], [], [0.5], [True]])
def test_bad_worlds_are_named(worlds):
    with pytest.raises(ValueError, match=r"worlds=\[.*expected distinct integers from 0 to 1, at least one"):
        memory(2).append(*entry(*range(len(worlds))), worlds=worlds)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([[1]]), r"indices=\[\[1\]\]; expected -1 or below the lengths \[1\]"),
        (torch.tensor([[-2]]), r"indices=\[\[-2\]\]; expected -1 or below"),
        (torch.tensor([0]), r"indices is torch.int64 of shape \(1,\); expected int64 \(1, k\)"),
        (torch.tensor([[0.0]]), "indices is torch.float32 of shape"),
    ],
)
def test_bad_indices_are_named(indices, message):
    store = memory()
    store.append(*entry(1))
    with pytest.raises(ValueError, match=message):
        store.gather(indices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, 8), "num_worlds=0 is out of range; expected an integer of at least 1"),
        ((1, -8, 8), "height=-8 is out of range"),
        ((1, 8, 0), "width=0 is out of range"),
        ((1, 8, 8, 0), "capacity=0 is out of range"),
        ((1, 8, 8, 2.5), "capacity=2.5 is a float; expected an integer"),
    ],
)
def test_bad_sizes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrameMemory(*arguments)
