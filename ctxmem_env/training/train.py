"""Train a generator: one visible loop.

    ctxmem train configs/nano.yaml

Batches are rendered on the fly; a run may be cut off at any time and goes on from its last checkpoint. Several
processes can share it, see `ranks`.
"""

import io
import json
import sys
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.camera import cameras_at
from ctxmem_env.config import TrainConfig
from ctxmem_env.device import resolve_device
from ctxmem_env.errors import unknown_name
from ctxmem_env.generator import Examples
from ctxmem_env.generator.flow import add_noise, draw_times, loss_weight
from ctxmem_env.generator.panorama import OfPlace, wind
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.store import save_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.retrieval import get_retrieval
from ctxmem_env.training import ranks
from ctxmem_env.training.adversary import Adversary
from ctxmem_env.training.captures import estimate_context, training_batches
from ctxmem_env.training.data import batches, to_float
from ctxmem_env.training.own_walks import OwnWalks
from ctxmem_env.training.run import ARGUMENTS, Run, autocast
from ctxmem_env.training.targets import detail, judged, make_target
from ctxmem_env.training.texture import texture_loss
from ctxmem_env.training.validate import validate_all, validation_batches


def losses(
    model: SceneTransformer,
    batch: dict[str, Tensor],
    config: TrainConfig,
    generator: torch.Generator,
    adversary: Adversary | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The training loss of one batch and its parts: colour, the network's own colour, log depth and, if asked, texture.

    Where nothing true was seen there are many right answers, and their average is fog: there something else stands for
    the truth, see `make_target`, and the critic says what is wrong with it. Texture, which weighs the same everywhere
    and at all times, is to be that of what the colours are to be.
    """
    clean = to_float(batch["frames"])
    whole = (ranks.size() * len(clean), *clean.shape[1:])  # drawn for the scenes of all ranks, whatever their number
    t = ranks.share(draw_times(whole[:2], generator)).to(clean.device)
    noise = ranks.share(torch.randn(whole, generator=generator)).to(clean.device)
    context = to_float(batch["context_frames"])
    memory = (
        batch["poses"],
        batch["fov"],
        context,
        batch["context_depth"],
        batch["context_poses"],
        batch["mask"],
    )
    if "known" in batch:  # of a walk over own frames
        frames, depth, poses, mask, centre = (batch[f"example_{part.name}"] for part in fields(Examples))
        examples = OfPlace(frames.movedim(-1, -3), depth, cameras_at(poses, batch["fov"]), mask)
        panorama = wind(examples, centre)
        seen = model.look(*memory, _encode(model, batch, context), batch["given"], examples, panorama)
    else:
        seen = model.look(*memory)
    under_noise = clean
    if config.own_path:
        own = ranks.share(torch.rand(whole[:2], generator=generator)).to(clean.device) < config.own_path
        with torch.no_grad():
            first = model(noise, torch.ones_like(t), *memory, seen=seen).frames
        under_noise = torch.where(own[..., None, None, None], first.to(clean), clean)
    view = model(add_noise(under_noise, t, noise), t, *memory, seen=seen)
    weight = loss_weight(t)[..., None, None, None]
    target = make_target(batch, seen, clean)
    weight = weight * (1 - (1 - config.example_weight) * target.stands_in)

    def colour(prediction: Tensor) -> Tensor:
        # Half squared and half absolute error: the first wants the right brightness, the second sharp edges.
        error = prediction - target.colours
        return (weight * (error.square() + 0.2 * error.abs())).mean()

    share = ranks.total(target.measured.float().mean()) / ranks.size()
    depth = ((view.log_depth - target.log_depth).abs() * target.measured).mean() / share.clamp(min=1e-6)
    parts = {"colour": colour(view.frames), "own": colour(view.own), "depth": depth}
    total = parts["colour"] + config.own_weight * parts["own"] + config.depth_weight * depth
    if config.texture_weight:
        compared = view.frames, target.colours, detail(batch, seen, target)
        parts["texture"] = texture_loss(*(part.flatten(0, 1) for part in compared))
        total = total + config.texture_weight * parts["texture"]
    if adversary is not None:
        frames, truth, painted = (part.flatten(0, 1) for part in (view.frames, clean, judged(batch, seen, target)))
        (reconstruction,) = torch.autograd.grad(parts["colour"], view.frames, retain_graph=True)
        pull = adversary.pull(frames, truth, painted, reconstruction.flatten(0, 1))
        total = total + config.adversarial_weight * (frames * pull).sum()
        adversary.step(frames, truth, painted)
    return total, {name: value.item() for name, value in parts.items()}


@torch.no_grad()
def _encode(model: SceneTransformer, batch: dict[str, Tensor], context: Tensor) -> Tensor:
    """Features of context frames, without a gradient, which would be a third of the cost of a step.

    For walks over own frames: the encoder learns from the other batches.
    """
    read = slice(model.config.num_attended)
    each = [value[:, read].flatten(0, 1) for value in (context, batch["context_depth"], batch["context_poses"])]
    slots = len(each[0]) // len(context)
    return model.encode(*each, batch["fov"].repeat_interleave(slots)).unflatten(0, (-1, slots))


@torch.no_grad()
def repaint_context(
    model: SceneTransformer, batch: dict[str, Tensor], generator: torch.Generator, generations: int = 1
) -> None:
    """Replace every other context frame by the model's own view of it, painted from the remaining ones.

    In further generations the halves take turns, so that copies are made of copies, as a rollout makes them. Only what
    was fetched is replaced: what the model made up is not the true scene, and a target that contradicts its context
    would teach it not to trust its memory.
    """
    for generation in range(generations):
        halves = slice(generation % 2, None, 2), slice((generation + 1) % 2, None, 2)
        _repaint_half(model, batch, generator, *halves)


def _repaint_half(
    model: SceneTransformer, batch: dict[str, Tensor], generator: torch.Generator, half: slice, rest: slice
) -> None:
    frames, poses = to_float(batch["context_frames"]), batch["context_poses"]
    shape = frames[:, half].shape
    noise = ranks.share(torch.randn(ranks.size() * shape[0], *shape[1:], generator=generator)).to(frames.device)
    view = model(
        noise,
        torch.ones(noise.shape[:2], device=noise.device),
        poses[:, half],
        batch["fov"],
        frames[:, rest],
        batch["context_depth"][:, rest],
        poses[:, rest],
        batch["mask"][:, rest],
    )
    fetched = (view.own_weight < 0.3) & (batch["context_depth"][:, half] > 0)  # a frame from outside stays as it came
    painted = ((view.frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(2, -1)
    old_frames, old_depth = batch["context_frames"][:, half], batch["context_depth"][:, half]
    batch["context_frames"][:, half] = torch.where(fetched[..., None], painted, old_frames)
    batch["context_depth"][:, half] = torch.where(fetched, view.log_depth.exp(), old_depth)


def train(config: TrainConfig, out: Path, device: str = "cpu", quiet: bool = False) -> dict:
    """Run `config` from the last checkpoint in the folder `out`, or from the beginning; returns the last figures.

    `out` gets latest.safetensors (the checkpoint), log.jsonl, sheet_<step>.png and generator/, the averaged weights of
    the last validation as a folder that `gym.make(..., model=folder)` takes. Of several ranks the first one writes,
    and their number may change when a run is resumed.
    """
    for name in config.model:
        if name not in ARGUMENTS:
            raise unknown_name("config: model", name, ARGUMENTS)
    get_retrieval(config.data.retrieval)
    with ranks.joined(resolve_device(device), config.data.scenes_per_batch) as own:
        return _train(config, out, own, quiet)


def _train(config: TrainConfig, out: Path, device: torch.device, quiet: bool) -> dict:
    first = ranks.rank() == 0
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    run = Run(config, out, device)
    forward = torch.compile(run.model) if config.compile else run.model
    size = run.model.config.height, run.model.config.width
    validation = validation_batches(config, *size, device) if first else {}
    precise = autocast(config, device)
    own_walks = OwnWalks(config, SceneGenerator(run.model), precise)
    numbers = [number for number in range(run.step, config.num_steps) if not own_walks.serve(number)]
    dataset = training_batches(config, *size, slice(ranks.rank(), None, ranks.size()))
    rendered = iter(batches(dataset, numbers, config.data.workers))
    figures: dict = {}
    with (
        (out / "log.jsonl").open("a") if first else io.StringIO() as log,
        tqdm(total=config.num_steps, initial=run.step, disable=quiet or not first, desc=config.name) as bar,
    ):
        log.truncate(run.log_bytes)
        while run.step < config.num_steps:
            step, own = run.step, own_walks.serve(run.step)
            batch = own_walks.batch(step) if own else {n: value.to(device) for n, value in next(rendered).items()}
            rng = torch.Generator().manual_seed(config.seed * 2**32 + step)
            with precise:
                estimate_context(batch)
                if not own and step >= config.self_context_from and torch.rand((), generator=rng) < config.self_context:
                    deepest = config.self_context_generations
                    repaint_context(forward, batch, rng, int(torch.randint(1, deepest + 1, (), generator=rng)))
                critic = run.adversary if config.adversarial_weight and step >= config.adversarial_from else None
                loss, parts = losses(forward, batch, config, rng, critic)
            norm = run.learn(loss)
            bar.update()
            last = run.step == config.num_steps
            logs = run.step % 20 == 0 or last
            if logs:
                parts = ranks.means(parts)
            if not first:
                continue
            now = {"step": run.step, "seconds": round(run.seconds, 1)}
            if logs:
                bar.set_postfix({name: f"{value:.4f}" for name, value in parts.items()})
                log.write(json.dumps({**now, "norm": round(norm, 3), **parts}) + "\n")
            if run.step % config.validate_every == 0 or last:
                generator = SceneGenerator(run.ema)
                save_generator(generator, out / "generator")
                figures = validate_all(generator, validation, out / f"sheet_{run.step:06d}.png")
                log.write(json.dumps({**now, "validation": figures}) + "\n")
                note = f"step {run.step}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
                if not quiet:
                    bar.write(note, file=sys.stderr)
            if run.step % config.checkpoint_every == 0 or last:
                log.flush()
                run.save(log.tell())
    return ranks.from_first(lambda: {"steps": run.step, "seconds": round(run.seconds, 1), **figures})
