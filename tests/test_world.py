"""The transition, read back from the pixels of a generator that writes down what it was asked to paint."""

import copy
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from ctxmem_env.camera import move
from ctxmem_env.feature_cache import FeatureCache, FeatureTable
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.testing import PoseGenerator, fingerprint
from ctxmem_env.world import SceneWorld

FORWARD = torch.tensor([[0.25, 0.0, 0.0, 0.0]])
LEFT = torch.tensor([[0.0, 0.0, math.radians(15), 0.0]])


def some_frames(n, seed=0, size=48):
    rng = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (n, size, size, 3), generator=rng, dtype=torch.uint8)
    poses = torch.zeros(n, 6)
    poses[:, 3] = torch.linspace(0.6, 0.0, n)
    return frames, torch.full((n, size, size), 2.0), poses


def open_world(num_worlds=1, n=3, seeds=None, generator=None, **kwargs):
    world = SceneWorld(generator or PoseGenerator(), num_worlds, **{"num_context": 4, **kwargs})
    for b in range(num_worlds):
        world.reset(b, *some_frames(n, seed=b), fov=90.0, seed=(seeds or range(num_worlds))[b])
    return world


def read(step, world=0):
    return PoseGenerator.read(step.frames[world].numpy())


def test_each_step_paints_the_moved_camera():
    world = open_world()
    pose = world.poses.clone()
    for motion in (FORWARD, LEFT, FORWARD):
        pose = move(pose, motion)
        step = world.advance(motion)
        np.testing.assert_array_equal(read(step).pose, pose[0].numpy())
        torch.testing.assert_close(step.poses, pose)
    # 0.25 m ahead, 15 degrees left, 0.25 m ahead, by hand
    expected = [0.25 + 0.25 * math.cos(math.radians(15)), 0.25 * math.sin(math.radians(15))]
    np.testing.assert_allclose(pose[0, :2].numpy(), expected, rtol=1e-6)


def test_the_context_is_what_was_selected_and_nothing_else():
    world = open_world()
    for _ in range(6):
        remembered = world.memory.poses[0].clone()
        step = world.advance(LEFT)
        painted = read(step)
        used = step.indices[0] >= 0
        np.testing.assert_array_equal(painted.slots, used.nonzero().flatten().numpy())
        np.testing.assert_array_equal(painted.context_poses, remembered[step.indices[0][used]].numpy())
        assert (step.overlap[0][~used] == 0).all()


def test_the_frames_that_opened_a_world_are_told_from_those_that_were_painted():
    world = SceneWorld(PoseGenerator(), 2, "recent", num_context=3, memory_capacity=4, eviction="oldest")
    world.reset(0, *some_frames(1), fov=90.0, seed=0)
    world.reset(1, *some_frames(3), fov=90.0, seed=1)
    for painted, expected in enumerate(([1, 3], [1, 2], [1, 1], [0, 0])):
        context = world.advance(LEFT.expand(2, -1)).context
        assert context.given.sum(1).tolist() == expected, painted
        assert (context.given <= context.mask).all()
    moment = world.clone_state()
    world.reset(0, *some_frames(3), fov=90.0, seed=0)
    assert world.advance(LEFT.expand(2, -1)).context.given[0].all()
    world.restore_state(moment)
    assert not world.advance(LEFT.expand(2, -1)).context.given.any()


def test_cameras_of_one_world_share_what_opened_it():
    world = open_world(num_worlds=2, n=2, cameras=2, retrieval="recent", num_context=3)
    assert world.advance(LEFT.expand(4, -1)).context.given.sum(1).tolist() == [2, 2, 2, 2]


def test_features_in_a_slot_belong_to_the_frame_in_it():
    world = open_world(cached_frames=1, num_context=4)  # 4 rows: they are reused all the time
    for i in range(12):
        step = world.advance(FORWARD if i % 3 else LEFT)
        painted = read(step)
        expected = fingerprint(step.context.frames[0])[step.context.mask[0]]
        np.testing.assert_array_equal(painted.fingerprints, expected.numpy())


def test_a_frame_is_encoded_once_however_often_it_is_used():
    generator = PoseGenerator()
    world = open_world(n=3, generator=generator)
    for _ in range(20):
        world.advance(torch.zeros(1, 4))
    used = {time for time in world.memory.times[0].tolist()}
    assert generator.num_encoded <= len(used)


def test_a_forgotten_feature_is_encoded_again():
    generator = PoseGenerator()
    world = open_world(n=12, generator=generator, cached_frames=1, num_context=2, retrieval="random")
    for _ in range(12):
        painted = read(step := world.advance(torch.zeros(1, 4)))
        expected = fingerprint(step.context.frames[0])[step.context.mask[0]]
        np.testing.assert_array_equal(painted.fingerprints, expected.numpy())
    assert generator.num_encoded > 12


def test_only_frames_that_are_attended_are_encoded():
    generator = PoseGenerator()
    generator.num_attended = 2
    world = open_world(n=12, generator=generator, num_context=4)
    attended = set()
    for _ in range(6):
        painted = read(step := world.advance(FORWARD))
        attended |= set(step.times[0, :2].tolist())
        expected = fingerprint(step.context.frames[0])[:2].tolist()
        assert step.context.mask.all() and painted.fingerprints.tolist() == [*expected, 0, 0]
    assert generator.num_encoded == len(attended)


def test_every_generated_frame_is_remembered_as_it_was_painted():
    world = open_world(n=2)
    steps = [world.advance(FORWARD) for _ in range(3)]
    entries = world.memory.gather(torch.tensor([[2, 3, 4]]))
    for i, step in enumerate(steps):
        assert torch.equal(entries.frames[0, i], step.frames[0])
        assert torch.equal(entries.poses[0, i], step.poses[0])
    assert entries.times[0].tolist() == [2, 3, 4]


def test_context_is_causal():
    world = open_world(n=2, retrieval="recent")
    for now in range(2, 8):
        step = world.advance(FORWARD)
        assert step.times.max() == now - 1


@pytest.mark.parametrize("eviction", ["reservoir", "coverage"])
def test_what_a_full_world_forgets_follows_from_its_own_seed_and_view(eviction):
    """Not from those of the other worlds, and of seed and field of view only from what the policy heeds."""

    def remembered(seed, fov, num_worlds=1):
        world = SceneWorld(PoseGenerator(), num_worlds, num_context=4, memory_capacity=10, eviction=eviction)
        for b in range(num_worlds):
            world.reset(b, *some_frames(3), fov=fov if b == 0 else 80.0, seed=seed if b == 0 else 99)
        steps = (torch.rand(60, 1, 4, generator=torch.Generator().manual_seed(0)) - 0.4) * 0.3
        for step in steps.expand(-1, num_worlds, -1):
            world.advance(step)
        return world.memory.times[0].tolist()

    times = remembered(5, 60.0)
    assert times == remembered(5, 60.0, num_worlds=3)
    assert (times != remembered(6, 60.0)) == (eviction == "reservoir")
    assert (times != remembered(5, 100.0)) == (eviction == "coverage")


def test_times_name_the_same_frame_after_eviction():
    world = open_world(n=3, memory_capacity=4, num_context=2, retrieval="recent", eviction="oldest")
    step = None
    for _ in range(5):
        step = world.advance(FORWARD)
    assert step.times.tolist() == [[6, 5]]
    assert step.indices.tolist() == [[3, 2]]


def test_no_context_strategy_leaves_all_slots_empty():
    step = open_world(retrieval="none").advance(FORWARD)
    assert len(read(step).slots) == 0
    assert (step.times == -1).all()
    assert not step.context.mask.any()


def test_the_same_seed_paints_the_same_and_another_seed_does_not():
    first, same, other = (open_world(seeds=[seed]).advance(FORWARD) for seed in (3, 3, 4))
    assert torch.equal(first.frames, same.frames)
    assert read(first).noise != read(other).noise


def test_a_world_in_a_batch_equals_the_world_alone():
    batch = open_world(num_worlds=3, seeds=[5, 6, 7], retrieval="random")
    alone = SceneWorld(PoseGenerator(), 1, retrieval="random", num_context=4)
    alone.reset(0, *some_frames(3, seed=1), fov=90.0, seed=6)
    motions = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0)) * 0.2
    for motion in motions:
        together, single = batch.advance(motion), alone.advance(motion[1:2])
        a, b = read(together, 1), read(single)
        # Vectorised cosines may differ from scalar ones in the last bit.
        np.testing.assert_allclose(a.pose, b.pose, atol=1e-6)
        np.testing.assert_allclose(a.context_poses, b.context_poses, atol=1e-6)
        assert a.noise == b.noise
        assert torch.equal(together.indices[1], single.indices[0])


def test_reset_of_one_world_leaves_the_others():
    touched, untouched = open_world(num_worlds=2), open_world(num_worlds=2)
    motion = FORWARD.repeat(2, 1)
    touched.advance(motion), untouched.advance(motion)
    touched.reset(0, *some_frames(5, seed=9), fov=60.0, seed=9)
    assert touched.memory.lengths.tolist() == [5, 4]
    a, b = touched.advance(motion), untouched.advance(motion)
    assert torch.equal(a.frames[1], b.frames[1])
    assert read(a, 0).fov == pytest.approx(60.0)
    assert read(a, 1).fov == pytest.approx(90.0)


@pytest.mark.parametrize("retrieval", ["fov", "random"])
def test_a_world_that_does_not_move_goes_on_later_as_if_nothing_had_been(retrieval):
    batch, alone = open_world(num_worlds=3, retrieval=retrieval), open_world(num_worlds=3, retrieval=retrieval)
    idle = {2: [1], 3: [0, 1], 4: [2]}  # step -> worlds that stand still in it
    seen, expected = [[], [], []], [[], [], []]
    for i in range(6):
        before = batch.poses.clone(), batch.memory.lengths, [g.get_state() for g in batch.generators]
        moving = torch.tensor([world not in idle.get(i, []) for world in range(3)])
        step = batch.advance(FORWARD.repeat(3, 1), None if moving.all() else moving)
        for world in range(3):
            if moving[world]:
                seen[world].append(step.frames[world])
                continue
            assert torch.equal(batch.poses[world], before[0][world])
            assert batch.memory.lengths[world] == before[1][world]
            assert torch.equal(batch.generators[world].get_state(), before[2][world])
        for world, frame in enumerate(alone.advance(FORWARD.repeat(3, 1)).frames):
            expected[world].append(frame)
    for world in range(3):
        assert len(seen[world]) < 6
        assert torch.equal(torch.stack(seen[world]), torch.stack(expected[world][: len(seen[world])]))


def test_worlds_that_were_never_reset_do_not_advance():
    world = SceneWorld(PoseGenerator(), 3, num_context=4)
    for b, left in ((2, r"worlds \[0, 1\] hold no frame yet"), (0, r"worlds \[1\] hold no frame yet")):
        world.reset(b, *some_frames(3), fov=90.0, seed=0)
        with pytest.raises(ValueError, match=left):
            world.advance(FORWARD.repeat(3, 1))
    with pytest.raises(ValueError, match=r"worlds=\[3\].*from 0 to 2"):
        world.reset(3, *some_frames(3), fov=90.0, seed=0)
    world.reset(1, *some_frames(3), fov=90.0, seed=0)
    assert world.memory.lengths.tolist() == [3, 3, 3]
    world.advance(FORWARD.repeat(3, 1))


def test_features_of_a_world_that_was_reset_are_not_used_again():
    world = open_world(n=3)
    world.advance(FORWARD)
    world.reset(0, *some_frames(3, seed=9), fov=90.0, seed=0)
    step = world.advance(FORWARD)
    expected = fingerprint(step.context.frames[0])[step.context.mask[0]]
    np.testing.assert_array_equal(read(step).fingerprints, expected.numpy())


def test_a_reset_that_is_refused_leaves_the_world_as_it_was():
    world, undisturbed = open_world(), open_world()
    frames, depth, poses = some_frames(2, seed=9)
    with pytest.raises(ValueError, match="hold 2, 1 and 2 entries; expected the same number"):
        world.reset(0, frames, depth[:1], poses, fov=90.0, seed=0)
    with pytest.raises(ValueError, match=r"hold 0, 0 and 0 entries; expected .* at least one"):
        world.reset(0, frames[:0], depth[:0], poses[:0], fov=90.0, seed=0)
    with pytest.raises(ValueError, match="depth or poses hold NaN"):
        world.reset(0, frames, depth * float("nan"), poses, fov=90.0, seed=0)
    with pytest.raises(ValueError, match=r"frames is torch.uint8 of shape \(2, 24, 48, 3\)"):
        world.reset(0, frames[:, ::2], depth, poses, fov=90.0, seed=0)
    assert torch.equal(world.advance(FORWARD).frames, undisturbed.advance(FORWARD).frames)


def test_denoising_steps_default_to_those_of_the_generator():
    assert read(open_world().advance(FORWARD)).num_steps == PoseGenerator.default_num_steps
    assert read(open_world(num_steps=4).advance(FORWARD)).num_steps == 4


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda world: pickle.loads(pickle.dumps(world))])
def test_a_copy_goes_on_as_the_original_does_and_apart_from_it(duplicate):
    world = open_world(retrieval="random")
    world.advance(FORWARD)
    twin = duplicate(world)
    for motion in (LEFT, FORWARD):
        assert torch.equal(world.advance(motion).frames, twin.advance(motion).frames)
    world.advance(FORWARD)
    assert twin.memory.lengths.tolist() == [6]


def test_the_cache_holds_no_more_than_its_capacity():
    cache = FeatureCache(capacity=5)
    for i in range(50):
        keys = [(0, i), None, (1, i // 2)]
        features = cache.gather(keys, lambda at, keys=keys: {"time": torch.tensor([keys[j][1] for j in at])})
        assert features["time"][[0, 2]].tolist() == [i, i // 2]
        assert len(cache) <= 5
    cache.drop(0)
    assert 0 < len(cache) < 5


def test_a_step_on_another_device_asks_it_for_no_value():
    """On "meta" there are shapes and no values: whatever looks at one raises."""
    network = SceneTransformer(48, 48, patch_size=16, dim=32, num_heads=2, num_layers=2, pixel_dim=8).to("meta")
    world = SceneWorld(SceneGenerator(network), 3, memory_capacity=6, num_context=4, device="meta")
    for b in range(3):
        world.reset(b, *some_frames(2), fov=90.0, seed=b)
    for _ in range(6):  # past the capacity
        step = world.advance(FORWARD.expand(3, 4), torch.tensor([True, False, True]))
    assert step.frames.shape == (3, 48, 48, 3) and step.frames.device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError)):
        step.frames.sum().item()


def test_a_table_gives_back_the_features_of_the_frame_in_each_slot():
    table = FeatureTable(2, 3)
    worlds, slots = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1])
    table.store(worlds, slots, {"a": torch.arange(6.0).view(3, 2)})
    table.store(worlds[:1], slots[:1], {"a": torch.tensor([[7.0, 8.0]])})  # another frame has taken the place
    found = table.gather(torch.tensor([[2, 2], [1, 0]]))["a"]
    assert found.tolist() == [[[7, 8], [7, 8]], [[4, 5], [2, 3]]]


def test_nobody_moves_and_nobody_remembers():
    world = open_world(2)
    before = world.memory.lengths
    world.advance(FORWARD.expand(2, 4), torch.zeros(2, dtype=torch.bool))
    assert torch.equal(world.memory.lengths, before)


_SOAK = """
import resource, torch
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.world import SceneWorld

generator = PoseGenerator()
world = SceneWorld(generator, 2, memory_capacity=64, cached_frames=64)
size = 3, generator.height, generator.width
for b in range(2):
    world.reset(b, torch.zeros(*size, 3, dtype=torch.uint8), torch.ones(size), torch.zeros(3, 6), 90.0, b)
peaks = []
for step in range(2000):
    world.advance(torch.randn(2, 4) * 0.2)
    if step % 500 == 499:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""


@pytest.mark.slow
def test_a_long_walk_with_a_bounded_memory_takes_no_more_memory_than_a_short_one():
    # A process of its own, whose peak is that of the walk; Linux gives kibibytes.
    run = subprocess.run([sys.executable, "-c", _SOAK], capture_output=True, text=True, check=True)
    peaks = [int(peak) for peak in run.stdout.split()]
    assert peaks[-1] - peaks[0] < 8_000
