"""Whether a task keeps what an environment relies on, tried on a few small inputs."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.tasks.task import Beginning, Task, check_evaluation

_HEIGHT, _WIDTH = 48, 64
_STEPS = 3
_FRAMES = 5  # that a world begins with


class Seen(NamedTuple):
    """What `Task.evaluate` is given, for B worlds: see there."""

    poses: Tensor
    frames: Tensor
    depth: Tensor


class _Plain:
    """A `ctxmem_env.tasks.Place` without walls, of which nobody has a true picture."""

    def free(self, x: float, y: float) -> bool:
        return True

    def way(self, start: Tensor, goal: Tensor) -> float:
        return float((goal - start).norm())

    def picture(self, pose: Tensor) -> Tensor | None:
        return None


def check_task(task: Task, num_worlds: Iterable[int] = (1, 3)) -> None:
    """Try whether `task` keeps what `ctxmem_env.tasks.Task` says, as `check_generator` does with a generator.

    Shapes, types and ranges of rewards, terminations, observations and infos; that nothing it is given is changed; that
    it goes the same way again from a moment that was kept; that a world knows nothing of the others of its batch. It
    takes a few calls of copies, on the CPU.

    Args:
        task: what is tried, as it is made.
        num_worlds: sizes of batches, at least 1 each.

    Raises:
        AssertionError: in words, the first thing that is not kept.
    """
    if isinstance(task, type):
        raise AssertionError(f"{task.__name__} is a class; pass an instance, {task.__name__}().")
    assert isinstance(task, Task), f"{type(task).__name__} is no subclass of ctxmem_env.tasks.Task; make it one."
    for worlds in num_worlds:
        own = deepcopy(task)
        own.open(worlds, _HEIGHT, _WIDTH, torch.device("cpu"))
        for world in range(worlds):
            _begin(own, world, seed=world)
        _tell(own, worlds)
        start = deepcopy(vars(own))
        steps = [_draw(worlds, seed=i) for i in range(_STEPS)]
        told = _walk(own, start, steps)
        assert _same(_walk(own, start, steps), told, range(worlds)), (
            "evaluate: the same steps from the same moment told something else; keep all that changes in attributes of "
            "the task, and draw nothing at random."
        )
        if worlds > 1:
            _check_independence(own, start, steps, told)


def _check_independence(task: Task, start: dict, steps: Sequence[Seen], told: Sequence[dict[str, Tensor]]) -> None:
    worlds = len(steps[0].poses)
    for world in range(worlds):
        mixed = [_draw(worlds, seed=_STEPS + i) for i in range(_STEPS)]
        for seen, drawn in zip(steps, mixed, strict=True):
            for part, other in zip(seen, drawn, strict=True):
                other[world] = part[world]
        assert _same(_walk(task, start, mixed), told, [world]), (
            f"evaluate: world {world} is told something else when only other worlds of the batch see something else; "
            "worlds know nothing of each other."
        )
    before = _tell(task, worlds)
    _begin(task, 0, seed=worlds)
    assert _same([_tell(task, worlds)], [before], range(1, worlds)), (
        "begin: other worlds are told something else when one starts over; worlds know nothing of each other."
    )


def _begin(task: Task, world: int, seed: int) -> None:
    seen = _draw(_FRAMES, seed=100 + seed)
    beginning = Beginning(seen.frames, seen.depth, seen.poses, 90.0, _Plain())
    before = deepcopy(seen)
    task.begin(world, beginning, task.draw(beginning, None, np.random.default_rng(seed)))
    _check_unchanged("draw and begin", seen, before)


def _walk(task: Task, start: dict, steps: Sequence[Seen]) -> list[dict[str, Tensor]]:
    """What the task tells after each step, from a moment that was kept."""
    task.__dict__, told = deepcopy(start), []
    for seen in steps:
        before = deepcopy(seen)
        try:
            reward, ended = check_evaluation(task, task.evaluate(*seen), seen.poses)
        except ValueError as error:
            raise AssertionError(str(error)) from None
        assert bool(reward.isfinite().all()), "evaluate: the reward holds NaN or infinity."
        _check_unchanged("evaluate", seen, before)
        told.append(deepcopy({"reward": reward, "termination": ended} | _tell(task, len(reward))))
    return told


def _tell(task: Task, worlds: int) -> dict[str, Tensor]:
    """What the task adds to observation and info, whose form is checked."""
    observed, spaces = task.observe(), task.spaces(_HEIGHT, _WIDTH)
    assert observed.keys() == spaces.keys(), f"observe: gave {sorted(observed)}; spaces announces {sorted(spaces)}."
    for name, space in spaces.items():
        value = observed[name]
        fits = isinstance(value, Tensor) and value.shape == (worlds, *space.shape)
        fits = fits and all(row.dtype == space.dtype and space.contains(row) for row in value.numpy())
        assert fits, f"observe: {name} is {_form(value)}; expected {worlds} of {space}, as spaces announces."
    told = task.inform()
    for name, value in told.items():
        fits = isinstance(value, Tensor) and value.shape == (worlds,)
        fits = fits and (value.dtype == torch.bool or value.is_floating_point())
        assert fits, f"inform: {name} is {_form(value)}; expected a tensor of bool or float, shape ({worlds},)."
    return deepcopy(observed | told)


def _form(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    values = f", from {value.min().item():g} to {value.max().item():g}" if value.numel() else ""
    return f"{value.dtype} of shape {tuple(value.shape)}{values}"


def _check_unchanged(where: str, seen: Seen, before: Seen) -> None:
    for name, own, was in zip(Seen._fields, seen, before, strict=True):
        assert torch.equal(own, was), f"{where}: changed {name}, which are the environment's; work on a copy."


def _same(one: Sequence[dict[str, Tensor]], other: Sequence[dict[str, Tensor]], worlds: Iterable[int]) -> bool:
    return all(
        torch.allclose(told[name][world].double(), value[world].double(), rtol=1e-4, atol=1e-5, equal_nan=True)
        for told, expected in zip(one, other, strict=True)
        for name, value in expected.items()
        for world in worlds
    )


def _draw(count: int, seed: int) -> Seen:
    """Frames of noise at places some metres apart, at eye height, that look all around."""
    rng = torch.Generator().manual_seed(seed)
    poses = torch.zeros(count, 6)
    poses[:, :2] = torch.randn(count, 2, generator=rng)
    poses[:, 2], poses[:, 3] = 1.5, torch.pi * (2 * torch.rand(count, generator=rng) - 1)
    frames = torch.randint(256, (count, _HEIGHT, _WIDTH, 3), generator=rng, dtype=torch.uint8)
    return Seen(poses, frames, 1 + 4 * torch.rand(count, _HEIGHT, _WIDTH, generator=rng))
