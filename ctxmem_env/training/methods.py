"""Methods: training runs that differ in how context is chosen, each measured with the context that it was trained with.

The paper's Table 1 compares methods on the same base, data and iterations. A run tells in its checkpoint what it was
trained with; each is measured in replay and in a loop, as the protocol `retrieval` does.
"""

from collections.abc import Sequence
from pathlib import Path

from ctxmem_env.config import TrainConfig, from_dict
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import check_ssim
from ctxmem_env.evaluation.retrieval import PACKED, measure_retrieval
from ctxmem_env.evaluation.runner import run_protocol
from ctxmem_env.generator import load_generator
from ctxmem_env.generator.locate import weights_checksum
from ctxmem_env.scenes import SPLITS, split_seeds
from ctxmem_env.training.checkpoint import load_checkpoint


def evaluate_methods(
    runs: Sequence[str | Path],
    scenes: int = 32,
    steps: int = 50,
    tours: tuple[int, ...] = (12,),
    num_steps: int | None = None,
    out: str | Path | None = None,
    sheet: str | Path | None = None,
    device: str = "auto",
    split: str = "test",
    quiet: bool = False,
) -> dict:
    """Replay and loop of each run on the first `scenes` scenes of a split; writes `out` as it goes and returns it.

    Args:
        runs: folders that `ctxmem train` has finished.
        scenes: at least 2.
        steps: of each walk, at least 4.
        tours: true frames in memory besides the first one, a case for each number.
        num_steps: denoising steps; None for those of the model.
        out: JSON file; None: results_methods.json.
        sheet: PNG file; each case has its own, with the case in its name.
        device: a torch device.
        split: of scene seeds.

    Raises:
        ValueError: a folder that holds no finished run, two runs of one name, a value out of range, or a file `out`
            that holds something else.
    """
    check_integer("scenes", scenes, 2, len(SPLITS[split]))
    check_integer("steps", steps, 4)
    for tour in tours:
        check_integer("tours", tour, 0)
    if num_steps is not None:
        check_integer("num_steps", num_steps, 1)
    check_ssim()
    found = {label["method"]: (label, folder) for label, folder in map(_read, runs)}
    if len(found) < len(runs):
        raise ValueError(f"runs={[str(run) for run in runs]}: two of them have one name; expected different ones.")
    generators = {name: load_generator(str(folder), device) for name, (_, folder) in found.items()}
    seeds = split_seeds(split, scenes)
    head = {
        "protocol": "methods",
        "model": "runs that were trained alike",
        "weights": {name: weights_checksum(str(folder)) for name, (_, folder) in found.items()},
        "scenes": {"split": split, "seeds": [seeds[0], seeds[-1]]},
        "options": {"walk": steps, "denoising": num_steps},
    }

    def measure(group: list[int], method: str, retrieval: str, context: int, painter: str, tour: int, **_) -> dict:
        return measure_retrieval(generators[method], group, retrieval, context, painter, tour, steps, num_steps)

    cases = [label | {"tour": tour} for tour in tours for label, _ in found.values()]
    out = Path("results_methods.json" if out is None else out)
    for path in filter(None, (out, sheet)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return run_protocol(head, cases, seeds, measure, out, sheet=None if sheet is None else Path(sheet), quiet=quiet)


def _read(run: str | Path) -> tuple[dict, Path]:
    """How a run was trained, as labels, and the folder of its generator."""
    run = Path(run)
    checkpoint, generator = run / "latest.safetensors", run / "generator"
    if not checkpoint.is_file() or not generator.is_dir():
        raise ValueError(f"runs: {run} holds no training run; expected a folder that `ctxmem train --out` wrote.")
    _, facts = load_checkpoint(checkpoint)
    config = from_dict(TrainConfig, facts["config"], str(checkpoint))
    if facts["step"] < config.num_steps:
        raise ValueError(
            f"runs: {run} is at step {facts['step']} of {config.num_steps}; finish it with `ctxmem train`, for only "
            "runs of the same length can be compared."
        )
    packed = config.data.history == "packed"
    label = {
        "method": config.name,
        "begun": config.init or "random weights",
        "trained": config.num_steps,
        "retrieval": config.data.retrieval,
        "context": PACKED if packed else config.data.num_context,
        "painter": "packed" if packed else "generator",
    }
    return label, generator
