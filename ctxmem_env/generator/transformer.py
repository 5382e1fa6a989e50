"""The context-conditioned diffusion transformer: noisy view in, clean view and depth out, memory beside it.

After Context-as-Memory (arXiv:2506.03141): clean context frames are concatenated to the noisy frame along the frame
axis of attention and only the noisy one is updated. Departures, each with its reason:
- pixels instead of latents and x-prediction (JiT, arXiv:2511.13720): at 64 to 256 px no autoencoder is needed;
- a context token attends to its own frame only, so its keys and values are computed once, and kept;
- relative camera encoding in attention (see `attention`), not [R, t] added to the tokens;
- `lookup=True`: colours are fetched from the remembered frames through the predicted depth (see `lookup`) and the
  network paints what no frame has seen. Each pixel comes from the two frames that most speaks for: an average over
  more is softer. `lookup=False` is the paper's pure attention.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ctxmem_env.camera import Cameras, camera_to_world, cameras_at, constant, focal, level, level_rays
from ctxmem_env.device import is_host
from ctxmem_env.errors import check_integer
from ctxmem_env.generator.attention import (
    FrameAttention,
    Remembered,
    RememberedFrames,
    relative_cameras,
    rotary_table,
)
from ctxmem_env.generator.extend import Hints, beyond_memory
from ctxmem_env.generator.lookup import UNKNOWN, fetch, locate, two_largest
from ctxmem_env.generator.panorama import OfPlace, Panorama, carry_on
from ctxmem_env.generator.splat import splat


class View(NamedTuple):
    """frames, own (B, S, 3, H, W) in [-1, 1]; log_depth, own_weight (B, S, H, W)."""

    frames: Tensor
    own: Tensor
    log_depth: Tensor
    own_weight: Tensor


class Seen(NamedTuple):
    """What S views can know of the remembered frames before any denoising step; the same for all of them.

    hints: None without look-up; rays (B S, 3, H, W), see `level_rays`; remembered: keys and values of each layer that
    reads them; views, context: the cameras.
    """

    hints: Hints | None
    rays: Tensor
    remembered: list[Remembered]
    views: Cameras
    context: Cameras


@constant
def _neutral(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Shifts, scales and gates (6, 1) that leave a block as it is."""
    return torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0], [1.0]], device=device, dtype=dtype)


class Block(nn.Module):
    """Pre-norm attention and feed-forward; a condition vector scales, shifts and gates both (adaLN-single)."""

    def __init__(self, dim: int, num_heads: int, remembers: bool = False) -> None:
        super().__init__()
        self.attention = FrameAttention(dim, num_heads)
        self.remembered = RememberedFrames(dim, num_heads) if remembers else None
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)
        self.modulation = nn.Parameter(torch.zeros(6, dim))

    def forward(self, x: Tensor, condition: Tensor, rotary: Tensor, remembered=None) -> Tensor:
        """x (N, tokens, dim), condition (N, 6, dim), which for scales and gates is what they differ from 0."""
        shift, scale, gate, shift2, scale2, gate2 = (condition + self.modulation)[:, :, None].unbind(1)
        normed = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), scale)
        x = torch.addcmul(x, gate, self.attention(normed, rotary, remembered))
        normed = torch.addcmul(shift2, F.layer_norm(x, x.shape[-1:]), scale2)
        hidden = F.relu(self.up(normed))
        return torch.addcmul(x, gate2, self.down(hidden * hidden))


def _join(features: Tensor, images: Tensor) -> Tensor:
    """Channels of features (N, H, W, C) and images (N, c, H, W) as (N, C + c, H, W), in the layout that is fast.

    Features may be in blocks, (N, rows, p, columns, p, C). Copied into their places: a `cat` along channels that lie
    side by side is far slower.
    """
    channels, size = features.shape[-1], images.shape[2:]
    joined = features.new_empty(len(images), *size, channels + images.shape[1])
    joined.view(*features.shape[:-1], -1)[..., :channels].copy_(features)
    joined[..., channels:].copy_(images.movedim(1, -1))
    return joined.movedim(-1, 1)


class SceneTransformer(ModelMixin, ConfigMixin):
    """Predicts views of a scene from noise, a camera and remembered frames.

    Args:
        height, width: pixels of a frame, multiples of `patch_size`.
        patch_size: pixels of a token's side.
        dim, num_heads: width of the transformer; `dim / num_heads` is a multiple of 16.
        num_layers: blocks of the noisy view; every `remember_every`-th reads the remembered frames.
        num_context_layers: blocks of a remembered frame, run once, when it is first attended.
        pixel_dim: channels of the convolutions at full resolution.
        num_attended: remembered frames that attention reads, the first of those that retrieval chose; None: all. The
            look-up reads all of them whatever this is.
        lookup: fetch colours through depth; False for attention alone.
    """

    @register_to_config
    def __init__(
        self,
        height: int = 64,
        width: int = 64,
        patch_size: int = 8,
        dim: int = 256,
        num_heads: int = 4,
        num_layers: int = 6,
        num_context_layers: int = 2,
        remember_every: int = 2,
        pixel_dim: int = 32,
        lookup: bool = True,
        num_attended: int | None = None,
    ) -> None:
        super().__init__()
        if height % patch_size or width % patch_size:
            raise ValueError(f"height and width must be multiples of patch_size={patch_size}, got {height}x{width}")
        if dim % (16 * num_heads):
            raise ValueError(f"dim={dim} must give each of num_heads={num_heads} heads a multiple of 16 channels")
        if num_attended is not None:
            check_integer("num_attended", num_attended, 1)
        area = patch_size**2
        self.target_channels = 16 if lookup else 6  # noise and rays; with look-up also `splat` and `carry_on`
        self.embed_target = nn.Linear(self.target_channels * area, dim)
        self.embed_context = nn.Linear(7 * area, dim)  # colours, log depth and rays
        self.embed_camera = nn.Sequential(nn.Linear(5, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.embed_time = nn.Sequential(nn.Linear(64, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.modulate = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        # One learned key and value that is always there: what to attend to when nothing is remembered.
        self.nowhere = nn.Parameter(torch.randn(2, num_heads, 1, dim // num_heads) * 0.02)
        self.context_blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(num_context_layers))
        self.blocks = nn.ModuleList(Block(dim, num_heads, remembers=i % remember_every == 0) for i in range(num_layers))
        self.to_pixels = nn.Linear(dim, pixel_dim * area)
        self.pixel_in = nn.Conv2d(pixel_dim + self.target_channels, pixel_dim, 3, padding=1)
        self.pixel_mid = nn.Conv2d(pixel_dim, pixel_dim, 3, padding=1)
        self.pixel_out = nn.Conv2d(pixel_dim, 11 if lookup else 4, 3, padding=1)
        silent = [self.modulate[-1]]
        if lookup:
            self.refine_in = nn.Conv2d(pixel_dim + 4, pixel_dim, 3, padding=1)
            self.refine_out = nn.Conv2d(pixel_dim, 3, 3, padding=1)
            silent.append(self.refine_out)
        for layer in silent:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _rotary(self, x: Tensor) -> Tensor:
        c = self.config
        return rotary_table(c.height // c.patch_size, c.width // c.patch_size, c.dim // c.num_heads, x.device, x.dtype)

    def _patches(self, x: Tensor) -> Tensor:
        """Tokens (N, tokens, C p p) of images (N, C, H, W)."""
        p = self.config.patch_size
        x = x.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (N, C, rows, p, columns, p)
        return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def _pixels(self, tokens: Tensor) -> Tensor:
        """Images in blocks (N, rows, p, columns, p, C), without a copy, of tokens (N, tokens, C p p)."""
        p = self.config.patch_size
        x = tokens.unflatten(2, (-1, p, p)).unflatten(1, (self.config.height // p, self.config.width // p))
        return x.permute(0, 1, 4, 2, 5, 3)

    def _condition(self, poses: Tensor, fov: Tensor, time: Tensor | None = None) -> Tensor:
        """poses (N, 6), fov (N,) degrees, time (N,) in [0, 1] -> (N, 6, dim). No position, no yaw: only gravity."""
        pitch, roll = poses[:, 4], poses[:, 5]
        camera = torch.stack([pitch.sin(), pitch.cos(), roll.sin(), roll.cos(), fov / 90 - 1], dim=-1)
        condition = self.embed_camera(camera.to(self.embed_camera[0].weight.dtype))
        if time is not None:
            angle = time[:, None] * torch.logspace(0, 2, 32, device=time.device)
            condition = condition + self.embed_time(torch.cat([angle.cos(), angle.sin()], -1).to(condition.dtype))
        neutral = _neutral(condition.device, condition.dtype)
        return self.modulate(condition).unflatten(-1, (6, -1)) + neutral

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        """Keys and values (N, layers, 2, heads, tokens, c) of frames (N, 3, H, W) in [-1, 1], depth (N, H, W)."""
        log_depth = depth.clamp(min=0.05).log()[:, None]
        if not self.config.lookup:
            log_depth = torch.zeros_like(log_depth)
        rays = level_rays(self.config.height, self.config.width, camera_to_world(level(poses)), focal(fov))
        inputs = torch.cat([frames, log_depth, rays], dim=1)
        x = self.embed_context(self._patches(inputs.to(self.embed_context.weight.dtype)))
        condition, rotary = self._condition(poses, fov), self._rotary(x)
        for block in self.context_blocks:
            x = block(x, condition, rotary)
        x = F.layer_norm(x, x.shape[-1:])
        return torch.stack([b.remembered(x, rotary) for b in self.blocks if b.remembered is not None], dim=1)

    def look(
        self,
        poses: Tensor,
        fov: Tensor,
        frames: Tensor,
        depth: Tensor,
        context_poses: Tensor,
        mask: Tensor,
        keys_values: Tensor | None = None,
        given: Tensor | None = None,
        examples: OfPlace | None = None,
        panorama: Panorama | None = None,
    ) -> Seen:
        """The part of `forward` that does not depend on the noisy views; arguments as there.

        given (B, k) bool: frames that nobody painted, right in all that they show. None: all are. examples: what is
        carried on where nothing is remembered. What retrieval chooses changes from step to step, and so would the place
        that is made up. None, or none in a world: the remembered ones that nobody painted, or all. panorama: the
        examples wound around a place nearby; None: around the cameras of the views.
        """
        scenes, slots = mask.shape
        attended = slots if self.config.num_attended is None else min(slots, self.config.num_attended)
        dtype = None if keys_values is None else self.nowhere.dtype
        if keys_values is None:
            read = (part[:, :attended].flatten(0, 1) for part in (frames, depth, context_poses))
            keys_values = self.encode(*read, fov.repeat_interleave(attended)).unflatten(0, (scenes, attended))
        keys_values = keys_values[:, :attended]
        targets = poses.shape[1]
        groups = context_poses, poses, level(poses)
        cameras = cameras_at(torch.cat(groups, dim=1), fov)
        context, views, upright = cameras.split(*(group.shape[1] for group in groups))
        hints = None
        if self.config.lookup:
            true = mask if given is None else mask & given
            of_place = OfPlace(frames, depth, context, torch.where(true.any(1, keepdim=True), true, mask))
            of_place = of_place if examples is None else examples.or_else(of_place)
            thrown = splat(frames, depth, context, mask, views, given)
            hints = Hints(*thrown, *carry_on(of_place, views, panorama))
        each_focal = views.focal[:, None].expand(-1, targets).flatten()
        rays = level_rays(self.config.height, self.config.width, upright.to_world.flatten(0, 1), each_focal)
        relative = relative_cameras(cameras.some(slice(slots + targets)), slots)
        context_cameras, to_view = relative[:, :attended], None
        if targets > 1:
            to_view = torch.linalg.inv(relative[:, slots:].flatten(0, 1))
        mask = mask[:, :attended]
        # Whether one is needed at all is known at once on a CPU, and elsewhere only by waiting for the device.
        whole = is_host(mask) and bool(mask.all())
        mask = None if whole else mask.repeat_interleave(keys_values.shape[-2], dim=1)[:, None, None]
        remembered = []
        for layer in range(keys_values.shape[2]):
            keys, values = RememberedFrames.from_reference(keys_values[:, :, layer], context_cameras, dtype)
            remembered.append(Remembered(keys, values, mask, to_view, self.nowhere))
        return Seen(hints, rays, remembered, views, context)

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        poses: Tensor,
        fov: Tensor,
        frames: Tensor,
        depth: Tensor,
        context_poses: Tensor,
        mask: Tensor,
        keys_values: Tensor | None = None,
        seen: Seen | None = None,
    ) -> View:
        """S views of each of B scenes from k remembered frames.

        noisy (B, S, 3, H, W) = (1 - time) * clean + time * noise, frames in [-1, 1]; time (B, S); poses (B, S, 6);
        fov (B,) degrees; frames (B, k, 3, H, W), depth (B, k, H, W), context_poses (B, k, 6), mask (B, k) bool;
        keys_values (B, k, layers, 2, heads, tokens, c) from `encode`, of all k or of those that attention reads, and
        seen from `look`, computed here if None.
        """
        if seen is None:
            seen = self.look(poses, fov, frames, depth, context_poses, mask, keys_values)
        each_pose, each_fov = poses.flatten(0, 1), fov[:, None].expand(-1, poses.shape[1]).flatten()
        inputs = torch.cat([*(part.flatten(0, 1) for part in (noisy, *(seen.hints or ()))), seen.rays], dim=1)
        x = self.embed_target(self._patches(inputs.to(self.embed_target.weight.dtype)))
        condition = self._condition(each_pose, each_fov, time.flatten())
        rotary, remembered = self._rotary(x), iter(seen.remembered)
        for block in self.blocks:
            x = block(x, condition, rotary, None if block.remembered is None else next(remembered))
        return self._paint(x, inputs, seen, frames, depth, mask)

    def _paint(self, tokens: Tensor, inputs: Tensor, seen: Seen, frames: Tensor, depth: Tensor, mask: Tensor) -> View:
        """The views that the last tokens (B S, tokens, dim) stand for: own pixels, depth, and colours from memory."""
        batch, targets = seen.views.poses.shape[:2]
        features = self._pixels(self.to_pixels(F.layer_norm(tokens, tokens.shape[-1:])))
        features = self.pixel_in(_join(features, inputs)).relu_()
        features = features + self.pixel_mid(features).relu_()
        out = self.pixel_out(features).float().contiguous().unflatten(0, (batch, targets))
        own, log_depth = out[:, :, :3], out[:, :, 3] + 1.0  # e metres before anything is learned
        if not self.config.lookup:
            return View(own, own, log_depth, torch.ones_like(log_depth))
        trust, *kinds, of_own, follow = out[:, :, 4:].unbind(2)
        hints, example_depth = seen.hints, seen.hints.example_depth[:, :, 0]
        # Where nothing is remembered any mixture would be paid for again in every copy of it, until nothing but fog is
        # left: there the example is taken as it is, for the last layers to change.
        follow = torch.where(beyond_memory(hints), 1.0, torch.sigmoid(follow[:, :, None]))
        own = own + follow * (hints.example - own)
        # What is painted after an example takes its depth with its colour, or edges of the two would not meet.
        log_depth = log_depth + follow[:, :, 0] * (example_depth > UNKNOWN) * (example_depth - log_depth)
        trust = torch.sigmoid(trust + 1.0) * hints.covered[:, :, 0]
        log_depth = (trust * hints.thrown_depth[:, :, 0] + (1 - trust) * log_depth).clamp(-3, 6)
        image, evidence, visible = locate(log_depth, seen.views, depth, seen.context, mask)
        # How much each kind of evidence counts is predicted for every pixel.
        disagreement, sign, ratio, any_frame = (kind[:, :, None] for kind in kinds)
        score = torch.addcmul(any_frame, disagreement - 2, evidence.disagreement)
        score = torch.addcmul(torch.addcmul(score, sign, evidence.sign), ratio, evidence.ratio)
        score = score.masked_fill(~visible, -1e4)
        slot = two_largest(score.detach())
        weight = torch.cat([of_own[:, :, None], score.gather(2, slot)], dim=2).softmax(dim=2)
        blend = (weight[:, :, 1:, None] * fetch(frames, image, slot)).sum(2) + weight[:, :, :1] * own
        own_weight = weight[:, :, 0]
        refined = torch.cat([blend, own_weight[:, :, None]], dim=2).flatten(0, 1)
        refined = self.refine_in(_join(features.movedim(1, -1), refined)).relu_()
        residual = self.refine_out(refined).float().unflatten(0, (batch, targets))
        return View(blend + residual, own, log_depth, own_weight)
