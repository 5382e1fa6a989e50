"""Captures: pictures are left out, the others remembered, and what is painted at the poses of those that were left out
is compared with them, beside a copy of the best retrieved picture.

No training has seen the pictures unless it was given them; poses are those of the capture, with height and roll.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ctxmem_env.camera import MAX_PITCH
from ctxmem_env.captures import MOST_REMEMBERED, Found, find_captures, view_depth, view_frames
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import check_ssim, ssim
from ctxmem_env.evaluation.protocols import Walks, follow
from ctxmem_env.evaluation.retrieval import PAINTERS, painter_over
from ctxmem_env.evaluation.runner import run_protocol
from ctxmem_env.evaluation.suite import weights_checksum
from ctxmem_env.generator import Generator, load_generator

_LEAST = 6  # pictures of a capture


def evaluate_captures(
    captures: Sequence[str | Path],
    model: str | Generator = "nano",
    every: int = 4,
    num_context: int = 8,
    num_steps: int | None = None,
    out: str | Path | None = None,
    sheet: str | Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> dict:
    """Measure every painter on every capture; writes `out` as it goes and returns what it wrote.

    A call that was interrupted goes on when it is made again with the same arguments.

    Args:
        captures: folders of one capture or of many, in any layout of `ctxmem_env.captures`.
        model: a packaged generator, a folder, or a `Generator`.
        every: of so many pictures one is left out.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
        out: JSON file; None: results_capture.json.
        sheet: PNG file of frames, generated above true; each painter has its own, with its name in it.
        device: a torch device.

    Raises:
        ValueError: a folder without captures, a capture of fewer than 6 pictures or that does not fit, a value out of
            range, torchmetrics missing, or a file `out` that holds something else. Nothing is measured then.
    """
    found = [(Path(folder), one) for folder in captures for one in find_captures(folder)]
    if not found:
        raise ValueError(f"captures={[str(folder) for folder in captures]} hold no captures; give folders that do.")
    check_integer("every", every, 2)
    check_integer("num_context", num_context, 1)
    if num_steps is not None:
        check_integer("num_steps", num_steps, 1)
    check_ssim()
    for _, one in found:
        _left_out(one, every)
    generator = load_generator(model, device) if isinstance(model, str) else model
    out = Path("results_capture.json" if out is None else out)
    for path in filter(None, (out, sheet)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    names = [str(one.cameras.relative_to(folder.parent)) for folder, one in found]
    head = {
        "protocol": "capture",
        "model": model if isinstance(model, str) else type(model).__name__,
        "weights": weights_checksum(model),
        "scenes": {"captures": names},
        "options": {"every": every, "num_context": num_context, "num_steps": num_steps},
    }

    @functools.lru_cache(maxsize=1)
    def walks(index: int) -> Walks:
        return capture_walks(found[index][1], every, generator)

    def measure(group: list[int], painter: str) -> dict:
        return measure_capture(painter_over(painter, generator), walks(group[0]), num_context, num_steps)

    cases = [{"painter": painter} for painter in PAINTERS]
    sheet = None if sheet is None else Path(sheet)
    return run_protocol(head, cases, range(len(found)), measure, out, group=1, sheet=sheet, quiet=quiet)


def measure_capture(painter: Generator, walks: Walks, num_context: int = 8, num_steps: int | None = None) -> dict:
    """Figures of the pictures of one capture that were left out, in their order.

    replay_db and replay_ssim: against the truth, where what is remembered is true, those left out before it included;
    rollout_db: where these are remembered as they were painted.
    """
    replayed, rolled = (follow(painter, walks, replay, num_context, num_steps=num_steps) for replay in (True, False))
    true = walks.frames[:, walks.seeded :]
    shown = np.linspace(0, true.shape[1] - 1, min(true.shape[1], 12)).round().astype(int)
    return {
        "replay_db": [replayed.psnr.mean().item()],
        "replay_ssim": [ssim(replayed.frames[0], true[0]).mean().item()],
        "rollout_db": [rolled.psnr.mean().item()],
        "_sheet": [frames[0, shown] for frames in (replayed.frames, rolled.frames, true)],
    }


def _left_out(found: Found, every: int) -> tuple[list[int], list[int]]:
    """Indices of the pictures that are remembered, the one before the first that was left out last; and of those.

    A picture that looks so far up or down that no camera of an environment does is never left out.
    """
    capture = found.read()
    count = len(capture.shots)
    level = np.abs(capture.poses[:, 4]) <= MAX_PITCH
    out = [i for i in range(every // 2, count, every) if level[i]]
    if count < _LEAST or not out:
        raise ValueError(
            f"capture: {found.cameras} has {count} pictures, {len(out)} of which can be left out; expected at least "
            f"{_LEAST}, and one that looks at most 60 degrees up or down."
        )
    kept = np.setdiff1d(np.arange(count), out)
    start = kept[kept < out[0]][-1] if (kept < out[0]).any() else kept[0]
    others = kept[kept != start]
    if len(others) > MOST_REMEMBERED:
        others = others[np.linspace(0, len(others) - 1, MOST_REMEMBERED).round().astype(int)]
    return [*others.tolist(), int(start)], out


def capture_walks(found: Found, every: int, generator: Generator) -> Walks:
    """What is remembered of a capture, with depth, estimated unless all of it is known, and then walked along."""
    capture, (kept, out) = found.read(), _left_out(found, every)
    height, width = generator.height, generator.width
    fov, indices = capture.fov(width / height), [*kept, *out]
    shots = [capture.shots[i] for i in indices]
    frames, depth = (torch.from_numpy(read(shots, height, width, fov)) for read in (view_frames, view_depth))
    poses = torch.from_numpy(capture.poses[indices]).float()
    if not bool((depth[: len(kept)] > 0).all()):
        device = getattr(generator, "device", "cpu")
        seen = (part[: len(kept)].to(device) for part in (frames, poses, torch.full((len(poses),), fov)))
        depth[: len(kept)] = generator.estimate_depth(*seen).cpu()
    return Walks(frames[None], depth[None], poses[None], len(kept), [0], fov)
