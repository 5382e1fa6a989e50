"""The look-up over memory, measured against scenes whose colours and depth are exact."""

import math

import pytest
import torch
import torch.nn.functional as F
from walls import FOV, SIZE, everything, memory, splat, wall

from ctxmem_env.camera import camera_to_world, cameras_at, move
from ctxmem_env.generator import points
from ctxmem_env.generator import splat as throwing
from ctxmem_env.generator.attention import relative_cameras
from ctxmem_env.generator.extend import extend as carry_on
from ctxmem_env.generator.lookup import UNKNOWN, fetch, locate, two_largest
from ctxmem_env.scenes import build_scene, random_walk, render, stack_scenes


def to_float(frames):
    return frames.movedim(-1, -3).float() / 127.5 - 1


@pytest.fixture(scope="module")
def true_views():
    """Frames (1, 4, 3, H, W), depth and poses of four cameras that stand within a step of one another."""
    import numpy as np

    scene = build_scene(11)
    pose = random_walk(scene, 2, np.random.default_rng(0))[0].float()
    poses = pose.repeat(4, 1)
    ahead = torch.stack([pose[3].cos(), pose[3].sin()])
    left = torch.stack([-pose[3].sin(), pose[3].cos()])
    poses[1, :2] += 0.2 * ahead
    poses[2, :2] += 0.25 * left
    poses[2, 3] += math.radians(15)
    poses[3, 3] -= math.radians(10)
    poses[3, 4] = math.radians(8)
    frames, depth = render(stack_scenes([scene]), poses[None], 90.0, SIZE, SIZE)
    return to_float(frames), depth, poses[None]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("size", [1, 3, 5, 11, 23])
def test_squares_of_points_are_those_of_a_pooling_layer(size, dtype):
    images = torch.randint(1000, (2, 3, 17, 30), generator=torch.Generator().manual_seed(size), dtype=dtype)
    pooled = -torch.nn.functional.max_pool2d(-images.double(), size, stride=1, padding=size // 2)
    assert torch.equal(points.least_around(images, size), pooled.to(dtype))


def test_what_is_thrown_does_not_depend_on_how_many_empty_slots_there_are(true_views):
    """As long as keys are integers of the same kind, and where there are so many points that they are longer ones."""
    _, depth, poses = true_views
    few, many = (points._key_layout(slots * SIZE * SIZE)[0] for slots in (4, 300))
    assert (few, many) == (torch.int32, torch.int64)
    ahead = move(poses[:, -1], torch.tensor([1.0, 0.0, 0.0, 0.0]))[:, None]  # surfaces that have come nearer

    def nearest(slots):
        empty = slots - depth.shape[1]
        wide = F.pad(depth, [0] * 4 + [0, empty], value=1.0)
        where = F.pad(poses, [0, 0, 0, empty])
        mask = torch.arange(slots)[None] < depth.shape[1]
        thrown = points.project_points(wide, cameras_at(where, FOV), mask, cameras_at(ahead, FOV), None)
        return points.nearest_of(thrown, (SIZE, SIZE))

    assert (nearest(4) >= 0).float().mean() > 0.9
    assert (nearest(300) == nearest(4)).float().mean() > 0.999  # depths are told apart a little more finely


def extend(frames, depth, context_poses, mask, poses, fov):
    return carry_on(frames, depth, cameras_at(context_poses, fov), mask, cameras_at(poses, fov))


def look_up(log_depth, poses, frames, depth, context_poses, mask, fov):
    """Colours, evidence and visibility of every pixel in every remembered frame."""
    image, evidence, visible = locate(log_depth, cameras_at(poses, fov), depth, cameras_at(context_poses, fov), mask)
    slot = torch.arange(frames.shape[1])[:, None, None].expand(visible.shape)
    return fetch(frames, image, slot), torch.stack(evidence, dim=3), visible


def test_a_frame_thrown_into_its_own_pose_comes_back_exactly(true_views):
    frames, depth, poses = true_views
    for i in range(4):
        own = slice(i, i + 1)
        colours, log_depth, covered = splat(
            frames[:, own], depth[:, own], poses[:, own], everything(1), poses[:, own], FOV
        )
        assert (covered == 1).all()
        assert torch.equal(colours[:, 0], frames[:, i])
        torch.testing.assert_close(log_depth[:, 0, 0].exp(), depth[:, i])


def test_frames_thrown_into_a_near_view_show_what_is_there(true_views):
    frames, depth, poses = true_views
    colours, log_depth, covered = splat(frames[:, 1:], depth[:, 1:], poses[:, 1:], everything(3), poses[:, :1], FOV)
    seen = covered[0, 0, 0] == 1
    assert seen.float().mean() > 0.7
    error = (log_depth[0, 0, 0].exp() / depth[0, 0] - 1).abs()[seen]
    assert error.median() < 0.03
    assert (colours[0, 0] - frames[0, 0])[:, seen].abs().median() < 0.08
    assert (colours[0, 0][:, ~seen] == 0).all() and (log_depth[0, 0, 0][~seen] == 0).all()


def test_the_nearest_of_two_surfaces_wins_whichever_slot_it_is_in():
    near, far = wall(2.0, colour=0.5), wall(4.0, colour=-0.5)
    pose = near[2][None, None]
    for order in ((near, far), (far, near)):
        colours, log_depth, _ = splat(*memory(*order), everything(2), pose, FOV)
        assert (colours == 0.5).all()
        torch.testing.assert_close(log_depth, torch.full_like(log_depth, math.log(2.0)))


def test_what_has_come_nearer_is_thrown_alike_where_no_value_is_looked_at(monkeypatch, true_views):
    frames, depth, poses = true_views
    ahead = poses[:, :1].clone()
    ahead[..., :2] += 1.2 * torch.stack([ahead[..., 3].cos(), ahead[..., 3].sin()], dim=-1)
    seen = splat(frames, depth, poses, everything(4), ahead, FOV)
    for module in (throwing, points):
        monkeypatch.setattr(module, "is_host", lambda tensor: False)
    unseen = splat(frames, depth, poses, everything(4), ahead, FOV)
    assert all(torch.equal(one, other) for one, other in zip(seen, unseen, strict=True))
    monkeypatch.setattr(points, "_SQUARES", ())
    centres = splat(frames, depth, poses, everything(4), ahead, FOV)
    assert (seen[2] > centres[2]).float().mean() > 0.02  # there is something that squares cover


@pytest.mark.parametrize("count", [8 * 64 * 64, 2**18 - 1, 30 * 256 * 256, 2**30])
def test_keys_tell_depths_apart_by_a_five_hundredth_however_many_points_there_are(count):
    dtype, bits, fine = points._key_layout(count)
    assert 1 / fine < 0.002 and count < 2**bits
    farthest = int(math.log(points._FARTHEST / 0.05) * fine)
    hidden = round(math.log(1 / points._HIDES) * fine)
    assert ((farthest + hidden) << bits) + count < torch.iinfo(dtype).max


def test_nothing_is_thrown_from_an_empty_slot_an_unknown_depth_or_behind_the_camera():
    frames, depth, poses = memory(wall(2.0, 0.5), wall(3.0, -0.5))
    target = poses[:, :1]

    def covered(depth=depth, mask=None, target=target):
        mask = everything(2) if mask is None else torch.tensor([mask])
        return splat(frames, depth, poses, mask, target, FOV)[2].mean().item()

    assert covered() == 1.0
    assert covered(mask=[False, False]) == 0.0
    assert covered(depth=torch.zeros_like(depth)) == 0.0  # 0 stands for a depth that nobody knows
    behind = target.clone()
    behind[..., 0] = -1.0  # from here, points without depth would show at the place of the remembered camera
    assert covered(target=behind) > 0 and covered(depth=torch.zeros_like(depth), target=behind) == 0.0
    turned = target.clone()
    turned[..., 3] = math.pi
    assert covered(target=turned) == 0.0
    half = depth.clone()
    half[..., : SIZE // 2] = 0.0
    assert covered(depth=half) == 0.5


@pytest.mark.parametrize("nearer", [1.0, 1.5, 3.0, 6.0, 10.0, 15.0])
def test_a_wall_that_comes_near_has_no_holes_and_hides_what_is_behind_it(nearer):
    """Its points lie many pixels apart then."""
    near, far = wall(4.0, colour=0.5), wall(8.0, colour=-0.5)
    pose = near[2][None, None].clone()
    pose[..., 0] = 4.0 - 4.0 / nearer
    colours, log_depth, covered = splat(*memory(near, far), everything(2), pose, FOV)
    assert (covered == 1).all() and (colours == 0.5).all()
    torch.testing.assert_close(log_depth, torch.full_like(log_depth, math.log(4.0 / nearer)))


def test_fetched_colours_are_those_of_the_scene_where_a_camera_saw_it(true_views):
    frames, depth, poses = true_views
    memory = frames[:, 1:], depth[:, 1:], poses[:, 1:], everything(3), FOV
    colours, evidence, visible = look_up(depth[:, :1].log(), poses[:, :1], *memory)
    _, wrong_evidence, wrong_visible = look_up((2 * depth[:, :1]).log(), poses[:, :1], *memory)
    for slot in range(3):
        # Evidence 0 is how far the two depths disagree: log(1 + |error| / 2 %).
        seen = visible[0, 0, slot] & (evidence[0, 0, slot, 0] < math.log1p(1.0))
        assert seen.float().mean() > 0.5
        error = (colours[0, 0, slot] - frames[0, 0])[:, seen].abs()
        assert error.median() < 0.04
        disagreement = wrong_evidence[0, 0, slot, 0][wrong_visible[0, 0, slot]]
        assert disagreement.median() > 2 * evidence[0, 0, slot, 0][visible[0, 0, slot]].median()


def test_a_frame_looked_up_at_its_own_pose_is_found_whole(true_views):
    frames, depth, poses = true_views
    own = slice(0, 1)
    colours, evidence, visible = look_up(
        depth[:, own].log(), poses[:, own], frames[:, own], depth[:, own], poses[:, own], everything(1), FOV
    )
    assert visible.all()
    torch.testing.assert_close(colours[:, 0, 0], frames[:, 0], atol=1e-3, rtol=0)
    assert (evidence.abs() < 1e-2).all()


def test_evidence_tells_a_hidden_surface_from_one_that_stands_in_front():
    frames, depth, poses = memory(wall(2.0, 0.5))
    target = poses.clone()
    for distance, sign in ((3.0, 1.0), (1.5, -1.0)):
        log_depth = torch.full((1, 1, SIZE, SIZE), math.log(distance))
        _, evidence, visible = look_up(log_depth, target, frames, depth, poses, everything(1), FOV)
        assert visible.all()
        size = abs(math.log(distance / 2.0))
        torch.testing.assert_close(evidence[0, 0, 0, 0], torch.full((SIZE, SIZE), math.log1p(size / 0.02)))
        torch.testing.assert_close(evidence[0, 0, 0, 1], torch.full((SIZE, SIZE), 4 * sign * size))


def test_evidence_says_which_camera_stood_further_away():
    frames, depth, poses = memory(wall(4.0, 0.5))
    closer = poses.clone()
    closer[..., 0] = 2.0  # the wall is 2 m ahead of the new view and 4 m ahead of the remembered camera
    log_depth = torch.full((1, 1, SIZE, SIZE), math.log(2.0))
    _, evidence, visible = look_up(log_depth, closer, frames, depth, poses, everything(1), FOV)
    assert visible.all()
    torch.testing.assert_close(evidence[0, 0, 0, 2], torch.full((SIZE, SIZE), math.log(2.0)))


def test_an_unknown_depth_is_no_evidence_against_a_frame():
    frames, depth, poses = memory(wall(2.0, 0.5))
    log_depth = torch.full((1, 1, SIZE, SIZE), math.log(7.0))
    _, evidence, visible = look_up(log_depth, poses, frames, torch.zeros_like(depth), poses, everything(1), FOV)
    assert visible.all() and (evidence[0, 0, 0, :2] == 0).all()


def test_what_lies_beside_or_behind_a_remembered_camera_is_not_visible_to_it():
    frames, depth, poses = memory(wall(2.0, 0.5), wall(2.0, 0.5, yaw=math.pi), wall(2.0, 0.5, yaw=math.pi / 4))
    target = poses[:, :1]
    log_depth = torch.full((1, 1, SIZE, SIZE), math.log(0.5))
    visible = look_up(log_depth, target, frames, depth, poses, everything(3), FOV)[2][0, 0]
    assert visible[0].all() and not visible[1].any()
    # Turned left by half of the field of view: it sees the left half of the new view, which it has on its right.
    assert visible[2, SIZE // 2, : SIZE // 2].all() and not visible[2, :, SIZE // 2 :].any()
    mask = torch.tensor([[False, True, True]])
    assert not look_up(log_depth, target, frames, depth, poses, mask, FOV)[2][0, 0, 0].any()


def test_geometry_keeps_its_precision_under_autocast(true_views):
    frames, depth, poses = true_views
    poses = poses + torch.tensor([40.0, -25.0, 0.0, 0.0, 0.0, 0.0])
    thrown = (frames[:, 1:], depth[:, 1:], poses[:, 1:], everything(3), poses[:, :1], FOV)
    fetched = (depth[:, :1].log(), poses[:, :1], frames[:, 1:], depth[:, 1:], poses[:, 1:], everything(3), FOV)
    exact = splat(*thrown) + look_up(*fetched)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = splat(*thrown) + look_up(*fetched)
    for one, other in zip(exact, rounded, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_a_frame_carried_on_to_its_own_pose_is_the_frame(true_views):
    frames, depth, poses = true_views
    colours, log_depth, moved = extend(frames[:, :1], depth[:, :1], poses[:, :1], everything(1), poses[:, :1], FOV)
    torch.testing.assert_close(colours[:, 0], frames[:, 0])
    torch.testing.assert_close(log_depth[:, 0, 0], depth[:, 0].log())
    assert moved.abs().max() < 1e-6


def striped_frame():
    """A frame whose columns differ, white above the horizon, at 2 m; its depth and pose."""
    frame = torch.linspace(-1, 0, SIZE).expand(3, SIZE, SIZE).clone()
    frame[1, : SIZE // 2] = 1.0
    return frame[None, None], torch.full((1, 1, SIZE, SIZE), 2.0), torch.tensor([[[0.0, 0.0, 1.5, 0.7, 0.0, 0.0]]])


def test_beyond_its_border_a_frame_begins_anew_at_the_other_border():
    frame, depth, pose = striped_frame()
    for turn in (90, -90, 180):  # whole numbers of frames of 90 degrees
        turned = pose.clone()
        turned[..., 3] += math.radians(turn)
        colours, log_depth, moved = extend(frame, depth, pose, everything(1), turned, FOV)
        same = (colours[:, 0] - frame[:, 0]).abs().amax(1)
        assert (same[:, :, 1:-1] == 0).all()  # rounding may take an outermost pixel round
        torch.testing.assert_close(log_depth[:, 0, 0, :, 1:-1], depth[:, 0, :, 1:-1].log(), atol=1e-4, rtol=0)
        assert moved.max() > math.radians(min(abs(turn), 135) - 3)


def test_small_steps_beyond_a_border_show_what_comes_next_and_not_one_column_again():
    frame, depth, pose = striped_frame()
    turned = pose.clone()
    turned[..., 3] -= math.radians(20)
    colours, _, moved = extend(frame, depth, pose, everything(1), turned, FOV)
    unseen = colours[0, 0, 0, SIZE // 2, moved[0, 0, 0, SIZE // 2] > 0.02]
    assert len(unseen) >= 8 and (unseen.diff() >= 0).all() and unseen[-1] > unseen[0] + 0.2
    assert unseen[0] < -0.95  # the left border, right beside the right one


@pytest.mark.parametrize("pitch", [-30, 25])
def test_an_example_keeps_its_elevation_and_its_distance_along_the_level(pitch):
    """A pitched camera in the middle of a room that looks the same after a quarter of a turn."""
    frame, depth, pose = striped_frame()
    view = pose.clone()
    view[..., 3] += math.radians(90)
    view[..., 4] = math.radians(pitch)
    colours, log_depth, _ = extend(frame, depth, pose, everything(1), view, FOV)
    seen = pose.clone()
    seen[..., 4] = math.radians(pitch)
    same_colours, same_depth, _ = extend(frame, depth, pose, everything(1), seen, FOV)
    middle = (..., slice(4, -4), slice(4, -4))
    assert (colours - same_colours)[middle].abs().median() == 0
    assert (log_depth - same_depth)[middle].abs().median() < 1e-5


def test_a_frame_without_depth_lends_its_colours_and_no_depth():
    frame, depth, pose = striped_frame()
    turned = pose.clone()
    turned[..., 3] += 1.0
    colours, log_depth, _ = extend(frame, 0 * depth, pose, everything(1), turned, FOV)
    assert colours.abs().max() > 0 and not (log_depth > UNKNOWN).any()


def test_the_frame_that_comes_nearest_is_carried_on_and_nothing_where_nothing_is_remembered():
    frames, depth, poses = memory(wall(2.0, 0.5), wall(2.0, -0.5, yaw=math.radians(100)))
    view = poses[:, :1].clone()
    view[..., 3] = math.radians(110)
    colours, _, _ = extend(frames, depth, poses, everything(2), view, FOV)
    assert (colours == -0.5).all()
    colours, log_depth, moved = extend(frames, depth, poses, ~everything(2), view, FOV)
    assert (colours == 0).all() and (log_depth == 0).all() and (moved == torch.pi).all()


def test_geometry_is_the_same_inside_autocast(true_views):
    frames, depth, poses = true_views
    poses = poses + torch.tensor([30.0, -20.0, 0, 0, 0, 0])  # where bfloat16 resolves a tenth of a metre
    seen = (frames[:, :3], depth[:, :3], poses[:, :3], everything(3), poses[:, 3:], FOV)
    sought = (depth[:, 3:].log(), poses[:, 3:], frames[:, :3], depth[:, :3], poses[:, :3], everything(3), FOV)

    def results():
        yield from splat(*seen)
        yield from extend(*seen)
        yield from look_up(*sought)
        yield relative_cameras(cameras_at(poses, FOV), 0)
        yield camera_to_world(poses)

    exact = list(results())
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(exact, results(), strict=True))


def test_a_near_wall_that_has_grown_hides_what_is_behind_it():
    # A wall 4 m ahead, and a red one behind it that a second camera sees: 1 m from the first wall its points are four
    # pixels apart, and no red may shine through between them.
    frames, depth, poses = memory(wall(4.0, 0.5), wall(8.0, -0.5))
    near = poses[:, :1].clone()
    near[..., 0] = 3.0
    colours, log_depth, covered = splat(frames, depth, poses, everything(2), near, FOV)
    assert (covered == 1).all() and (colours == 0.5).all()
    torch.testing.assert_close(log_depth, torch.zeros_like(log_depth), atol=2e-3, rtol=0)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_the_two_largest_scores_are_found_in_their_order(slots):
    scores = torch.randn(2, 3, slots, 5, 4, generator=torch.Generator().manual_seed(0)) * 20
    scores[:, :, 0, 0] = -1e4  # not visible
    expected = scores.topk(min(2, slots), dim=2).indices
    assert torch.equal(two_largest(scores), expected)


def test_each_pixel_is_fetched_from_the_frame_that_is_named():
    frames = torch.stack([torch.full((3, SIZE, SIZE), value) for value in (-1.0, 0.0, 1.0)])[None]
    edge = torch.linspace(-1, 1, SIZE)  # to the very borders, where the kernel reaches beyond the frame
    image = torch.stack(torch.meshgrid(edge, edge, indexing="xy")).expand(1, 1, 3, 2, SIZE, SIZE)
    slot = torch.randint(3, (1, 1, 2, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    colours = fetch(frames, image, slot)
    torch.testing.assert_close(colours[:, :, :, 0], slot - 1.0)
