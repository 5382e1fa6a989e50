"""Writes the tables into README.md and the model card, from the code and from measured results.

python .ci/readme_tables.py
"""

import functools
import inspect
import math
import re
from pathlib import Path

import gymnasium as gym

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.actions import ContinuousActions, DiscreteActions
from ctxmem_env.bench.results import read_benches
from ctxmem_env.bench.tables import benchmarks_section
from ctxmem_env.env import OBSERVATIONS
from ctxmem_env.evaluation.suite import PROTOCOLS
from ctxmem_env.evaluation.tables import protocol_table, read_results, results_table
from ctxmem_env.evaluation.transfer import transfer_table
from ctxmem_env.tasks import TASKS

ROOT = Path(__file__).parent.parent
NANO = ROOT / "ctxmem_env" / "weights" / "nano"
POLICIES = ROOT / "ctxmem_env" / "weights" / "policies"
DOCUMENTS = (ROOT / "README.md", NANO / "README.md", POLICIES / "README.md")
_AXES = (("ahead", "back"), ("to the left", "to the right"), ("turn left", "turn right"), ("look up", "look down"))


def actions_table() -> str:
    """Both action spaces, with their motions at the default scale."""
    discrete, continuous = DiscreteActions(), ContinuousActions()
    rows = [f"| `{discrete.space}` | name | motion |", "|---|---|---|"]
    for i, motion in enumerate(discrete.to_motion(range(discrete.space.n)).tolist()):
        rows.append(f"| {i} | {discrete.names[i]} | {_describe(motion)} |")
    rows += ["", f"| `{continuous.space}` | name | motion at 1 |", "|---|---|---|"]
    for i, name in enumerate(continuous.names):
        one = [[float(i == axis) for axis in range(4)]]
        rows.append(f"| {i} | {name} | {_describe(continuous.to_motion(one)[0].tolist())} |")
    return "\n".join(rows)


def _describe(motion: list[float]) -> str:
    for axis, value in enumerate(motion):
        if value != 0:
            size = f"{abs(value):g} m" if axis < 2 else f"{math.degrees(abs(value)):g} degrees"
            return f"{_AXES[axis][value < 0]}, {size}"
    return "none"


def observations_table() -> str:
    """The observation spaces at 64 x 64."""
    rows = ["| `observation` | key | space |", "|---|---|---|"]
    for name in OBSERVATIONS:
        env = gym.make("CtxMemTrueScene-v0", observation=name)
        space = env.observation_space
        parts = space.spaces if isinstance(space, gym.spaces.Dict) else {"": space}
        for key, part in parts.items():
            bounds = f"{part.low.min():g} to {part.high.max():g}"
            shape = " x ".join(map(str, part.shape))
            rows.append(f"| {name} | {key or '-'} | {part.dtype}, {shape}, {bounds} |")
    return "\n".join(rows)


def tasks_table() -> str:
    """The tasks, from the cards in their docstrings."""
    rows = ['| `task` | asks | success | `reward="dense"` | `reward="sparse"` |', "|---" * 5 + "|"]
    for name, task in TASKS.items():
        text = inspect.getdoc(task)
        card = dict(re.findall(r"^([A-Z][a-z ]+): (.*)$", text, flags=re.M))
        cells = [
            text.split(". ")[0].splitlines()[0].rstrip("."),
            card["Success"],
            card["Dense reward"],
            card["Sparse reward"],
        ]
        rows.append(f"| {name} | " + " | ".join(cell.rstrip(".") for cell in cells) + " |")
    return "\n".join(rows)


def results_section() -> str:
    """What was measured of the packaged model."""
    return results_table(read_results(NANO / "results.json"))


def benchmarks() -> str:
    """How fast the packaged model is."""
    return benchmarks_section(read_benches(NANO / "bench.json"), Path(".assets"))


def protocol(name: str) -> str:
    """What one of the protocols measured of the packaged model."""
    return protocol_table(read_results(NANO / f"results_{name}.json"))


def transfer(task: str, **shown: tuple[str, ...]) -> str:
    """What policies reach in generated and in true worlds."""
    return transfer_table(read_results(POLICIES / f"transfer_{task}.json"), **shown)


SECTIONS = {
    "actions": actions_table,
    "observations": observations_table,
    "tasks": tasks_table,
    "results": results_section,
    "benchmarks": benchmarks,
    **{f"protocol {name}": functools.partial(protocol, name) for name in PROTOCOLS},
    "transfer point_goal": functools.partial(transfer, "point_goal", retrieval=("fov",)),
    "transfer point_goal, less memory": functools.partial(
        transfer, "point_goal", policies=("frontier", "ppo_point_goal")
    ),
    "transfer look_back": functools.partial(transfer, "look_back"),
    "transfer explore": functools.partial(transfer, "explore"),
}


def updated(text: str) -> str:
    """`text` with what belongs between its markers; a marker that is not there is left out."""
    for name, make in SECTIONS.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        if re.search(pattern, text, flags=re.S):
            section = make()
            text = re.sub(pattern, lambda match, section=section: f"{match[1]}{section}\n{match[2]}", text, flags=re.S)
    return text


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(updated(path.read_text()))
