"""The window: events in, pictures out."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.play.controls import Controls
from ctxmem_env.recording import LiveVideo, draw_panel
from ctxmem_env.recording.drawing import BACKGROUND, CAMERA, GAP, MARGIN, MUTED, SURFACE, TEXT, blend, fit, font
from ctxmem_env.state import FaceState

HELP = (
    "WASD move   click, then mouse, or arrows look   K keep   B back   R restart   N next   V video   H help   Esc end"
)
_KEYS = (
    ("W A S D", "move"),
    ("arrows", "turn and look"),
    ("click, then mouse", "turn and look; Esc lets the mouse go"),
    ("K", "keep this moment of the world"),
    ("B", "back to the moment that was kept"),
    ("R", "start this world over"),
    ("N", "the next world"),
    ("V", "begin or end a video"),
    ("H", "this help"),
    ("Esc", "end"),
)
_BAR = 30  # height of the line below the panel
_GOAL = 96  # pixels of a picture of the goal

logger = logging.getLogger(__name__)


class Player:
    """One window over one environment.

    Args:
        env: with continuous actions.
        seed: of the first world; the next ones have those after it.
        options: of every reset.
        folder: of videos.
        fps: steps a second, at most, while something is held.

    Raises:
        ValueError: pygame is missing, or there is no display.
    """

    def __init__(self, env: GenerativeSceneEnv, seed: int, options: dict[str, Any], folder: Path, fps: float):
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError:
            raise ValueError("play needs pygame, which is not installed; pip install 'ctxmem-env[play]'.") from None
        self._pygame, self._env, self._options = pygame, env, options
        self._folder, self._fps = folder, fps
        self._seed, self.steps, self.videos = seed, 0, []
        self._controls, self._looking, self._helping = Controls(), False, False
        self._kept: FaceState | None = None
        self._video: LiveVideo | None = None
        self._note, self.open = "", True
        self._observation, self._info = env.reset(seed=seed, options=options)
        picture = self._draw()
        try:
            pygame.display.init()
            pygame.display.set_caption("ctxmem play")
            size = picture.shape[1], picture.shape[0]
            self._screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        except pygame.error as error:
            raise ValueError(f"no window can be opened ({error}); play needs a display.") from None
        self._clock = pygame.time.Clock()
        self._show(picture)

    def run(self) -> None:
        """Until the window is closed."""
        try:
            while self.open:
                self.tick()
                self._clock.tick(self._fps)
        finally:
            self.close()

    def tick(self) -> None:
        """Take in what was pressed, and take one step if that asks for one."""
        events = self._pygame.event.get()
        for event in events:
            self._handle(event)
        action = self._controls.action()
        if action is not None:
            self._observation, _, _, _, self._info = self._env.step(action)
            self.steps += 1
            self._note = ""
        if action is None and not events:
            return
        picture = self._draw()
        if action is not None and self._video is not None:
            self._video.add(picture[:-_BAR])
        self._show(picture)

    def close(self) -> None:
        """End a video that is being made, and close the window."""
        self._end_video()
        self._look(False)
        self._pygame.display.quit()

    def _handle(self, event: Any) -> None:
        pygame = self._pygame
        if event.type == pygame.QUIT:
            self.open = False
        elif event.type == pygame.KEYDOWN:
            key = pygame.key.name(event.key)
            if not self._controls.press(key) and key in self._commands:
                self._commands[key](self)
        elif event.type == pygame.KEYUP:
            self._controls.release(pygame.key.name(event.key))
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._look(True)
        elif event.type == pygame.MOUSEMOTION and self._looking:
            self._controls.look(*event.rel)
        elif event.type == pygame.WINDOWFOCUSLOST:
            self._controls.let_go()
            self._look(False)

    def _look(self, looking: bool) -> None:
        """Catch the mouse, or let it go."""
        self._looking = looking
        self._pygame.mouse.set_visible(not looking)
        self._pygame.event.set_grab(looking)

    def _keep(self) -> None:
        self._kept, self._note = self._env.clone_state(), "kept; B comes back to this moment"

    def _go_back(self) -> None:
        if self._kept is None:
            self._note = "nothing is kept yet; K keeps this moment"
            return
        self._observation, self._info = self._env.restore_state(self._kept)
        self._note = "back at the moment that was kept"

    def _restart(self, forth: int = 0) -> None:
        self._seed += forth
        self._kept = None
        self._observation, self._info = self._env.reset(seed=self._seed, options=self._options)
        self._note = f"world {self._seed}"

    def _toggle_video(self) -> None:
        if self._video is not None:
            self._end_video()
            return
        taken = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        number = next(n for n in range(1, len(taken) + 2) if f"walk_{n:03}.mp4" not in taken)
        self._video = LiveVideo(self._folder / f"walk_{number:03}.mp4", self._fps)
        self._video.add(self._draw()[:-_BAR])

    def _end_video(self) -> None:
        if self._video is not None:
            video, self._video = self._video, None
            try:
                self.videos.append(str(video.finish()))
                self._note = f"saved {video.path}"
            except Exception as error:  # whatever it is, no reason to end the walk
                self._note = f"the video could not be saved: {error}"
            logger.info(self._note)

    def _toggle_help(self) -> None:
        self._helping = not self._helping

    def _escape(self) -> None:
        if self._looking:
            self._look(False)
        else:
            self.open = False

    _commands = {  # noqa: RUF012
        "k": _keep,
        "b": _go_back,
        "r": _restart,
        "n": lambda self: self._restart(1),
        "v": _toggle_video,
        "h": _toggle_help,
        "escape": _escape,
    }

    def _draw(self) -> np.ndarray:
        """The panel, and a line below it."""
        panel = Image.fromarray(np.asarray(draw_panel(self._env.view())))
        image = Image.new("RGB", (panel.width, panel.height + _BAR), BACKGROUND)
        image.paste(panel, (0, 0))
        draw = ImageDraw.Draw(image)
        goal = self._observation.get("goal") if isinstance(self._observation, dict) else None
        if goal is not None and goal.ndim == 3:
            left, top = MARGIN + 384 - _GOAL - GAP, MARGIN + 18 + GAP
            image.paste(fit(goal, _GOAL, _GOAL), (left, top))
            draw.rectangle((left - 2, top - 2, left + _GOAL + 1, top + _GOAL + 1), outline=CAMERA, width=2)
        draw.text((MARGIN, panel.height + 6), self._note or HELP, font=font(12), fill=TEXT if self._note else MUTED)
        if self._video is not None:
            told, colour = f"recording {self._video.pictures}", CAMERA
        else:
            told, colour = self._tell(), TEXT
        if self._note or self._video is not None or told:
            width = draw.textlength(told, font=font(12)) + 2 * MARGIN
            draw.rectangle((image.width - width, panel.height, image.width, image.height), fill=BACKGROUND)
            draw.text((image.width - MARGIN, panel.height + 6), told, font=font(12), fill=colour, anchor="ra")
        if self._helping:
            _draw_help(draw, panel.width, panel.height)
        return np.array(image)

    def _tell(self) -> str:
        """How the task goes."""
        info = self._info
        if info.get("success"):
            return "there! N opens the next world"
        if "distance_to_goal" in info:
            return f"{info['distance_to_goal']:.1f} m to the goal"
        if "seen_area" in info:
            return f"{info['seen_area']:.0f} m² seen"
        return "a surface is in the way" if info["collision"] else ""

    def _show(self, picture: np.ndarray) -> None:
        pygame = self._pygame
        surface = pygame.image.frombuffer(np.ascontiguousarray(picture), (picture.shape[1], picture.shape[0]), "RGB")
        (width, height), room = surface.get_size(), self._screen.get_size()
        scale = min(room[0] / width, room[1] / height)
        if scale != 1:  # the window was resized
            surface = pygame.transform.smoothscale(surface, (round(width * scale), round(height * scale)))
            self._screen.fill(BACKGROUND)
        self._screen.blit(surface, ((room[0] - surface.get_width()) // 2, (room[1] - surface.get_height()) // 2))
        pygame.display.flip()


def _draw_help(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    line, wide = 26, 420
    left, top = (width - wide) // 2, (height - line * len(_KEYS)) // 2
    box = (left - 24, top - 24, left + wide + 24, top + line * len(_KEYS) + 14)
    draw.rounded_rectangle(box, 12, fill=SURFACE, outline=blend(CAMERA, SURFACE, 0.5))
    for i, (key, meaning) in enumerate(_KEYS):
        draw.text((left, top + i * line), key, font=font(14), fill=CAMERA)
        draw.text((left + 150, top + i * line), meaning, font=font(14), fill=TEXT)
