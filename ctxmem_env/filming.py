"""What a film of an episode shows, the true scene beside the generated world included."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

from ctxmem_env.errors import unknown_name
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.recording import Picture, View, draw_panel
from ctxmem_env.scenes import render
from ctxmem_env.settings import Settings
from ctxmem_env.true_scene import TrueSceneEnv

LAYOUTS = ("panel", "plain")
_PLAIN_SIZE = 384  # pixels


class TrueViews:
    """The scene that a generated world opens in, drawn beside it and never by it.

    Args:
        settings: of the generated environment.
        random: its `np_random` as it is before the reset.
        options: those of the reset.
    """

    def __init__(self, settings: Settings, random: np.random.Generator, options: dict[str, Any]):
        env = TrueSceneEnv(settings.height, settings.width, tour=settings.tour, fov=settings.fov)
        env.np_random = random
        others = {name: value for name, value in options.items() if name not in ("goal", "prompt")}
        env.reset(options=others)
        self._scenes, self._fov = env.world.generator.scenes, env.world.fov
        self._size = settings.height, settings.width

    def __call__(self, pose: np.ndarray) -> np.ndarray:
        """The frame uint8 (H, W, 3) from a pose (6,)."""
        with torch.no_grad():
            frames, _ = render(self._scenes, torch.from_numpy(pose).float()[None, None], self._fov.cpu(), *self._size)
        return frames[0, 0].numpy()


class Filmed(gym.Wrapper):
    """Has `render` show the true scene beside the generated world, from the pose that the camera has in that.

    The world itself sees nothing of it. A world that a photograph or a capture opens has no true scene, and neither
    has one that is the true scene. To be wrapped in `gymnasium.wrappers.RecordVideo`, or filmed picture by picture:

    >>> env = Filmed(gym.make("CtxMemScene-v0", render_mode="rgb_array"))

    Args:
        env: of `GenerativeSceneEnv`, with render_mode "rgb_array".
        layout: "panel", or "plain" for the frame alone, enlarged.
        truth: whether the true scene is shown, in panels.

    Attributes:
        likeness: PSNR in dB of each picture that was rendered since reset, against the true frame.
    """

    def __init__(self, env: gym.Env, layout: str = "panel", truth: bool = True):
        super().__init__(env)
        if layout not in LAYOUTS:
            raise unknown_name("layout", layout, LAYOUTS)
        if env.render_mode != "rgb_array":
            raise ValueError(f"render_mode={env.render_mode!r}; films are made of pictures: render_mode='rgb_array'.")
        self._layout, self._wanted = layout, truth and not isinstance(env.unwrapped, TrueSceneEnv)
        self._truth: TrueViews | None = None
        self.likeness: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        bare = self.unwrapped
        given = bare.settings.reset_options | (options or {})
        random = deepcopy(bare.np_random) if seed is None else gym.utils.seeding.np_random(seed)[0]
        before = bare.np_random_seed
        result = self.env.reset(seed=seed, options=options)
        if bare.np_random_seed != before:  # a wrapper below may have chosen a seed, as RecordEpisode does
            random = gym.utils.seeding.np_random(bare.np_random_seed)[0]
        scene = not any(given.get(name) is not None for name in ("image", "capture"))
        self._truth = TrueViews(bare.settings, random, given) if self._wanted and scene else None
        self.likeness = []
        return result

    def look(self) -> View:
        """What there is to be seen now, the true frame included."""
        view = self.unwrapped.view()
        if self._truth is None:
            return view
        true = self._truth(view.poses[-1])
        self.likeness.append(psnr(torch.from_numpy(view.frame), torch.from_numpy(true)).item())
        return replace(view, true_frame=true, psnr=self.likeness[-1])

    def render(self) -> Picture:
        view = self.look()
        return enlarge(view.frame) if self._layout == "plain" else draw_panel(view)


def enlarge(frame: np.ndarray, size: int = _PLAIN_SIZE) -> Picture:
    """A frame whose longer side is about `size` pixels, a whole multiple of what it was."""
    height, width, _ = frame.shape
    scale = max(1, size // max(height, width))
    resized = Image.fromarray(frame).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return np.array(resized).view(Picture)
