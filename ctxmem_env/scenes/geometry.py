"""What a scene is: a frozen record of tensors, and the split of scene seeds."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

MAX_PRIMITIVES = 80
MAX_MATERIALS = 48
MAX_ROOMS = 7
MAX_DOORS = 12
EMPTY, BOX, CYLINDER, ELLIPSOID = range(4)

SPLITS = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 1_001_000),
    "test": range(2_000_000, 2_001_000),
}


@dataclass(frozen=True)
class Scene:
    """Primitives, materials, rooms and light of one scene, or of a batch with a leading dimension on every tensor.

    P primitives, M materials, R rooms, D doors, padded to the same numbers in every scene. Faces are ordered
    -x, +x, -y, +y, -z, +z in the primitive's own frame; the side of a cylinder or ellipsoid is face 0.
    Lengths are metres, angles radians, colours RGB in [0, 1].
    """

    seed: Tensor  # () int64
    style: Tensor  # () int64, index into STYLES
    kind: Tensor  # (P,) int64: EMPTY, BOX, CYLINDER, ELLIPSOID
    centre: Tensor  # (P, 3)
    half: Tensor  # (P, 3) half extents
    yaw: Tensor  # (P,)
    face_material: Tensor  # (P, 6) int64
    face_room: Tensor  # (P, 6) int64: the room that lights the face
    material_texture: Tensor  # (M,) int64
    material_scale: Tensor  # (M,) metres per repeat of the map; 0 = the map spans the face once
    material_colours: Tensor  # (M, 3, 3)
    room_box: Tensor  # (R, 6): x0, y0, z0, x1, y1, z1; zero size = no room
    room_lamp: Tensor  # (R, 4): position, and falloff [1 / m^2]
    room_light: Tensor  # (R, 3) colour
    door: Tensor  # (D, 4): x, y, and the unit normal of the wall that it opens
    door_rooms: Tensor  # (D, 2) int64, -1 = no door
    sun: Tensor  # (4,): unit direction towards the light, and its share of the light in [0, 1]
    sky: Tensor  # (3, 3): zenith, horizon, cloud
    bounds: Tensor  # (4,): x0, y0, x1, y1 of the walkable ground
    camera_height: Tensor  # ()

    def to(self, device: str | torch.device) -> "Scene":
        """The same scene on another device."""
        return Scene(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    @property
    def batched(self) -> bool:
        """True after `stack_scenes`."""
        return self.kind.ndim == 2


def stack_scenes(scenes: list[Scene]) -> Scene:
    """One batch of B scenes, with a leading dimension B on every tensor.

    Raises ValueError if `scenes` is empty or holds a scene that is a batch already.
    """
    if not scenes:
        raise ValueError("scenes is empty; pass at least one Scene from build_scene")
    for i, scene in enumerate(scenes):
        if scene.batched:
            raise ValueError(f"scenes[{i}] is already a batch of {len(scene.kind)}; pass scenes from build_scene")
    return Scene(**{f.name: torch.stack([getattr(s, f.name) for s in scenes]) for f in fields(Scene)})


def split_of(seed: int) -> str:
    """The split, "train", "validation" or "test", that a scene seed belongs to for ever."""
    for name, seeds in SPLITS.items():
        if seed in seeds:
            return name
    expected = ", ".join(f"{name} {s.start}..{s.stop - 1}" for name, s in SPLITS.items())
    raise ValueError(f"seed is {seed!r}, which is in no split; expected an integer in {expected}")


def split_seeds(split: str, n: int | None = None) -> list[int]:
    """The first `n` scene seeds of a split (all of them by default)."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    seeds = SPLITS[split]
    if n is None:
        return list(seeds)
    if not 0 <= n <= len(seeds):
        raise ValueError(f"n is {n}; the {split} split has {len(seeds)} seeds, so pass a number from 0 to {len(seeds)}")
    return list(seeds[:n])
