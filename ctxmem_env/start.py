"""What a world starts from: the options of `reset`, checked, and photographs and captures as first frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ctxmem_env.camera import MAX_PITCH
from ctxmem_env.captures import Remembered, open_capture, remember
from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.photograph import open_image, views
from ctxmem_env.scenes import SPLITS, STYLES, Scene, build_scene, is_free, render, spawn, split_of, stack_scenes, tour

OPTIONS = ("scene", "image", "capture", "distance", "tour", "pose", "fov", "goal", "prompt")
_PLACES = ("scene", "image", "capture")
_OF_PLACES = (*_PLACES, "distance", "tour", "pose", "goal")  # what is said of one place is not meant for another
EYE_HEIGHT = 1.5  # metres
_BODY_RADIUS = 0.1  # metres of free space that a start needs around it
START_RANGE = 10_000.0  # metres from the origin; float32 still resolves a millimetre there


@dataclass(frozen=True)
class Start:
    """A checked start. Of `scene`, `image` and `remembered` at most one is given; none means a scene drawn at random.

    scene: seed, style name, or seeds from which one is drawn; image: a picture of any size; distance: of what it shows,
    its median in metres, None for the model's estimate; tour: number of frames remembered before the first one; pose:
    (x, y, z, yaw, pitch, roll) in metres and radians; fov: of a frame, in degrees; goal: as the task has it;
    remembered: frames of a capture; prompt: what the world is to show, in words, None where nothing is said.
    """

    scene: int | str | Sequence[int] | None
    image: Image.Image | None
    distance: float | None
    tour: int
    pose: tuple[float, ...] | None
    fov: float
    goal: tuple[float, ...] | None = None
    remembered: Remembered | None = None
    prompt: str | None = None

    @property
    def seeds(self) -> Sequence[int]:
        """Those from which the seed of a scene is drawn, unless `scene` is one."""
        return self.scene if isinstance(self.scene, range | tuple) else SPLITS["train"]


def with_defaults(options: dict, defaults: dict) -> dict:
    """`options` of a reset, and where they are silent `defaults`, but for those of a place of another kind."""
    kinds = [next((name for name in _PLACES if part.get(name) is not None), "scene") for part in (options, defaults)]
    named = any(options.get(name) is not None for name in _PLACES)
    if named and kinds[0] != kinds[1]:
        defaults = {name: value for name, value in defaults.items() if name not in _OF_PLACES}
    return defaults | options


def parse_start(options: dict | None, height: int, width: int, tour: int, fov: float) -> Start:
    """The start that `options` ask for. Where they are silent, `tour` and `fov` of the environment apply.

    Raises ValueError for an unknown option, a value of a wrong type, shape or range, or options that
    contradict each other.
    """
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise ValueError(f"options={options!r} is a {type(options).__name__}; expected a dict or None.")
    for name in options:
        if name not in OPTIONS:
            raise unknown_name("reset option", name, OPTIONS)
    given = {name: value for name, value in options.items() if value is not None}
    if "image" in given:
        for name in ("scene", "tour"):
            if name in given:
                raise ValueError(
                    f"options 'image' and {name!r} were both given; a photograph has no scene to look around "
                    f"in, so leave one of them out."
                )
    if "capture" in given:
        for name in ("scene", "image", "distance"):
            if name in given:
                raise ValueError(
                    f"options 'capture' and {name!r} were both given; a capture has its own frames and scale, so leave "
                    "one of them out."
                )
    scene = _check_scene(given["scene"]) if "scene" in given else None
    tour = check_integer("options['tour']", given["tour"], 0) if "tour" in given else tour
    pose = _check_pose(given["pose"]) if "pose" in given else None
    if "fov" in given:
        fov = check_fov("options['fov']", given["fov"])
    goal = _check_goal(given["goal"]) if "goal" in given else None
    prompt = given.get("prompt")
    if "capture" in given:
        own_tour, own_fov = tour if "tour" in given else None, fov if "fov" in given else None
        remembered = remember(open_capture(given["capture"]), own_tour, pose, own_fov, height, width)
        return Start(None, None, None, len(remembered.frames) - 1, None, remembered.fov, goal, remembered, prompt)
    if "image" not in given:
        if "distance" in given:
            raise ValueError(
                "options['distance'] was given without 'image'; a scene has its own depth, so leave it out."
            )
        return Start(scene, None, None, tour, pose, fov, goal, prompt=prompt)
    distance = check_distance("options['distance']", given["distance"]) if "distance" in given else None
    pose = pose or (0.0, 0.0, EYE_HEIGHT, 0.0, 0.0, 0.0)
    return Start(None, open_image(given["image"]), distance, 0, pose, fov, goal, prompt=prompt)


def first_frames(
    start: Start,
    scene_seed: int,
    rng: np.random.Generator,
    height: int,
    width: int,
    device: torch.device,
    scene: Scene | None = None,
) -> tuple[Tensor, Tensor | None, Tensor, Scene | None]:
    """What is in memory at the first step: frames uint8 (n, H, W, 3), the last one in view, depth and poses (n, 6).

    Depth (n, H, W) is exact, as an RGB-D camera measures it, and None for a photograph; of a capture it is what that
    brings, 0 where unknown, or None. Also the scene that was rendered, a batch of one, or None. `scene_seed` is the
    seed where `start` leaves it open; a `scene` that is given goes before both.
    ValueError when the pose is not in free space.
    """
    if start.remembered is not None:
        frames, depth, poses = start.remembered.frames, start.remembered.depth, start.remembered.poses
        depth = None if depth is None else torch.from_numpy(depth).to(device)
        return torch.from_numpy(frames).to(device), depth, torch.from_numpy(poses).float().to(device), None
    if start.image is not None:
        frames, turns = views(start.image, height, width, start.fov)
        poses = torch.tensor([start.pose], dtype=torch.float32).repeat(len(turns), 1)
        poses[:, 3:5] += torch.tensor(turns)
        return frames.to(device), None, poses.to(device), None
    seed = start.scene if isinstance(start.scene, int) else scene_seed
    style = start.scene if isinstance(start.scene, str) else None
    scene = build_scene(seed, style) if scene is None else scene
    if start.pose is None:
        pose = spawn(scene, rng)
    else:
        pose = torch.tensor(start.pose, dtype=torch.float32)
        if not bool(is_free(scene, pose[:2], _BODY_RADIUS)):
            raise ValueError(
                f"options['pose'] stands at x={pose[0]:.2f}, y={pose[1]:.2f}, which is in a wall or an "
                f"object of scene {seed}, or outside of it; choose a free place, or leave 'pose' "
                "out."
            )
    poses = tour(scene, start.tour + 1, rng, pose).to(device)
    scenes = stack_scenes([scene]).to(device)
    frames, depth = render(scenes, poses[None], start.fov, height, width)
    return frames[0], depth[0], poses, scenes


def check_fov(argument: str, fov: object) -> float:
    """A horizontal field of view in degrees; ValueError unless a number in [10, 150]."""
    if isinstance(fov, bool) or not isinstance(fov, int | float | np.number) or not 10 <= fov <= 150:
        raise ValueError(f"{argument}={fov!r}; expected a horizontal field of view in degrees, from 10 to 150.")
    return float(fov)


def check_distance(argument: str, distance: object) -> float:
    """A distance in metres; ValueError unless a number in [0.1, 10,000]."""
    if isinstance(distance, bool) or not isinstance(distance, int | float | np.number) or not 0.1 <= distance <= 10_000:
        raise ValueError(f"{argument}={distance!r}; expected metres, from 0.1 to 10,000.")
    return float(distance)


def _check_scene(scene: object) -> int | str | Sequence[int]:
    if isinstance(scene, str):
        if scene in SPLITS:
            return SPLITS[scene]
        if scene not in STYLES:
            raise unknown_name("options['scene']", scene, (*SPLITS, *STYLES))
        return scene
    if isinstance(scene, range | list | tuple) or (isinstance(scene, np.ndarray) and scene.ndim == 1):
        if len(scene) == 0:
            raise ValueError(f"options['scene']={scene!r} is empty; expected seeds of scenes, from which one is drawn.")
        return tuple(_check_seed(f"options['scene'][{i}]", seed) for i, seed in enumerate(scene))
    return _check_seed("options['scene']", scene)


def _check_seed(argument: str, seed: object) -> int:
    seed = check_integer(argument, seed, 0)
    try:
        split_of(seed)
    except ValueError as error:
        raise ValueError(f"{argument}={seed}: {error}") from None
    return seed


def _check_pose(pose: object) -> tuple[float, ...]:
    expected = "expected six numbers x, y, z [m], yaw, pitch, roll [rad]"
    try:
        array = np.asarray(pose, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"options['pose']={pose!r} is not numeric; {expected}.") from None
    if array.shape != (6,):
        raise ValueError(f"options['pose'] has shape {array.shape}; {expected}.")
    if not np.isfinite(array).all():
        raise ValueError(f"options['pose']={pose!r} holds NaN or infinity; {expected}.")
    x, y, z, yaw, pitch, roll = array.tolist()
    if max(abs(x), abs(y), abs(z)) > START_RANGE:
        raise ValueError(
            f"options['pose'] lies {max(abs(x), abs(y), abs(z)):.0f} m out; expected at most "
            f"{START_RANGE:.0f} m, beyond which float32 is too coarse. Shift the origin."
        )
    if abs(pitch) > MAX_PITCH:
        raise ValueError(f"options['pose'] has pitch {pitch:.3f} rad; expected at most {MAX_PITCH:.3f} either way.")
    return x, y, z, _wrap(yaw), pitch, _wrap(roll)


def _check_goal(goal: object) -> tuple[float, ...]:
    """Two or six finite numbers; which of these the task takes is not known here."""
    expected = "expected (x, y) in metres, or a pose (x, y, z, yaw, pitch, roll), as the task has it"
    try:
        array = np.asarray(goal, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"options['goal']={goal!r} is not numeric; {expected}.") from None
    if array.shape not in ((2,), (6,)):
        raise ValueError(f"options['goal'] has shape {array.shape}; {expected}.")
    if not (np.abs(array) <= START_RANGE).all():  # NaN compares false
        raise ValueError(f"options['goal']={goal!r}; expected finite numbers, at most {START_RANGE:.0f} m out.")
    return tuple(array.tolist())


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi
