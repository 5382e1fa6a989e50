"""Training batches from captures: posed pictures and videos, read from the disk as they are needed.

As those of scenes (see `data`), a batch is a function of (seed, number) alone. What a view has in its context comes
before it in the capture, and is chosen as `step` chooses it, or at random among the pictures that the labels of
Context-as-Memory name for it, of which those that come later are dropped.
"""

import functools
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ctxmem_env.actions import STEP_LENGTH, TURN_ANGLE
from ctxmem_env.camera import motion_between
from ctxmem_env.captures import Capture, Found, find_captures, view_depth, view_frames
from ctxmem_env.captures.capture import read_json
from ctxmem_env.config import DataConfig, TrainConfig
from ctxmem_env.generator.frame_depth import depth_of_frames, packaged_frame_depth
from ctxmem_env.generator.stereo import refine_depth
from ctxmem_env.retrieval import select_context
from ctxmem_env.training.data import ALL, SceneBatches, as_remembered, drop_context

_LEAST = 4  # pictures of a capture: one to remember, one to paint, and the same to validate
_VALIDATED = 10  # the last tenth of a capture is not trained on
_OPEN = 32  # captures whose poses are kept in memory


class CaptureBatches(Dataset):
    """Batch `number` of a run as `SceneBatches` has it, each scene a stretch of one of the captures in `config`.

    Depth is 0 where a capture does not bring it (see `estimate_context`). The last tenth of each capture is the split
    "validation".

    Raises:
        ValueError: a folder without a capture, or, with the name of the file, a capture that does not fit, that is too
            short, or of which a picture or a label is not there.
    """

    def __init__(
        self, config: DataConfig, seed: int, height: int, width: int, split: str = "train", mine: slice = ALL
    ) -> None:
        self.config, self.seed, self.height, self.width, self.mine, self.split = (
            config,
            seed,
            height,
            width,
            mine,
            split,
        )
        self.found = [found for folder in config.captures for found in _find(folder)]
        self.sizes = np.array([len(_open(found).shots) for found in self.found])
        if config.overlap == "labels":
            for found in self.found:
                if _open(found).labels is None:
                    raise ValueError(
                        f"data: overlap='labels', but {found.cameras} has no folder overlap_labels beside it; choose "
                        "overlap='recomputed'."
                    )

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        c = self.config
        rng = np.random.default_rng([self.seed, number])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        captures, pasts, targets, fov = [], [], [], []
        for _ in range(c.scenes_per_batch):
            capture = _open(self.found[rng.choice(len(self.found), p=self.sizes / self.sizes.sum())])
            past, ahead = self._stretch(capture, rng)
            widest = capture.fov(self.width / self.height)
            captures.append(capture)
            pasts.append(past)
            targets.append(ahead)
            fov.append(widest if rng.random() < 0.5 or widest <= c.min_fov else rng.uniform(c.min_fov, widest))
        context, overlap = self._select(captures, pasts, targets, fov, generator)
        mask = drop_context(torch.from_numpy(context >= 0), c, rng)
        frames, depth, poses = self._read(captures, np.concatenate([context.clip(0), np.stack(targets)], 1), fov)
        k, mine = c.num_context, self.mine
        outside = torch.from_numpy(rng.random(len(mask)) < c.outside)[mine]
        context_frames, context_depth, soft = as_remembered(frames[:, :k], depth[:, :k], c, rng, generator, mine)
        context_depth[outside, 0] = 0.0
        return {
            "context_frames": context_frames,
            "context_depth": context_depth,
            "context_poses": poses[:, :k],
            "mask": mask[mine],
            "overlap": overlap[mine],
            "soft": soft,
            "fov": torch.tensor(fov, dtype=torch.float32)[mine],
            "poses": poses[:, k:],
            "frames": frames[:, k:],
            "depth": depth[:, k:],
        }

    def _stretch(self, capture: Capture, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Indices of what is remembered, in the order of time, and of the targets, all of which come later."""
        c, count = self.config, len(capture.shots)
        trained = min(count - count // _VALIDATED, count - 1)
        low, high = (1, trained) if self.split == "train" else (trained, count)
        # As many pictures on as a step of an environment is long, or half or twice as many.
        stride = max(1, round(2 ** rng.uniform(-1, 1) / max(_pace(capture), 1 / count)))
        reach = (c.targets_per_scene - 1) ** 2
        first = int(rng.integers(low, max(low + 1, high - stride * reach)))
        targets = np.minimum(first + stride * np.arange(c.targets_per_scene) ** 2, high - 1)
        length = 1 + int(c.walk_length * rng.random() ** 2)
        newest = max(first - stride, 0)
        walked = np.arange(newest, max(newest - stride * length, -1), -stride)
        toured = rng.integers(newest + 1, size=int(rng.integers(1, c.tour + 1)) if rng.random() < 0.5 else 0)
        return np.union1d(walked, toured), targets

    def _select(self, captures, pasts, targets, fov, generator: torch.Generator) -> tuple[np.ndarray, Tensor]:
        """Indices int64 (B, k) in the capture, -1 for an empty slot, and the overlap (B, k)."""
        strategy = self.config.retrieval
        if self.config.overlap == "labels":
            strategy = "random"
            pasts = [_labelled(*row) for row in zip(captures, pasts, targets, strict=True)]
        lengths = torch.tensor([len(past) for past in pasts])
        history = torch.zeros(len(pasts), int(lengths.max()), 6)
        for row, capture, past in zip(history, captures, pasts, strict=True):
            row[: len(past)] = torch.from_numpy(capture.poses[past])
        views = torch.stack([torch.from_numpy(c.poses[t[0]]).float() for c, t in zip(captures, targets, strict=True)])
        selection = select_context(
            strategy, history, lengths, views, self.config.num_context, torch.tensor(fov), [generator] * len(pasts)
        )
        chosen = selection.indices.numpy()
        rows = [np.where(row >= 0, past[row.clip(0)], -1) for row, past in zip(chosen, pasts, strict=True)]
        return np.stack(rows), selection.overlap

    def _read(self, captures, indices: np.ndarray, fov) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, depth and poses of pictures (B, n), of the scenes `mine` alone."""
        frames, depth, poses = [], [], []
        for capture, row, angle in list(zip(captures, indices.tolist(), fov, strict=True))[self.mine]:
            shots, size = [capture.shots[i] for i in row], (self.height, self.width, angle)
            frames.append(view_frames(shots, *size))
            depth.append(view_depth(shots, *size))
            poses.append(capture.poses[row])
        frames, depth, poses = (torch.from_numpy(np.stack(part)) for part in (frames, depth, poses))
        return frames, depth, poses.float()


class MixedBatches(Dataset):
    """Of each batch, chosen by its number, whether it comes from captures, which `share` of them do, or from scenes."""

    def __init__(self, scenes: SceneBatches, captures: CaptureBatches, share: float, seed: int) -> None:
        self.scenes, self.captures, self.share, self.seed = scenes, captures, share, seed

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        captured = np.random.default_rng([self.seed, number, 1]).random() < self.share
        return (self.captures if captured else self.scenes)[number]


def training_batches(config: TrainConfig, height: int, width: int, mine: slice = ALL) -> Dataset:
    """The batches of a run: of scenes, or, where the config names captures, `captured` of them of these."""
    scenes = SceneBatches(config.data, config.seed, height, width, mine=mine)
    if not config.data.captures:
        return scenes
    captures = CaptureBatches(config.data, config.seed, height, width, mine=mine)
    return MixedBatches(scenes, captures, config.data.captured, config.seed)


@torch.no_grad()
def estimate_context(batch: dict[str, Tensor]) -> None:
    """Give context frames that came without depth the one that an environment would remember them with.

    The newest frame keeps none in every other scene, as for a generator that cannot tell. Of rendered scenes the others
    all have depth, and nothing is done.
    """
    mask, known = batch["mask"], batch["context_depth"]
    unknown = mask & (known.flatten(2).amax(-1) <= 0)
    if not bool(unknown[:, 1:].any()):
        return
    frames, poses, fov = batch["context_frames"], batch["context_poses"], batch["fov"]
    network, depth = packaged_frame_depth(known.device), known.clone()
    for i in unknown.any(1).nonzero()[:, 0].tolist():
        there, new, each = mask[i], unknown[i], fov[i].expand(len(mask[i]))
        depth[i, new] = depth_of_frames(network, frames[i, new], poses[i, new], each[new])[0].to(known)
        depth[i, there] = refine_depth(frames[i, there], depth[i, there], poses[i, there], each[there])
    unknown[::2, 0] = False
    batch["context_depth"] = torch.where(unknown[..., None, None], depth, known)


def _find(folder: str) -> list[Found]:
    found = find_captures(folder)
    if not found:
        raise ValueError(f"data: {folder} holds no captures; expected one of the layouts of ctxmem_env.captures.")
    return found


@functools.lru_cache(maxsize=_OPEN)
def _open(found: Found) -> Capture:
    """A capture, which may have no holes."""
    capture = found.read()
    if capture.missing:
        raise ValueError(
            f"data: {found.cameras}: {len(capture.missing)} pictures are not there, such as {capture.missing[0]}; "
            "training needs every one."
        )
    if len(capture.shots) < _LEAST:
        raise ValueError(f"data: {found.cameras} has {len(capture.shots)} pictures; training needs at least {_LEAST}.")
    return capture


def _pace(capture: Capture) -> float:
    """How many steps of an environment, in metres and turns, lie between neighbouring pictures; the median."""
    poses = torch.from_numpy(capture.poses)
    motions = motion_between(poses[:-1], poses[1:])
    steps = motions[:, :2].norm(dim=-1) / STEP_LENGTH + motions[:, 2:].norm(dim=-1) / math.radians(TURN_ANGLE)
    return float(steps.median())


def _labelled(capture: Capture, past: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The pictures that the labels of the first target name, without those that come later, and the newest one."""
    file = capture.labels / f"{targets[0]}.json"
    where = f"data: {file}"
    if not file.is_file():
        raise ValueError(f"{where} is not there; expected the labels of every picture.")
    content = read_json(Path(file))
    names = content.get("overlapping_frames") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isdecimal() for name in names):
        raise ValueError(f"{where} has no 'overlapping_frames'; expected a list of numbers as text.")
    earlier = [number for number in map(int, names) if number < past[-1]]
    return np.array([*sorted(set(earlier)), past[-1]])
