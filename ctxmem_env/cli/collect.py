"""`ctxmem collect`: a random walk through a true scene, written as a capture."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.captures.write import write_nerfstudio, write_published
from ctxmem_env.cli import Collect
from ctxmem_env.errors import check_integer
from ctxmem_env.scenes import Scene, build_scene, random_walk, render, split_of, stack_scenes
from ctxmem_env.start import check_fov
from ctxmem_env.trajectory import PUBLISHED_FOV

_SIZES = {"nerfstudio": (64, 64), "context-as-memory": (360, 640)}  # height and width in pixels


def collect(command: Collect) -> dict:
    """Run the command and return what is to be printed. ValueError for input that does not fit."""
    steps = check_integer("steps", command.steps, 1)
    published = command.format == "context-as-memory"
    if published and command.fov is not None:
        raise ValueError(f"fov={command.fov:g}, but pictures of context-as-memory have {PUBLISHED_FOV}; leave it out.")
    fov = PUBLISHED_FOV if published else check_fov("fov", DEFAULT_FOV if command.fov is None else command.fov)
    sizes = zip(("height", "width"), (command.height, command.width), _SIZES[command.format], strict=True)
    height, width = (
        check_integer(name, default if given is None else given, 8, 8192) for name, given, default in sizes
    )
    split_of(check_integer("scene", command.scene, 0))
    scene = build_scene(command.scene)
    poses = random_walk(scene, steps + 1, np.random.default_rng(check_integer("seed", command.seed, 0)))
    views = _views(scene, poses, fov, height, width, command.quiet)
    if published:
        folder = write_published(command.out, f"Scene{command.scene}_{command.seed}", views, poses.numpy())
    else:
        folder = write_nerfstudio(command.out, views, poses.numpy(), fov)
    return {
        "frames": steps + 1,
        "format": command.format,
        "scene": command.scene,
        "seed": command.seed,
        "fov": fov,
        "height": height,
        "width": width,
        "out": str(folder),
    }


def _views(
    scene: Scene, poses: Tensor, fov: float, height: int, width: int, quiet: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    scenes = stack_scenes([scene])
    for pose in tqdm(poses, desc="collect", unit="frame", dynamic_ncols=True, disable=quiet):
        frames, depth = render(scenes, pose[None, None], fov, height, width)
        yield frames[0, 0].numpy(), depth[0, 0].numpy()
