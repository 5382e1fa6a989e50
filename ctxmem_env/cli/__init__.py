"""The command `ctxmem`: its subcommands, their options, and how errors and results are printed.

Results are one JSON object, the last line on standard output; progress and notes go to standard error.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from tyro.conf import Positional, arg, subcommand

from ctxmem_env.cli.bench import BENCHES
from ctxmem_env.cli.command import Command, TorchCommand
from ctxmem_env.cli.parsing import parse
from ctxmem_env.cli.selftest import SelfTest
from ctxmem_env.cli.walks import Compare, Play, Rollout

DESCRIPTION = """Worlds that a generative model paints and whose memory is the frames already seen.

  ctxmem play                              walk yourself, in a window
  ctxmem rollout --out walk.mp4            film a walk
  ctxmem rollout --image photo.jpg         begin in a picture of your own
  ctxmem compare                           see what memory is worth
  ctxmem evaluate --protocol loop          measure it

Every command ends with one line of JSON on standard output that holds its results. Progress and errors go to standard
error, where --quiet leaves errors alone and --debug adds where they come from; --json tells them in JSON, too.
`ctxmem COMMAND --help` tells more, and `ctxmem --version` what a report of a bug needs."""


@dataclass(frozen=True, kw_only=True)
class Serve(TorchCommand):
    """Walk in the browser: serve a web page until SIGINT (Ctrl+C).

    It is reached from this machine alone unless --host says otherwise; then the address that is printed holds a token,
    without which nobody gets in. CTXMEM_TOKEN sets one.
    """

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 is all that this machine has."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    models: tuple[str, ...] = ("nano",)
    """Packaged generators or folders that visitors may choose from; they know a folder by its last part."""
    visitors: int = 8
    """Visitors at once."""
    fps: float = 20
    """Steps a second of one visitor, at most."""
    idle_minutes: float = 10
    """Minutes after which who does nothing loses the place."""
    num_context: int = 8
    """Number of context frames."""
    memory_capacity: int = 256
    """Frames that a world remembers; each takes about 0.2 MB."""
    allow_host: tuple[str, ...] = ()
    """Names under which the server may be asked for, besides addresses and localhost, as behind a proxy."""
    device: str = "auto"
    """Torch device; auto is CUDA where there is one."""

    def run(self) -> dict:
        from ctxmem_env.cli.serve import serve_command

        self.limit_threads()
        return serve_command(self)


@dataclass(frozen=True, kw_only=True)
class Collect(TorchCommand):
    """Write a walk through a world as a capture, pictures and their poses, or episodes as a Minari dataset.

    By default the walk is a random one through a true scene.
    """

    out: Annotated[Path, arg(metavar="FOLDER")]
    """New or empty folder."""
    scene: Annotated[int | None, arg(metavar="SEED")] = None
    """Seed of the scene. Episodes of minari are by default in one scene each, drawn with their seeds."""
    image: Annotated[Path | None, arg(metavar="FILE")] = None
    """In place of a scene a picture on a wall, before which the camera walks a loop."""
    format: Literal["nerfstudio", "context-as-memory", "minari"] = "nerfstudio"
    """Layout; of the captures nerfstudio has depth, too, but not of --image."""
    env: Literal["generated", "true"] = "true"
    """The generated world, or the true scene."""
    policy: Annotated[str | None, arg(metavar="POLICY")] = None
    """Name or file of the policy that walks. By default that of a random walk; in the generated world and of minari
    random actions."""
    task: Annotated[str | None, arg(metavar="TASK")] = None
    """Of minari: what the episodes ask for. By default roam."""
    episodes: Annotated[int | None, arg(metavar="INT")] = None
    """Of minari: their number, by default 10."""
    model: str = "nano"
    """Packaged generator, folder or hub id, of the generated world."""
    steps: int = 100
    """Steps of the walk, there is one frame more; of minari the most of an episode."""
    seed: int = 0
    """Of the walk, or of the first episode."""
    height: Annotated[int | None, arg(metavar="PIXELS")] = None
    """By default 64, of context-as-memory 360."""
    width: Annotated[int | None, arg(metavar="PIXELS")] = None
    """By default 64, of context-as-memory 640."""
    fov: Annotated[float | None, arg(metavar="DEGREES")] = None
    """Horizontal field of view. By default 90; context-as-memory has 52.67. Of --image that of the whole picture from
    the middle of the walk, by default 100."""

    def run(self) -> dict:
        from ctxmem_env.cli.collect import collect

        self.limit_threads()
        return collect(self)


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a generator. A run that was cut off goes on from its last checkpoint."""

    config: Annotated[Positional[Path], arg(metavar="CONFIG")]
    """YAML file, such as configs/nano.yaml."""
    data: Annotated[tuple[Path, ...], arg(metavar="FOLDER [FOLDER ...]")] = ()
    """Folders of captures to train on beside the rendered scenes: of one, of many, or a data set of Context-as-Memory
    or GF-Minecraft. By default those that the config names. An adapter of Wan is trained on them alone."""
    out: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Folder of checkpoints, logs and samples. By default runs/NAME, with the name in the config."""
    device: str = "cpu"
    """Torch device."""

    def run(self) -> dict:
        from ctxmem_env.training.wan_config import is_wan

        if is_wan(self.config):
            return self.run_wan()
        from ctxmem_env.config import TrainConfig, load_config
        from ctxmem_env.training.train import train

        config = load_config(TrainConfig, self.config)
        if self.data:
            config = replace(config, data=replace(config.data, captures=[str(folder) for folder in self.data]))
        out = Path("runs") / config.name if self.out is None else self.out
        return {**train(config, out, self.device, self.quiet), "out": str(out)}

    def run_wan(self) -> dict:
        from ctxmem_env.config import load_config
        from ctxmem_env.training.wan import train_wan
        from ctxmem_env.training.wan_config import WanTrainConfig

        config = load_config(WanTrainConfig, self.config)
        if self.data:
            config = replace(config, captures=[str(folder) for folder in self.data])
        out = Path("runs") / config.name if self.out is None else self.out
        return {**train_wan(config, out, self.device, self.quiet), "out": str(out)}


@dataclass(frozen=True, kw_only=True)
class Evaluate(TorchCommand):
    """Compare a generator with the true scenes, beside painters that copy remembered frames."""

    protocol: Literal[
        "views",
        "collisions",
        "transfer",
        "loop",
        "horizon",
        "occlusion",
        "retrieval",
        "new-content",
        "close-ups",
        "sampling",
        "domains",
        "perceptual",
        "capture",
        "methods",
    ] = "views"
    """What the generator paints, on true frames and on its own; whether it stops a camera where the scene does;
    whether policies do as well in it as in the scene; whether a place is the same after a way out and back, or after
    a long walk; what is retrieved when a wall hides it, and by which rule; how new content looks; what becomes of
    things when the camera walks up to them; what denoising steps bring; how it paints places of kinds that training
    never showed; LPIPS, FID and FVD; pictures that were left out of captures; or training runs that differ in their
    context. From loop on an interrupted command goes on when it is given again."""
    model: str = "nano"
    """Packaged generator, folder or hub id."""
    scenes: int = 32
    """Number of test scenes."""
    steps: Annotated[int | None, arg(metavar="INT")] = None
    """Steps of each walk, by default 50; of transfer the most of an episode, by default 200."""
    num_steps: Annotated[int | None, arg(metavar="INT")] = None
    """Denoising steps. By default those of the model."""
    num_context: int = 8
    """Number of context frames."""
    tours: Annotated[tuple[int, ...] | None, arg(metavar="INT [INT ...]")] = None
    """Numbers of true frames in memory before a walk, by default 12 and 0; one evaluation for each. Of transfer one, by
    default 12; of occlusion by default 12 alone."""
    task: Annotated[str | None, arg(metavar="TASK")] = None
    """Of transfer: what the policies are to do. By default point_goal."""
    policies: Annotated[str | None, arg(metavar="POLICY,...")] = None
    """Of transfer: names or files of policies, with commas between them."""
    sliding: bool = False
    """Of transfer: cameras go on along the surface that stops them."""
    retrieval: Annotated[str | None, arg(metavar="NAME,...")] = None
    """Of transfer, occlusion and retrieval: how context is chosen from memory, one evaluation for each name. By
    default fov; of the last two every strategy."""
    turns: Annotated[tuple[int, ...] | None, arg(metavar="DEGREES [DEGREES ...]")] = None
    """Of loop: how far the camera turns away, by default 90, 180 and 360; it leaves the room, too."""
    horizons: Annotated[tuple[int, ...] | None, arg(metavar="INT [INT ...]")] = None
    """Of horizon: steps of a walk, by default 100, 300, 1000 and 3000."""
    contexts: Annotated[tuple[int, ...] | None, arg(metavar="INT [INT ...]")] = None
    """Of retrieval: numbers of context frames beside --num-context, by default 1, 5, 10, 20 and 30."""
    captures: Annotated[tuple[Path, ...] | None, arg(metavar="FOLDER [FOLDER ...]")] = None
    """Of capture: folders of one capture or of many."""
    every: Annotated[int | None, arg(metavar="INT")] = None
    """Of capture: of so many pictures one is left out, by default 4."""
    runs: Annotated[tuple[Path, ...] | None, arg(metavar="FOLDER [FOLDER ...]")] = None
    """Of methods: folders of finished training runs, each measured with the context that it was trained with."""
    denoising: Annotated[tuple[int, ...] | None, arg(metavar="INT [INT ...]")] = None
    """Of sampling: numbers of denoising steps, by default 1, 2, 4 and 8."""
    domains: Annotated[tuple[str, ...] | None, arg(metavar="NAME [NAME ...]")] = None
    """Of domains: trained, styles that are held out of training, or freedoom (pip install 'ctxmem-env[doom]'). By
    default all of them."""
    metrics: Annotated[tuple[str, ...] | None, arg(metavar="NAME [NAME ...]")] = None
    """Of perceptual: lpips, fid or fvd, by default all; their weights must be on this machine (pip install
    'ctxmem-env[perceptual]')."""
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """File that the results are written to. By default results.json, from loop on results_PROTOCOL.json."""
    sheet: Annotated[Path | None, arg(metavar="FILE")] = None
    """PNG file of walks, generated above true; from loop on one file for each case."""
    device: str = "auto"
    """Torch device; auto is CUDA where there is one."""

    def run(self) -> dict:
        from ctxmem_env.cli.evaluate import evaluate_command

        self.limit_threads()
        return evaluate_command(self)


Subcommand = (
    Annotated[Play, subcommand("play")]
    | Annotated[Serve, subcommand("serve")]
    | Annotated[Rollout, subcommand("rollout")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Collect, subcommand("collect")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[SelfTest, subcommand("selftest")]
    | Annotated[BENCHES, subcommand("bench", description="Measure how fast a part of the package is on this machine.")]
)


def _names(kinds: Any) -> list[str]:
    return [kind.__metadata__[0].name for kind in get_args(kinds)]


NAMES = dict.fromkeys(_names(Subcommand), ()) | {"bench": _names(BENCHES)}


def _start_logging(command: Command) -> None:
    """What the package logs goes to standard error; with --quiet only warnings do, with --debug everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("ctxmem: %(message)s"))
    logger = logging.getLogger("ctxmem_env")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if command.debug else logging.WARNING if command.quiet else logging.INFO)
    logger.propagate = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit code is 0, or 2 for bad input, or 130 when interrupted."""
    given = sys.argv if arguments is None else arguments
    debug = bool(os.environ.get("CTXMEM_DEBUG")) or "--debug" in given
    try:
        command = parse(Subcommand, NAMES, DESCRIPTION, arguments)
        _start_logging(command)
        results = command.run()
    except (ValueError, OSError) as error:
        if debug:
            traceback.print_exc()
        text = " ".join(str(error).split())
        print("ctxmem: error:", text, file=sys.stderr)
        code, results = 2, {"error": text}
    except KeyboardInterrupt:
        print("ctxmem: interrupted", file=sys.stderr)
        code, results = 130, {"error": "interrupted"}
    else:
        code = 0
    # Of the ranks of one training run only the first speaks.
    if os.environ.get("RANK", "0") == "0" and (code == 0 or "--json" in given):
        print(json.dumps(results))
    return code
