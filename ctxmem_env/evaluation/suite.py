"""The paper's protocols and ours by name: which cases they have, what measures them, and which options they take."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.evaluation.close_ups import close_ups_cases, measure_close_ups
from ctxmem_env.evaluation.domains import domains_cases, measure_domains
from ctxmem_env.evaluation.horizon import horizon_cases, measure_horizon
from ctxmem_env.evaluation.loop import loop_cases, measure_loop
from ctxmem_env.evaluation.metrics import check_ssim
from ctxmem_env.evaluation.new_content import combine_new_content, measure_new_content, new_content_cases
from ctxmem_env.evaluation.occlusion import measure_occlusion, occlusion_cases
from ctxmem_env.evaluation.perceptual import measure_perceptual, perceptual_cases
from ctxmem_env.evaluation.retrieval import measure_retrieval, retrieval_cases
from ctxmem_env.evaluation.runner import run_protocol
from ctxmem_env.evaluation.sampling import measure_sampling, sampling_cases
from ctxmem_env.generator import Generator, load_generator
from ctxmem_env.generator.locate import weights_checksum
from ctxmem_env.scenes import SPLITS, split_seeds


@dataclass(frozen=True)
class Protocol:
    """`cases` makes labels from options, `measure` takes a generator, seeds, one case's labels and options."""

    cases: Callable[..., list[dict]]
    measure: Callable[..., dict]
    combine: Callable[[dict], dict] | None = None
    group: int = 8  # scenes side by side
    ssim: bool = False  # needs torchmetrics


PROTOCOLS = {
    "loop": Protocol(loop_cases, measure_loop, ssim=True),
    "horizon": Protocol(horizon_cases, measure_horizon, group=4),
    "occlusion": Protocol(occlusion_cases, measure_occlusion),
    "retrieval": Protocol(retrieval_cases, measure_retrieval, ssim=True),
    "new-content": Protocol(new_content_cases, measure_new_content, combine_new_content),
    "close-ups": Protocol(close_ups_cases, measure_close_ups),
    "sampling": Protocol(sampling_cases, measure_sampling, ssim=True),
    "domains": Protocol(domains_cases, measure_domains, ssim=True),
    # All scenes at once: some of these distances are those of sets.
    "perceptual": Protocol(perceptual_cases, measure_perceptual, group=10_000),
}


def evaluate_protocol(
    protocol: str,
    model: str | Generator = "nano",
    scenes: int = 32,
    out: str | Path | None = None,
    sheet: str | Path | None = None,
    device: str = "auto",
    split: str = "test",
    quiet: bool = False,
    **options,
) -> dict:
    """One protocol on the first `scenes` scenes of a split; writes `out` as it goes and returns what it wrote.

    A call that was interrupted goes on when it is made again with the same arguments.

    Args:
        protocol: a name in `PROTOCOLS`.
        model: a packaged generator, a folder, or a `Generator`.
        scenes: at least 2, for there is an interval; scene i and the walks in it are functions of its seed.
        out: JSON file; None: results_PROTOCOL.json.
        sheet: PNG file of frames; with several cases each has its own, with the case in its name.
        device: a torch device.
        split: of scene seeds; figures that are published come from "test".
        options: of the protocol's functions, such as num_context, num_steps, tours, turns, horizons, strategies,
            contexts, denoising, domains or metrics.

    Raises:
        ValueError: an unknown protocol or option, a value out of range, torchmetrics missing where SSIM is measured, or
            a file `out` that holds something else. Nothing is measured then.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    chosen = PROTOCOLS[protocol]
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    check_integer("scenes", scenes, 2, len(SPLITS[split]))
    seeds = split_seeds(split, scenes)
    if chosen.ssim:
        check_ssim()
    for name in ("steps", "num_steps", "num_context", "revisits", "other_frames"):
        if options.get(name) is not None:
            check_integer(name, options[name], 1)
    for tour in options.get("tours", ()):
        check_integer("tours", tour, 0)
    known = inspect.signature(chosen.cases).parameters
    cases = chosen.cases(**{name: value for name, value in options.items() if name in known})
    measuring = inspect.signature(chosen.measure).parameters
    kept = {
        name: parameter.default for name, parameter in measuring.items() if parameter.default is not parameter.empty
    }
    for name, value in options.items():
        if name not in known and name not in kept:
            raise ValueError(f"{name}={value!r} has no meaning for protocol={protocol!r}; leave it out.")
    kept |= {name: value for name, value in options.items() if name in kept}
    generator = load_generator(model, device) if isinstance(model, str) else model
    out = Path(f"results_{protocol.replace('-', '_')}.json" if out is None else out)
    for path in filter(None, (out, sheet)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    head = {
        "protocol": protocol,
        "model": model if isinstance(model, str) else type(model).__name__,
        "weights": weights_checksum(model),
        "scenes": {"split": split, "seeds": [seeds[0], seeds[-1]]},
        "options": kept,
    }

    def measure(group: list[int], **case) -> dict:
        return chosen.measure(generator, group, **case, **kept)

    sheet = None if sheet is None else Path(sheet)
    return run_protocol(head, cases, seeds, measure, out, chosen.combine, chosen.group, sheet, quiet)
