"""Photographs as the memory that a world begins with."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from ctxmem_env.camera import camera_to_world, focal, pixel_rays
from ctxmem_env.picture import PICTURE_ERRORS, open_bounded, to_rgb


def open_image(image: object) -> Image.Image:
    """A path, PIL image or uint8 array (H, W, 3 or 4) as an upright RGB image; transparency is dropped."""
    if isinstance(image, Image.Image):
        picture = ImageOps.exif_transpose(image)
    elif isinstance(image, str | Path):
        try:
            with open_bounded(image) as file:
                picture = ImageOps.exif_transpose(file)
        except FileNotFoundError:
            raise ValueError(f"image={str(image)!r} does not exist; give the path of an image file.") from None
        except PICTURE_ERRORS as error:
            raise ValueError(
                f"image={str(image)!r} is not an image file that can be read ({error}); give a PNG or JPEG file."
            ) from None
    elif isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(
                f"image has dtype {image.dtype}; expected uint8 in [0, 255]. For values in [0, 1] pass "
                f"(image * 255).round().astype(numpy.uint8)."
            )
        if image.ndim != 3 or image.shape[-1] not in (3, 4) or image.size == 0:
            raise ValueError(
                f"image has shape {image.shape}; expected (height, width, 3) or (height, width, 4), not empty."
            )
        picture = Image.fromarray(np.array(image, order="C"))
    else:
        raise ValueError(
            f"image is a {type(image).__name__}; expected a path, a PIL image or a uint8 array (height, width, 3)."
        )
    if 0 in picture.size:
        raise ValueError(f"image is empty, {picture.width} x {picture.height} pixels; give one with pixels.")
    return to_rgb(picture)


def crop_to_shape(picture: Image.Image, aspect: float) -> Image.Image:
    """The largest middle part whose width is `aspect` times its height, to the pixel."""
    width = max(1, min(picture.width, round(picture.height * aspect)))
    height = max(1, min(picture.height, round(picture.width / aspect)))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def views(picture: Image.Image, height: int, width: int, fov: float) -> tuple[Tensor, list[tuple[float, float]]]:
    """A picture as frames uint8 (n, height, width, 3), and for each the yaw and pitch [rad] by which it looks aside.

    The last frame is the picture's middle, `fov` degrees wide. Where the picture goes on to its sides, or above and
    below, two frames before it look there, each turned so far that the picture's border is its own; corners that the
    picture does not hold repeat its border.
    """
    middle = crop_to_shape(picture, width / height)
    # PIL widens the kernel when it shrinks a picture, so that nothing aliases.
    frames = [torch.from_numpy(np.array(middle.resize((width, height), Image.Resampling.LANCZOS)))]
    half = math.radians(fov) / 2, math.atan(math.tan(math.radians(fov) / 2) * height / width)
    sizes = (picture.width, middle.width), (picture.height, middle.height)
    aside = [math.atan(math.tan(h) * whole / part) - h for h, (whole, part) in zip(half, sizes, strict=True)]
    turns = [(aside[0], 0.0), (-aside[0], 0.0)] if aside[0] >= aside[1] else [(0.0, aside[1]), (0.0, -aside[1])]
    if max(aside) < math.radians(1):
        return torch.stack(frames), [(0.0, 0.0)]
    scale = width / middle.width
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    whole = torch.from_numpy(np.array(picture.resize(size, Image.Resampling.LANCZOS)))
    frames = [_look(whole, yaw, pitch, height, width, fov) for yaw, pitch in turns] + frames
    return torch.stack(frames), [*turns, (0.0, 0.0)]


def _look(whole: Tensor, yaw: float, pitch: float, height: int, width: int, fov: float) -> Tensor:
    """A frame of a camera that stands where the picture `whole` (H, W, 3) was taken, turned by yaw and pitch [rad].

    The middle `width` columns of the picture span `fov` degrees.
    """
    level, turned = camera_to_world(torch.tensor([[0.0] * 6, [0.0, 0.0, 0.0, yaw, pitch, 0.0]]))[:, :3, :3]
    rays = pixel_rays(height, width, fov) @ turned.T @ level
    scale = torch.tensor([width / whole.shape[1], width / whole.shape[0]])
    image = rays[..., :2] / rays[..., 2:].clamp(min=0.05) * focal(fov) * scale
    picture = whole.movedim(-1, 0)[None].float()
    found = F.grid_sample(picture, image[None], padding_mode="border", align_corners=False)
    return found[0].round().to(torch.uint8).movedim(0, -1)
