"""Photographs as memory, measured against a renderer that can look aside."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from ctxmem_env.camera import cropped_fov
from ctxmem_env.photograph import views
from ctxmem_env.scenes import build_scene, render, stack_scenes

SIZE = 64


def taken(width, height, fov):
    """A picture of a scene and, for any turn, the frame that a camera of `fov` degrees sees there."""
    scenes = stack_scenes([build_scene(21, "garden")])
    pose = torch.tensor([0.0, 0.0, 1.5, 0.4, 0.0, 0.0])
    whole = math.degrees(2 * math.atan(math.tan(math.radians(fov) / 2) * width / min(width, height)))
    frames, _ = render(scenes, pose[None, None], whole, height, width)

    def look(yaw, pitch):
        turned = pose + torch.tensor([0.0, 0.0, 0.0, yaw, pitch, 0.0])
        return render(scenes, turned[None, None], fov, SIZE, SIZE)[0][0, 0]

    return Image.fromarray(frames[0, 0].numpy()), look


@pytest.mark.parametrize(("width", "height"), [(512, 256), (256, 512)])
def test_a_picture_is_remembered_beyond_its_middle_as_a_camera_would_see_it(width, height):
    picture, look = taken(width, height, fov=50.0)
    frames, turns = views(picture, SIZE, SIZE, 50.0)
    assert len(frames) == len(turns) == 3 and turns[-1] == (0.0, 0.0)
    inside = slice(16, 48)  # the corners of a turned view lie beyond the picture's border
    for frame, (yaw, pitch) in zip(frames, turns, strict=True):
        error = (frame.float() - look(yaw, pitch).float())[inside, inside].abs().mean()
        wrong = (frame.float() - look(-yaw, -pitch).float())[inside, inside].abs().mean()
        assert error < 6
        if (yaw, pitch) != (0.0, 0.0):
            assert wrong > 2 * error
    whole = math.degrees(2 * math.atan(2 * math.tan(math.radians(25))))
    assert abs(sum(turns[0])) == pytest.approx(math.radians(whole - 50) / 2)
    assert cropped_fov(whole, 512, 256) == pytest.approx(50)


def test_a_picture_of_the_shape_of_a_frame_is_one_frame():
    pixels = np.random.default_rng(0).integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
    frames, turns = views(Image.fromarray(pixels), SIZE, SIZE, 90.0)
    assert turns == [(0.0, 0.0)]
    np.testing.assert_array_equal(frames[0], pixels)
