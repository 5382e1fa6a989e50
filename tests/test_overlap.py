import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxmem_env.overlap import MAX_RANGE, border_rays_meet, in_view_frame, view_overlap

FOV = 90.0
coordinate, angle = st.floats(-5, 5), st.floats(-180, 180)


def pose(x=0.0, y=0.0, yaw=0.0, pitch=0.0):
    return torch.tensor([x, y, 1.5, math.radians(yaw), math.radians(pitch), 0.0])


def random_poses(*shape, seed=0, size=4.0):
    generator = torch.Generator().manual_seed(seed)
    poses = (2 * torch.rand(*shape, 6, generator=generator) - 1) * torch.tensor([size, size, 0, math.pi, 0.3, 0])
    return poses + torch.tensor([0, 0, 1.5, 0, 0, 0])


def ray_count(candidate, new_pose, fov, columns=120, depths=80):
    """The share of the view's points, on rays through image columns, that lie in the candidate's sector."""
    half = math.radians(fov) / 2
    column = (torch.arange(columns) + 0.5) / columns * 2 - 1
    depth = 0.5 * (MAX_RANGE / 0.5) ** ((torch.arange(depths)[:, None] + 0.5) / depths)
    bearing = new_pose[3] - torch.atan(column * math.tan(half))
    distance = depth / torch.cos(bearing - new_pose[3])
    x = new_pose[0] + distance * torch.cos(bearing) - candidate[0]
    y = new_pose[1] + distance * torch.sin(bearing) - candidate[1]
    seen_at = torch.remainder(torch.atan2(y, x) - candidate[3] + math.pi, 2 * math.pi) - math.pi
    inside = (seen_at.abs() <= half) & (torch.hypot(x, y) * torch.cos(seen_at) <= MAX_RANGE)
    vertical = max(0.0, 1 - abs(float(candidate[4] - new_pose[4])) / math.radians(fov))
    return float(inside.float().mean()) * vertical


def ray_pairs_meet(candidate, new_pose):
    """Both border rays of the two views meet 0.1 to 8 m from the new camera, by walking along the rays."""
    far = torch.linspace(0.1, MAX_RANGE, 20_000, dtype=torch.float64)
    for side in (1, -1):
        own, other = (float(p[3]) + side * math.radians(FOV) / 2 for p in (new_pose, candidate))
        x = new_pose[0] + far * math.cos(own) - candidate[0]
        y = new_pose[1] + far * math.sin(own) - candidate[1]
        sideways = y * math.cos(other) - x * math.sin(other)
        ahead = x * math.cos(other) + y * math.sin(other)
        if not bool(((sideways[1:] * sideways[:-1] <= 0) & (ahead[1:] > 0)).any()):
            return False
    return True


def test_overlap_equals_brute_force_ray_counting():
    candidates, new_poses = random_poses(40, 25), random_poses(40, seed=1)
    fov = torch.linspace(50, 110, 40)
    overlap = view_overlap(candidates, new_poses, fov)
    counted = torch.tensor(
        [[ray_count(c, p, float(f)) for c in row] for row, p, f in zip(candidates, new_poses, fov, strict=True)]
    )
    error = (overlap - counted).abs()
    assert counted.max() > 0.5 and counted.min() == 0  # the case is not an empty one
    assert error.mean() < 0.01 and error.max() < 0.12


@settings(deadline=None, max_examples=60)
@given(coordinate, coordinate, angle, coordinate, coordinate, angle, st.floats(50, 110))
def test_overlap_of_any_two_views_is_near_the_ray_count(x, y, yaw, to_x, to_y, to_yaw, fov):
    candidate, new_pose = pose(x, y, yaw), pose(to_x, to_y, to_yaw)
    overlap = view_overlap(candidate[None, None], new_pose[None], fov).item()
    assert overlap == pytest.approx(ray_count(candidate, new_pose, fov), abs=0.15)


@settings(deadline=None, max_examples=30)
@given(coordinate, coordinate, angle, angle)
def test_overlap_is_the_same_wherever_the_world_is_turned(x, y, yaw, turn):
    view = random_poses(12, seed=3)
    turned = view.clone()
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    turned[:, 0], turned[:, 1] = c * view[:, 0] - s * view[:, 1] + x, s * view[:, 0] + c * view[:, 1] + y
    turned[:, 3] += math.radians(turn)
    here, there = (view_overlap(v[None, 1:], v[:1], FOV) for v in (view, turned))
    # A sample point on a border may fall on either side: one in 80.
    torch.testing.assert_close(here, there, atol=2 / 80, rtol=0)


def test_the_same_view_overlaps_fully_and_the_opposite_one_not_at_all():
    candidates = torch.stack([pose(), pose(yaw=180), pose(x=-3 * MAX_RANGE), pose(pitch=90)])
    assert view_overlap(candidates[None], pose()[None], FOV).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_looking_up_takes_a_proportional_share():
    candidates = torch.stack([pose(pitch=30), pose(pitch=-45)])
    torch.testing.assert_close(view_overlap(candidates[None], pose()[None], FOV), torch.tensor([[2 / 3, 0.5]]))


def test_border_rays_meet_where_walking_along_them_does():
    candidates, new_pose, fov = random_poses(1, 400, seed=7), random_poses(1), torch.tensor([FOV])
    x, y, _, heading, _ = in_view_frame(candidates, new_pose)
    meet = border_rays_meet(x, y, heading, fov, 0.1, MAX_RANGE)[0].tolist()
    assert meet == [ray_pairs_meet(candidate, new_pose[0]) for candidate in candidates[0]]
    assert 5 < sum(meet) < 200
