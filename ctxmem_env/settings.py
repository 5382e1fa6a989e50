"""The arguments that the faces of a world share, checked, and the spaces that follow from them."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import logger, spaces

from ctxmem_env.actions import ActionSet, make_actions
from ctxmem_env.camera import MAX_PITCH
from ctxmem_env.device import check_device
from ctxmem_env.dynamics import DEFAULT_RADIUS, GAP, Dynamics, make_dynamics
from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.eviction import check_eviction
from ctxmem_env.generator import Generator, Traits, traits_of
from ctxmem_env.generator.locate import read_traits
from ctxmem_env.retrieval import get_retrieval
from ctxmem_env.scenes import STYLES
from ctxmem_env.start import Start, check_fov, parse_start, with_defaults
from ctxmem_env.tasks import Task, make_task, name_of_task

OBSERVATIONS = ("rgb", "rgbd", "dict")
SEED_DEPTHS = ("exact", "estimated")
MAX_DEPTH = 100.0  # metres; the upper bound of observed depth
MAX_POSITION = 100_000.0  # metres; ten times as far as an episode may start


@dataclass(frozen=True)
class Settings:
    """The arguments of `GenerativeSceneEnv`, checked. Height and width, in pixels, are those of the model's frames.

    takes_text: whether the model can be told in words what to show.
    reset_options: of every reset, in place of those that it is not given; start: what these alone ask for.
    of_worlds: those by which an open world goes on, as JSON types; environments that share them agree on its course.
    """

    model: str | Generator
    height: int
    width: int
    takes_text: bool
    task: Task
    actions: ActionSet
    observation: str
    retrieval: str
    num_context: int
    memory_capacity: int | None
    eviction: str
    num_steps: int | None
    dynamics: Dynamics | None
    fov: float
    tour: int
    seed_depth: str
    device: str
    render_mode: str | None
    of_worlds: dict[str, Any]
    reset_options: dict[str, Any]
    start: Start | None = None

    @property
    def clearance(self) -> float:
        """Metres of free ground that a body needs around a goal, and on its way there."""
        return GAP + (DEFAULT_RADIUS if self.dynamics is None else self.dynamics.radius)


def check_settings(
    *,
    model: str | Generator,
    task: str | type[Task],
    reward: str,
    actions: str,
    observation: str,
    retrieval: str,
    num_context: int,
    memory_capacity: int | None,
    eviction: str,
    num_steps: int | None,
    step_length: float,
    turn_angle: float,
    collisions: bool,
    body_radius: float,
    sliding: bool,
    fov: float,
    tour: int,
    seed_depth: str,
    device: str,
    render_mode: str | None,
    reset_options: dict[str, Any] | None,
    render_modes: Sequence[str],
) -> Settings:
    """The settings of arguments as `GenerativeSceneEnv` has them; ValueError for the first that does not fit.

    `render_modes` are those that the face knows. Loads no weights and touches no device.
    """
    if observation not in OBSERVATIONS:
        raise unknown_name("observation", observation, OBSERVATIONS)
    if render_mode is not None and render_mode not in render_modes:
        raise unknown_name("render_mode", render_mode, render_modes)
    get_retrieval(retrieval)  # an unknown name is refused here and not at the first step
    num_context = check_integer("num_context", num_context, 1)
    tour = check_integer("tour", tour, 0)
    if seed_depth not in SEED_DEPTHS:
        raise unknown_name("seed_depth", seed_depth, SEED_DEPTHS)
    if memory_capacity is not None:
        memory_capacity = check_integer("memory_capacity", memory_capacity, 1)
        if num_context > memory_capacity:
            raise ValueError(
                f"num_context={num_context} is larger than memory_capacity={memory_capacity}; expected "
                f"at most as many context frames as are remembered. Lower num_context or raise "
                "memory_capacity."
            )
        _check_tour(tour, memory_capacity)
    traits = _traits(model)
    made, dynamics = make_task(task, reward), make_dynamics(collisions, body_radius, sliding)
    if not traits.predicts_depth:
        _check_without_depth(_tell(model), observation, task, made)
        if dynamics is not None:
            logger.warn(
                f"{_tell(model)} predicts no depth, so nothing stops the camera; collisions=False says the same."
            )
            dynamics = None
    settings = Settings(
        model=model,
        height=traits.height,
        width=traits.width,
        takes_text=traits.takes_text,
        task=made,
        actions=make_actions(actions, step_length, turn_angle),
        observation=observation,
        retrieval=retrieval,
        num_context=num_context,
        memory_capacity=memory_capacity,
        eviction=check_eviction(eviction),
        num_steps=None if num_steps is None else check_integer("num_steps", num_steps, 1),
        dynamics=dynamics,
        fov=check_fov("fov", fov),
        tour=tour,
        seed_depth=seed_depth,
        device=check_device(device),
        render_mode=render_mode,
        of_worlds={
            "task": name_of_task(task),
            "reward": reward,
            "actions": actions,
            "observation": observation,
            "retrieval": getattr(retrieval, "__qualname__", retrieval),
            "num_context": num_context,
            "memory_capacity": memory_capacity,
            "eviction": eviction,
            "num_steps": None if num_steps is None else int(num_steps),
            "step_length": float(step_length),
            "turn_angle": float(turn_angle),
            "collisions": bool(collisions),
            "body_radius": float(body_radius),
            "sliding": bool(sliding),
        },
        reset_options={},
    )
    try:
        start = _parse(settings, reset_options)
    except ValueError as error:
        raise ValueError(f"reset_options: {error}") from None
    return replace(settings, reset_options=deepcopy(reset_options or {}), start=start)


def check_start(settings: Settings, options: dict[str, Any] | None) -> Start:
    """The start of one world that reset options ask for, and where they are silent those of every reset.

    ValueError for options that do not fit.
    """
    if isinstance(options, dict | None):
        if not options:
            return settings.start  # a capture is not read once more
        options = with_defaults(options, settings.reset_options)
    return _parse(settings, options)


def _parse(settings: Settings, options: dict[str, Any] | None) -> Start:
    start = parse_start(options, settings.height, settings.width, settings.tour, settings.fov)
    _check_tour(start.tour, settings.memory_capacity)
    _check_goal(start, settings.task)
    if start.prompt is not None:
        check_prompt("options['prompt']", start.prompt, settings)
    return start


def check_prompt(argument: str, prompt: object, settings: Settings) -> str:
    """What a world is to show, in words; ValueError unless it is a text and the model takes one."""
    if not isinstance(prompt, str):
        raise ValueError(f"{argument}={prompt!r} is a {type(prompt).__name__}; expected a text.")
    if not settings.takes_text:
        raise ValueError(
            f"{argument}={prompt!r} was given, but {_tell(settings.model)} takes no text; those do that are built on a "
            "text-to-video model, such as model='wan:FOLDER'. The look of a scene is chosen by its style, "
            f"options['scene']: {', '.join(STYLES)}."
        )
    return prompt


def make_observation_space(settings: Settings) -> spaces.Space:
    """What one camera observes, with what the task adds."""
    size = (settings.height, settings.width)
    rgb = spaces.Box(0, 255, (*size, 3), np.uint8)
    extra = settings.task.spaces(*size)
    if settings.observation == "rgb":
        return spaces.Dict({"rgb": rgb, **extra}) if extra else rgb
    parts = {"rgb": rgb, "depth": spaces.Box(0.0, MAX_DEPTH, (*size, 1), np.float32), **extra}
    if settings.observation == "dict":
        high = np.array([MAX_POSITION] * 3 + [np.pi, MAX_PITCH, np.pi], np.float32)
        parts["pose"] = spaces.Box(-high, high, dtype=np.float32)
    return spaces.Dict(parts)


def _check_goal(start: Start, task: Task) -> None:
    if start.goal is None:
        return
    if task.goal_size is None:
        raise ValueError(
            f"options['goal'] was given, but the goal of {type(task).__name__} is not chosen; leave it out."
        )
    if len(start.goal) != task.goal_size:
        raise ValueError(
            f"options['goal'] has {len(start.goal)} numbers; the goal of {type(task).__name__} has {task.goal_size}: "
            f"{'x, y in metres' if task.goal_size == 2 else 'x, y, z, yaw, pitch, roll in metres and radians'}."
        )


def _check_tour(tour: int, memory_capacity: int | None) -> None:
    if memory_capacity is not None and tour >= memory_capacity:
        raise ValueError(
            f"tour={tour} frames and the first frame do not fit into "
            f"memory_capacity={memory_capacity}; lower tour to at most {memory_capacity - 1} "
            "or raise memory_capacity."
        )


def _check_without_depth(model: str, observation: str, name: str | type[Task], task: Task) -> None:
    if observation != "rgb":
        raise ValueError(f"observation={observation!r}, but {model} predicts no depth; use observation='rgb'.")
    if task.needs_depth:
        raise ValueError(f"task={name!r} pays by depth, which {model} does not predict; choose another task.")


def _tell(model: str | Generator) -> str:
    return f"model={model!r}" if isinstance(model, str) else f"the {type(model).__name__}"


def _traits(model: str | Generator) -> Traits:
    """What a model is like, without loading its weights."""
    if isinstance(model, str):
        return read_traits(model)
    # A class has the methods of its instances, and so passes for a generator.
    if isinstance(model, type):
        raise ValueError(
            f"model={model.__name__} is a class; expected the name of a packaged model, a folder, or an object with "
            f"the methods of ctxmem_env.generator.Generator. Pass an instance, {model.__name__}()."
        )
    if not isinstance(model, Generator):
        raise ValueError(
            f"model={model!r} is a {type(model).__name__}; expected the name of a packaged model, a folder, "
            f"or an object with the methods of ctxmem_env.generator.Generator."
        )
    return traits_of(model)
