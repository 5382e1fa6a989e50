"""`ctxmem play`: a window to walk in."""

import inspect
import logging

import gymnasium as gym

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.cli.drive import Drive
from ctxmem_env.cli.rollout import IDS
from ctxmem_env.cli.walks import Play
from ctxmem_env.errors import check_integer
from ctxmem_env.play import Player
from ctxmem_env.play.controls import STEP_LENGTH, TURN_ANGLE

logger = logging.getLogger(__name__)


def play(command: Play) -> dict:
    """Run the command until its window is closed, and return what is to be printed. ValueError for unfit input."""
    if not 0 < command.fps <= 60:
        raise ValueError(f"fps={command.fps!r}; expected steps a second, above 0 and at most 60.")
    player = open_player(command)
    logger.info(inspect.getdoc(Play))
    player.run()
    return {"steps": player.steps, "videos": player.videos, "env": IDS[command.env], "seed": command.seed}


def open_player(command: Play) -> Player:
    """The window of a command, before anything was pressed."""
    check_integer("seed", command.seed, 0)
    env = gym.make(
        IDS[command.env],
        task=command.task,
        actions="continuous",
        step_length=STEP_LENGTH,
        turn_angle=TURN_ANGLE,
        sliding=True,
        retrieval=command.retrieval,
        num_context=command.num_context,
        device=command.device,
        **({} if command.env == "true" else {"model": command.model}),
    )
    options = Drive([]).options(command, env)
    return Player(env.unwrapped, command.seed, options, command.out, command.fps)
