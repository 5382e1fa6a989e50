import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxmem_env import camera

angles = st.floats(-3.1, 3.1)
tilts = st.floats(-1.4, 1.4)
lengths = st.floats(-50, 50)
poses = st.tuples(lengths, lengths, lengths, angles, tilts, tilts).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0, pitch=0.0, roll=0.0):
    return torch.tensor([x, y, z, *(math.radians(a) for a in (yaw, pitch, roll))], dtype=torch.float64)


def ray_in_world(camera_pose, camera_vector):
    return camera.camera_to_world(camera_pose)[:3, :3] @ torch.tensor(camera_vector, dtype=torch.float64)


@pytest.mark.parametrize(
    ("camera_pose", "camera_vector", "world_vector"),
    [
        (pose(), [0, 0, 1], [1, 0, 0]),  # forward is east
        (pose(), [1, 0, 0], [0, -1, 0]),  # image right is south
        (pose(), [0, 1, 0], [0, 0, -1]),  # image down is down
        (pose(yaw=90), [0, 0, 1], [0, 1, 0]),  # a left turn faces north
        (pose(pitch=90), [0, 0, 1], [0, 0, 1]),  # positive pitch looks up
        (pose(roll=90), [1, 0, 0], [0, 0, -1]),  # positive roll lowers the right side
        (pose(yaw=90, pitch=30), [0, 0, 1], [0, math.cos(math.pi / 6), 0.5]),
    ],
)
def test_axes_point_where_the_module_says(camera_pose, camera_vector, world_vector):
    expected = torch.tensor(world_vector, dtype=torch.float64)
    torch.testing.assert_close(ray_in_world(camera_pose, camera_vector), expected, atol=1e-6, rtol=0)


@given(poses)
def test_rotation_is_proper(camera_pose):
    rotation = camera.body_rotation(camera_pose)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trips_lose_less_than_1e_5(dtype):
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([20, 20, 5, 3.1, 1.4, 1.4])
    start = ((2 * torch.rand(1000, 6, generator=generator) - 1) * size).to(dtype)
    matrix = camera.camera_to_world(start)
    for back in (
        camera.pose_from_matrix(matrix),
        camera.from_opengl(camera.to_opengl(start)),
        camera.from_unreal(*camera.to_unreal(start)),
    ):
        assert back.dtype == dtype
        torch.testing.assert_close(back, start, atol=1e-5, rtol=0)
    identity = torch.eye(4, dtype=dtype).expand(1000, 4, 4)
    torch.testing.assert_close(camera.invert_rigid(matrix) @ matrix, identity, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("position", "rotation", "expected"),
    [
        ([0, 0, 0], [0, 0, 0], pose()),
        ([100, 200, 150], [0, 0, 0], pose(1, -2, 1.5)),  # Unreal's Y points right
        ([0, 0, 0], [0, 0, 90], pose(yaw=-90)),  # and its yaw turns right
        ([0, 0, 0], [0, 0, 450], pose(yaw=-90)),  # unwrapped in the published files
        ([0, 0, 0], [10, 20, -30], pose(yaw=30, pitch=20, roll=10)),
    ],
)
def test_unreal_known_cases(position, rotation, expected):
    values = (torch.tensor(v, dtype=torch.float64) for v in (position, rotation))
    torch.testing.assert_close(camera.from_unreal(*values), expected)


def test_unreal_axes_agree_with_its_own_rotation_matrix():
    # FRotationMatrix of (roll, pitch, yaw): rows are the forward, right and up axes in the left-handed world.
    roll, pitch, yaw = (math.radians(a) for a in (12, -25, 70))
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(a), math.cos(a)) for a in (roll, pitch, yaw))
    forward = [cp * cy, cp * sy, sp]
    right = [sr * sp * cy - cr * sy, sr * sp * sy + cr * cy, -sr * cp]
    up = [-(cr * sp * cy + sr * sy), cy * sr - cr * sp * sy, cr * cp]
    position = torch.zeros(3, dtype=torch.float64)
    ours = camera.from_unreal(position, torch.tensor([12.0, -25.0, 70.0], dtype=torch.float64))
    flip = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    for camera_axis, unreal_axis in (([0, 0, 1], forward), ([1, 0, 0], right), ([0, -1, 0], up)):
        expected = torch.tensor(unreal_axis, dtype=torch.float64) * flip
        torch.testing.assert_close(ray_in_world(ours, camera_axis), expected, atol=1e-6, rtol=0)


def test_opengl_known_cases():
    # The identity OpenGL camera looks along -Z with +Y up; in a Z-up world that is straight down.
    assert camera.from_opengl(torch.eye(4, dtype=torch.float64))[4] == pytest.approx(-math.pi / 2)
    # A Blender camera turned by +90 degrees about X looks along +Y: north.
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    matrix[:3, 3] = torch.tensor([1.0, 2, 3])
    torch.testing.assert_close(camera.from_opengl(matrix), pose(1, 2, 3, yaw=90), atol=1e-6, rtol=0)


def test_opengl_conversion_leaves_its_argument_alone():
    matrix = torch.eye(4)
    camera.from_opengl(matrix)
    assert torch.equal(matrix, torch.eye(4))


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        ([1, 0, 0, 0], pose(y=1, yaw=90)),
        ([0, 1, 0, 0], pose(x=-1, yaw=90)),
        ([1, 0, math.pi / 2, 0], pose(y=1, yaw=-180)),
        ([0, 0, 0, 2], pose(yaw=90, pitch=60)),
        ([0, 0, 0, -2], pose(yaw=90, pitch=-60)),
    ],
)
def test_move_known_cases(motion, expected):
    moved = camera.move(pose(yaw=90), torch.tensor(motion, dtype=torch.float64))
    torch.testing.assert_close(moved, expected, atol=1e-9, rtol=0)


def test_looking_up_does_not_lift_a_move():
    moved = camera.move(pose(pitch=45), torch.tensor([1.0, 0, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(moved, pose(x=1, pitch=45))


@settings(deadline=None)
@given(poses, poses)
def test_motion_between_undoes_move(start, end):
    start[4], end[4] = start[4] * 0.7, end[4] * 0.7  # within MAX_PITCH
    end[2], end[5] = start[2], start[5]
    reached = camera.move(start, camera.motion_between(start, end))
    torch.testing.assert_close(reached, end, atol=1e-9, rtol=0)


@given(st.floats(-1e3, 1e3))
def test_wrap_angle_keeps_the_direction_and_the_range(angle):
    wrapped = float(camera.wrap_angle(torch.tensor(angle, dtype=torch.float64)))
    assert -math.pi <= wrapped <= math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-9)
    assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-9)


@pytest.mark.parametrize(("height", "width", "fov"), [(64, 64, 90.0), (36, 64, 52.67), (5, 3, 120.0)])
def test_pixel_rays_pass_through_the_pixel_centres(height, width, fov):
    rays = camera.pixel_rays(height, width, fov)
    assert rays.shape == (height, width, 3)
    assert torch.all(rays[..., 2] == 1)
    # The border of the image lies half a pixel outside the outermost centres.
    pixel = 2 * math.tan(math.radians(fov) / 2) / width
    assert rays[0, -1, 0] + pixel / 2 == pytest.approx(math.tan(math.radians(fov) / 2), rel=1e-5)
    torch.testing.assert_close(rays[0, 1:, 0] - rays[0, :-1, 0], torch.full((width - 1,), pixel))
    torch.testing.assert_close(rays[1:, 0, 1] - rays[:-1, 0, 1], torch.full((height - 1,), pixel))
    torch.testing.assert_close(rays.flip(0, 1)[..., :2], -rays[..., :2], atol=1e-6, rtol=0)


def test_pixel_rays_of_a_batch_equal_each_alone():
    fov = torch.tensor([60.0, 90.0])
    rays = camera.pixel_rays(4, 6, fov)
    assert rays.shape == (2, 4, 6, 3)
    for i in range(2):
        torch.testing.assert_close(rays[i], camera.pixel_rays(4, 6, fov[i]))


def test_cropped_fov_keeps_the_focal_length_in_pixels():
    cropped = camera.cropped_fov(52.67, 640, 352)
    assert 352 / math.tan(math.radians(cropped) / 2) == pytest.approx(640 / math.tan(math.radians(52.67) / 2))
    assert 640 / 2 * float(camera.focal(52.67)) == pytest.approx(646.5, abs=0.1)  # the published dataset's fx
