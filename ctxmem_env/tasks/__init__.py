"""Tasks: what an environment asks of an agent, for a batch of worlds. The card of each is its docstring."""

from collections.abc import Callable

from ctxmem_env.errors import check_free_name, unknown_name
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
    """Decorator that makes a task known by name; raises ValueError when the name is taken.

    A new definition of the same class, as of a notebook's cell that is run again, takes the place of the earlier one
    with a warning; environments that are there keep the one that they were made with.
    """

    def add(task: type[Task]) -> type[Task]:
        check_free_name("task", name, task, TASKS)
        TASKS[name] = task
        return task

    return add


def name_of_task(task: str | type[Task]) -> str:
    """What a saved world calls a task of `make_task`: the name that it is known by, or that of its class."""
    if isinstance(task, str):
        return task
    return next((name for name, known in TASKS.items() if known is task), f"the class {task.__qualname__}")


def make_task(task: str | type[Task], reward: str = "dense") -> Task:
    """A task of that name or class, with that reward; ValueError, with the nearest name, for what is neither."""
    if isinstance(task, Task):
        kind = type(task).__name__
        raise ValueError(
            f"task is an object of {kind}; every environment makes its own, so pass the class, task={kind}."
        )
    if not (isinstance(task, type) and issubclass(task, Task)):
        if not isinstance(task, str) or task not in TASKS:
            raise unknown_name("task", task, TASKS)
        task = TASKS[task]
    if reward not in REWARDS:
        raise unknown_name("reward", reward, REWARDS)
    return task(reward)
