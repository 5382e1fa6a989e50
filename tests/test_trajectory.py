"""Camera paths from files, and what is said about files that hold none."""

import json
import math

import pytest
import torch

from ctxmem_env.camera import cropped_fov, move
from ctxmem_env.trajectory import Trajectory, read_trajectory


@pytest.fixture
def write(tmp_path):
    def write_content(content):
        path = tmp_path / "camera.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_content


def published(frames):
    """A file of the dataset, from {number: (position, rotation)}."""
    frames = {str(n): {"position": p, "rotation": r, "scale": [1.0, 1.0, 1.0]} for n, (p, r) in frames.items()}
    return {"CineCameraActor": frames}


STILL = ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])


def test_published_files_are_turned_into_our_axes_and_units(write):
    # Unreal: Y points right and yaw grows to the right, past 360 degrees.
    frames = {0: ([100.0, 200.0, 150.0], [0.0, 10.0, 90.0]), 1: ([0.0, 0.0, 150.0], [0.0, 0.0, 450.0])}
    trajectory = read_trajectory(write(published(frames)))
    right = -math.pi / 2
    expected = [[1.0, -2.0, 1.5, right, math.radians(10), 0.0], [0.0, 0.0, 1.5, right, 0.0, 0.0]]
    torch.testing.assert_close(trajectory.poses, torch.tensor(expected, dtype=torch.float64))


def test_frames_are_ordered_by_number_and_not_by_text(write):
    frames = {n: ([100.0 * n, 0.0, 0.0], [0.0, 0.0, 0.0]) for n in (10, 9, 11, 8)}
    assert read_trajectory(write(published(frames))).poses[:, 0].tolist() == [8.0, 9.0, 10.0, 11.0]


def test_published_field_of_view_is_that_of_the_whole_picture(write):
    trajectory = read_trajectory(write(published({0: STILL, 1: STILL})))
    assert trajectory.fov == 52.67
    assert trajectory.frame_fov(1.0) == pytest.approx(cropped_fov(52.67, 640, 360))
    assert trajectory.frame_fov(640 / 360) == 52.67


def test_own_files_are_read_as_they_are(write):
    poses = [[1.0, 2.0, 1.5, 0.5, 0.1, 0.0], [1.0, 2.5, 1.5, -0.5, 0.0, 0.0]]
    trajectory = read_trajectory(write({"fov": 70, "poses": poses}))
    torch.testing.assert_close(trajectory.poses, torch.tensor(poses, dtype=torch.float64))
    assert trajectory.fov == 70.0
    assert trajectory.frame_fov(1.0) == 70.0
    assert read_trajectory(write({"poses": poses})).fov is None


def test_motions_lead_through_every_pose():
    generator = torch.Generator().manual_seed(0)
    poses = torch.rand(50, 6, generator=generator, dtype=torch.float64) - 0.5
    poses[:, 2], poses[:, 5] = 1.5, 0.0
    motions = Trajectory(poses).motions()
    torch.testing.assert_close(move(poses[:-1], motions), poses[1:])


def test_motions_refuse_a_pitch_out_of_reach():
    poses = torch.zeros(3, 6, dtype=torch.float64)
    poses[2, 4] = math.radians(80)
    with pytest.raises(ValueError, match=r"frame 2 has a pitch of 80\.0 degrees; expected at most 60"):
        Trajectory(poses).motions()


POSE = [0.0] * 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", r"camera\.json' is not JSON"),
        ("[1, 2]", r"holds a list; expected .*CineCameraActor"),
        ({"frames": {}}, r"holds the keys \['frames'\]; expected .*CineCameraActor"),
        (published({}), r"holds 0 frames; a path needs at least two"),
        (published({0: STILL}), r"holds 1 frame; a path needs at least two"),
        (published({0: STILL, 2: STILL}), r"frame 1 missing, between 0 and 2"),
        (published({0: STILL, 5: STILL}), r"frames 1 to 4 missing, between 0 and 5"),
        (published({0: STILL, "one": STILL}), r"frame 'one' is not a number"),
        (published({"0": STILL, "01": STILL}), r"frame '01' is not a number"),
        (
            published({0: STILL, 1: ([math.nan, 0.0, 0.0], [0.0] * 3)}),
            r"frame 1: 'position' is \[NaN, 0\.0, 0\.0\]; expected 3 finite numbers: x, y, z in centimetres",
        ),
        (published({0: STILL, 1: ([0.0] * 3, [0.0] * 2)}), r"frame 1: 'rotation' is \[0\.0, 0\.0\]"),
        (published({0: STILL, 1: ([0.0] * 3, [0.0, 0.0, "90"])}), r"frame 1: 'rotation' is .*\"90\""),
        ({"CineCameraActor": {"0": {"position": [0, 0, 0]}, "1": {}}}, r"frame 0 has no 'rotation'; expected \[roll"),
        ({"CineCameraActor": {"0": 3, "1": 4}}, r"frame 0 has no 'position'"),
        ({"poses": []}, r"holds 0 frames"),
        ({"poses": [POSE, POSE[:5]]}, r"frame 1: 'poses' is .*expected 6 finite numbers: x, y, z in metres"),
        ({"poses": [POSE, [math.inf] + POSE[1:]]}, r"frame 1: 'poses' is \[Infinity"),
        ({"poses": [POSE, [10**400] + POSE[1:]]}, r"frame 1: 'poses' is \[1000"),
        ({"poses": [POSE, [True] + POSE[1:]]}, r"frame 1: 'poses' is \[true"),
        ({"poses": [POSE, POSE], "fps": 12}, r"key 'fps' is unknown; expected 'poses'"),
        ({"poses": [POSE, POSE], "fov": "wide"}, r"'fov' is \"wide\"; expected a finite number: degrees"),
    ],
)
def test_files_that_hold_no_path_are_refused(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_trajectory(write(content))


def test_pictures_and_missing_files_are_refused(tmp_path):
    picture = tmp_path / "frame.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(ValueError, match="is not JSON"):
        read_trajectory(picture)
    with pytest.raises(ValueError, match="does not exist; give the path of a JSON file"):
        read_trajectory(tmp_path / "nothing.json")
