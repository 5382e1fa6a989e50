"""`ctxmem rollout`: drive an environment along a path, film it, and measure how it looks when it returns."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.cli import Rollout
from ctxmem_env.cli.drive import choose_drive
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.recording import write_video

IDS = {"generated": "CtxMemScene-v0", "true": "CtxMemTrueScene-v0"}
_SAME_PLACE = 0.05  # metres
_SAME_ANGLE = np.radians(2.0)
_AWAY = 8  # steps between two visits
_PLAIN_SIZE = 384  # pixels


@dataclass
class Episode:
    """What was seen: frames uint8 (H, W, 3), their poses (6,), and the seconds that stepping took."""

    frames: list[np.ndarray] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0

    def see(self, frame: np.ndarray, info: dict) -> None:
        self.frames.append(frame)
        self.poses.append(info["pose"])


def rollout(command: Rollout) -> dict:
    """Run the command, write its video, and return what is to be printed. ValueError for input that does not fit."""
    if command.steps is not None:
        check_integer("steps", command.steps, 1)
    if command.out.suffix not in (".mp4", ".gif"):
        raise ValueError(f"out={str(command.out)!r}; expected a file that ends in .mp4 or .gif.")
    drive = choose_drive(command)
    for note in drive.notes:
        print(f"ctxmem: {note}", file=sys.stderr)
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
    height, width, _ = env.observation_space.shape
    options = {"scene": command.scene, "tour": command.tour, **drive.start(command, width / height)}
    if command.image is not None:
        options["image"] = str(command.image)
    if command.capture is not None:
        options["capture"] = str(command.capture)
    episode = Episode()
    try:
        video = write_video(command.out, _film(env, command, drive.actions, options, episode), command.fps)
    finally:
        env.close()
    similarity, revisits = revisit_psnr(np.stack(episode.frames), np.stack(episode.poses))
    return {
        "frames": len(episode.frames),
        "steps_per_second": round(len(drive.actions) / episode.seconds, 2),
        "revisit_psnr": None if similarity is None else round(similarity, 2),
        "revisits": revisits,
        "video": str(video),
        "seed": command.seed,
        "scene": command.scene,
        "image": None if command.image is None else str(command.image),
        "capture": None if command.capture is None else str(command.capture),
        "trajectory": None if command.trajectory is None else str(command.trajectory),
        "env": IDS[command.env],
        "model": None if command.env == "true" else command.model,
        "retrieval": command.retrieval,
        "num_context": command.num_context,
    }


def _film(env: gym.Env, command: Rollout, actions: list, options: dict, episode: Episode) -> Iterator[np.ndarray]:
    """Walks, and yields a picture of every frame, the first one included."""

    def picture() -> np.ndarray:
        return env.render() if command.layout == "panel" else _enlarge(episode.frames[-1])

    episode.see(*env.reset(seed=command.seed, options=options))
    yield picture()
    with tqdm(actions, desc="rollout", unit="step", dynamic_ncols=True) as progress:
        for action in progress:
            began = time.perf_counter()
            frame, _, _, _, info = env.step(action)
            episode.seconds += time.perf_counter() - began
            episode.see(frame, info)
            yield picture()


def _enlarge(frame: np.ndarray) -> np.ndarray:
    height, width, _ = frame.shape
    scale = max(1, _PLAIN_SIZE // max(height, width))
    return np.array(Image.fromarray(frame).resize((width * scale, height * scale), Image.Resampling.BICUBIC))


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
