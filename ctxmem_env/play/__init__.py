"""Walking through a world yourself, in a window. Needs pygame-ce, the extra `play`."""

from ctxmem_env.play.player import Player

__all__ = ["Player"]
