"""The transformer as a generator: uint8 frames in and out, saved and loaded as a diffusers pipeline."""

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from ctxmem_env.camera import cameras_at
from ctxmem_env.device import is_host, same_values, sums_depend_on_rows
from ctxmem_env.generator.extend import to_signal
from ctxmem_env.generator.flow import sample
from ctxmem_env.generator.frame_depth import agree_on_turns, depth_of_frames, packaged_frame_depth
from ctxmem_env.generator.panorama import KeptPanoramas, OfPlace
from ctxmem_env.generator.protocol import Context, Examples, Generated
from ctxmem_env.generator.stereo import refine_depth
from ctxmem_env.generator.transformer import SceneTransformer, View

_AT_ONCE = 16  # worlds on a CPU: what more of them compute no longer fits into its caches


class SceneGenerator(DiffusionPipeline):
    """`ctxmem_env.generator.Generator` over a `SceneTransformer`; `save_pretrained` and `from_pretrained` on folders.

    Args:
        transformer: the network.
        default_num_steps: denoising steps when none are asked for.
    """

    def __init__(self, transformer: SceneTransformer, default_num_steps: int = 1) -> None:
        super().__init__()
        self.register_modules(transformer=transformer)
        self.register_to_config(default_num_steps=default_num_steps)
        self.default_num_steps = default_num_steps
        self.height, self.width = transformer.config.height, transformer.config.width
        self.num_attended = transformer.config.num_attended
        self._panoramas = KeptPanoramas()
        self._estimated: tuple[tuple[Tensor, Tensor, Tensor], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Of the network; the property of `DiffusionPipeline` visits every module each time."""
        return self.transformer.nowhere.device

    def compile(self, **options) -> "SceneGenerator":
        """Has `torch.compile` fuse the network, with its `options`; returns this generator.

        Compiling takes a minute at the first step, and again for another batch size or number of context slots. It pays
        on a GPU; at 64 x 64 on a CPU it seldom does.
        """
        for name in ("encode", "look", "forward"):
            setattr(self.transformer, name, torch.compile(getattr(self.transformer, name), **options))
        return self

    def _float(self, frames: Tensor) -> Tensor:
        return to_signal(frames.to(self.device).movedim(-1, -3).contiguous())

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        """See `Generator.encode`; the features are kept in half precision."""
        with torch.inference_mode():
            memory = self._float(frames), depth.float(), poses.float(), fov.float()
            # A frame that is encoded again, after a state was restored, say, must have the same features to the bit.
            alone = sums_depend_on_rows(self.device, self.transformer.nowhere.dtype)
            parts = zip(*(part.split(1 if alone else max(1, len(frames))) for part in memory), strict=True)
            keys_values = torch.cat([self.transformer.encode(*part) for part in parts]).bfloat16()
        return {"keys_values": keys_values.clone()}

    def generate(
        self,
        poses: Tensor,
        context: Context,
        fov: Tensor,
        num_steps: int | None = None,
        generators: list[torch.Generator] | None = None,
    ) -> Generated:
        """See `Generator.generate`."""
        if self.device.type == "cpu" and len(poses) > _AT_ONCE:
            generators = generators or [None] * len(poses)
            rows = [slice(first, first + _AT_ONCE) for first in range(0, len(poses), _AT_ONCE)]
            self._panoramas.most = max(self._panoramas.most, len(rows))
            views = [self.generate(poses[r], context.rows(r), fov[r], num_steps, generators[r]) for r in rows]
            parts = [(view.frames, view.depth, view.own_weight) for view in views]
            return Generated(*(torch.cat(part) for part in zip(*parts, strict=True)))
        shape = (len(poses), 3, self.height, self.width)
        generators = generators or [None] * len(poses)
        # Each of some thousand small operations costs less in inference mode than under no_grad. What was made in it
        # can be no part of anything that learns, so copies are handed out.
        with torch.inference_mode():
            noise = torch.stack([torch.randn(shape[1:], generator=g) for g in generators]).to(self.device)[:, None]
            remembered = self._float(context.frames), context.depth.float(), context.poses.float(), context.mask
            memory = poses.float()[:, None], fov.float(), *remembered
            examples = panorama = None
            if context.examples is not None:
                frames, depth, of_examples, mask, centre = _without_empty(context.examples)
                cameras = cameras_at(of_examples.float(), fov.float())
                examples = OfPlace(frames.to(self.device).movedim(-1, -3), depth.float(), cameras, mask)
                if self.transformer.config.lookup and (not is_host(mask) or bool(mask.any())):
                    panorama = self._panoramas.wind(examples, centre.float())
            seen = self.transformer.look(
                *memory, context.features.get("keys_values"), context.given, examples, panorama
            )

            def denoise(noisy: Tensor, time: Tensor) -> View:
                return self.transformer(noisy, time, *memory, seen=seen)

            view = settle(sample(denoise, noise, self.default_num_steps if num_steps is None else num_steps))
            frames = ((view.frames[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            made = frames.movedim(1, -1), view.log_depth[:, 0].exp(), view.own_weight[:, 0]
        return Generated(*(value.clone() for value in made))

    __call__ = generate

    @torch.no_grad()
    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        """See `Generator.estimate_depth`: first what a network sees in the frames of each place, see `frame_depth`.

        These then agree to the pixel, so that a world has no seams. Where cameras stand in several
        places, the frames tell by their parallax, see `stereo.refine_depth`. That takes about a tenth of a second a
        frame on a CPU, so the last answer is kept: episodes in a capture begin with the same frames again and again.
        """
        asked = frames, poses, fov
        known = self._estimated  # read once: a generator is shared, and another thread may put its own answer there
        if known is not None and all(map(same_values, asked, known[0])):
            return known[1].clone()
        cameras = poses.to(self.device), fov.to(self.device)
        found = depth_of_frames(packaged_frame_depth(self.device), frames.to(self.device), *cameras)
        depth = agree_on_turns(*found, *cameras)
        if self.transformer.config.lookup:
            depth = refine_depth(frames, depth, poses, fov)
        self._estimated = tuple(part.clone() for part in asked), depth
        return depth.clone()


def settle(views: list[View]) -> View:
    """What the calls of all denoising steps make together.

    Colours that are fetched from memory, and their depth, are estimated anew by each, so that their mean errs less;
    what is painted is what the path has arrived at.
    """
    last = views[-1]
    if len(views) == 1:
        return last
    frames, log_depth = (
        torch.stack([getattr(view, part) for view in views]).mean(0) for part in ("frames", "log_depth")
    )
    return last._replace(
        frames=torch.lerp(frames, last.frames, last.own_weight[:, :, None]),
        log_depth=torch.lerp(log_depth, last.log_depth, last.own_weight),
    )


def _without_empty(examples: Examples) -> Examples:
    """Without the last slots that are empty in every world; all slots where to look at them is to wait for a device."""
    if not is_host(examples.mask):
        return examples
    filled = examples.mask.any(0).nonzero()
    count = int(filled[-1]) + 1 if len(filled) else 1
    *parts, centre = examples
    return Examples(*(part[:, :count] for part in parts), centre)
