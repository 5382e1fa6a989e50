"""The way of a camera since its world was opened, in 28 bytes a step, so that a long walk stays small."""

from array import array

import numpy as np


class Track:
    """Poses of one episode, the first before any step, and rewards of its steps.

    Attributes:
        motion: (4,), what the last step asked for; None before the first.
    """

    def __init__(self, poses: np.ndarray | None = None, rewards: np.ndarray | None = None):
        # An array of its own for each pose would take eight times as much as the six numbers in it.
        self._poses, self._rewards = array("f"), array("f")
        self.motion: np.ndarray | None = None
        if poses is not None:
            self._poses.frombytes(np.asarray(poses, np.float32).tobytes())
        if rewards is not None:
            self._rewards.frombytes(np.asarray(rewards, np.float32).tobytes())

    def __len__(self) -> int:
        """Number of poses."""
        return len(self._poses) // 6

    @property
    def poses(self) -> np.ndarray:
        """float32 (n, 6), metres and radians; a copy."""
        return np.array(self._poses, np.float32).reshape(-1, 6)

    @property
    def rewards(self) -> np.ndarray:
        """float32 (n - 1,); a copy."""
        return np.array(self._rewards, np.float32)

    def arrive(self, pose: np.ndarray) -> None:
        """Add a pose (6,)."""
        self._poses.frombytes(np.asarray(pose, np.float32).tobytes())

    def go(self, motion: np.ndarray, reward: float) -> None:
        """Add a step; where it led is for `arrive`."""
        self.motion = motion
        self._rewards.append(reward)
