"""What cameras see of their worlds, as observation, as info and as a picture for a person."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.generator import Context
from ctxmem_env.memory import FrameMemory
from ctxmem_env.opening import Opening
from ctxmem_env.recording import View
from ctxmem_env.settings import MAX_DEPTH, Settings
from ctxmem_env.tasks import Task
from ctxmem_env.tasks.task import check_evaluation
from ctxmem_env.track import Track
from ctxmem_env.world import Step


class Sight(NamedTuple):
    """What n cameras see, the times and the overlap of the context behind it, and collisions; fields as in `Step`.

    goal and task: what the task adds to the observation and to the info, each (n, ...).
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    times: Tensor
    overlap: Tensor
    collided: Tensor
    goal: dict[str, Tensor]
    task: dict[str, Tensor]

    def rows(self, worlds: Tensor | int) -> "Sight":
        """That of some of the worlds, int64 (m,), or of one, without the leading n."""
        return Sight(*(map_tensors(lambda tensor: tensor[worlds], part) for part in self))

    def with_rows(self, worlds: Tensor, rows: "Sight") -> "Sight":
        """A copy that shows other rows in some of the worlds, int64 (m,)."""

        def put(part: Tensor | dict[str, Tensor], new: Tensor | dict[str, Tensor]) -> Any:
            if isinstance(part, dict):
                return {name: put(part[name], new[name]) for name in part}
            return part.index_copy(0, worlds, new.to(part))

        return Sight(*(put(part, new) for part, new in zip(self, rows, strict=True)))


def see_step(step: Step, task: Task) -> tuple[Sight, Tensor, Tensor]:
    """After a step, with the task's reward (n,) and termination, bool (n,); ValueError where it gives none."""
    told = task.evaluate(step.poses, step.frames, step.depth)
    reward, terminated = check_evaluation(task, told, step.poses)
    sight = Sight(
        step.frames, step.depth, step.poses, step.times, step.overlap, step.collided, task.observe(), task.inform()
    )
    return sight, reward, terminated


def see_openings(openings: Sequence[Opening], worlds: Tensor, num_context: int, task: Task) -> Sight:
    """After a reset of `worlds`, int64 (n,), a row for each opening: its last frame, and empty context slots."""
    frames, depth, poses = (torch.stack([opening[part][-1] for opening in openings]) for part in range(3))
    times = torch.full((len(frames), num_context), -1, device=frames.device)
    overlap, collided = torch.zeros_like(times, dtype=torch.float32), torch.zeros_like(times[:, 0], dtype=torch.bool)
    goal, told = ({name: value[worlds] for name, value in part.items()} for part in (task.observe(), task.inform()))
    return Sight(frames, depth, poses, times, overlap, collided, goal, told)


def observe(settings: Settings, sight: Sight) -> tuple[Tensor | dict[str, Tensor], dict[str, Tensor]]:
    """Observation and info, led by what leads in `sight`, with which they share memory."""
    info = {"pose": sight.poses, "retrieved": sight.times, "overlap": sight.overlap, "collision": sight.collided}
    info |= sight.task
    if settings.observation == "rgb":
        return ({"rgb": sight.frames, **sight.goal} if sight.goal else sight.frames), info
    observation = {"rgb": sight.frames, "depth": sight.depth.float().clamp(0, MAX_DEPTH)[..., None], **sight.goal}
    if settings.observation == "dict":
        observation["pose"] = sight.poses
    return observation, info


def map_tensors(function: Callable[[Tensor], Any], value: Tensor | dict[str, Tensor]) -> Any:
    """The function of a tensor, or a dict of it for every tensor in a dict."""
    if isinstance(value, dict):
        return {name: function(tensor) for name, tensor in value.items()}
    return function(value)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy, so that nobody who writes to an observation writes to memory."""
    return tensor.detach().cpu().numpy().copy()


def to_info(tensor: Tensor) -> np.ndarray | bool | float | int:
    """An info of a single world: a copy, or a Python number, which Gymnasium batches by its type."""
    return to_numpy(tensor) if tensor.ndim else tensor.item()


def make_view(
    sight: Sight, context: Context | None, track: Track, memory: FrameMemory, fov: Tensor, row: int = 0, world: int = 0
) -> View:
    """What a panel shows of one camera, row `row` of what is seen, in one world of a memory.

    context: of the last step, None before the first; fov: (n,) in degrees.
    """
    frame, slots = to_numpy(sight.frames[row]), sight.times.shape[1]
    used = sight.times[row] >= 0
    if context is None:
        frames, poses = np.zeros((0, *frame.shape), np.uint8), np.zeros((0, 6))
    else:
        frames, poses = to_numpy(context.frames[row][used]), to_numpy(context.poses[row][used])
    overlap, numbers = (to_numpy(part[row][used]) for part in (sight.overlap, sight.times))
    remembered = to_numpy(memory.poses[world, : int(memory.lengths[world])])
    own = (remembered, track.rewards.tolist(), track.motion)
    return View(frame, track.poses, float(fov[row]), slots, frames, poses, overlap, numbers, *own)
