"""Depth of frames by what they show: a small network for pictures that come from outside and bring none.

Its only task is depth, and what it was trained on (`ctxmem_env.training.frame_depth`) is disguised in ways that no
world of the environment is, so it holds for more kinds of places than the generator's own eye for depth does. Scale
comes from eyes about 1.5 m above the ground, as those of most people who take pictures.
"""

import functools
import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctxmem_env.camera import camera_to_world, focal, full_precision, invert_rigid, pixel_rays
from ctxmem_env.generator.stereo import BASELINE, EXACT
from ctxmem_env.half_file import load_half

WEIGHTS = Path(__file__).parent.parent / "weights" / "frame_depth" / "frame_depth.safetensors"
SIZE = 64  # pixels of a side; frames of another size are resized, and so is their depth
WIDTHS, HEADS, LAYERS = (24, 48, 96, 192), 4, 3  # channels at 64, 32, 16 and 8 pixels a side, and of attention there
_FINER = 4.0  # radians a radian: two rays are told apart better by sines that turn faster than they do
_TYPICAL = 1.1  # mean log depth of true frames
_SHAPE = 0.3  # by which frames that overlap differ in log depth where as a whole they agree


class FrameDepth(nn.Module):
    """Log depth (S, V, 64, 64), in metres, of V pictures (S, V, 3, 64, 64) in [-1, 1] of each of S scenes, and doubt.

    A U-Net with attention where it is smallest: among the patches of a picture, and among those of all that were taken
    from one place. A wall that fills a picture may be any size, but the picture beside it sees the floor.

    spread (S, V, 2): the tangents of half the field of view, across and upright. poses (S, V, 6), of which only who
    stands where someone else does, and where each looks, are of any effect.
    doubt (S, V, 64, 64): the log of the error of log depth that is to be expected, in [-4, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(5, WIDTHS[0], 3, padding=1)
        pairs = list(itertools.pairwise(WIDTHS))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairs)
        self.on_the_way = nn.ModuleList(nn.Sequential(_Block(b), _Block(b)) for b in WIDTHS[1:])
        self.place = nn.Parameter(torch.zeros(1, (SIZE // 8) ** 2, WIDTHS[-1]))
        self.attend = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTHS[-1], HEADS, 3 * WIDTHS[-1], 0.0, F.gelu, 1e-5, True, True)
            for _ in range(LAYERS)
        )
        self.across = nn.ModuleList(_Across(WIDTHS[-1]) for _ in range(LAYERS - 1))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in reversed(pairs))
        # At full size a block would cost as much as all the rest of the way back.
        self.back = nn.ModuleList([*(_Block(a) for a in reversed(WIDTHS[1:-1])), nn.Identity()])
        self.norm = nn.GroupNorm(8, WIDTHS[0])
        self.out = nn.Conv2d(WIDTHS[0], 2, 3, padding=1)
        nn.init.normal_(self.place, std=0.02)
        nn.init.zeros_(self.out.weight)

    def forward(self, pictures: Tensor, spread: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        scenes, views = pictures.shape[:2]
        together = torch.cdist(poses[..., :3], poses[..., :3], compute_mode=EXACT) <= BASELINE
        rays = _rays(poses, spread).flatten(1, 2)
        pictures, spread = pictures.flatten(0, 1), spread.flatten(0, 1)
        x = F.silu(self.stem(torch.cat([pictures, _directions(spread, SIZE)], dim=1)))
        kept = []
        for down, blocks in zip(self.down, self.on_the_way, strict=True):
            kept.append(x)
            x = blocks(down(x))
        tokens = x.flatten(2).mT + self.place
        for layer, across in zip(self.attend, [*self.across, None], strict=True):
            tokens = layer(tokens)
            if across is not None:
                tokens = across(tokens.unflatten(0, (scenes, views)), rays, together).flatten(0, 1)
        x = tokens.mT.unflatten(2, x.shape[2:])
        for up, block, beside in zip(self.up, self.back, reversed(kept), strict=True):
            x = block(F.interpolate(up(x), scale_factor=2.0, mode="nearest") + beside)
        log_depth, doubt = self.out(F.silu(self.norm(x))).unflatten(0, (scenes, views)).unbind(2)
        return log_depth + _TYPICAL, doubt.clamp(-4, 1)


class _Block(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.one, self.two = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.two.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.silu(self.one(F.silu(self.norm(x)))))


class _Across(nn.Module):
    """Attention among the patches of all pictures of one place, which know where in the world they are looked for."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.rays = nn.Linear(9, channels, bias=False)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, rays: Tensor, together: Tensor) -> Tensor:
        """tokens (S, V, P, C), rays (S, V * P, 9) of these patches, together (S, V, V) bool: from one place."""
        views, patches = tokens.shape[1:3]
        x = self.norm(tokens).flatten(1, 2) + self.rays(rays)
        heads = self.query_key_value(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mask = together.repeat_interleave(patches, 1).repeat_interleave(patches, 2)[:, None]
        found = F.scaled_dot_product_attention(*heads, attn_mask=mask)
        return tokens + self.out(found.transpose(1, 2).flatten(2)).unflatten(1, (views, patches))


def _directions(spread: Tensor, size: int) -> Tensor:
    """Tangents of the angles (..., 2, size, size) under which each pixel is seen, to the right and down."""
    line = (torch.arange(size, device=spread.device) * 2 + 1) / size - 1
    across, down = spread[..., :1, None] * line, spread[..., 1:, None] * line
    shape = *spread.shape[:-1], size, size
    return torch.stack([across.expand(shape), down.mT.expand(shape)], dim=-3)


@full_precision
def _rays(poses: Tensor, spread: Tensor) -> Tensor:
    """Where in the world each of the 8 x 8 patches of a view (S, V) lies: unit rays and their finer sines (..., 64, 9).

    Frames of a turn agree on it, and all know how far above or below the horizon they look.
    """
    ahead = F.pad(_directions(spread, SIZE // 8).flatten(-2), (0, 0, 0, 1), value=1.0)
    rays = F.normalize(camera_to_world(poses)[..., :3, :3] @ ahead, dim=-2).mT
    return torch.cat([rays, (_FINER * rays).sin(), (_FINER * rays).cos()], dim=-1)


def load_frame_depth(path: str | Path = WEIGHTS) -> FrameDepth:
    """The trained network. Raises ValueError for a file that is not one."""
    return load_half(FrameDepth(), path, "ctxmem_env.training.frame_depth")


@functools.lru_cache(maxsize=4)
def packaged_frame_depth(device: torch.device) -> FrameDepth:
    """The packaged network on a device, loaded once."""
    return load_frame_depth().to(device)


@torch.no_grad()
@full_precision
def depth_of_frames(network: FrameDepth, frames: Tensor, poses: Tensor, fov: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (N, H, W), in metres, of frames (N, H, W, 3) uint8 of one scene, and doubt as of `FrameDepth`.

    poses (N, 6): frames from one place are judged together, up to 64 that follow each other.
    fov (N,): horizontal fields of view in degrees.
    """
    height, width = frames.shape[1:3]
    across = 1 / focal(fov.float())
    spread = torch.stack([across, across * height / width], dim=1)
    found = []
    for part, seen, seen_from in zip(frames.split(64), spread.split(64), poses.float().split(64), strict=True):
        pictures = part.movedim(-1, 1).float() / 127.5 - 1
        if (height, width) != (SIZE, SIZE):
            pictures = F.interpolate(pictures, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        both = torch.cat(network(pictures[None], seen[None], seen_from[None])).movedim(0, 1)
        if (height, width) != (SIZE, SIZE):
            both = F.interpolate(both, (height, width), mode="bilinear", align_corners=False)
        found.append(both)
    log_depth, doubt = torch.cat(found).unbind(1)
    return log_depth.exp(), doubt


@torch.no_grad()
@full_precision
def agree_on_turns(depth: Tensor, doubt: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
    """Depth (N, H, W) of frames that were judged alone, brought to agree where a camera only turned.

    Frames from one place see the very same points where they overlap. First each frame is moved nearer or further as a
    whole: a wall that fills it may be any size, and the frame beside it, which sees the floor, knows better. Then each
    point has the mean of what the frames say of it. doubt (N, H, W) as of `FrameDepth`; poses (N, 6); fov (N,) degrees.
    """
    height, width = depth.shape[1:]
    log_depth, to_world = depth.log(), camera_to_world(poses.float())
    rays, upright = pixel_rays(height, width, fov.float()).flatten(1, 2).mT, depth.new_tensor([[1.0], [width / height]])
    count = len(depth)
    # Of every frame's pixels (count, count, HW): what the others say of their depth, and how much that weighs.
    said, weight = depth.new_zeros(2, count, count, height * width).unbind()
    for i in range(count):
        here = ((poses[:, :3] - poses[i, :3]).norm(dim=-1) <= BASELINE).nonzero()[:, 0]
        seen = (invert_rigid(to_world[here]) @ to_world[i])[:, :3, :3] @ rays[i]  # (n, 3, HW)
        z = seen[:, 2].clamp(min=0.05)
        place = seen[:, :2] / z[:, None] * focal(fov[here].float())[:, None, None] * upright
        # What a frame says at its border, with less around it, counts less.
        inner = ((1.05 - place.abs().amax(1)) * (place.abs().amax(1) < 1) * (seen[:, 2] > 0.1)).clamp(min=0)
        both = torch.stack([log_depth[here], doubt[here]], dim=1)
        other = F.grid_sample(both, place.mT[:, None].clamp(-2, 2), align_corners=False)[:, :, 0]
        # A point at depth d of the other camera lies d / z away along a ray that is 1 deep for this one.
        said[i, here], weight[i, here] = other[:, 0] - z.log(), inner * (-2 * other[:, 1]).exp()
    own = torch.arange(count, device=depth.device)
    shift = _shifts(said - said[own, own][:, None], weight, doubt)
    mean = ((said + shift[:, None]) * weight).sum(1) / weight.sum(1)
    return mean.view_as(depth).exp()


def _shifts(apart: Tensor, weight: Tensor, doubt: Tensor) -> Tensor:
    """How much further (N,), in log depth, each frame lies for all to agree; the more it doubts, the more it gives way.

    The minimum of sum_ij w_ij (x_i - x_j - d_ij)^2 + sum_i x_i^2 / doubt_i^2, d_ij the mean of what frame j says of the
    pixels (N, N, HW) of frame i beyond what i says itself.
    """
    shared = (weight > 0).float().mean(-1)
    between = (apart * weight).sum(-1) / weight.sum(-1).clamp(min=1e-9)
    pull = shared / _SHAPE**2
    pull = (pull + pull.mT) / 2
    pull.fill_diagonal_(0)
    between = (between - between.mT) / 2
    prior = (-2 * doubt.flatten(1).median(1).values).exp()
    system = torch.diag(pull.sum(1) + prior) - pull
    return torch.linalg.solve(system, (pull * between).sum(1))
