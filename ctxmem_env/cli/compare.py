"""`ctxmem compare`: ways to retrieve memory on one walk, side by side."""

import logging
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.cli.drive import Drive, choose_drive, follow
from ctxmem_env.cli.rollout import revisit_psnr
from ctxmem_env.cli.walks import Compare
from ctxmem_env.errors import check_integer
from ctxmem_env.filming import Filmed
from ctxmem_env.recording import Compared, draw_comparison, write_video
from ctxmem_env.retrieval import get_retrieval
from ctxmem_env.trajectory import Trajectory

logger = logging.getLogger(__name__)


def compare(command: Compare) -> dict:
    """Run the command, write its video, and return what is to be printed. ValueError for input that does not fit."""
    names = [name.strip() for name in command.retrieval.split(",")]
    for name in names:
        get_retrieval(name)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"retrieval={command.retrieval!r}; expected two or more different names, with commas between.")
    check_integer("seed", command.seed, 0)
    if command.steps is not None:
        check_integer("steps", command.steps, 1)
    drive = choose_drive(command)
    for note in drive.notes:
        logger.info(note)
    steps = len(drive.actions)
    with tqdm(total=2 * steps, desc="compare", unit="step", dynamic_ncols=True, disable=command.quiet) as progress:
        route = drive if drive.trajectory is not None else _walk(command, drive, names[0], progress)
        worlds = {name: Filmed(_open(command, route, name)) for name in names}
        frames: dict[str, list[np.ndarray]] = {name: [] for name in names}
        poses: list[np.ndarray] = []
        options = drive.options(command, worlds[names[0]])

        def pictures() -> Iterator[np.ndarray]:
            for world in worlds.values():
                world.reset(seed=command.seed, options=options)
            yield _see(worlds, frames, poses, steps)
            for action in route.actions:
                for world in worlds.values():
                    world.step(action)
                yield _see(worlds, frames, poses, steps)
                progress.update(2 if route is drive else 1)

        try:
            video = write_video(command.out, pictures(), command.fps)
        finally:
            for world in worlds.values():
                world.close()
    return {
        "frames": len(poses),
        "video": str(video),
        "seed": command.seed,
        "scene": command.scene,
        "image": None if command.image is None else str(command.image),
        "capture": None if command.capture is None else str(command.capture),
        "model": command.model,
        "num_context": command.num_context,
        "strategies": {name: _figures(frames[name], poses, worlds[name].likeness) for name in names},
    }


def _open(command: Compare, drive: Drive, retrieval: str) -> gym.Env:
    return gym.make(
        "CtxMemScene-v0",
        model=command.model,
        retrieval=retrieval,
        num_context=command.num_context,
        device=command.device,
        render_mode="rgb_array",
        max_episode_steps=len(drive.actions),
        **drive.arguments,
    )


def _walk(command: Compare, drive: Drive, retrieval: str, progress: tqdm) -> Drive:
    """The walk of one strategy, as the path that all will follow."""
    env = _open(command, drive, retrieval)
    poses = [env.reset(seed=command.seed, options=drive.options(command, env))[1]["pose"]]
    for action in drive.actions:
        poses.append(env.step(action)[4]["pose"])
        progress.update()
    env.close()
    return follow(Trajectory(torch.from_numpy(np.stack(poses)).double()), None, "walk")


def _see(worlds: dict[str, Filmed], frames: dict[str, list], poses: list, steps: int) -> np.ndarray:
    """The picture of a moment, after it was noted."""
    views = {name: world.look() for name, world in worlds.items()}
    for name, view in views.items():
        frames[name].append(view.frame)
    first = next(iter(views.values()))
    poses.append(first.poses[-1])
    compared = [Compared(name, view, worlds[name].likeness) for name, view in views.items()]
    return draw_comparison(compared, first.true_frame, steps)


def _figures(frames: list[np.ndarray], poses: list[np.ndarray], likeness: list[float]) -> dict:
    """In dB: agreement with the true scene, without the frame that opened the world, and with itself."""
    similarity, revisits = revisit_psnr(np.stack(frames), np.stack(poses))
    painted = likeness[1:]
    return {
        "true_psnr": round(float(np.mean(painted)), 2) if painted else None,
        "revisit_psnr": None if similarity is None else round(similarity, 2),
        "revisits": revisits,
        "true_psnr_by_step": [round(value, 2) for value in painted],
    }
