"""The way of a camera since its world was opened, in 28 bytes a step, so that a long walk stays small."""

from copy import copy, deepcopy
from typing import Any

import numpy as np

_TOGETHER = 1024  # steps; what is full is never written again, so that copies of a track share it


class Track:
    """Poses of one episode, the first before any step, and rewards of its steps.

    Attributes:
        motion: (4,), what the last step asked for; None before the first.
        num_rewards: steps whose rewards are kept.
        record: what `ctxmem_env.episodes` keeps of the episode, so that a copy of the track, as a state holds it, has
            its own; None where nothing is recorded.
        scenes: the scene that the world opened in, a batch of one, for films to show beside it; None where there is
            none.
    """

    def __init__(self, poses: np.ndarray | None = None, rewards: np.ndarray | None = None):
        # Pieces of one size: an array for each pose would take eight times as much as the six numbers in it, and one
        # that grows would leave holes of all its former sizes in the memory of the process.
        self._poses, self._rewards = _Pieces((6,)), _Pieces(())
        self.motion: np.ndarray | None = None
        self.record: Any = None
        self.scenes: Any = None
        for pieces, values in ((self._poses, poses), (self._rewards, rewards)):
            for value in () if values is None else values:
                pieces.append(value)

    def __deepcopy__(self, memo: dict) -> "Track":
        other = copy(self)  # with the same scenes, which never change
        others = {name: value for name, value in vars(self).items() if name != "scenes"}
        vars(other).update(deepcopy(others, memo))
        return other

    def __len__(self) -> int:
        """Number of poses."""
        return len(self._poses)

    @property
    def num_rewards(self) -> int:
        return len(self._rewards)

    @property
    def poses(self) -> np.ndarray:
        """float32 (n, 6), metres and radians; a copy."""
        return self._poses.join()

    @property
    def rewards(self) -> np.ndarray:
        """float32 (n - 1,); a copy."""
        return self._rewards.join()

    def arrive(self, pose: np.ndarray) -> None:
        """Add a pose (6,)."""
        self._poses.append(pose)

    def go(self, motion: np.ndarray, reward: float) -> None:
        """Add a step; where it led is for `arrive`."""
        self.motion = motion
        self._rewards.append(reward)


class _Pieces:
    """float32 values of one shape, in pieces of `_TOGETHER`."""

    def __init__(self, shape: tuple[int, ...]):
        self._full: list[np.ndarray] = []
        self._last, self._used = np.zeros((_TOGETHER, *shape), np.float32), 0

    def __len__(self) -> int:
        return len(self._full) * _TOGETHER + self._used

    def __deepcopy__(self, memo: dict) -> "_Pieces":
        other = copy(self)
        other._full, other._last = list(self._full), self._last.copy()
        return other

    def append(self, value: np.ndarray | float) -> None:
        self._last[self._used] = value
        self._used += 1
        if self._used == _TOGETHER:
            self._full.append(self._last)
            self._last, self._used = np.zeros_like(self._last), 0

    def join(self) -> np.ndarray:
        return np.concatenate([*self._full, self._last[: self._used]])
