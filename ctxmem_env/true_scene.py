"""The same environment over the exact renderer: the ground truth for a generated world."""

from dataclasses import replace

import torch
from torch import Tensor

from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import check_integer
from ctxmem_env.generator import Context, Generated
from ctxmem_env.scenes import Scene, render


class TrueSceneGenerator:
    """A `Generator` that renders a known scene; context and denoising steps play no part.

    `scenes` must be set, with one scene for each world, before the first call.
    """

    default_num_steps = 1

    def __init__(self, height: int = 64, width: int = 64):
        self.height = check_integer("height", height, 8)
        self.width = check_integer("width", width, 8)
        self.scenes: Scene | None = None

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        return {}

    def generate(
        self,
        poses: Tensor,
        context: Context,
        fov: Tensor,
        num_steps: int,
        generators: list[torch.Generator],
    ) -> Generated:
        frames, depth = render(self.scenes, poses[:, None], fov, self.height, self.width)
        return Generated(frames[:, 0], depth[:, 0], torch.zeros_like(depth[:, 0]))

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        """The exact depth (N, H, W) at N poses of one world."""
        return render(self.scenes, poses[None], fov[:1], self.height, self.width)[1][0]


class TrueSceneEnv(GenerativeSceneEnv):
    """`CtxMemTrueScene-v0`: `GenerativeSceneEnv` with the exact renderer in place of a model.

    Memory and retrieval run as they do there, and `info` reports them, but nothing is painted from them.
    Takes `height` and `width` in pixels (default 64) instead of `model` and `num_steps`; `reset` refuses the
    option `image`, for a photograph has no true scene behind it. Depth is exact. Everything else is as in
    `GenerativeSceneEnv`.
    """

    def __init__(self, height: int = 64, width: int = 64, **kwargs):
        super().__init__(model=TrueSceneGenerator(height, width), **kwargs)
        # What the generator would estimate is exact, but it knows no scene before the first reset.
        self.settings = replace(self.settings, seed_depth="exact")

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        if isinstance(options, dict) and options.get("image") is not None:
            raise ValueError(
                "options['image'] was given, but a photograph has no true scene behind it; use "
                "options['scene'], or open the photograph with CtxMemScene-v0."
            )
        return super().reset(seed=seed, options=options)

    def _enter(self, scenes: Scene, world: int) -> None:
        self._world.generator.scenes = scenes
