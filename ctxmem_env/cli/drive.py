"""Where a walk on the command line goes: scripted, by named or random actions, by a file of them, on a camera path."""

import json
import math
import re
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import gymnasium as gym
import numpy as np

from ctxmem_env.actions import ContinuousActions, DiscreteActions
from ctxmem_env.camera import cropped_fov
from ctxmem_env.cli.walks import Place, Route
from ctxmem_env.errors import unknown_name
from ctxmem_env.photograph import open_image
from ctxmem_env.start import check_fov
from ctxmem_env.trajectory import Trajectory, read_trajectory

# Two looks around and back to the first view: what is seen again was painted in between. It stays within a metre of
# the start, which is mostly free, for a camera that a surface stops does not come back to the same view.
WALK = "forward*4,turn_left*24,back*2,strafe_left,turn_right*24,strafe_right,back*2"
_RANDOM_STEPS = 100
_MOST_ACTIONS = 1_000_000  # of a text
_SLACK = 1 + 1e-6  # so that rounding to float32 lifts no action above 1
_WALKED = 2.0  # times as far as a path leads from its start is what its camera saw there,
_NEAREST = 2.0  # and at least as many metres
_SMALLEST = 1e-3  # metres and degrees; the scale of actions when a path does not move or turn


@dataclass(frozen=True)
class Drive:
    """The actions to take, what the environment needs to take them, and notes for the user."""

    actions: list[int] | list[np.ndarray]
    arguments: dict = field(default_factory=dict)
    trajectory: Trajectory | None = None
    notes: tuple[str, ...] = ()

    def options(self, command: Place, env: gym.Env) -> dict:
        """Options of `reset`."""
        settings = env.unwrapped.settings
        options = {"scene": command.scene, "tour": command.tour, "prompt": command.prompt}
        options |= self.start(command, settings.width / settings.height)
        options |= {name: getattr(command, name) and str(getattr(command, name)) for name in ("image", "capture")}
        return {name: value for name, value in options.items() if value is not None}

    def start(self, command: Place, aspect: float) -> dict:
        """Options of `reset` for frames whose width is `aspect` times their height.

        A trajectory keeps its coordinates in a world that a picture opens; in a scene it begins at the scene's start,
        in a capture at the frame that is nearest to its own.
        """
        options = {}
        if command.distance is not None:
            options["distance"] = command.distance
        elif self.trajectory is not None and command.image is not None:
            places = self.trajectory.poses[: len(self.actions) + 1, :3]
            options["distance"] = max(_WALKED * float((places - places[0]).norm(dim=-1).max()), _NEAREST)
        if command.fov is not None:
            options["fov"] = command.fov if command.image is None else _of_frame(command.fov, command.image, aspect)
        elif self.trajectory is not None and command.capture is None:
            options["fov"] = self.trajectory.frame_fov(aspect)
        if self.trajectory is not None and (command.image is not None or command.capture is not None):
            options["pose"] = self.trajectory.poses[0].tolist()
        return options


def _of_frame(fov: float, image: Path, aspect: float) -> float:
    """The field of view in degrees that is left when a picture that spans `fov` is cropped to the shape of a frame."""
    check_fov("fov", fov)
    picture = open_image(image)
    return cropped_fov(fov, picture.width, min(picture.width, picture.height * aspect))


def choose_drive(command: Route) -> Drive:
    """What the options of `ctxmem rollout` ask for; ValueError where they make no sense."""
    if command.actions is not None and command.trajectory is not None:
        raise ValueError("actions and trajectory were both given; the camera follows one of them.")
    if command.trajectory is not None:
        return follow(read_trajectory(command.trajectory), command.steps, str(command.trajectory))
    if command.actions is None:
        walk = parse_actions(WALK)
        return Drive(list(islice(cycle(walk), command.steps or len(walk))))
    if command.actions == "random":
        rng = np.random.default_rng(command.seed)
        return Drive(rng.integers(len(DiscreteActions.names), size=command.steps or _RANDOM_STEPS).tolist())
    if command.actions.endswith(".json"):
        return read_actions(Path(command.actions), command.steps)
    actions, notes = _first_steps(parse_actions(command.actions), command.steps, "actions")
    return Drive(actions, notes=notes)


def parse_actions(text: str) -> list[int]:
    """Discrete actions from names with counts, such as "forward*4,turn_left*24"."""
    actions = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*(?:\*\s*([1-9]\d*))?\s*", part)
        if match is None:
            raise ValueError(f"actions: {part!r} is not understood; expected name or name*count, such as forward*4.")
        count = int(match[2] or 1)
        if len(actions) + count > _MOST_ACTIONS:
            raise ValueError(f"actions: {part!r} leads to more than {_MOST_ACTIONS:,} actions; ask for fewer.")
        actions += [_index(match[1])] * count
    return actions


def read_actions(path: Path, steps: int | None) -> Drive:
    """The actions in a JSON file: a list of names, or of four numbers in [-1, 1] each."""
    where = f"actions={str(path)!r}"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{where} does not exist; give the path of a JSON file.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}).") from None
    expected = "a list of names, such as ['forward', 'turn_left'], or of [dx, dy, dyaw, dpitch]"
    if not isinstance(content, list) or not content:
        raise ValueError(f"{where} holds {json.dumps(content)[:60]}; expected {expected}.")
    actions, notes = _first_steps(content, steps, where)
    if all(isinstance(action, str) for action in actions):
        return Drive([_index(name) for name in actions], notes=notes)
    try:
        rows = np.array(actions, dtype=np.float32)
        ContinuousActions().to_motion(rows)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{where} is not {expected}: {error}") from None
    return Drive(list(rows), {"actions": "continuous"}, notes=notes)


def follow(trajectory: Trajectory, steps: int | None, where: str) -> Drive:
    """Continuous actions that lead through every pose of a path, their scale being its largest step and turn."""
    motions, notes = _first_steps(trajectory.motions().numpy(), steps, where)
    step_length = max(float(np.abs(motions[:, :2]).max()) * _SLACK, _SMALLEST)
    turn_angle = min(max(math.degrees(np.abs(motions[:, 2:]).max()) * _SLACK, _SMALLEST), 180.0)
    scale = [step_length, step_length, math.radians(turn_angle), math.radians(turn_angle)]
    actions = list((motions / scale).clip(-1, 1).astype(np.float32))
    for name, column, unit in (("height", 2, "m"), ("roll", 5, "rad")):
        spread = float(np.ptp(trajectory.poses[: len(motions) + 1, column].numpy()))
        if spread > 0.01:
            notes += (f"{where}: {name} changes by {spread:.2f} {unit}, the camera keeps the first",)
    # A camera that was recorded walked where it walked.
    arguments = {"actions": "continuous", "step_length": step_length, "turn_angle": turn_angle, "collisions": False}
    return Drive(actions, arguments, trajectory, notes)


def _first_steps(actions, steps: int | None, where: str):
    """The first `steps` actions (all if None), and a note when some are left out."""
    if steps is None or steps == len(actions):
        return actions, ()
    if steps > len(actions):
        raise ValueError(f"steps={steps}, but {where} holds {len(actions)}; ask for at most {len(actions)}.")
    return actions[:steps], (f"{where}: the first {steps} of {len(actions)} steps",)


def _index(name: str) -> int:
    if name not in DiscreteActions.names:
        raise unknown_name("action", name, DiscreteActions.names)
    return DiscreteActions.names.index(name)
