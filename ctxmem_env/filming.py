"""What a film of an episode shows, the true scene beside the generated world included."""

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
from ctxmem_env.true_scene import TrueSceneEnv

LAYOUTS = ("panel", "plain")
_PLAIN_SIZE = 384  # pixels


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
        self.likeness: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        result = self.env.reset(seed=seed, options=options)
        self.likeness = []
        return result

    def look(self) -> View:
        """What there is to be seen now, the true frame included."""
        view, scenes = self.unwrapped.view(), self.unwrapped._track.scenes
        if not self._wanted or scenes is None:
            return view
        settings, fov = self.unwrapped.settings, self.unwrapped.world.fov
        pose = torch.from_numpy(view.poses[-1]).float().to(fov.device)
        with torch.no_grad():
            true = render(scenes, pose[None, None], fov, settings.height, settings.width)[0][0, 0].cpu()
        self.likeness.append(psnr(torch.from_numpy(view.frame), true).item())
        return replace(view, true_frame=true.numpy(), psnr=self.likeness[-1])

    def render(self) -> Picture:
        view = self.look()
        return enlarge(view.frame) if self._layout == "plain" else draw_panel(view)


def enlarge(frame: np.ndarray, size: int = _PLAIN_SIZE) -> Picture:
    """A frame whose longer side is about `size` pixels, a whole multiple of what it was."""
    height, width, _ = frame.shape
    scale = max(1, size // max(height, width))
    resized = Image.fromarray(frame).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return np.array(resized).view(Picture)
