"""Moments of an environment, to be taken up again: of a single world, or of a batch."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

from ctxmem_env.memory_state import WorldState
from ctxmem_env.settings import Settings
from ctxmem_env.world import SceneWorld


@dataclass(frozen=True, eq=False)
class FaceState:
    """A moment of one environment: its world, its task, and what the environment itself keeps, both by name."""

    world: WorldState
    task: dict[str, Any]
    own: dict[str, Any]


class WithStates:
    """A face whose moments can be kept: its arguments are in `settings`, and its worlds in `_world`.

    Attributes:
        _own: names of what else changes from step to step.
    """

    settings: Settings
    _own: ClassVar[tuple[str, ...]]
    _world: SceneWorld | None

    def clone_state(self) -> FaceState:
        """This moment: memory, poses, task, and all random numbers to come. Before the first reset: ResetNeeded.

        Not a frame is copied, however many there are, until something else takes its place while the state is still
        referred to. A state belongs to the environment that gave it; `save` and `load` take a world to another one.
        """
        world = self.world.clone_state()
        own = {name: deepcopy(getattr(self, name)) for name in self._own}
        return FaceState(world, deepcopy(vars(self.settings.task)), own)

    def _put_back(self, state: FaceState) -> None:
        """Go back to a moment, as often as one likes; ValueError for a state of another environment."""
        if not isinstance(state, FaceState) or self._world is None:
            raise ValueError(f"state is a {type(state).__name__}; expected what clone_state of this environment gave.")
        self._world.restore_state(state.world)
        self.settings.task.__dict__ = deepcopy(state.task)
        for name, value in state.own.items():
            setattr(self, name, deepcopy(value))
