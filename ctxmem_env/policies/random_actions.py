"""Actions drawn at random: what every policy should surpass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from ctxmem_env.actions import make_actions
from ctxmem_env.errors import check_integer
from ctxmem_env.policies.policy import Observation, ScriptedPolicy


class RandomActions(ScriptedPolicy):
    """Actions drawn uniformly from the action space, whatever is observed.

    Args:
        seed: of all actions to come, of all worlds together; at least 0.
        actions: "discrete", "continuous" or "keyboard_mouse".
    """

    def __init__(self, seed: int = 0, actions: str = "discrete"):
        self.actions, self._space = actions, make_actions(actions).space
        self._rng = np.random.default_rng(check_integer("seed", seed, 0))

    def _predict(
        self,
        observation: Observation,
        state: Any,
        episode_start: np.ndarray | None,
        deterministic: bool,
    ) -> tuple[np.ndarray | dict[str, np.ndarray], None]:
        """See `Policy.predict`."""
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        if self.actions == "discrete":
            return self._rng.integers(self._space.n, size=len(first)), None
        if self.actions == "keyboard_mouse":
            keys, mouse = self._space["keys"], self._space["mouse"]
            return {
                "keys": self._rng.integers(keys.nvec, size=(len(first), 3)),
                "mouse": self._draw(mouse, first),
            }, None
        return self._draw(self._space, first), None

    def _draw(self, box: Box, worlds: Sequence) -> np.ndarray:
        return self._rng.uniform(box.low, box.high, (len(worlds), *box.shape)).astype(np.float32)
