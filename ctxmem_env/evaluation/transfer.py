"""Transfer: are policies as good in generated worlds as in the true ones, and is the better one the better in both?

Each policy lives through one episode in each of the same test scenes, with the same starts and goals, once in a world
that the model paints and once over the exact renderer. How far the mean results agree over policies is told by
Pearson's r and by Spearman's rank correlation. The choice of context may be varied: what a policy loses with "recent"
or "none" in place of "fov" is what memory is worth to it.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctxmem_env
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.correlation import pearson, pearson_interval, spearman
from ctxmem_env.evaluation.policies import evaluate_policy, make_worlds
from ctxmem_env.evaluation.run import VERSION, describe_commit, describe_machine
from ctxmem_env.evaluation.runner import write
from ctxmem_env.generator.locate import read_traits, weights_checksum
from ctxmem_env.policies import make_policy
from ctxmem_env.policies.network import find_policy
from ctxmem_env.retrieval import get_retrieval

logger = logging.getLogger(__name__)

GENERATED, TRUE = "CtxMemScene-v0", "CtxMemTrueScene-v0"
# Headings and digits of the measures that a table shows, where the task has them; the return where it has none.
_SHOWN = {"success": ("success", 2), "spl": ("SPL", 2), "seen_area": ("ground seen, m²", 1)}
_COMPARED = ("success", "return", "seen_area")  # that are compared over policies
_FEWEST = 3  # two policies always lie on a line
_TELLING = 5  # of fewer policies a table tells no correlation: of four the interval may span all there is


def evaluate_transfer(
    policies: Sequence[str],
    task: str = "point_goal",
    scenes: int = 32,
    max_episode_steps: int = 200,
    model: str = "nano",
    retrieval: Sequence[str] = ("fov",),
    num_context: int = 8,
    num_steps: int | None = None,
    tour: int = 12,
    sliding: bool = False,
    split: str = "test",
    seed: int = 0,
    out: str | Path = "transfer.json",
    device: str = "auto",
    quiet: bool = False,
) -> dict:
    """Evaluate policies in both worlds; writes `out` after each of them, and returns what it wrote.

    A call that was cut off goes on where it was when it is made again; what `out` holds of the same arguments is kept,
    so that policies and retrievals can be added later. A policy whose file has changed is evaluated again.

    Args:
        policies: names or files, see `ctxmem_env.policies.make_policy`.
        task: a name from `ctxmem_env.tasks.TASKS`.
        scenes: at least 2; one episode in each.
        max_episode_steps: steps after which an episode is truncated.
        model: a packaged generator or a folder.
        retrieval: names; the generated world is evaluated once with each.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
        tour: true frames in memory before the first.
        sliding: cameras go on along the surface that stops them.
        split: "train", "validation" or "test".
        seed: of the first scene's episode.
        out: a JSON file.
        device: a torch device.
        quiet: no progress bars.

    Returns:
        version, arguments, machine, commit, `figures`, one result of `evaluate_policy` for each policy, world and
        retrieval, and `agreement`, a row for each measure and retrieval: `policies`, their number, `pearson_r` and
        `spearman_r` of their means, None for fewer than 3 or where all means of a world are equal.

    Raises:
        ValueError: arguments that do not fit, or a file `out` that holds something else.
    """
    for name, values in (("policies", policies), ("retrieval", retrieval)):
        if isinstance(values, str) or not values or len(set(values)) < len(values):
            raise ValueError(f"{name}={values!r}; expected a list of one or more different names.")
    check_integer("tour", tour, 0)
    traits = read_traits(model)
    shared = {"tour": tour, "sliding": sliding, "num_context": num_context, "device": device}
    worlds = [(TRUE, None, {"height": traits.height, "width": traits.width})]
    for name in retrieval:
        get_retrieval(name)
        worlds.append((GENERATED, name, {"model": model, "num_steps": num_steps, "retrieval": name}))
    for policy in policies:  # a mistake should not come to light after hours
        for env_id, _, kwargs in worlds:
            make_worlds(make_policy(policy), env_id, 1, task, **shared, **kwargs).close()
    arguments = {
        "task": task,
        "scenes": scenes,
        "max_episode_steps": max_episode_steps,
        "model": model,
        "model_sha256": weights_checksum(model),
        "num_context": num_context,
        "num_steps": num_steps,
        "tour": tour,
        "sliding": sliding,
        "split": split,
        "seed": seed,
    }
    out = Path(out)
    results = _open(out, arguments)
    for policy in policies:
        for env_id, chosen, kwargs in worlds:
            key = {"policy": policy, "policy_sha256": _fingerprint(policy), "env_id": env_id, "retrieval": chosen}
            if any(key.items() <= figures.items() for figures in results["figures"]):
                continue
            if not quiet:
                logger.info(f"{policy} in {env_id}{f', {chosen}' if chosen else ''}")
            found = evaluate_policy(
                make_policy(policy),
                env_id,
                task,
                scenes,
                max_episode_steps,
                split,
                seed,
                quiet=quiet,
                **shared,
                **kwargs,
            )
            own = {name: found[name] for name in ("figures", "episodes")} | {"commit": describe_commit()}
            _keep(out, results, key | own)
    results["agreement"] = agreement(results["figures"])
    _write(out, results)
    return results


def agreement(figures: Sequence[dict]) -> list[dict]:
    """How far the means over policies agree between the true world and the generated one; see `evaluate_transfer`."""
    rows = []
    true = {f["policy"]: f["figures"] for f in figures if f["env_id"] == TRUE}
    for retrieval in dict.fromkeys(f["retrieval"] for f in figures if f["env_id"] == GENERATED):
        painted = {f["policy"]: f["figures"] for f in figures if f["retrieval"] == retrieval and f["policy"] in true}
        for measure in _COMPARED:
            pairs = [
                (painted[name][measure]["mean"], true[name][measure]["mean"])
                for name in painted
                if measure in painted[name]
            ]
            if not pairs:
                continue
            one, other = zip(*pairs, strict=True)
            enough = len(pairs) >= _FEWEST
            rows.append(
                {
                    "retrieval": retrieval,
                    "measure": measure,
                    "policies": len(pairs),
                    "pearson_r": pearson(one, other) if enough else None,
                    "spearman_r": spearman(one, other) if enough else None,
                }
            )
    return rows


def transfer_table(
    results: dict,
    policies: Sequence[str] | None = None,
    retrieval: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
) -> str:
    """Markdown: a row for each policy, mean and 95 % interval of each measure and world; below, the agreement of all.

    policies, retrieval and measures: names, of what is shown; None for all.
    """
    figures, arguments = results["figures"], results["arguments"]
    figures = [f for f in figures if policies is None or f["policy"] in policies]
    figures = [f for f in figures if retrieval is None or f["retrieval"] in (None, *retrieval)]
    there = {name: shown for name, shown in _SHOWN.items() if any(name in f["figures"] for f in figures)}
    there = there or {"return": ("return", 2)}
    measures = {name: shown for name, shown in there.items() if measures is None or name in measures}
    worlds = list(dict.fromkeys((f["env_id"], f["retrieval"]) for f in figures))
    names = ["true" if env_id == TRUE else f"generated, {retrieval}" for env_id, retrieval in worlds]
    heads = [f"{heading}, {name}" for heading, _ in measures.values() for name in names]
    rows = [f"| policy | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for policy in dict.fromkeys(f["policy"] for f in figures):
        found = {(f["env_id"], f["retrieval"]): f["figures"] for f in figures if f["policy"] == policy}
        cells = [
            _cell(found.get(world, {}).get(name), digits) for name, (_, digits) in measures.items() for world in worlds
        ]
        rows.append(f"| {Path(policy).stem} | {' | '.join(cells)} |")
    notes = [
        f"One episode of at most {arguments['max_episode_steps']} steps in each of {arguments['scenes']} "
        f"{arguments['split']} scenes, task {arguments['task']}, model {Path(arguments['model']).name}; mean and 95 % "
        "interval over episodes."
    ]
    for row in agreement(figures) if policies is None else ():
        if row["pearson_r"] is not None and row["policies"] >= _TELLING and row["measure"] in measures:
            what = f"Mean {row['measure'].replace('_', ' ')} of {row['policies']} policies"
            low, high = pearson_interval(row["pearson_r"], row["policies"])
            notes.append(
                f"{what}, generated ({row['retrieval']}) against true: Pearson r {row['pearson_r']:.2f} (95 % interval "
                f"{low:.2f} to {high:.2f}), Spearman {row['spearman_r']:.2f}."
            )
    return "\n".join([*rows, "", *notes])


def _cell(value: dict[str, float] | None, digits: int) -> str:
    if value is None:
        return "-"
    mean, low, high = (f"{value[part]:.{digits}f}" for part in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def _open(out: Path, arguments: dict[str, Any]) -> dict:
    """Results that `out` holds of the same arguments, or none yet."""
    empty = {"version": VERSION, "protocol": "transfer", "arguments": arguments, "figures": []}
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        return empty
    advice = "choose another file, or remove it."
    try:
        results = json.loads(out.read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"out={str(out)!r} is no JSON file ({error}); {advice}") from None
    own = results.get("arguments") if isinstance(results, dict) and results.get("protocol") == "transfer" else None
    if own is None or results.get("version") != VERSION:
        raise ValueError(f"out={str(out)!r} holds no results of this protocol and version; {advice}")
    for name, value in arguments.items():
        if own.get(name) != value:
            raise ValueError(f"out={str(out)!r} holds results with {name}={own.get(name)!r}, not {value!r}; {advice}")
    return results


def _keep(out: Path, results: dict, figures: dict) -> None:
    """Add figures, in place of those of the same policy, world and retrieval, and write the file."""
    same = ("policy", "env_id", "retrieval")
    others = [old for old in results["figures"] if any(old[name] != figures[name] for name in same)]
    results["figures"] = [*others, figures]
    results["agreement"] = agreement(results["figures"])
    _write(out, results)


def _write(out: Path, results: dict) -> None:
    results |= {"ctxmem_env": ctxmem_env.__version__, "machine": describe_machine(), "commit": describe_commit()}
    write(out, results)


def _fingerprint(policy: str) -> str | None:
    """What the file of a trained policy holds; None for one that needs no training."""
    path = find_policy(policy)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None
