"""Cameras that share the memory of a world, read back from the pixels of a generator that writes down its orders."""

import copy
import math

import numpy as np
import pytest
import torch

from ctxmem_env.camera import move
from ctxmem_env.dynamics import SeenSurfaces
from ctxmem_env.eviction import EVICTIONS
from ctxmem_env.feature_cache import FeatureTable
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.greedy import choose_among_all
from ctxmem_env.nearby import choose_nearby
from ctxmem_env.spatial_index import SpatialIndex
from ctxmem_env.testing import PoseGenerator, fingerprint
from ctxmem_env.world import SceneWorld

C = 2
FORWARD, LEFT = torch.tensor([0.25, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, math.radians(15), 0.0])
APART = torch.stack([FORWARD, LEFT])
TABLES = pytest.mark.parametrize("table", [False, True], ids=["looked up on the host", "kept on the device"])


def some_frames(n, seed=0, size=48, depth=2.0):
    rng = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (n, size, size, 3), generator=rng, dtype=torch.uint8)
    poses = torch.zeros(n, 6)
    poses[:, 3] = torch.linspace(0.6, 0.0, n)
    return frames, torch.full((n, size, size), depth), poses


def open_world(num_worlds=1, cameras=C, n=4, starts=(1, 3), generator=None, table=False, **kwargs):
    world = SceneWorld(generator or PoseGenerator(), num_worlds, cameras=cameras, **{"num_context": 4, **kwargs})
    if table:  # as on a GPU
        world._table = FeatureTable(num_worlds, kwargs["memory_capacity"])
    for b in range(num_worlds):
        world.reset(b, *some_frames(n, seed=b), fov=90.0, seed=10 * b, starts=starts)
    return world


def some_motions(steps, rows, seed=0):
    return torch.randn(steps, rows, 4, generator=torch.Generator().manual_seed(seed)) * torch.tensor(
        [0.2, 0.2, 0.3, 0.1]
    )


def test_each_camera_stands_where_it_was_put_and_moves_by_its_own_motion():
    world = open_world()
    poses = some_frames(4)[2]
    torch.testing.assert_close(world.poses, poses[[1, 3]])
    step = world.advance(APART)
    torch.testing.assert_close(step.poses, move(poses[[1, 3]], APART))
    for camera in range(C):
        np.testing.assert_array_equal(PoseGenerator.read(step.frames[camera].numpy()).pose, step.poses[camera].numpy())


def test_all_stand_at_the_last_frame_unless_told_otherwise():
    assert torch.equal(open_world(starts=None).poses, some_frames(4)[2][-1:].expand(C, 6))


def test_what_one_camera_has_seen_is_context_of_the_other():
    world = open_world(retrieval="recent")
    first, second = world.advance(APART), world.advance(APART)
    entries = world.memory.gather(torch.tensor([[4, 5]]))
    assert torch.equal(entries.frames[0], first.frames) and torch.equal(entries.poses[0], first.poses)
    assert second.times.tolist() == [[5, 4, 3, 2]] * C
    for camera in range(C):
        painted = PoseGenerator.read(second.frames[camera].numpy())
        np.testing.assert_array_equal(painted.context_poses[:2], first.poses.flip(0).numpy())


def test_frames_of_the_same_step_do_not_see_each_other():
    world = open_world(retrieval="recent")
    for step in range(5):
        assert world.advance(APART).times.max() == 4 + C * step - 1


@TABLES
def test_each_frame_is_remembered_once_and_encoded_once(table):
    generator = PoseGenerator()
    world = open_world(generator=generator, num_context=8, table=table, memory_capacity=100)
    for _ in range(12):
        world.advance(APART * 0.1)
    assert world.memory.lengths.tolist() == [4 + 12 * C]
    assert world.memory.times[0].tolist() == list(range(4 + 12 * C))
    assert generator.num_encoded == 4 + 12 * C if table else generator.num_encoded <= 4 + 11 * C


@TABLES
@pytest.mark.parametrize("eviction", EVICTIONS)
def test_features_in_a_slot_belong_to_the_frame_in_it(eviction, table):
    world = open_world(2, eviction=eviction, memory_capacity=7, cached_frames=1, table=table)
    for motion in some_motions(20, 2 * C):
        step = world.advance(motion)
        for row in range(2 * C):
            expected = fingerprint(step.context.frames[row])[step.context.mask[row]]
            np.testing.assert_array_equal(PoseGenerator.read(step.frames[row].numpy()).fingerprints, expected.numpy())


@pytest.mark.parametrize("capacity", [None, C, 9])
@pytest.mark.parametrize("eviction", EVICTIONS)
@pytest.mark.parametrize("retrieval", ["fov", "fov_rays", "random"])
def test_the_first_context_frame_of_a_camera_is_its_own_newest(retrieval, eviction, capacity):
    world = open_world(2, n=2, starts=(0, 1), retrieval=retrieval, eviction=eviction, memory_capacity=capacity)
    newest = world.poses
    for i, motion in enumerate(some_motions(15, 2 * C)):
        # Cameras that stand still make one frame after the other whose view the others cover.
        step = world.advance(motion * (i % 3 == 0))
        assert torch.equal(step.context.poses[:, 0], newest)
        assert (step.times >= 0).sum(1).min() > 1 if retrieval != "fov_rays" else True
        for times in step.times.tolist():
            used = [time for time in times if time >= 0]
            assert len(set(used)) == len(used)
        newest = step.poses
    if capacity is not None:
        assert world.memory.lengths.tolist() == [capacity] * 2


def test_the_newest_frame_of_another_camera_is_no_neighbour_of_ones_own():
    """Neighbours, which show all but the same, come last; but only frames of one camera are neighbours."""
    poses = torch.zeros(10, 6)  # in turn of two cameras
    poses[:, 3] = math.pi
    poses[0, 3], poses[6, 3], poses[9, 3] = 0.5, 0.0, 0.1  # what shows the view: of one's own long ago and just now
    query = poses[None], torch.tensor([10]), torch.zeros(1, 6), 3, torch.tensor([90.0])
    anchors = torch.tensor([8])
    assert choose_among_all(*query, anchors=anchors, cameras=2)[0].tolist() == [8, 9, 0]
    assert choose_among_all(*query, anchors=anchors)[0].tolist() == [8, 0, 6]


@pytest.mark.parametrize("cameras", [1, 2, 3])
def test_the_search_through_the_index_finds_what_a_look_at_all_frames_finds(cameras):
    rng = np.random.default_rng(0)
    steps = rng.normal(0, [0.3, 0.3, 0, 0.4, 0.1, 0], (100, cameras, 6))
    poses = torch.from_numpy(steps.cumsum(0).reshape(-1, 6))
    index = SpatialIndex(1)
    for slot, row in enumerate(poses.tolist()):
        index.append(0, slot, row)
    fov = torch.tensor([90.0])
    for camera in range(cameras):
        anchor = len(poses) - cameras + camera
        for pose in poses[anchor - 9 * cameras : anchor + 1 : cameras]:
            query = poses[None], torch.tensor([len(poses)]), pose[None], 8, fov
            wanted = choose_among_all(*query, anchors=torch.tensor([anchor]), cameras=cameras)
            assert choose_nearby(index, 0, pose.tolist(), 8, 90.0, anchor, cameras) == wanted[0].tolist()


@pytest.mark.parametrize("retrieval", ["fov", "random"])
def test_a_world_of_cameras_in_a_batch_equals_the_world_alone(retrieval):
    batch = open_world(3, retrieval=retrieval, memory_capacity=9)
    alone = SceneWorld(PoseGenerator(), 1, retrieval, 4, memory_capacity=9, cameras=C)
    alone.reset(0, *some_frames(4, seed=1), fov=90.0, seed=10, starts=(1, 3))
    own = slice(C, 2 * C)
    for motion in some_motions(12, 3 * C):
        together, single = batch.advance(motion), alone.advance(motion[own])
        assert torch.equal(together.times[own], single.times)
        # Vectorised cosines may differ from scalar ones in the last bit.
        torch.testing.assert_close(together.poses[own], single.poses, atol=1e-6, rtol=0)
        noise = [
            [PoseGenerator.read(frame.numpy()).noise for frame in frames]
            for frames in (together.frames[own], single.frames)
        ]
        assert noise[0] == noise[1] and noise[0][0] != noise[0][1]


def test_a_camera_that_does_not_move_makes_no_frame_and_draws_no_numbers():
    world = open_world(2)
    moving = torch.tensor([True, False, True, True])
    before = world.poses, [generator.get_state() for generator in world.generators]
    world.advance(APART.repeat(2, 1), moving)
    assert world.memory.lengths.tolist() == [4 + 1, 4 + C]
    assert torch.equal(world.poses[1], before[0][1]) and not torch.equal(world.poses[3], before[0][3])
    same = [torch.equal(new.get_state(), old) for new, old in zip(world.generators, before[1], strict=True)]
    assert same == [False, True, False, False]
    step = world.advance(APART.repeat(2, 1))
    assert torch.equal(step.context.poses[1, 0], before[0][1])  # its newest frame is still the one that it began with


def test_the_anchor_of_a_camera_that_rested_is_found_after_frames_were_forgotten():
    world = open_world(memory_capacity=6)
    rested = world.advance(APART).poses[1]
    for _ in range(6):
        world.advance(APART, torch.tensor([True, False]))
    assert 5 in world.memory.times[0] and world.memory.times[0, -2] != 5  # remembered, and frames between forgotten
    step = world.advance(APART)
    assert step.times[1, 0] == 5 and torch.equal(step.context.poses[1, 0], rested)


def test_the_anchor_of_a_start_is_found_among_frames_that_were_forgotten():
    world = open_world(n=8, starts=(4, 7), memory_capacity=4)
    assert world.memory.times[0].tolist() == [1, 4, 6, 7]
    assert world.advance(APART).times[:, 0].tolist() == [4, 7]
    world = open_world(n=8, starts=(5, 7), memory_capacity=4)
    assert world.advance(APART).times[:, 0].tolist() == [4, 7]  # the last frame before it
    world = open_world(n=8, starts=(3, 7), memory_capacity=4, eviction="oldest")
    assert world.advance(APART).times[:, 0].tolist() == [4, 7]  # the oldest that is left


def test_a_surface_that_one_camera_has_seen_stops_the_other():
    world = SceneWorld(PoseGenerator(), cameras=C, dynamics=SeenSurfaces(0.15))
    frames, depth, poses = some_frames(2, depth=0.5)
    poses[:, 3] = torch.tensor([math.pi, 0.0])
    depth[0] = 50.0
    world.reset(0, frames, depth, poses, fov=90.0, seed=0, starts=(1, 0))
    still, back = torch.zeros(4), torch.tensor([-0.4, 0.0, 0.0, 0.0])
    step = world.advance(torch.stack([still, back]))  # backwards into what only the first camera sees
    assert step.collided.tolist() == [False, True]
    assert step.poses[1, 0] == pytest.approx(0.3, abs=0.02)  # 0.5 m less the body and the gap


def test_a_step_on_another_device_asks_it_for_no_value():
    """On "meta" there are shapes and no values: whatever looks at one raises."""
    network = SceneTransformer(48, 48, patch_size=16, dim=32, num_heads=2, num_layers=2, pixel_dim=8).to("meta")
    world = SceneWorld(SceneGenerator(network), 2, memory_capacity=6, num_context=4, device="meta", cameras=C)
    for b in range(2):
        world.reset(b, *some_frames(2), fov=90.0, seed=b)
    for _ in range(4):  # past the capacity
        step = world.advance(APART.repeat(2, 1), torch.tensor([True, False, True, True]))
    assert step.frames.shape == (2 * C, 48, 48, 3) and step.frames.device.type == "meta"


def test_a_copy_goes_on_as_the_original_does_and_apart_from_it():
    world = open_world(retrieval="random")
    world.advance(APART)
    twin = copy.deepcopy(world)
    assert torch.equal(world.advance(APART).frames, twin.advance(APART).frames)
    world.advance(APART)
    assert twin.memory.lengths.tolist() == [4 + 2 * C]


def test_a_world_goes_back_to_a_moment_with_all_its_cameras():
    world = open_world(memory_capacity=8)
    world.advance(APART)
    state = world.clone_state()
    first = [world.advance(motion) for motion in some_motions(6, C)]
    world.restore_state(state)
    for step, motion in zip(first, some_motions(6, C), strict=True):
        again = world.advance(motion)
        assert torch.equal(again.frames, step.frames) and torch.equal(again.times, step.times)


def test_bad_input_is_named_and_the_world_goes_on():
    with pytest.raises(ValueError, match="cameras=0 is out of range; expected an integer of at least 1"):
        SceneWorld(PoseGenerator(), cameras=0)
    with pytest.raises(ValueError, match=r"memory_capacity=2 is less than cameras=3; expected room .* Raise"):
        SceneWorld(PoseGenerator(), cameras=3, memory_capacity=2, num_context=1)
    world, undisturbed = open_world(), open_world()
    for starts in ([0], [0, 4], [-1, 0]):
        with pytest.raises(ValueError, match=r"starts=.*; expected the index of a frame for each camera, 2 .* to 3"):
            world.reset(0, *some_frames(4, seed=9), fov=60.0, seed=9, starts=starts)
    assert torch.equal(world.advance(APART).frames, undisturbed.advance(APART).frames)
