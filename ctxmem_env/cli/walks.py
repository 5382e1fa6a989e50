"""Subcommands that walk through a world: `ctxmem rollout`, `compare` and `play`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from ctxmem_env.cli.command import TorchCommand


@dataclass(frozen=True, kw_only=True)
class Place(TorchCommand):
    """Where a walk takes place, and what paints it."""

    seed: int = 0
    """Of the scene and of all randomness."""
    scene: Annotated[int | str | None, arg(metavar="SEED|STYLE")] = None
    """Seed or style of the scene whose true frames open the world. By default one drawn with --seed."""
    image: Annotated[Path | None, arg(metavar="FILE")] = None
    """Picture that becomes the first frame, in place of a scene."""
    capture: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Folder of posed pictures that are remembered, in place of a scene: of nerfstudio, instant-ngp, COLMAP,
    Context-as-Memory, GF-Minecraft or RealEstate10K."""
    prompt: Annotated[str | None, arg(metavar="TEXT")] = None
    """What the world is to show, in words, where the model takes text (wan:)."""
    tour: Annotated[int | None, arg(metavar="INT")] = None
    """True frames of the scene in memory before the first step, or frames of --capture. By default that of the
    environment, or all up to 256."""
    fov: Annotated[float | None, arg(metavar="DEGREES")] = None
    """Horizontal field of view of the whole --image, or of the frame. By default that of the trajectory or 90."""
    distance: Annotated[float | None, arg(metavar="METRES")] = None
    """Median distance of what --image shows. By default as the model estimates it, or, with --trajectory, twice as far
    as the path leads from its start: a picture has no scale, but no camera walked through what it saw."""
    model: str = "nano"
    """Packaged generator, folder or hub id; or wan: and a folder or hub id."""
    num_context: int = 8
    """Number of context frames."""
    device: str = "auto"
    """Torch device; auto is CUDA where there is one."""


@dataclass(frozen=True, kw_only=True)
class Route(Place):
    """Which way it goes, and how it is filmed."""

    actions: Annotated[str | None, arg(metavar="ACTIONS")] = None
    """Such as forward*4,turn_left*24; or "random"; or a JSON file that holds a list of names or of
    [dx, dy, dyaw, dpitch] in [-1, 1]."""
    trajectory: Annotated[Path | None, arg(metavar="FILE")] = None
    """Camera path: a Context-as-Memory JSON file, or {"poses": [[x, y, z, yaw, pitch, roll], ...], "fov": degrees}."""
    steps: Annotated[int | None, arg(metavar="INT")] = None
    """Number of steps. By default one walk of 58 steps, all of the actions or the trajectory, or 100 random ones."""
    fps: float = 12
    """Frames per second of the video."""


@dataclass(frozen=True, kw_only=True)
class Rollout(Route):
    """Walk through a world and write a video of it.

    The camera takes a short walk with a full turn that ends where it began, or follows --actions or --trajectory.
    """

    out: Path = Path("rollout.mp4")
    """Video file, .mp4 or .gif."""
    layout: Literal["panel", "plain"] = "panel"
    """The frame with the true one, the retrieved frames, a map, keys and rewards; or the frame alone."""
    retrieval: str = "fov"
    """How context is chosen from memory: fov, fov_rays, fov_random, fov_non_adjacent, fov_far, random, first_random,
    recent, first or none."""
    env: Literal["generated", "true"] = "generated"
    """The generated world, or the true scene."""
    no_truth: bool = False
    """Do not draw the true scene beside the generated world."""
    save_episode: Annotated[Path | None, arg(metavar="FILE")] = None
    """JSON file to keep the seed, the options and the actions in, from which --replay makes the same frames."""
    replay: Annotated[Path | None, arg(metavar="FILE")] = None
    """Episode to play again, in place of all that says where to go."""
    any_generator: bool = False
    """Let another generator than the recorded one play the episode of --replay."""
    plot: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Folder for pictures of the walk from above and of what was retrieved; needs matplotlib."""

    def run(self) -> dict:
        from ctxmem_env.cli.rollout import rollout

        self.limit_threads()
        return rollout(self)


@dataclass(frozen=True, kw_only=True)
class Compare(Route):
    """Film several ways to retrieve memory side by side, on the same walk.

    The first one walks, and its path is then followed pose by pose in a world for each. The results tell how far each
    agrees with the true scene, and with itself where the walk comes back.
    """

    out: Path = Path("compare.mp4")
    """Video file, .mp4 or .gif."""
    retrieval: Annotated[str, arg(metavar="NAME,...")] = "fov,recent,none"
    """Two or more of fov, fov_rays, fov_random, fov_non_adjacent, fov_far, random, first_random, recent, first and
    none."""

    def run(self) -> dict:
        from ctxmem_env.cli.compare import compare

        self.limit_threads()
        return compare(self)


@dataclass(frozen=True, kw_only=True)
class Play(Place):
    """Walk through a world yourself, in a window: WASD moves, the mouse or the arrow keys look. H shows all keys."""

    retrieval: str = "fov"
    """How context is chosen from memory: fov, fov_rays, fov_random, fov_non_adjacent, fov_far, random, first_random,
    recent, first or none."""
    env: Literal["generated", "true"] = "generated"
    """The generated world, or the true scene."""
    task: str = "roam"
    """What there is to do: roam, point_goal, image_goal, explore or look_back."""
    out: Annotated[Path, arg(metavar="FOLDER")] = Path("recordings")
    """Folder of the videos that V starts and ends."""
    fps: float = 12
    """Steps per second, at most, while a key is held."""

    def run(self) -> dict:
        from ctxmem_env.cli.play import play

        self.limit_threads()
        return play(self)
