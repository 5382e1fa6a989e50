"""The same environments over the exact renderer: the ground truth for generated worlds."""

from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from ctxmem_env.dynamics import limit_motion
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import check_integer
from ctxmem_env.generator import Context, Generated
from ctxmem_env.memory import FrameMemory
from ctxmem_env.scenes import Scene, render, sweep_scenes
from ctxmem_env.settings import Settings
from ctxmem_env.vector import GenerativeSceneVectorEnv

_LARGEST = 8192  # pixels of a side
_OF_MODELS = ("model", "num_steps")  # arguments that say which model paints, and how


class TrueSceneGenerator:
    """A `Generator` that renders a known scene; context and denoising steps play no part.

    Each world needs a scene, given to `enter`, before the first call.
    """

    default_num_steps = 1

    def __init__(self, height: int = 64, width: int = 64):
        self.height = check_integer("height", height, 8, _LARGEST)
        self.width = check_integer("width", width, 8, _LARGEST)
        self.scenes: Scene | None = None

    def enter(self, scenes: Scene, world: int, num_worlds: int) -> None:
        """Set the scene, a batch of one, that one of the worlds has from now on."""
        if self.scenes is None:
            copies = {part.name: getattr(scenes, part.name).repeat_interleave(num_worlds, 0) for part in fields(Scene)}
            self.scenes = Scene(**copies)
        for part in fields(Scene):
            getattr(self.scenes, part.name)[world] = getattr(scenes, part.name)[0]

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
        """The exact depth (N, H, W) at N poses in the scene of the first world."""
        scene = Scene(**{part.name: getattr(self.scenes, part.name)[:1] for part in fields(Scene)})
        return render(scene, poses[None], fov[:1], self.height, self.width)[1][0]


@dataclass
class SceneSurfaces:
    """`ctxmem_env.dynamics.Dynamics` of the scenes themselves: bodies stop at what is there, whether seen or not."""

    generator: TrueSceneGenerator
    radius: float
    sliding: bool

    def limit(self, memory: FrameMemory, poses: Tensor, motion: Tensor, fov: Tensor) -> tuple[Tensor, Tensor]:
        def sweep(start: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
            return sweep_scenes(self.generator.scenes, start, direction, self.radius)

        return limit_motion(motion, poses, sweep, self.sliding)


class TrueScenes:
    """What all faces over the exact renderer have of their own."""

    def reset(self, seed=None, options: dict | None = None):
        shared = options if isinstance(options, dict) else {}
        each = shared.get("worlds") if isinstance(shared.get("worlds"), list) else []
        _refuse_pictures(shared, *each)
        return super().reset(seed=seed, options=options)

    @property
    def _scenes(self) -> Scene:
        """The scenes that the worlds are in, which a state has to hold as well."""
        return self._world.generator.scenes

    @_scenes.setter
    def _scenes(self, scenes: Scene) -> None:
        self._world.generator.scenes = scenes

    def _enter(self, scenes: Scene, world: int) -> None:
        self._world.generator.enter(scenes, world, len(self._world.generators))


class TrueSceneEnv(TrueScenes, GenerativeSceneEnv):
    """`CtxMemTrueScene-v0`: `GenerativeSceneEnv` with the exact renderer in place of a model.

    Spaces and tasks are the same. Memory and retrieval run as they do there, and `info` reports them, but nothing is
    painted from them. Depth is exact, whatever `seed_depth` says, and bodies stop at the surfaces of the scene itself,
    whether a frame has seen them or not. Everything that is not named here is as in `GenerativeSceneEnv`.

    Args:
        height, width: of a frame in pixels, from 8 to 8192.
        kwargs: those of `GenerativeSceneEnv`, with its defaults, without `model` and `num_steps`, for there is no
            model.

    `reset` refuses the options `image` and `capture`, for photographs have no true scene behind them. `save` and `load`
    are refused, for a file holds remembered frames and no scene to render the next ones from; `clone_state` keeps it.

    Raises:
        ValueError: `model` or `num_steps` is given, or an argument does not fit.
    """

    _own = (*GenerativeSceneEnv._own, "_scenes")

    def __init__(self, height: int = 64, width: int = 64, **kwargs: Any):
        super().__init__(model=TrueSceneGenerator(height, width), **without_model(kwargs))
        self.settings = with_the_scene(self.settings)

    def save(self, path, any_generator: bool = False) -> NoReturn:
        """ValueError, as for `load`: a file holds no scene."""
        raise ValueError("a file holds no true scene; keep the seed and the actions instead, or use clone_state.")

    load = save


class TrueSceneVectorEnv(TrueScenes, GenerativeSceneVectorEnv):
    """`gymnasium.make_vec("CtxMemTrueScene-v0", num_envs=8)`: `GenerativeSceneVectorEnv` over the exact renderer.

    It differs from that as `TrueSceneEnv` does from `GenerativeSceneEnv`; arguments and errors likewise.
    """

    _own = (*GenerativeSceneVectorEnv._own, "_scenes")

    def __init__(self, num_envs: int = 1, height: int = 64, width: int = 64, **kwargs: Any):
        super().__init__(num_envs, model=TrueSceneGenerator(height, width), **without_model(kwargs))
        self.settings = with_the_scene(self.settings)


def _refuse_pictures(*options: object) -> None:
    for name, what in (("image", "photograph"), ("capture", "capture")):
        if any(isinstance(one, dict) and one.get(name) is not None for one in options):
            raise ValueError(
                f"options[{name!r}] was given, but a {what} has no true scene behind it; use options['scene'], or "
                f"open the {what} with CtxMemScene-v0."
            )


def without_model(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` without those that are for a model; ValueError where one of them asks for something."""
    for name in _OF_MODELS:
        if kwargs.get(name) is not None:
            raise ValueError(
                f"{name}={kwargs[name]!r} was given, but a true scene is rendered and has no model; leave {name} out, "
                "or use CtxMemScene-v0. The size of frames is chosen by height and width."
            )
    return {name: value for name, value in kwargs.items() if name not in _OF_MODELS}


def with_the_scene(settings: Settings) -> Settings:
    """With surfaces and depth of the scene itself. A generator that knows no scene yet cannot estimate its depth."""
    try:
        _refuse_pictures(settings.reset_options)
    except ValueError as error:
        raise ValueError(f"reset_options: {error}") from None
    seen = settings.dynamics
    dynamics = None if seen is None else SceneSurfaces(settings.model, seen.radius, seen.sliding)
    return replace(settings, seed_depth="exact", dynamics=dynamics)
