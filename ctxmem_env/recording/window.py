"""A window for `render_mode="human"`. Needs pygame-ce, the extra `play`."""

import os

import numpy as np
from gymnasium.error import DependencyNotInstalled


class Window:
    """A window that shows pictures; it opens with the first one. Needs pygame (pygame-ce)."""

    def __init__(self):
        self._screen = None
        self._clock = None

    def show(self, picture: np.ndarray, fps: float) -> None:
        """Shows uint8 (height, width, 3), and waits so that calls in a row come no faster than `fps`."""
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise DependencyNotInstalled("render_mode='human' needs pygame; run `pip install pygame-ce`.") from error
        size = picture.shape[1], picture.shape[0]
        if self._screen is None or self._screen.get_size() != size:
            pygame.display.init()
            pygame.display.set_caption("ctxmem_env")
            self._screen = pygame.display.set_mode(size)
            self._clock = pygame.time.Clock()
        self._screen.blit(pygame.image.frombuffer(np.ascontiguousarray(picture), size, "RGB"), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(fps)

    def close(self) -> None:
        """Closes the window, if it is open."""
        if self._screen is not None:
            import pygame

            pygame.display.quit()
            self._screen = self._clock = None

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()
