"""Training batches: walks through rendered scenes, and for some of their views the context that `step` would select.

A batch is a function of (seed, number) alone, so a resumed run sees what an uninterrupted one would have seen.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ctxmem_env.camera import DEFAULT_FOV, wrap_angle
from ctxmem_env.config import DataConfig
from ctxmem_env.evaluation.baselines import pack_history
from ctxmem_env.retrieval import select_context
from ctxmem_env.scenes import (
    Scene,
    build_scene,
    random_walk,
    render,
    shift,
    split_seeds,
    stack_scenes,
    sweep_scenes,
    tour,
)

ALL = slice(None)
_ASIDE = math.radians(20)  # at most, of a way straight ahead and of the views on it
_SOFTNESS = 1.5, 4.0  # how many times frames are enlarged that are soft
_BODY, _FURTHEST = 0.15, 6.0  # metres: radius of a body that goes ahead, and the longest way


def to_float(frames: Tensor) -> Tensor:
    """uint8 frames (..., H, W, 3) as float32 (..., 3, H, W) in [-1, 1]."""
    return frames.movedim(-1, -3).float() / 127.5 - 1


def to_uint8(frames: Tensor) -> Tensor:
    """Float frames (..., 3, H, W) in [-1, 1] as uint8 (..., H, W, 3)."""
    return ((frames.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)


class SceneBatches(Dataset):
    """Batch `number` of a run: B scenes, k context slots and S targets each, as a dict of tensors.

    Only the scenes `mine` of it are rendered and returned: a rank among several has no use for the others.

    context_frames (B, k, H, W, 3) uint8, context_depth (B, k, H, W) as the generator would remember it (with its
    errors, 0 where it is not known), context_poses (B, k, 6), mask and overlap (B, k), soft bool (B,), fov (B,),
    poses (B, S, 6), frames (B, S, H, W, 3) uint8, depth (B, S, H, W).
    """

    def __init__(
        self,
        config: DataConfig,
        seed: int,
        height: int,
        width: int,
        split: str = "train",
        mine: slice = ALL,
    ) -> None:
        self.config, self.seed, self.height, self.width, self.mine = config, seed, height, width, mine
        self.scene_seeds = split_seeds(split)

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        c = self.config
        rng = np.random.default_rng([self.seed, number])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # The first target is the next step; the others, ever further ahead, show more that no context frame has seen.
        offsets = torch.arange(c.targets_per_scene).square()
        scenes, history, lengths, targets, fov = [], [], [], [], []
        for _ in range(c.scenes_per_batch):
            scene = build_scene(int(self.scene_seeds[rng.integers(len(self.scene_seeds))]))
            poses, first_target = self._walk(scene, rng)
            scenes.append(scene)
            history.append(poses)
            lengths.append(first_target)
            close = c.close_ups > 0 and rng.random() < c.close_ups
            targets.append(
                approach(scene, poses[first_target - 1], offsets, rng) if close else poses[first_target + offsets]
            )
            fov.append(DEFAULT_FOV if rng.random() < 0.5 else rng.uniform(c.min_fov, c.max_fov))
        history, targets = torch.stack(history).float(), torch.stack(targets).float()
        lengths, fov = torch.tensor(lengths), torch.tensor(fov, dtype=torch.float32)
        generators = [generator] * c.scenes_per_batch
        selection = select_context(c.retrieval, history, lengths, targets[:, 0], c.num_context, fov, generators)
        indices = selection.indices.clamp(min=0)
        context_poses = history.gather(1, indices[..., None].expand(-1, -1, 6))
        mask = drop_context(selection.indices >= 0, c, rng)
        # A frame from outside comes without depth. It is estimated at the frame's own pose, with the frame itself in
        # the context, alone or beside others; and until then such a frame serves other views as well.
        outside = torch.from_numpy(rng.random(len(mask)) < c.outside) & mask[:, 0]
        if c.targets_per_scene > 1:
            targets[outside, -1] = context_poses[outside, 0]
        poses, mine, k = torch.cat([context_poses, targets], 1), self.mine, c.num_context
        frames, depth = render(stack_scenes(scenes[mine]), poses[mine], fov[mine], self.height, self.width)
        context_frames, context_depth, soft = as_remembered(frames[:, :k], depth[:, :k], c, rng, generator, mine)
        context_depth[outside[mine], 0] = 0.0
        return {
            "context_frames": context_frames,
            "context_depth": context_depth,
            "context_poses": context_poses[mine],
            "mask": mask[mine],
            "overlap": selection.overlap[mine],
            "soft": soft,
            "fov": fov[mine],
            "poses": targets[mine],
            "frames": frames[:, k:],
            "depth": depth[:, k:],
        }

    def _walk(self, scene, rng: np.random.Generator) -> tuple[Tensor, int]:
        """Poses (tour + walk_length, 6) of a tour and a walk, and the first target's index; a half have no tour."""
        c = self.config
        step, turn = rng.choice([0.15, 0.25, 0.25, 0.4]), math.radians(rng.choice([10.0, 15.0, 15.0, 30.0]))
        small = rng.random() < c.small_steps
        if small:
            scale = 0.1 ** rng.random()
            step, turn = scale * step, scale * turn
        toured = int(rng.integers(1, c.tour + 1)) if rng.random() < 0.5 else 1
        walk = random_walk(scene, c.tour + c.walk_length - toured + 1, rng, step_length=step, turn_angle=turn)
        if not small and rng.random() < c.shifted:
            walk = shift(walk, rng)
        poses = torch.cat([tour(scene, toured, rng, walk[0]), walk[1:]])
        # Early in a walk little is known; the square makes half of the targets fall in its first quarter.
        last = len(poses) - c.targets_per_scene**2
        return poses, toured + int((last - toured) * rng.random() ** 2)


def approach(scene: Scene, start: Tensor, offsets: Tensor, rng: np.random.Generator) -> Tensor:
    """Poses (S, 6) ever further ahead of `start`, the last one right before what stands there, and turned aside a bit.

    offsets (S,): which share of the way each has gone, the last all of it.
    """
    heading = start[3] + _ASIDE * (2 * rng.random() - 1)
    ahead = torch.stack([heading.cos(), heading.sin()])
    way, _ = sweep_scenes(stack_scenes([scene]), start[None, :2], ahead[None], _BODY)
    shares = (offsets + rng.random()) / (offsets[-1] + 1)
    poses = start.repeat(len(offsets), 1)
    poses[:, :2] += way.clamp(0, _FURTHEST) * shares[:, None] * ahead
    poses[:, 3] = wrap_angle(heading + _ASIDE * torch.from_numpy(2 * rng.random(len(offsets)) - 1))
    return poses


def drop_context(mask: Tensor, config: DataConfig, rng: np.random.Generator) -> Tensor:
    """The filled slots (B, k) that stay after some scenes have lost all, all but the newest, or some of the others."""
    c = config
    kind = rng.random(len(mask))
    keep = torch.from_numpy(rng.random(mask.shape) < 0.5)
    for row, fate in enumerate(kind):
        if fate < c.nothing:
            keep[row] = False
        elif fate < c.nothing + c.newest_only:
            keep[row, 1:], keep[row, 0] = False, True
        elif fate < c.nothing + c.newest_only + c.thinned:
            keep[row, 0] = True
        else:
            keep[row] = True
    return mask & keep


def as_remembered(
    frames: Tensor, depth: Tensor, config: DataConfig, rng: np.random.Generator, generator: torch.Generator, mine: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames (B, k, H, W, 3) and depth (B, k, H, W) of the scenes `mine` as a walk would find them in its memory.

    Soft, with the errors of generated frames, and compressed, as `config` asks. Also which are soft, bool (B,).
    """
    scenes = config.scenes_per_batch
    softness = np.where(rng.random(scenes) < config.soft, rng.uniform(*_SOFTNESS, scenes), 1.0)[mine]
    frames, depth = corrupt(soften(frames, softness), depth, config.corrupt, generator, scenes, mine)
    if config.history == "packed":
        frames, depth = pack_history(frames, depth)
    return frames, depth, torch.from_numpy(softness > 1)


def soften(frames: Tensor, softness: np.ndarray) -> Tensor:
    """Frames (B, k, H, W, 3), those of each scene as if enlarged by `softness` (B,); 1 leaves them as they are."""
    frames = frames.clone()
    for own, factor in zip(frames, softness, strict=True):
        if factor > 1:
            small = F.interpolate(to_float(own), size=[round(side / factor) for side in own.shape[1:3]], mode="area")
            own[:] = to_uint8(F.interpolate(small, own.shape[1:3], mode="bicubic", align_corners=False).clamp(-1, 1))
    return frames


def corrupt(
    frames: Tensor,
    depth: Tensor,
    share: float,
    generator: torch.Generator,
    scenes: int | None = None,
    mine: slice = ALL,
) -> tuple[Tensor, Tensor]:
    """Frames (B, k, H, W, 3) and depth (B, k, H, W) with the errors of generated ones, in `share` of the scenes.

    The errors are drawn for `scenes` scenes, of which these are `mine`; by default for these alone.
    """
    batch, slots, height, width = depth.shape

    def draw(sample: Callable[..., Tensor], *shape: int) -> Tensor:
        return sample((batch if scenes is None else scenes, *shape), generator=generator)[mine]

    strength = draw(torch.rand, 1, 1, 1) * (draw(torch.rand, 1, 1, 1) < share)
    coarse = draw(torch.randn, slots, height // 8, width // 8)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    scale = draw(torch.randn, slots, 1, 1)
    noisy = F.avg_pool2d(depth.log(), 3, 1, 1, count_include_pad=False)
    noisy = torch.where((draw(torch.rand, slots, 1, 1) < 0.5) & (strength > 0), noisy, depth.log())
    noisy = (noisy + strength**2 * (0.1 * smooth + 0.1 * scale)).exp()
    x = to_float(frames)
    blurred = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(x)
    # A generated frame is blurred here and there, not as a whole.
    blur = (smooth > 0.8)[:, :, None] * strength[..., None]
    x = x + blur * (blurred - x)
    x = x + 0.06 * strength[..., None] * draw(torch.randn, *x.shape[1:])
    return to_uint8(x), noisy


def batches(dataset: Dataset, numbers: Sequence[int], workers: int) -> DataLoader:
    """Batches of `dataset` by their numbers, rendered ahead by `workers` processes."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
        multiprocessing_context="forkserver" if workers else None,
    )


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
