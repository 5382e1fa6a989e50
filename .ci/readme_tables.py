"""Writes the tables into README.md and the documents beside the code, from the code and from measured results.

python .ci/readme_tables.py
"""

import functools
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import torch

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.actions import STEP_LENGTH, TURN_ANGLE, ContinuousActions, DiscreteActions, KeyboardMouseActions
from ctxmem_env.bench.results import read_benches
from ctxmem_env.bench.tables import benchmarks_section, benchmarks_summary
from ctxmem_env.env import OBSERVATIONS, GenerativeSceneEnv
from ctxmem_env.evaluation.metrics import mean_interval
from ctxmem_env.evaluation.reported import paper_tables, reported_table
from ctxmem_env.evaluation.suite import PROTOCOLS
from ctxmem_env.evaluation.summary import read_all, summary_table
from ctxmem_env.evaluation.tables import collisions_table, protocol_table, read_results, results_table
from ctxmem_env.evaluation.transfer import transfer_table
from ctxmem_env.generator.locate import weights_checksum
from ctxmem_env.plotting import plot_ages
from ctxmem_env.selftest.report import KEPT, read_report
from ctxmem_env.selftest.tables import reliability_section, reliability_summary
from ctxmem_env.tasks import TASKS

ROOT = Path(__file__).parent.parent
NANO = ROOT / "ctxmem_env" / "weights" / "nano"
SMALL = NANO.parent / "small"
POLICIES = ROOT / "ctxmem_env" / "weights" / "policies"
SELFTEST = ROOT / "ctxmem_env" / "selftest"
LOOKED_AT = range(2_000_008, 2_000_048)  # test seeds of Freedoom's maps in which choices about depth were made
DOCUMENTS = (ROOT / "README.md", ROOT / "agents" / "README.md", *sorted((ROOT / "ctxmem_env").rglob("README.md")))


def environment_page() -> str:
    """The docstring of the environment, which is its specification."""
    return inspect.getdoc(GenerativeSceneEnv)


def actions_table() -> str:
    """The action spaces, with their motions at the default scale."""
    discrete, continuous, game = DiscreteActions(), ContinuousActions(), KeyboardMouseActions()
    spaces = ", ".join(f"`{name}`: `{space}`" for name, space in game.space.items())
    step = f"{STEP_LENGTH:g} m or {TURN_ANGLE:g} degrees"
    return "\n".join(
        [
            "| `actions` | space | motion |",
            "|---|---|---|",
            f"| discrete | `{discrete.space}` | {', '.join(discrete.names)}: {step} each |",
            f"| continuous | `{continuous.space}` | {', '.join(continuous.names)}: {step} at 1 |",
            f"| keyboard_mouse | {spaces} | {', '.join(game.names)}: {step} at 1; of GameFactory |",
        ]
    )


def observations_table() -> str:
    """The observation spaces at 64 x 64."""
    rows = ["| `observation` | space |", "|---|---|"]
    for name in OBSERVATIONS:
        space = gym.make("CtxMemTrueScene-v0", observation=name).observation_space
        parts = space.spaces if isinstance(space, gym.spaces.Dict) else {"": space}
        told = [f"{key} {part.dtype} ({', '.join(map(str, part.shape))})".strip() for key, part in parts.items()]
        rows.append(f"| {name} | {'; '.join(sorted(told, key=lambda one: not one.startswith('rgb')))} |")
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


def dated(table: str, weights: str | None, model: str = "nano") -> str:
    """A table, and that the packaged model has other weights by now, where it has."""
    if weights == weights_checksum(model):
        return table
    return f"{table} Measured with earlier weights of {model} ({weights}), not with those that are packaged now."


def results_section(folder: Path = NANO) -> str:
    """What was measured of a packaged model."""
    results = read_results(folder / "results.json")
    return dated(results_table(results), results.get("weights"), folder.name)


def in_short() -> str:
    """What all protocols measured, a line for each question."""
    results = read_all(NANO)
    table = summary_table(results)
    for weights in sorted({one["weights"] for one in results.values()}):
        table = dated(table, weights)
    return table


def benchmarks() -> str:
    """How fast the packaged model is."""
    return benchmarks_section(read_benches(NANO / "bench.json"))


def benchmarks_in_short() -> str:
    """The same on a few lines."""
    return benchmarks_summary(read_benches(NANO / "bench.json"))


def reported() -> str:
    """What the paper reports of its rules of retrieval, and what was measured of those here."""
    results = read_results(NANO / "results_retrieval.json")
    return dated(reported_table(results), results["weights"])


def paper() -> str:
    """The paper's tables, and what was measured of the same here."""
    results = read_results(NANO / "results_retrieval.json")
    return dated(paper_tables(results), results["weights"])


def reliability(table: Callable[[dict], str]) -> str:
    """What was tried to break the package."""
    return table(read_report(KEPT))


def protocol(name: str) -> str:
    """What one of the protocols measured of the packaged model."""
    results = read_results(NANO / f"results_{name}.json")
    return dated(protocol_table(results), results["weights"])


def collisions() -> str:
    """How often what is painted stops a camera where the true scene does."""
    results = read_results(NANO / "results_collisions.json")
    return dated(collisions_table(results), results["weights"])


def methods() -> str:
    """Runs that were trained alike but for their context, or for the look-up."""
    return protocol_table(read_results(NANO / "results_methods.json"))


def tuned() -> str:
    """One place before and after training on its other pictures, from the results of all places and of this one."""
    before, after = (read_results(NANO / f"results_capture{end}.json") for end in ("", "_tuned"))
    (place,) = after["scenes"]["captures"]
    column = next(i for i, name in enumerate(before["scenes"]["captures"]) if name.endswith(f"/{place}"))
    figures = [
        {"painter": told, "values": {name: {"mean": value["by_scene"][i], "ci95": None} for name, value in values}}
        for results, i, painter, told in (
            (before, column, "copy_best", "copy of the best retrieved frame"),
            (before, column, "generator", "nano"),
            (after, 0, "generator", "nano, trained on the other pictures"),
        )
        for values in [row["values"].items() for row in results["figures"] if row["painter"] == painter]
    ]
    table, _, note = protocol_table({**after, "figures": figures}).partition("\n\n")
    last = [json.loads(line) for line in (NANO / "capture_tuned.jsonl").read_text().splitlines()][-1]
    taken = f"{last['step']} steps in {last['seconds'] / 60:.0f} minutes on one core that had other work, too"
    return dated(f"{table}\n\n{place.partition('/')[0]}: {taken}; {note[note.index('commit') :]}", before["weights"])


def freedoom() -> str:
    """Walks through all maps of Freedoom, and through those alone that nothing was looked at in before."""
    results = read_results(NANO / "results_domains_freedoom.json")
    first = results["scenes"]["seeds"][0]
    maps = range(results["scenes"]["seeds"][1] - first + 1)
    untouched = [number for number in maps if first + number not in LOOKED_AT]
    figures = []
    for told, part in ((f"all {len(maps)} maps", maps), (f"the {len(untouched)} others", untouched)):
        for row in results["figures"]:
            values = {}
            for name, value in row["values"].items():
                mean, half = mean_interval(torch.tensor([value["by_scene"][number] for number in part]))
                values[name] = {"mean": mean, "ci95": half}
            figures.append(row | {"domain": told, "values": values})
    return dated(protocol_table(results | {"figures": figures}), results["weights"])


def has_ages() -> bool:
    """Whether long walks were measured by the age of looks."""
    rows = read_results(NANO / "results_horizon.json")["figures"]
    return any("_age_" in name for row in rows for name in row["values"])


def ages() -> str:
    """The picture that `plot_ages` makes, if there is what it shows."""
    return "![PSNR of second looks by their age](ages.png)" if has_ages() else "Not measured by the age of looks yet."


def transfer(task: str, **shown: tuple[str, ...]) -> str:
    """What policies reach in generated and in true worlds."""
    results = read_results(POLICIES / f"transfer_{task}.json")
    return dated(transfer_table(results, **shown), results["arguments"]["model_sha256"])


SECTIONS = {
    "environment": environment_page,
    "actions": actions_table,
    "observations": observations_table,
    "tasks": tasks_table,
    "results": results_section,
    "in short": in_short,
    "results small": functools.partial(results_section, SMALL),
    "benchmarks": benchmarks,
    "benchmarks in short": benchmarks_in_short,
    "reliability": functools.partial(reliability, reliability_section),
    "reliability in short": functools.partial(reliability, reliability_summary),
    "reported": reported,
    "paper": paper,
    "ages": ages,
    "collisions": collisions,
    **{f"protocol {name}": functools.partial(protocol, name) for name in (*PROTOCOLS, "capture")},
    "methods": methods,
    "freedoom": freedoom,
    "tuned": tuned,
    "transfer point_goal": functools.partial(transfer, "point_goal", retrieval=("fov",)),
    "transfer point_goal, less memory": functools.partial(
        transfer, "point_goal", policies=("frontier", "ppo_point_goal")
    ),
    "transfer look_back": functools.partial(transfer, "look_back"),
    "transfer point_goal in short": functools.partial(
        transfer,
        "point_goal",
        policies=("random", "frontier", "ppo_point_goal"),
        retrieval=("fov",),
        measures=("success",),
    ),
    "transfer look_back in short": functools.partial(transfer, "look_back", measures=("success",)),
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
    if has_ages():
        plot_ages(NANO / "results_horizon.json", NANO / "ages.png")
    for path in DOCUMENTS:
        path.write_text(updated(path.read_text()))
