"""`ctxmem evaluate`: a generator and the painters that learn nothing, on test scenes, into one results file."""

import functools
import json
import os
import platform
import subprocess
from pathlib import Path

import torch
from tqdm import tqdm

from ctxmem_env.atomic import write_whole
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.baselines import CopyGenerator
from ctxmem_env.evaluation.collisions import evaluate_collisions
from ctxmem_env.evaluation.metrics import mean_interval
from ctxmem_env.evaluation.protocols import Walked, Walks, follow, true_walks
from ctxmem_env.evaluation.sheets import save_walk_sheet
from ctxmem_env.generator import Generator, load_generator
from ctxmem_env.generator.locate import weights_checksum
from ctxmem_env.scenes import SPLITS, split_seeds

VERSION = 2  # of results files; since 2 intervals are Student's, and a horizon's ages count the looks before
ESTIMATED = "generator_estimated_depth"  # the generator, when the seed comes without depth
_WORLDS = 8  # walks that are followed side by side


def evaluate(
    model: str = "nano",
    scenes: int = 32,
    steps: int = 50,
    num_steps: int | None = None,
    num_context: int = 8,
    tours: tuple[int, ...] = (12, 0),
    out: str | Path = "results.json",
    sheet: str | Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> dict:
    """Replay and rollout on the first `scenes` test scenes; writes `out` and returns what it wrote.

    Args:
        model: a packaged generator or a folder.
        scenes: test scenes, at least 2, for there is an interval; each walk is a function of its scene's seed.
        steps: length of a walk.
        num_steps: denoising steps; None for the generator's default.
        num_context: context slots.
        tours: numbers of true frames in memory before the walk; one protocol run for each.
        sheet: a PNG of walks, generated above true, for the first tour.
    """
    check_integer("scenes", scenes, 2, len(SPLITS["test"]))
    for name, value in (("steps", steps), ("num_steps", num_steps), ("num_context", num_context)):
        if value is not None:
            check_integer(name, value, 1)
    for tour in tours:
        check_integer("tours", tour, 0)
    for path in filter(None, (out, sheet)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    generator = load_generator(model, device)
    painters: dict[str, Generator] = {
        "generator": generator,
        ESTIMATED: generator,
        "copy_best": CopyGenerator("best", generator.height, generator.width),
        "copy_newest": CopyGenerator("newest", generator.height, generator.width),
    }
    seeds = split_seeds("test", scenes)
    runs = [(tour, replay, name) for tour in tours for replay in (True, False) for name in painters]
    figures, shown = [], None
    for tour, replay, name in tqdm(runs, disable=quiet, desc="evaluate"):
        groups = []
        for first in range(0, len(seeds), _WORLDS):
            walks = _walks(tuple(seeds[first : first + _WORLDS]), steps, tour, generator.height, generator.width)
            exact = name != ESTIMATED
            groups.append(follow(painters[name], walks, replay, num_context, exact, num_steps=num_steps))
            if shown is None and name == "generator" and not replay:
                shown = (walks, groups[0])
        figures.append(_figures(groups, tour, replay, name))
    results = {"version": VERSION, "model": model, "scenes": {"split": "test", "seeds": [seeds[0], seeds[-1]]}}
    results |= {"steps": steps, "num_steps": num_steps or generator.default_num_steps, "num_context": num_context}
    results |= {"weights": weights_checksum(model), "machine": describe_machine(), "commit": describe_commit()}
    results["figures"] = figures
    write_whole(out, json.dumps(results, indent=1) + "\n")
    if sheet is not None and shown is not None:
        save_walk_sheet(Path(sheet), *shown)
    return results


def evaluate_and_write_collisions(
    tours: tuple[int, ...] = (12,),
    num_steps: int | None = None,
    sheet: str | Path | None = None,
    out: str | Path = "results.json",
    **arguments,
) -> dict:
    """`evaluate_collisions`, one run for each of `tours`; writes `out` and returns what it wrote."""
    for name, value in (("num_steps", num_steps), ("sheet", sheet)):
        if value is not None:
            raise ValueError(f"{name}={str(value)!r} has no meaning for protocol='collisions'; leave it out.")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figures = [evaluate_collisions(tour_frames=tour, **arguments) for tour in tours]
    results = {"version": VERSION, "weights": weights_checksum(figures[0]["model"]), "machine": describe_machine()}
    results |= {"commit": describe_commit(), "figures": figures}
    write_whole(out, json.dumps(results, indent=1) + "\n")
    return results


@functools.lru_cache(maxsize=64)
def _walks(seeds: tuple[int, ...], steps: int, tour: int, height: int, width: int) -> Walks:
    return true_walks(list(seeds), steps, tour, height, width)


def _figures(groups: list[Walked], tour: int, replay: bool, name: str) -> dict:
    values = torch.cat([group.psnr for group in groups])
    mean, half = mean_interval(values.mean(1))
    figures = {
        "protocol": "replay" if replay else "rollout",
        "tour": tour,
        "painter": name,
        "psnr_db": round(mean, 2),
        "ci95_db": round(half, 2),
        "psnr_db_by_step": [round(value, 2) for value in values.mean(0).tolist()],
        "psnr_db_by_scene": [round(value, 4) for value in values.mean(1).tolist()],
    }
    if name in ("generator", ESTIMATED):
        figures["own_share"] = round(torch.cat([group.own_weight for group in groups]).mean().item(), 3)
    return figures


def describe_machine() -> dict:
    """The machine and the software that figures were measured with."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe_commit() -> str | None:
    """The commit of the source that figures were measured with; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
