"""`ctxmem rollout`: drive an environment along a path, film it, and measure how it looks when it returns."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.cli.drive import choose_drive
from ctxmem_env.cli.walks import Rollout
from ctxmem_env.episodes import Episode, RecordEpisode, Shown, load_episode, open_episode, replay
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.filming import Filmed
from ctxmem_env.plotting import check_plots, plot_memory, plot_trajectory
from ctxmem_env.recording import write_video

IDS = {"generated": "CtxMemScene-v0", "true": "CtxMemTrueScene-v0"}
_SAME_PLACE = 0.05  # metres
_SAME_ANGLE = np.radians(2.0)
_AWAY = 8  # steps between two visits
# What may be said beside --replay; all else is in the episode.
_OF_REPLAY = (
    "replay",
    "out",
    "fps",
    "layout",
    "no_truth",
    "any_generator",
    "plot",
    "device",
    "threads",
    "quiet",
    "debug",
    "json",
)

logger = logging.getLogger(__name__)


@dataclass
class Walk:
    """What was seen: frames uint8 (H, W, 3), infos, the seconds that stepping took, and, of a replay, what was same."""

    frames: list[np.ndarray] = field(default_factory=list)
    infos: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    same: list[bool] = field(default_factory=list)


def rollout(command: Rollout) -> dict:
    """Run the command, write its video, and return what is to be printed. ValueError for input that does not fit."""
    if command.out.suffix not in (".mp4", ".gif"):
        raise ValueError(f"out={str(command.out)!r}; expected a file that ends in .mp4 or .gif.")
    if command.plot is not None:
        check_plots()
    results = _play_again(command) if command.replay is not None else _drive(command)
    return {name: str(value) if isinstance(value, Path) else value for name, value in results.items()}


def _drive(command: Rollout) -> dict:
    """A walk as the options say."""
    check_integer("seed", command.seed, 0)
    if command.steps is not None:
        check_integer("steps", command.steps, 1)
    if command.any_generator:
        raise ValueError("any_generator was given without replay; leave it out.")
    drive = choose_drive(command)
    for note in drive.notes:
        logger.info(note)
    model = {} if command.env == "true" else {"model": command.model}
    env = gym.make(
        IDS[command.env],
        retrieval=command.retrieval,
        num_context=command.num_context,
        device=command.device,
        render_mode="rgb_array",
        max_episode_steps=len(drive.actions),
        **model,
        **drive.arguments,
    )
    options = drive.options(command, env)
    recorder = RecordEpisode(env)
    filmed, walk = Filmed(recorder, command.layout, not command.no_truth), Walk()
    moments = _moments(filmed, command.seed, options, drive.actions)
    results = _film(filmed, moments, len(drive.actions), command, walk)
    if command.save_episode is not None:
        results["episode"] = recorder.episode().save(command.save_episode)
    return results | {
        "seed": command.seed,
        "scene": command.scene,
        "image": command.image,
        "capture": command.capture,
        "trajectory": command.trajectory,
        "env": IDS[command.env],
        "model": None if command.env == "true" else command.model,
        "retrieval": command.retrieval,
        "num_context": command.num_context,
    }


def _play_again(command: Rollout) -> dict:
    """The episode of a file."""
    for option in fields(command):
        if option.name not in _OF_REPLAY and getattr(command, option.name) != option.default:
            name = option.name.replace("_", "-")
            raise ValueError(
                f"replay and {name} were both given, but the episode says where to go; leave out --{name}."
            )
    episode: Episode = load_episode(command.replay)
    env = open_episode(episode, device=command.device, render_mode="rgb_array")
    filmed, walk = Filmed(env, command.layout, not command.no_truth), Walk()
    moments = replay(episode, filmed, command.any_generator)
    results = _film(filmed, moments, len(episode.frames) - 1, command, walk)
    identical = all(walk.same)
    if not identical:
        first = walk.same.index(False)
        logger.warning(
            f"frame {first} and {len(walk.same) - sum(walk.same) - 1} after it are not the recorded ones to the bit: "
            "another machine or version rounds differently, or another generator painted them"
        )
    return results | {"replay": command.replay, "identical": identical, "env": episode.env_id, "seed": episode.seed}


def _moments(env: gym.Env, seed: int, options: dict[str, Any], actions: list) -> Iterator[Shown]:
    observation, info = env.reset(seed=seed, options=options)
    yield Shown(observation, 0.0, False, False, info, True)
    for action in actions:
        yield Shown(*env.step(action), True)


def _film(env: Filmed, moments: Iterable[Shown], steps: int, command: Rollout, walk: Walk) -> dict:
    """Writes the video of what happens, and returns the figures of it."""

    def see(moment: Shown) -> np.ndarray:
        walk.frames.append(env.unwrapped.view().frame)
        walk.infos.append(moment.info)
        walk.same.append(moment.same)
        return env.render()

    def pictures() -> Iterator[np.ndarray]:
        rest = iter(moments)
        yield see(next(rest))  # before there is a bar: whatever is refused, is refused here
        with tqdm(total=steps, desc="rollout", unit="step", dynamic_ncols=True, disable=command.quiet) as progress:
            for _ in range(steps):
                began = time.perf_counter()
                moment = next(rest)
                walk.seconds += time.perf_counter() - began
                yield see(moment)
                progress.update()

    try:
        video = write_video(command.out, pictures(), command.fps)
    finally:
        env.close()
    similarity, revisits = revisit_psnr(np.stack(walk.frames), np.stack([info["pose"] for info in walk.infos]))
    results = {
        "frames": len(walk.frames),
        "steps_per_second": round(steps / walk.seconds, 2) if steps else None,
        "revisit_psnr": None if similarity is None else round(similarity, 2),
        "revisits": revisits,
        "true_psnr": round(float(np.mean(env.likeness[1:])), 2) if len(env.likeness) > 1 else None,
        "video": video,
    }
    if command.plot is not None:
        plot_trajectory(walk.infos, command.plot / "trajectory.png")
        plot_memory(walk.infos, command.plot / "memory.png")
        results["plot"] = command.plot
    return results


def revisit_psnr(frames: np.ndarray, poses: np.ndarray) -> tuple[float | None, int]:
    """How much frames look like what was seen before from the same pose: mean PSNR in dB, and their number.

    Each frame is compared with the earliest one whose pose is within 5 cm and 2 degrees, if that is at least 8 steps
    older. None where the path never returns.

    Args:
        frames: uint8 (T, H, W, 3).
        poses: (T, 6), metres and radians.
    """
    values = []
    for t in range(_AWAY, len(frames)):
        offset = poses[: t - _AWAY + 1] - poses[t]
        turned = np.abs((offset[:, 3:] + np.pi) % (2 * np.pi) - np.pi)
        same = (np.linalg.norm(offset[:, :3], axis=1) <= _SAME_PLACE) & (turned <= _SAME_ANGLE).all(1)
        if same.any():
            values.append(psnr(torch.from_numpy(frames[t]), torch.from_numpy(frames[int(same.argmax())])).item())
    return (float(np.mean(values)) if values else None), len(values)
