"""Tasks: what an environment asks of an agent, for a batch of worlds. The card of each is its docstring."""

from collections.abc import Callable

from ctxmem_env.errors import unknown_name
from ctxmem_env.tasks.explore import Explore
from ctxmem_env.tasks.image_goal import ImageGoal
from ctxmem_env.tasks.look_back import LookBack
from ctxmem_env.tasks.point_goal import PointGoal
from ctxmem_env.tasks.roam import Roam
from ctxmem_env.tasks.task import Beginning, Place, Task

__all__ = ["REWARDS", "TASKS", "Beginning", "Place", "Task", "make_task", "register_task"]

REWARDS = ("dense", "sparse")
TASKS: dict[str, type[Task]] = {
    "roam": Roam,
    "point_goal": PointGoal,
    "image_goal": ImageGoal,
    "explore": Explore,
    "look_back": LookBack,
}


def register_task(name: str) -> Callable[[type[Task]], type[Task]]:
    """Decorator that makes a task known by name; raises ValueError when the name is taken."""

    def add(task: type[Task]) -> type[Task]:
        if name in TASKS:
            raise ValueError(f"task={name!r} is already registered; choose another name.")
        TASKS[name] = task
        return task

    return add


def make_task(name: str, reward: str = "dense") -> Task:
    """A task by name, with that reward; ValueError with the nearest name when there is none."""
    if not isinstance(name, str) or name not in TASKS:
        raise unknown_name("task", name, TASKS)
    if reward not in REWARDS:
        raise unknown_name("reward", reward, REWARDS)
    return TASKS[name](reward)
