"""Wan as a `Generator`: uint8 frames in and out, a chunk of them for each step."""

import numpy as np
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from ctxmem_env.generator.protocol import Context, Generated
from ctxmem_env.generator.wan.options import TEMPORAL, WanOptions
from ctxmem_env.generator.wan.text import PromptEncoder
from ctxmem_env.generator.wan.transformer import ContextTransformer, camera_numbers

FAR = 100.0  # metres, which stand for the depth that is not known
_AT_ONCE = 8  # frames that are encoded together


class WanGenerator:
    """`ctxmem_env.generator.Generator` over a `ContextTransformer` and Wan's autoencoder.

    One call paints `frames_per_step` frames along the way of a step. Remembered frames are kept as latents, each
    encoded alone. Cameras have one field of view in the paper, and so has this model: `fov` is not told to it. Depth is
    not predicted; what stands in its place is 100 m everywhere.

    Args:
        transformer, vae, prompts: the parts, on one device.
        options: how they are used.
        takes_text: whether `prompts` has a text encoder.
    """

    predicts_depth = False

    def __init__(
        self,
        transformer: ContextTransformer,
        vae: AutoencoderKLWan,
        prompts: PromptEncoder,
        options: WanOptions,
        takes_text: bool,
    ) -> None:
        self.transformer, self.vae, self.prompts, self.options = transformer, vae, prompts, options
        self.height, self.width = options.height, options.width
        self.default_num_steps, self.frames_per_step = options.default_num_steps, options.frames_per_step
        self.takes_text = takes_text
        self.weights_sha256: str | None = None
        stats = [torch.tensor(getattr(vae.config, name)).view(-1, 1, 1, 1) for name in ("latents_mean", "latents_std")]
        self._mean, self._std = (value.to(transformer.device) for value in stats)

    @property
    def device(self) -> torch.device:
        return self.transformer.device

    @torch.no_grad()
    def to_latents(self, frames: Tensor) -> Tensor:
        """Latents (N, C, f, h, w) of clips uint8 (N, F, H, W, 3), F = 1 + 4 (f - 1), each encoded by itself."""
        pixels = frames.to(self.device).movedim(-1, 1).float().div_(127.5).sub_(1).to(self.vae.dtype)
        parts = [self.vae.encode(clips).latent_dist.mode().float() for clips in pixels.split(_AT_ONCE)]
        return (torch.cat(parts) - self._mean) / self._std

    @torch.no_grad()
    def to_frames(self, latents: Tensor) -> Tensor:
        """Clips uint8 (N, F, H, W, 3) of latents (N, C, f, h, w), decoded one by one."""
        latents = (latents * self._std + self._mean).to(self.vae.dtype)
        pixels = torch.cat([self.vae.decode(clip).sample.float() for clip in latents.split(1)])
        return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(1, -1)

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        """See `Generator.encode`: the latents of each frame."""
        return {"latents": self.to_latents(frames[:, None])[:, :, 0]}

    @torch.no_grad()
    def generate(
        self,
        poses: Tensor,
        context: Context,
        fov: Tensor,
        num_steps: int | None = None,
        generators: list[torch.Generator] | None = None,
    ) -> Generated:
        """See `Generator.generate`."""
        o, way = self.options, poses if poses.ndim == 3 else poses[:, None]
        remembered = context.features["latents"].transpose(1, 2)
        shape = (remembered.shape[1], o.latents_per_step, *remembered.shape[3:])
        generators = generators or [None] * len(way)
        noise = torch.stack([torch.randn(shape, generator=rng) for rng in generators]).to(self.device)
        # Slots behind the last that any world uses are left out; the others keep their positions.
        slots = _used(context.mask)
        cameras = camera_numbers(way[:, ::TEMPORAL], context.poses[:, :slots])
        mask = context.mask[:, :slots]
        beside = cameras, remembered[:, :, :slots], None if bool(mask.all()) else mask
        latents = self._sample(noise, beside, context.prompts or ("",) * len(way), num_steps or o.default_num_steps)
        frames = self.to_frames(latents)
        depth = torch.full(frames.shape[:-1], FAR, device=frames.device)
        view = frames, depth, torch.ones_like(depth)
        return Generated(*view) if poses.ndim == 3 else Generated(*(part[:, 0] for part in view))

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        """See `Generator.estimate_depth`; it is not known."""
        return torch.full(frames.shape[:3], FAR, device=frames.device)

    def _sample(
        self, latents: Tensor, beside: tuple[Tensor, Tensor, Tensor | None], prompts: tuple[str, ...], num_steps: int
    ) -> Tensor:
        """Clean latents from noise, with classifier-free guidance on the text."""
        scale = self.options.guidance_scale
        text, empty = self.prompts(prompts), self.prompts(("",) * len(prompts)) if scale > 1 else None
        scheduler = self._scheduler(num_steps)
        for sigma, timestep in zip(scheduler.sigmas.tolist(), scheduler.timesteps, strict=False):
            time = torch.full((len(latents),), sigma, device=latents.device)
            velocity = self.transformer(latents, time, text, *beside)
            if empty is not None:
                without = self.transformer(latents, time, empty, *beside)
                velocity = without + scale * (velocity - without)
            latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        return latents

    def _scheduler(self, num_steps: int) -> FlowMatchEulerDiscreteScheduler | UniPCMultistepScheduler:
        """A scheduler that goes from noise to 0 in so many steps: by its own noise levels the last one is wasted."""
        shift = self.options.flow_shift
        if self.options.scheduler == "euler":
            scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
        else:
            scheduler = UniPCMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
            )
        scheduler.set_timesteps(sigmas=np.linspace(1, 0, num_steps + 1)[:-1], device=self.device)
        return scheduler


def _used(mask: Tensor) -> int:
    """Slots up to the last that a world uses."""
    used = mask.any(0).nonzero()
    return 0 if len(used) == 0 else int(used.max()) + 1
