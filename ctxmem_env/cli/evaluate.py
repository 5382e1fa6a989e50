"""`ctxmem evaluate`: what each protocol takes of the options."""

import sys

from ctxmem_env.cli import Evaluate
from ctxmem_env.evaluation.run import evaluate, evaluate_and_write_collisions
from ctxmem_env.evaluation.transfer import evaluate_transfer, transfer_table

_SHARED = ("model", "scenes", "num_steps", "num_context", "out", "device", "quiet")
_TRANSFER = ("task", "policies", "retrieval")


def evaluate_command(command: Evaluate) -> dict:
    """Run the protocol and return what is to be printed. ValueError for options that do not fit it."""
    options = {name: getattr(command, name) for name in _SHARED}
    if command.protocol == "transfer":
        return _transfer(command, options)
    for name in _TRANSFER:
        if getattr(command, name) is not None:
            raise ValueError(
                f"{name}={getattr(command, name)!r} has no meaning for protocol={command.protocol!r}; leave it out, or "
                "choose --protocol transfer."
            )
    options |= {"sheet": command.sheet, "steps": 50 if command.steps is None else command.steps}
    options["tours"] = (12, 0) if command.tours is None else command.tours
    return evaluate(**options) if command.protocol == "views" else evaluate_and_write_collisions(**options)


def _transfer(command: Evaluate, options: dict) -> dict:
    if command.sheet is not None:
        raise ValueError(f"sheet={str(command.sheet)!r} has no meaning for protocol='transfer'; leave it out.")
    if command.policies is None:
        raise ValueError(
            "policies is missing; protocol='transfer' needs names or folders, as --policies random,frontier."
        )
    tours = (12,) if command.tours is None else command.tours
    if len(tours) != 1:
        raise ValueError(f"tours={tours}; protocol='transfer' takes one number of frames.")
    results = evaluate_transfer(
        policies=command.policies.split(","),
        task=command.task or "point_goal",
        retrieval=(command.retrieval or "fov").split(","),
        max_episode_steps=200 if command.steps is None else command.steps,
        tour=tours[0],
        **options,
    )
    print(transfer_table(results), file=sys.stderr)
    for figures in results["figures"]:
        figures.pop("episodes")  # the file holds them
    return results | {"out": str(command.out)}
