"""`ctxmem collect`: a walk through a world or before a photograph, as a capture, or episodes as a Minari dataset."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from tqdm import tqdm

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.captures.wall import wall_path, wall_views
from ctxmem_env.captures.write import write_nerfstudio, write_published
from ctxmem_env.cli import Collect
from ctxmem_env.cli.episodes import IDS, collect_minari, make_environment, walk
from ctxmem_env.errors import check_integer
from ctxmem_env.photograph import open_image
from ctxmem_env.scenes import Scene, build_scene, random_walk, render, split_of, stack_scenes
from ctxmem_env.start import check_fov
from ctxmem_env.trajectory import PUBLISHED_FOV

_SIZES = {"nerfstudio": (64, 64), "context-as-memory": (360, 640)}  # height and width in pixels
_WALL_FOV = 100.0  # degrees across a picture on a wall

View = tuple[np.ndarray, np.ndarray | None]


def collect(command: Collect) -> dict:
    """Run the command and return what is to be printed. ValueError for input that does not fit."""
    steps, seed = check_integer("steps", command.steps, 1), check_integer("seed", command.seed, 0)
    if command.format == "minari":
        _refuse(command, "format='minari'", ("image", "height", "width", "fov"))
        return collect_minari(command)
    _refuse(command, f"format={command.format!r}", ("episodes", "task"))
    if command.image is not None:
        views, poses, fov, name = _before_a_picture(command)
    elif command.env == "generated" or command.policy is not None:
        views, poses, fov, name = _played(command)
    else:
        views, poses, fov, name = _through_a_scene(command)
    if command.format == "context-as-memory":
        if abs(fov - PUBLISHED_FOV) > 1e-6:
            raise ValueError(f"fov={fov:g}, but pictures of context-as-memory have {PUBLISHED_FOV}; use nerfstudio.")
        folder = write_published(command.out, name, views, poses)
    else:
        folder = write_nerfstudio(command.out, views, poses, fov)
    return {
        "frames": steps + 1,
        "format": command.format,
        "scene": command.scene,
        "image": None if command.image is None else str(command.image),
        "env": None if command.image is not None else IDS[command.env],
        "seed": seed,
        "fov": fov,
        "out": str(folder),
    }


def _refuse(command: Collect, reason: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(command, name) is not None:
            raise ValueError(f"{name}={getattr(command, name)!r} has no meaning with {reason}; leave it out.")


def _size(command: Collect) -> tuple[int, int]:
    sizes = zip(("height", "width"), (command.height, command.width), _SIZES[command.format], strict=True)
    height, width = (
        check_integer(name, default if given is None else given, 8, 8192) for name, given, default in sizes
    )
    return height, width


def _through_a_scene(command: Collect) -> tuple[Iterator[View], np.ndarray, float, str]:
    published = command.format == "context-as-memory"
    if published and command.fov is not None:
        raise ValueError(f"fov={command.fov:g}, but pictures of context-as-memory have {PUBLISHED_FOV}; leave it out.")
    fov = PUBLISHED_FOV if published else check_fov("fov", DEFAULT_FOV if command.fov is None else command.fov)
    if command.scene is None:
        raise ValueError("scene is missing; give the seed of a scene, or --image a picture.")
    split_of(check_integer("scene", command.scene, 0))
    scene = build_scene(command.scene)
    poses = random_walk(scene, command.steps + 1, np.random.default_rng(command.seed))
    views = _rendered(scene, poses, fov, *_size(command), command.quiet)
    return views, poses.numpy(), fov, f"Scene{command.scene}_{command.seed}"


def _rendered(scene: Scene, poses: Tensor, fov: float, height: int, width: int, quiet: bool) -> Iterator[View]:
    scenes = stack_scenes([scene])
    for pose in tqdm(poses, desc="collect", unit="frame", dynamic_ncols=True, disable=quiet):
        frames, depth = render(scenes, pose[None, None], fov, height, width)
        yield frames[0, 0].numpy(), depth[0, 0].numpy()


def _before_a_picture(command: Collect) -> tuple[Iterator[View], np.ndarray, float, str]:
    _refuse(command, "image", ("scene", "policy"))
    if command.env == "generated":
        raise ValueError("env='generated' has no meaning with image; leave it out.")
    fov = check_fov("fov", _WALL_FOV if command.fov is None else command.fov)
    picture, (height, width) = open_image(command.image), _size(command)
    poses, own = wall_path(picture, fov, command.steps + 1, width / height)
    views = wall_views(picture, fov, poses, own, height, width)
    views = tqdm(views, desc="collect", unit="frame", total=len(poses), dynamic_ncols=True, disable=command.quiet)
    return views, poses, own, command.image.stem


def _played(command: Collect) -> tuple[list[View], np.ndarray, float, str]:
    """An episode that a policy walks; the frames are those of the environment."""
    _refuse(command, "env='generated' or policy", ("height", "width", "fov"))
    env, policy = make_environment(command, command.policy or "random", {"observation": "dict"})
    views, poses = [], []
    with tqdm(total=command.steps + 1, desc="collect", disable=command.quiet, dynamic_ncols=True) as progress:
        for observation in walk(env, policy, command.seed, command.scene):
            views.append((observation["rgb"], observation["depth"][..., 0]))
            poses.append(observation["pose"])
            progress.update()
    if len(views) <= command.steps:
        raise ValueError(f"steps={command.steps}, but the episode ended after {len(views) - 1}; ask for fewer.")
    env.close()
    return views, np.array(poses, np.float64), DEFAULT_FOV, f"Scene{command.scene}_{command.seed}"
