"""`ctxmem evaluate`: what each protocol takes of the options."""

import logging
from pathlib import Path

from ctxmem_env.cli import Evaluate
from ctxmem_env.evaluation.captures import evaluate_captures
from ctxmem_env.evaluation.run import evaluate, evaluate_and_write_collisions
from ctxmem_env.evaluation.suite import PROTOCOLS, evaluate_protocol
from ctxmem_env.evaluation.tables import protocol_table
from ctxmem_env.evaluation.transfer import evaluate_transfer, transfer_table
from ctxmem_env.training.methods import evaluate_methods

_SHARED = ("model", "scenes", "num_steps", "num_context", "out", "device", "quiet")
_TRANSFER = ("task", "policies", "retrieval", "sliding")
_CAPTURES = ("captures", "every")
_SUITE = ("turns", "horizons", "contexts", "denoising", "domains", "metrics")

logger = logging.getLogger(__name__)


def evaluate_command(command: Evaluate) -> dict:
    """Run the protocol and return what is to be printed. ValueError for options that do not fit it."""
    options = {name: getattr(command, name) for name in _SHARED}
    if command.protocol == "capture":
        return _captures(command, options)
    if command.protocol == "methods":
        return _methods(command, options)
    _refuse(command, (*_CAPTURES, "runs"))
    if command.protocol in PROTOCOLS:
        return _suite(command, options)
    options["out"] = command.out or Path("results.json")
    _refuse(command, _SUITE)
    if command.protocol == "transfer":
        return _transfer(command, options)
    _refuse(command, _TRANSFER)
    options |= {"sheet": command.sheet, "steps": 50 if command.steps is None else command.steps}
    options["tours"] = (12, 0) if command.tours is None else command.tours
    return evaluate(**options) if command.protocol == "views" else evaluate_and_write_collisions(**options)


def _transfer(command: Evaluate, options: dict) -> dict:
    if command.sheet is not None:
        raise ValueError(f"sheet={str(command.sheet)!r} has no meaning for protocol='transfer'; leave it out.")
    if command.policies is None:
        raise ValueError(
            "policies is missing; protocol='transfer' needs names or files, as --policies random,frontier."
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
        sliding=command.sliding,
        **options,
    )
    logger.info(f"measured\n{transfer_table(results)}")
    for figures in results["figures"]:
        figures.pop("episodes")  # the file holds them
    return results | {"out": str(options["out"])}


def _suite(command: Evaluate, options: dict) -> dict:
    _refuse(command, ("task", "policies", "sliding"))
    if options["num_steps"] is None:
        del options["num_steps"]
    for name in ("steps", "tours", *_SUITE):
        if getattr(command, name) is not None:
            options[name] = getattr(command, name)
    if command.retrieval is not None:
        options["strategies"] = tuple(command.retrieval.split(","))
    results = evaluate_protocol(command.protocol, sheet=command.sheet, **options)
    return _shown(results)


def _shown(results: dict) -> dict:
    logger.info(f"measured\n{protocol_table(results)}")
    for row in results["figures"]:
        for value in row["values"].values():
            value.pop("by_scene", None)  # the file holds them
    return results


def _captures(command: Evaluate, options: dict) -> dict:
    _refuse(command, (*_TRANSFER, *_SUITE, "steps", "tours", "runs"))
    if command.captures is None:
        raise ValueError("captures is missing; protocol='capture' needs folders, as --captures flat garden.")
    del options["scenes"]
    results = evaluate_captures(command.captures, every=command.every or 4, sheet=command.sheet, **options)
    return _shown(results)


def _methods(command: Evaluate, options: dict) -> dict:
    _refuse(command, (*_TRANSFER, *_SUITE, *_CAPTURES))
    if command.runs is None:
        raise ValueError("runs is missing; protocol='methods' needs folders of training runs, as --runs runs/a runs/b.")
    for name in ("model", "num_context"):  # a run tells them
        del options[name]
    for name in ("steps", "tours"):
        if getattr(command, name) is not None:
            options[name] = getattr(command, name)
    return _shown(evaluate_methods(command.runs, sheet=command.sheet, **options))


def _refuse(command: Evaluate, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(command, name) not in (None, False):
            raise ValueError(
                f"{name}={getattr(command, name)!r} has no meaning for protocol={command.protocol!r}; leave it out, or "
                "choose a protocol that takes it."
            )
