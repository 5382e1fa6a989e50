"""Lenses of captured pictures, and the view of a world's camera that a picture holds: undistorted, never stretched."""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

# Distortion may move a point by this share of its distance from the middle. Up to there k1 r^3 + k2 r^5 leaves the
# radius monotonic, so that no two rays meet in a pixel.
_MOST_DISTORTION = 0.2
_EDGE = np.linspace(-1.0, 1.0, 33)


@dataclass(frozen=True)
class Lens:
    """A pinhole lens with the radial and tangential distortion of OpenCV.

    width, height of the pictures, focal lengths fx, fy and principal point cx, cy in pixels; the top left corner of a
    picture, not the centre of its first pixel, is (0, 0). ValueError for values that are not finite, no positive size
    or focal length, a principal point outside, or distortion that moves a point by more than a fifth of its distance
    from the middle.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    def __post_init__(self):
        numbers = (self.width, self.height, self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a lens with NaN or infinity; expected finite numbers.")
        shortest = max(self.width, self.height) / 1000
        if min(self.width, self.height) <= 0 or min(self.fx, self.fy) < shortest:
            raise ValueError(
                f"a lens of {self.width} x {self.height} pixels with focal lengths {self.fx:g} and {self.fy:g}; "
                "expected positive numbers of pixels."
            )
        if not (0 < self.cx < self.width and 0 < self.cy < self.height):
            raise ValueError(
                f"a principal point at ({self.cx:g}, {self.cy:g}), outside of its picture of {self.width} x "
                f"{self.height} pixels; expected pixels from its top left corner."
            )
        x, y = max(self.cx, self.width - self.cx) / self.fx, max(self.cy, self.height - self.cy) / self.fy
        r = math.hypot(x, y)
        share = abs(self.k1) * r**2 + abs(self.k2) * r**4 + 3 * (abs(self.p1) + abs(self.p2)) * r
        if share > _MOST_DISTORTION:
            raise ValueError(
                f"distortion k1={self.k1:g}, k2={self.k2:g}, p1={self.p1:g}, p2={self.p2:g}, which may move points by "
                f"{share:.0%} of their distance from the middle; expected at most {_MOST_DISTORTION:.0%}. "
                "Undistort the pictures first."
            )

    @classmethod
    def of_fov(cls, width: int, height: int, fov: float) -> "Lens":
        """Without distortion, `fov` degrees wide, in (0, 180), the principal point in the middle."""
        if not 0 < fov < 180:
            raise ValueError(f"a field of view of {fov:g} degrees; expected more than 0 and less than 180.")
        focal = width / 2 / math.tan(math.radians(fov) / 2)
        return cls(width, height, focal, focal, width / 2, height / 2)

    @property
    def distortion(self) -> tuple[float, float, float, float]:
        return self.k1, self.k2, self.p1, self.p2

    def resized(self, width: int, height: int) -> "Lens":
        """For the same pictures at another size; ValueError if they then had another shape by more than a pixel."""
        if (width, height) == (self.width, self.height):
            return self
        if abs(width * self.height / self.width - height) > 1:
            raise ValueError(
                f"the picture has {width} x {height} pixels, and its lens is that of {self.width} x {self.height}; "
                "expected the same shape."
            )
        x, y = width / self.width, height / self.height
        return replace(self, width=width, height=height, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x, cy=self.cy * y)

    def project(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where in the picture, in pixels, the rays (x, y, 1) of the OpenCV camera frame end; arrays of one shape."""
        k1, k2, p1, p2 = self.distortion
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2 * r2
        u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return self.fx * u + self.cx, self.fy * v + self.cy

    @functools.lru_cache(maxsize=256)  # noqa: B019  lenses are few, small and frozen
    def widest(self, aspect: float) -> float:
        """The widest field of view in degrees of a straight view around the principal point that the picture fills.

        The view is `aspect` times as wide as high.
        """
        if not any(self.distortion):
            sides = min(self.cx, self.width - self.cx) / self.fx, min(self.cy, self.height - self.cy) / self.fy * aspect
            return math.degrees(2 * math.atan(min(sides)))
        one = np.ones_like(_EDGE)
        x, y = np.concatenate([_EDGE, _EDGE, -one, one]), np.concatenate([-one, one, _EDGE, _EDGE]) / aspect
        # No farther than the distortion was checked for.
        low, high = 0.0, max(self.width / self.fx, self.height / self.fy * aspect)
        for _ in range(60):
            middle = (low + high) / 2
            u, v = self.project(x * middle, y * middle)
            fits = bool(((u >= 0) & (u <= self.width) & (v >= 0) & (v <= self.height)).all())
            low, high = (middle, high) if fits else (low, middle)
        return math.degrees(2 * math.atan(low))

    def box(self, height: int, width: int, fov: float) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, in pixels, of a view that is `fov` degrees wide, distortion aside."""
        x = math.tan(math.radians(fov) / 2)
        y = x * height / width
        # Rounding errors would blur a picture that is already as it should be.
        left, right = (round(min(max(self.cx + side * x * self.fx, 0), self.width), 6) for side in (-1, 1))
        top, bottom = (round(min(max(self.cy + side * y * self.fy, 0), self.height), 6) for side in (-1, 1))
        return left, top, right, bottom

    def detail(self, height: int, width: int, fov: float) -> float:
        """Across how many pixels of a picture one of a frame reaches that is `fov` degrees wide, at least."""
        left, top, right, bottom = self.box(height, width, fov)
        return min((right - left) / width, (bottom - top) / height)

    def view(self, picture: Image.Image, height: int, width: int, fov: float, smaller: int = 1) -> np.ndarray:
        """A picture with this lens as a frame uint8 (height, width, 3) that is `fov` degrees wide.

        smaller: the picture was decoded at so many times smaller a size, which was rounded up.
        """
        if not any(self.distortion):
            # PIL widens the kernel when it shrinks a picture, so that nothing aliases.
            box = tuple(side / smaller for side in self.box(height, width, fov))
            return np.array(picture.resize((width, height), Image.Resampling.LANCZOS, box=box))
        x = math.tan(math.radians(fov) / 2)
        shrink = min(1.0, width / (2 * x * self.fx))
        size = max(1, round(self.width * shrink)), max(1, round(self.height * shrink))
        box = 0, 0, self.width / smaller, self.height / smaller
        small = torch.from_numpy(np.array(picture.resize(size, Image.Resampling.LANCZOS, box=box)))
        columns, rows = ((np.arange(n) + 0.5) * 2 / width - n / width for n in (width, height))
        u, v = self.project(*np.meshgrid(columns * x, rows * x))
        grid = torch.from_numpy(np.stack([u * 2 / self.width - 1, v * 2 / self.height - 1], axis=-1)[None])
        found = F.grid_sample(
            small.movedim(-1, 0)[None].double(), grid, "bilinear", padding_mode="border", align_corners=False
        )
        return found[0].round().to(torch.uint8).movedim(0, -1).numpy()
