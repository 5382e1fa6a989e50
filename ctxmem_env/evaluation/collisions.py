"""Collisions: does what a generated world shows stop a camera where the true scene does?

A camera walks at random through a test scene; the surfaces of the true scene end its motions. The generator paints what
it sees, and before each motion it is asked of the painted world whether and where that motion ends. Both answers are
for the same place and the same motion, so one mistake does not bring on others.
"""

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.actions import DiscreteActions
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.dynamics import SeenSurfaces, limit_motion
from ctxmem_env.errors import check_integer
from ctxmem_env.generator import Generator, load_generator
from ctxmem_env.scenes import SPLITS, Scene, build_scene, render, spawn, split_seeds, stack_scenes, sweep_scenes, tour
from ctxmem_env.world import SceneWorld

_LONGEST_RUN = 6  # steps that an action is repeated, or else a random walk hardly leaves its place


class _Forced:
    """Dynamics of the true scenes; keeps what the painted worlds would have done."""

    def __init__(self, scenes: Scene, radius: float):
        self.scenes, self.radius, self.seen = scenes, radius, SeenSurfaces(radius)
        self.answers: list[Tensor] = []  # (n, 4): cut in the painted world, in the true one, metres walked in both

    def limit(self, memory, poses: Tensor, motion: Tensor, fov: Tensor) -> tuple[Tensor, Tensor]:
        painted, stopped = self.seen.limit(memory, poses, motion, fov)
        true, collided = limit_motion(
            motion, poses, lambda start, way: sweep_scenes(self.scenes, start, way, self.radius), False
        )
        walks = motion[:, :2].any(dim=1)
        lengths = (part[:, :2].norm(dim=-1) for part in (painted, true))
        self.answers.append(torch.stack([stopped, collided, *lengths], dim=1)[walks].double())
        return true, collided


@torch.no_grad()
def evaluate_collisions(
    model: str | Generator = "nano",
    scenes: int = 16,
    steps: int = 100,
    tour_frames: int = 12,
    num_context: int = 8,
    body_radius: float = 0.15,
    first_scene: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> dict:
    """Agreement on random walks of `steps` discrete actions, each action held for 1 to 6 steps, in test scenes.

    Args:
        model: a packaged generator, a folder, or a `Generator`.
        scenes: number of test scenes, one walk in each.
        steps: of each walk.
        tour_frames: true frames in memory before a walk.
        num_context: context slots.
        body_radius: metres.
        first_scene: number of test scenes that are left out before the first.
        device: a torch device.

    Returns:
        precision and recall of collisions; motions, how many translations were judged, and collisions, how many of them
        the true scene ended; error_m, the mean difference of the ways walked; and the arguments.
    """
    check_integer("scenes", scenes, 1)
    check_integer("first_scene", first_scene, 0, len(SPLITS["test"]) - scenes)
    check_integer("steps", steps, 1)
    check_integer("tour_frames", tour_frames, 0)
    generator = load_generator(model, device) if isinstance(model, str) else model
    place = getattr(generator, "device", "cpu")
    seeds = split_seeds("test", first_scene + scenes)[first_scene:]
    built = [build_scene(seed) for seed in seeds]
    dynamics = _Forced(stack_scenes(built).to(place), body_radius)
    world = SceneWorld(generator, scenes, num_context=num_context, device=place, dynamics=dynamics)
    actions = np.zeros((steps, scenes), dtype=np.int64)
    for i, (seed, scene) in enumerate(zip(seeds, built, strict=True)):
        rng = np.random.default_rng(seed)
        poses = tour(scene, tour_frames + 1, rng, spawn(scene, rng)).to(place)
        frames, depth = render(
            stack_scenes([scene]).to(place), poses[None], DEFAULT_FOV, generator.height, generator.width
        )
        world.reset(i, frames[0], depth[0], poses, DEFAULT_FOV, seed)
        actions[:, i] = _held_actions(steps, rng)
    motions = DiscreteActions()
    for row in tqdm(actions, disable=quiet, desc="collisions", unit="step"):
        world.advance(motions.to_motion(row))
    painted, true, *walked = torch.cat(dynamics.answers).T.cpu()
    both = float((painted * true).sum())
    return {
        "protocol": "collisions",
        "model": model if isinstance(model, str) else type(model).__name__,
        "scenes": {"split": "test", "seeds": [seeds[0], seeds[-1]]},
        "steps": steps,
        "tour": tour_frames,
        "num_context": num_context,
        "body_radius": body_radius,
        "motions": len(true),
        "collisions": int(true.sum()),
        "precision": _share(both, float(painted.sum())),
        "recall": _share(both, float(true.sum())),
        "error_m": round(float((walked[0] - walked[1]).abs().mean()), 4),
    }


def _held_actions(steps: int, rng: np.random.Generator) -> list[int]:
    actions: list[int] = []
    while len(actions) < steps:
        actions += [int(rng.integers(1, len(DiscreteActions.names)))] * int(rng.integers(1, _LONGEST_RUN + 1))
    return actions[:steps]


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 3) if whole else None
