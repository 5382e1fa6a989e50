"""What was painted is refuted by frames that see through it, forgotten where it is contested, and tidied."""

import math

import pytest
import torch
from walls import FOV, SIZE, everything, memory, splat, wall

from ctxmem_env.generator import points
from ctxmem_env.generator import splat as throwing
from ctxmem_env.generator import vote as voting


def test_what_was_painted_right_before_the_camera_gives_way_and_what_was_given_does_not():
    near, far = wall(0.25, colour=0.5), wall(4.0, colour=-0.5)
    pose = near[2][None, None]

    def shown(given):
        given = None if given is None else torch.tensor([given])
        return splat(*memory(near, far), everything(2), pose, FOV, given)[0].unique().tolist()

    assert shown(None) == shown([True, True]) == shown([True, False]) == [0.5]
    assert shown([False, True]) == shown([False, False]) == [-0.5]
    further = pose.clone()
    further[..., 0] = -0.2  # from here the near wall is 0.45 m away
    assert (splat(*memory(near, far), everything(2), further, FOV, ~everything(2))[0] == 0.5).any()


def test_of_what_was_painted_what_was_seen_from_nearby_wins():
    here, elsewhere = wall(2.0, colour=0.5), wall(3.0, colour=-0.5)
    elsewhere[2][0] = -1.5  # so that its wall stands 1.5 m before the camera
    assert carved(here, elsewhere, given=[False, False]) == [0.5]
    assert carved(here, elsewhere, given=[False, True]) == [-0.5]  # nobody doubts its depth
    much_nearer = wall(0.9, colour=-0.5)
    much_nearer[2][0] = -0.5
    assert carved(here, *4 * [much_nearer], given=[False] * 5) == [-0.5]


def carved(*walls, given, pose=None):
    """Colours of a view of remembered walls, by default from where the first of them was seen."""
    pose = walls[0][2] if pose is None else pose
    colours, _, covered = splat(*memory(*walls), everything(len(walls)), pose[None, None], FOV, torch.tensor([given]))
    return colours[covered.expand_as(colours) > 0].unique().tolist()


def test_nothing_painted_stands_where_a_given_frame_saw_through():
    true, painted = wall(4.0, colour=-0.5), wall(2.0, colour=0.5)
    assert carved(true, painted, given=[True, False]) == [-0.5]
    assert carved(painted, true, given=[False, True]) == [-0.5]
    # Little nearer than the true one it may be that one, with an error of depth.
    assert carved(true, wall(3.8, colour=0.5), given=[True, False]) == [0.5]


def test_of_what_was_painted_the_majority_of_those_that_look_there_decides():
    near, far = wall(2.0, colour=0.5), wall(4.0, colour=-0.5)
    for order in ((near, far, far), (far, near, far), (far, far, near)):
        assert carved(*order, given=[False] * 3) == [-0.5]
    assert carved(*4 * [near], far, given=[False] * 5) == [0.5]
    assert carved(near, far, far, given=[True, False, False]) == [0.5]  # nobody outvotes a true frame
    beside = wall(4.0, colour=-0.5, yaw=math.pi)
    assert carved(*4 * [near], far, *3 * [beside], given=[False] * 8) == [0.5]  # who looks elsewhere has no say
    frames, depth, poses = memory(*4 * [near], *5 * [far])
    mask = torch.arange(9)[None] < 5
    assert (splat(frames, depth, poses, mask, poses[:, :1], FOV, ~everything(9))[0] == 0.5).all()  # nor an empty slot


def test_where_what_was_painted_is_contested_all_over_none_of_it_is_left():
    near, far = wall(2.0, colour=0.5), wall(4.0, colour=-0.5)
    for order in ((near, far), (far, near), (near, near, far, far)):
        assert carved(*order, given=[False] * len(order)) == []
    assert carved(near, near, far, far, given=[True, False, False, False]) == [0.5]  # what nobody painted stays
    assert carved(*8 * [near], *2 * [far], given=[False] * 10) == [0.5]  # eight of ten are enough


def test_what_a_true_frame_shows_is_not_forgotten_with_its_painted_copies():
    true, copy, other = wall(4.0, colour=-0.5), wall(3.9, colour=0.0), wall(4.5, colour=0.5)
    assert carved(true, copy, other, given=[True, False, False]) == [0.0]
    same = wall(4.0, colour=0.0)
    assert carved(same, true, other, given=[False, True, False]) in ([0.0], [-0.5])


def test_a_contested_strip_is_left_where_all_around_it_is_agreed_on():
    frame, depth, pose = wall(4.0, colour=-0.5)
    strip, columns = (frame.clone(), depth.clone(), pose), slice(SIZE // 2, SIZE // 2 + 2)
    strip[0][..., columns], strip[1][..., columns] = 0.5, 2.0
    far = wall(4.0, colour=-0.5)
    assert carved(strip, strip, far, far, given=[False] * 4) == [-0.5, 0.5]


def spotted(rows, columns):
    """A wall at 4 m with something before it, 2 m away."""
    frame, depth, pose = wall(4.0, colour=-0.5)
    frame, depth = frame.clone(), depth.clone()
    frame[:, rows, columns], depth[rows, columns] = 0.5, 2.0
    return frame, depth, pose


@pytest.mark.parametrize(("corner", "size"), [(0, 1), (1, 2), (SIZE // 2, 2), (SIZE - 3, 2), (SIZE - 1, 1)])
def test_a_speck_of_what_was_painted_becomes_the_surface_around_it(corner, size):
    part = slice(corner, corner + size)
    speck = spotted(part, part)
    colours, log_depth, covered = splat(*memory(speck), everything(1), speck[2][None, None], FOV, ~everything(1))
    assert (covered == 1).all() and (colours == -0.5).all()
    torch.testing.assert_close(log_depth, torch.full_like(log_depth, math.log(4.0)))
    assert carved(speck, given=[True]) == [-0.5, 0.5]  # what nobody painted stays as it is
    assert carved(speck, speck, given=[False, True]) == [-0.5, 0.5]  # and so does what shows the same


@pytest.mark.parametrize("sideways", [0.0, 0.02, 0.05])
def test_a_painted_post_of_two_pixels_is_no_speck(sideways):
    post = spotted(slice(None), slice(SIZE // 2, SIZE // 2 + 2))
    pose = post[2].clone()
    pose[1] = sideways
    colours = splat(*memory(post), everything(1), pose[None, None], FOV, ~everything(1))[0]
    if sideways == 0:
        assert torch.equal(colours[0, 0], post[0])
    # An error of a part of a pixel may cost it one of its columns.
    assert (colours[0, 0, 0] > 0).any(1).float().mean() > 0.9


def test_a_painted_floor_is_left_as_it_is_up_to_the_horizon():
    pose = wall(4.0, colour=-0.5)[2]
    below = (torch.arange(SIZE)[:, None] - SIZE / 2 + 0.5).clamp(min=0.5).expand(SIZE, SIZE)
    floor = (torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)), 1.5 * SIZE / 2 / below, pose)
    colours = splat(*memory(floor), everything(1), pose[None, None], FOV, ~everything(1))[0]
    assert torch.equal(colours[0, 0], floor[0])


def test_specks_of_large_frames_are_as_large_and_each_world_and_view_is_tidied_as_alone(monkeypatch):
    """Frames of 24 x 128, two worlds, two views: in which a speck lies where, and on what, is easily mistaken."""
    rows, columns = torch.meshgrid(-torch.arange(24.0) / 128, -torch.arange(128.0) / 128, indexing="ij")
    place = torch.stack([rows, columns, rows])
    frames, depth = place.expand(2, 1, -1, -1, -1).clone(), torch.full((2, 1, 24, 128), 4.0)
    for world, (row, column) in enumerate([(5, 20), (14, 90)]):
        part = (world, 0, slice(row, row + 3), slice(column, column + 3))
        depth[part] = 2.0
        frames[world, 0, :, row : row + 3, column : column + 3] = 0.5
    poses = torch.tensor([0.0, 0.0, 1.5, 0.0, 0.0, 0.0]).expand(2, 2, 6).clone()
    poses[:, 1, 3] = 0.3
    mask = torch.ones(2, 1, dtype=torch.bool)

    def views(worlds=slice(None), targets=slice(None)):
        parts = (part[worlds] for part in (frames, depth, poses[:, :1], mask))
        return splat(*parts, poses[worlds, targets], FOV.expand(2)[worlds], ~mask[worlds])

    both = views()
    assert (both[0] <= 0).all()
    assert ((both[0][:, 0] - place).abs() < 5 / 128).all()  # of the wall what is near the speck
    for world in range(2):
        for target in range(2):
            alone = views(slice(world, world + 1), slice(target, target + 1))
            for one, other in zip(both, alone, strict=True):
                assert torch.equal(one[world, target], other[0, 0])
    # Elsewhere than on a CPU no value is looked at.
    for module in (throwing, voting, points):
        monkeypatch.setattr(module, "is_host", lambda tensor: False)
    assert all(torch.equal(*pair) for pair in zip(both, views(), strict=True))


def test_what_a_true_frame_shows_is_no_speck_in_whichever_column_it_is():
    for column in (SIZE // 2, SIZE // 2 + 1):
        frame, depth, pose = spotted(slice(9, 10), slice(column, column + 1))
        knows_it_alone = torch.where(depth == 2.0, 2.02, 0.0)
        copied = splat(*memory((frame, depth, pose), (frame, knows_it_alone, pose)), everything(2), pose[None, None],
                       FOV, torch.tensor([[False, True]]))[0]  # fmt: skip
        assert copied[0, 0, 0, 9, column] == 0.5


def test_what_is_outvoted_gives_way_with_all_that_stands_before_what_was_seen_through_it():
    near, next_to_it, far = wall(2.0, colour=0.5), wall(2.5, colour=0.0), wall(4.0, colour=-0.5)
    assert carved(near, next_to_it, *5 * [far], given=[False] * 7) == [-0.5]
    # But nothing behind that: what is seen there is no reason to doubt it.
    assert carved(near, *3 * [far], wall(4.2, colour=0.0), wall(4.4, colour=1.0), given=[False] * 6) == [-0.5]


def test_scenes_side_by_side_give_way_as_each_alone(monkeypatch):
    walls = wall(2.0, colour=0.5), wall(4.0, colour=-0.5), wall(4.0, colour=-0.5)
    frames, depth, poses = (torch.cat(2 * [part]) for part in memory(*walls))
    given = torch.tensor([[False, False, False], [True, False, False]])
    both = splat(frames, depth, poses, everything(3).expand(2, -1), poses[:, :1], FOV.expand(2), given)
    for world in range(2):
        own = slice(world, world + 1)
        alone = splat(frames[own], depth[own], poses[own], everything(3), poses[own, :1], FOV, given[own])
        assert all(torch.equal(one[own], other) for one, other in zip(both, alone, strict=True))
    assert both[0][0].unique().tolist() == [-0.5] and both[0][1].unique().tolist() == [0.5]
    # Elsewhere than on a CPU no value is looked at, and all scenes are thrown again.
    for module in (throwing, voting, points):
        monkeypatch.setattr(module, "is_host", lambda tensor: False)
    unseen = splat(frames, depth, poses, everything(3).expand(2, -1), poses[:, :1], FOV.expand(2), given)
    assert all(torch.equal(one, other) for one, other in zip(both, unseen, strict=True))


def test_what_no_given_frame_could_see_stays_as_it_was_painted():
    true, behind = wall(2.0, colour=-0.5), wall(4.0, colour=0.5)
    assert carved(true, behind, given=[True, False]) == [-0.5]  # hidden by the true one, as from anywhere
    beside = wall(2.0, colour=0.5, yaw=math.pi)
    assert carved(true, beside, given=[True, False], pose=beside[2]) == [0.5]


def test_given_frames_do_not_carve_one_another():
    assert carved(wall(4.0, colour=-0.5), wall(2.0, colour=0.5), given=[True, True]) == [0.5]
    # Nor with a painted one beside them, elsewhere.
    walls = wall(4.0, colour=-0.5), wall(2.0, colour=0.5), wall(2.0, colour=0.0, yaw=math.pi)
    assert carved(*walls, given=[True, True, False]) == [0.5]
