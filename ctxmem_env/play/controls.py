"""What keys and mouse ask for, as continuous actions."""

import math

import numpy as np

STEP_LENGTH, TURN_ANGLE = 0.2, 30.0  # metres and degrees of an action of 1
_KEY_TURN = 10.0  # degrees a step, of an arrow that is held
_MOUSE_TURN = 0.15  # degrees a pixel
# Components of an action, (dx, dy, dyaw, dpitch), that a key asks for.
_KEYS = {
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "left": (2, _KEY_TURN / TURN_ANGLE),
    "right": (2, -_KEY_TURN / TURN_ANGLE),
    "up": (3, _KEY_TURN / TURN_ANGLE),
    "down": (3, -_KEY_TURN / TURN_ANGLE),
}


class Controls:
    """The keys that are held, by the names that pygame gives them, and what the mouse has moved and not yet turned."""

    def __init__(self):
        self._held: set[str] = set()
        self._tapped: set[str] = set()  # since the last action; a short tap between two counts too
        self._mouse = np.zeros(2)  # dyaw and dpitch, in units of an action

    def press(self, key: str) -> bool:
        """Whether this is a key that moves the camera."""
        if key in _KEYS:
            self._held.add(key)
            self._tapped.add(key)
        return key in _KEYS

    def release(self, key: str) -> None:
        self._held.discard(key)

    def look(self, right: float, down: float) -> None:
        """The mouse has moved so many pixels."""
        self._mouse -= np.array([right, down]) * (_MOUSE_TURN / TURN_ANGLE)

    def let_go(self) -> None:
        """As if no key were held, for a window that hears nothing more of them."""
        self.__init__()

    def action(self) -> np.ndarray | None:
        """The next action, float32 (4,) in [-1, 1]; None when nothing is asked for.

        What the mouse has turned beyond the largest turn is left for the action after it.
        """
        action = np.zeros(4)
        for key in self._held | self._tapped:
            component, amount = _KEYS[key]
            action[component] += amount
        self._tapped.clear()
        pace = math.hypot(action[0], action[1])
        action[:2] /= max(pace, 1.0)  # no faster on a diagonal
        turn = np.clip(self._mouse, -1, 1)
        self._mouse -= turn
        action[2:] = np.clip(action[2:] + turn, -1, 1)
        return action.astype(np.float32) if action.any() else None
