"""Walks through the Freedoom maps that ViZDoom brings: places that nobody of this package made.

Needs `pip install 'ctxmem-env[doom]'`. Poses are what the game tells of its camera, read after every step; depth is its
depth buffer. Units and lens, and where they come from:

- 32 map units are a metre: a player of 56 units is then 1.75 m tall, with eyes at 1.28 m.
- The game draws pixels 1.2 times as tall as wide, as on the screens of its time. At 90 degrees across a picture of
  4 : 3 the tangent of half the vertical field of view is therefore 0.625, and as much of the middle is kept across: a
  square of 64 degrees.
- The depth buffer is linear in z, in 256 levels of 7.13 units; offset and step were fitted to the lines of six maps.
  It is right at 90 degrees only: at others walls and floors differ. Depth is so known to 0.11 m, up to 57 m.

Monsters are left out. Things that lie about are flat pictures that turn to the camera, and some lights flicker.
"""

import importlib.util
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import wrap_angle
from ctxmem_env.evaluation.protocols import Walks
from ctxmem_env.scenes import SPLITS, split_of

UNITS = 32.0  # of a map, a metre
HALF_VIEW = 0.625  # tangent of half the field of view of a frame
FOV = 2 * math.degrees(math.atan(HALF_VIEW))
MAPS = (
    *(("freedoom2.wad", f"MAP{number:02d}") for number in range(1, 33)),
    *(("freedoom1.wad", f"E{episode}M{number}") for episode in range(1, 5) for number in range(1, 10)),
)
_LEVEL, _OFFSET = 7.13, 2.1  # units of a level of the depth buffer, and levels at its value 0
# Without these it would leave a folder where it is started.
_SETTINGS = "".join(
    f"[{name}.AutoExec]\nPath=autoexec.cfg\n" for name in ("Doom", "Heretic", "Hexen", "Strife", "Chex")
)
_OPENING = 20  # tics in which the game brings its camera into place
_TICS, _FORWARD = 4, 6  # of a step, and the push ahead in each: once the player is at speed a step is 0.25 m long
_CLEAR = 1.0  # metres ahead, below which a walker turns
_ATTEMPTS = 5  # walks before a map is given up, where each ended the level


def check_vizdoom() -> None:
    """ValueError where vizdoom is missing."""
    if importlib.util.find_spec("vizdoom") is None:
        raise ValueError(
            "Freedoom needs vizdoom, which is not installed; pip install 'ctxmem-env[doom]', or name other domains."
        )


def doom_walks(seeds: list[int], steps: int, tour_frames: int, height: int, width: int) -> Walks:
    """Walks of `steps` steps, each in the map of its seed, after `tour_frames` views all around the start.

    A seed's map is the one that comes at its place in its split, of 68 in turn. ValueError for frames that are not
    square, or without vizdoom.
    """
    check_vizdoom()
    if height != width:
        raise ValueError(f"frames of {height} x {width} pixels; Freedoom is seen in square ones, so use another model.")
    walks = [_walk(seed, steps, tour_frames, height) for seed in seeds]
    frames, depth, poses = (torch.stack(part) for part in zip(*walks, strict=True))
    return Walks(frames, depth, poses, tour_frames + 1, list(seeds), FOV)


def _walk(seed: int, steps: int, tour_frames: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    place = MAPS[(seed - SPLITS[split_of(seed)].start) % len(MAPS)]
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, attempt])
        with tempfile.TemporaryDirectory() as folder:
            game = _open(place, seed, folder)
            try:
                found = list(_looks(game, steps, tour_frames, size, rng))
            finally:
                game.close()
        if len(found) == tour_frames + 1 + steps:
            frames, depth, poses = (torch.stack(part) for part in zip(*found, strict=True))
            poses[:, :2] -= poses[0, :2].clone()
            return frames, depth, poses
    raise ValueError(f"{place[1]}: {_ATTEMPTS} walks of {steps} steps left the map; ask for shorter ones.")


def _open(place: tuple[str, str], seed: int, folder: str):
    import vizdoom

    game = vizdoom.DoomGame()
    game.set_doom_game_path(str(Path(vizdoom.__file__).parent / place[0]))
    game.set_doom_map(place[1])
    settings = Path(folder) / "vizdoom.ini"
    settings.write_text(_SETTINGS)
    game.set_doom_config_path(str(settings))
    game.add_game_args("-nomonsters")
    game.set_seed(seed)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_640X480)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_depth_buffer_enabled(True)
    for part in ("hud", "crosshair", "weapon", "decals", "particles", "effects_sprites", "messages", "screen_flashes"):
        getattr(game, f"set_render_{part}")(False)
    names = ("POSITION_X", "POSITION_Y", "POSITION_Z", "ANGLE", "PITCH", "ROLL", "FOV")
    game.set_available_game_variables([getattr(vizdoom.GameVariable, f"CAMERA_{name}") for name in names])
    buttons = ("TURN_LEFT_RIGHT_DELTA", "MOVE_FORWARD_BACKWARD_DELTA")
    game.set_available_buttons([getattr(vizdoom.Button, name) for name in buttons])
    game.init()
    game.send_game_command("god")  # there is lava
    return game


def _looks(game, steps: int, tour_frames: int, size: int, rng: np.random.Generator) -> Iterator[tuple]:
    """Frame, depth and pose of the tour, of the start and of every step, until the level ends.

    Turns are drawn from 10 to 20 degrees, so that no view is repeated to the pixel.
    """
    game.make_action([0, 0], _OPENING)
    for number in range(tour_frames):
        part = 360 / tour_frames
        game.make_action([part / 2 if number == 0 else part, 0], 1)
        yield _look(game, size)
    if tour_frames:
        game.make_action([180 / tour_frames, 0], 1)
    turns, side = 0, 1
    for _ in range(steps + 1):
        if game.is_episode_finished():
            return
        frame, depth, pose = _look(game, size)
        yield frame, depth, pose
        middle = slice(size // 3, 2 * size // 3)
        blocked = depth[size // 2 - 2 : size // 2 + 2, middle].min() < _CLEAR
        if turns == 0 and (blocked or rng.random() < 0.12):
            turns, side = int(rng.integers(2, 8)), int(rng.choice((-1, 1)))
        if turns:
            game.make_action([side * rng.uniform(10, 20) / _TICS, 0], _TICS)
            turns -= 1
        else:
            game.make_action([0, _FORWARD], _TICS)


def _look(game, size: int) -> tuple[Tensor, Tensor, Tensor]:
    state = game.get_state()
    x, y, z, angle, pitch, roll, fov = state.game_variables.tolist()
    if (pitch, roll, fov) != (0, 0, 90):
        raise ValueError(f"the game's camera has pitch {pitch}, roll {roll} and fov {fov}; expected 0, 0 and 90.")
    pose = torch.tensor([x / UNITS, y / UNITS, z / UNITS, math.radians(angle), 0.0, 0.0])
    pose[3] = wrap_angle(pose[3])
    width = state.depth_buffer.shape[1]
    kept = slice(round(width * (1 - HALF_VIEW) / 2), round(width * (1 + HALF_VIEW) / 2))
    # Copied, since the game writes the next picture into the same memory.
    buffers = (state.screen_buffer[:, kept], state.depth_buffer[:, kept])
    colours, levels = (torch.from_numpy(np.array(part, np.float32)) for part in buffers)
    frame = F.adaptive_avg_pool2d(colours.movedim(-1, 0).contiguous(), size).round().to(torch.uint8).movedim(0, -1)
    return frame, (_pooled(levels[None], size) + _OFFSET) * (_LEVEL / UNITS), pose


def _pooled(levels: Tensor, size: int) -> Tensor:
    """Depth levels (size, size): the mean of a pixel's part of the picture, or its middle where surfaces meet."""
    nearest, furthest = -F.adaptive_max_pool2d(-levels, size), F.adaptive_max_pool2d(levels, size)
    rows, columns = ((torch.arange(size) * 2 + 1) * length // (2 * size) for length in levels.shape[1:])
    one_surface = furthest - nearest <= 3
    return torch.where(one_surface, F.adaptive_avg_pool2d(levels, size), levels[:, rows[:, None], columns])[0]
