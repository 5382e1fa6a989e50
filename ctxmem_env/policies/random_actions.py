"""Actions drawn at random: what every policy should surpass."""

from typing import Any

import numpy as np

from ctxmem_env.actions import make_actions
from ctxmem_env.errors import check_integer
from ctxmem_env.policies.policy import Observation, ScriptedPolicy


class RandomActions(ScriptedPolicy):
    """Actions drawn uniformly from the action space, whatever is observed.

    Args:
        seed: of all actions to come, of all worlds together; at least 0.
        actions: "discrete" or "continuous".
    """

    def __init__(self, seed: int = 0, actions: str = "discrete"):
        self.actions, self._space = actions, make_actions(actions).space
        self._rng = np.random.default_rng(check_integer("seed", seed, 0))

    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, None]:
        """See `Policy.predict`."""
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        if self.actions == "discrete":
            return self._rng.integers(self._space.n, size=len(first)), None
        shape = (len(first), *self._space.shape)
        return self._rng.uniform(self._space.low, self._space.high, shape).astype(np.float32), None
