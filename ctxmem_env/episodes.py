"""Episodes as small files: what leads to the frames, in place of the frames.

An episode is JSON: `env_id` and `arguments` of `gymnasium.make`, `seed` and `options` of `reset`, the `actions`, the
`generator` (its name, and the SHA-256 of its weights), and a digest of each frame, so that a replay can tell whether it
shows the same.
"""

import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from ctxmem_env.atomic import open_whole
from ctxmem_env.saving import identify_generator, tell_generator

_FORMAT = "ctxmem-episode-1"
_IDS = ("CtxMemScene-v0", "CtxMemTrueScene-v0")
_DIGEST = 16  # hexadecimal digits


@dataclass(frozen=True)
class Episode:
    """What was done from one reset on; `frames` are digests, that of the first frame first.

    actions: as `to_jsonable` of the action space writes those of a walk.
    """

    env_id: str
    arguments: dict[str, Any]
    seed: int
    options: dict[str, Any] | None
    actions: list | dict[str, list]
    generator: dict[str, str | None]
    frames: list[str]
    package: str

    def save(self, path: str | Path) -> Path:
        """Write it as JSON; a file of that name is replaced when the new one is complete."""
        path = Path(path)
        try:
            text = json.dumps({"format": _FORMAT} | asdict(self)) + "\n"
        except TypeError as error:
            raise ValueError(
                f"an episode with arguments or options that are no JSON types cannot be saved ({error}); give models "
                "and pictures by the path of their file."
            ) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_whole(path) as file:
            file.write(text.encode())
        return path


class Shown(NamedTuple):
    """A moment of a replay. reward, terminated and truncated belong to the action that led there.

    same: whether the frame is the one that was recorded, to the bit.
    """

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    same: bool


class RecordEpisode(gym.Wrapper):
    """Remembers what leads to the frames of an episode, so that a small file can bring it back.

    A reset without a seed gets one, drawn after that of the reset before.

    >>> env = RecordEpisode(gym.make("CtxMemScene-v0"))
    """

    def __init__(self, env: gym.Env):
        super().__init__(env)
        if env.spec is None or env.spec.id not in _IDS:
            raise ValueError(f"env={env!r} was not made by gymnasium.make of one of {', '.join(_IDS)}; make it so.")
        self._seeds = np.random.default_rng()
        self._start: tuple[int, dict[str, Any] | None] | None = None
        self._actions: list[Any] = []
        self._frames: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        if seed is not None:
            self._seeds = np.random.default_rng(seed)
        else:
            seed = int(self._seeds.integers(2**31))
        observation, info = self.env.reset(seed=seed, options=options)
        self._start, self._actions, self._frames = (seed, options), [], [_digest(observation)]
        return observation, info

    def step(self, action):
        result = self.env.step(action)
        self._actions.append(deepcopy(action))
        self._frames.append(_digest(result[0]))
        return result

    def episode(self) -> Episode:
        """What was done since reset; ValueError before the first one."""
        if self._start is None:
            raise ValueError("there is no episode yet; call reset() first.")
        bare, (seed, options) = self.unwrapped, self._start
        arguments = {name: value for name, value in self.spec.kwargs.items() if name not in ("device", "render_mode")}
        generator = identify_generator(bare.settings, bare.world)
        actions = self.action_space.to_jsonable(self._actions)
        package = version("ctxmem-env")
        return Episode(self.spec.id, arguments, seed, options, actions, generator, self._frames[:], package)


def load_episode(path: str | Path) -> Episode:
    """The episode in a file; ValueError for a file that holds none."""
    advice = f"path={str(path)!r}: expected a file that `ctxmem rollout --save-episode` or Episode.save wrote"
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{advice} ({error}).") from None
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ValueError(f"{advice}, of the format {_FORMAT}.")
    kinds = {"env_id": str, "arguments": dict, "seed": int, "options": dict | None, "generator": dict}
    kinds |= {"actions": list | dict}
    kinds |= {"frames": list, "package": str}
    if content.keys() != {field.name for field in fields(Episode)}:
        raise ValueError(f"{advice}; it has {sorted(content)}.")
    for name, kind in kinds.items():
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            raise ValueError(f"{advice}; its {name} is a {type(content[name]).__name__}.")
    if content["env_id"] not in _IDS or not content["frames"]:
        raise ValueError(f"{advice}; its env_id is {content['env_id']!r}, with {len(content['frames'])} frames.")
    return Episode(**content)


def open_episode(episode: Episode, **arguments: Any) -> gym.Env:
    """The environment of an episode, before its reset; `arguments` such as device and render_mode go before its own.

    A step limit is not among them: a replay ends with the last action.
    """
    own = episode.arguments | arguments
    try:
        return gym.make(episode.env_id, max_episode_steps=max(len(episode.frames) - 1, 1), **own)
    except TypeError as error:  # of arguments that no environment has
        raise ValueError(f"the episode cannot be opened: {error}.") from None


def replay(episode: Episode | str | Path, env: gym.Env | None = None, any_generator: bool = False) -> Iterator[Shown]:
    """The moments of an episode once more, from the first frame to the last.

    On the same machine, with the same versions, the frames are the same to the bit. Elsewhere arithmetic may round
    differently, and `Shown.same` tells from where on that is seen.

    Args:
        episode: an episode, or its file.
        env: from `open_episode`, perhaps wrapped; None: it is made, and closed at the end.
        any_generator: play it with another generator than it was recorded with.

    Raises:
        ValueError: a file that holds no episode; or, unless `any_generator`, another generator.
    """
    episode = episode if isinstance(episode, Episode) else load_episode(episode)
    own = open_episode(episode) if env is None else env
    try:
        actions = _read_actions(episode, own.action_space)
        observation, info = own.reset(seed=episode.seed, options=episode.options)
        bare = own.unwrapped
        _check_generator(episode, identify_generator(bare.settings, bare.world), any_generator)
        yield Shown(observation, 0.0, False, False, info, _digest(observation) == episode.frames[0])
        for action, digest in zip(actions, episode.frames[1:], strict=True):
            moment = own.step(action)
            yield Shown(*moment, _digest(moment[0]) == digest)
    finally:
        if env is None:
            own.close()


def _read_actions(episode: Episode, space: gym.Space) -> list:
    try:
        actions = list(space.from_jsonable(episode.actions))
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the episode holds actions that are none of {space} ({error}).") from None
    if len(actions) != len(episode.frames) - 1 or not all(action in space for action in actions):
        raise ValueError(
            f"the episode holds {len(actions)} actions of {space} for {len(episode.frames)} frames; expected one less, "
            "all of them within the space."
        )
    return actions


def _check_generator(episode: Episode, present: dict[str, str | None], any_generator: bool) -> None:
    recorded = episode.generator
    same = recorded.get("sha256") == present["sha256"] and (
        present["sha256"] is not None or recorded.get("name") == present["name"]
    )
    if not same and not any_generator:
        raise ValueError(
            f"the episode was recorded with {tell_generator(recorded)}, and here is {tell_generator(present)}; replay "
            "it with the first, or pass any_generator=True (--any-generator) to see what the second makes of it."
        )


def _digest(observation: Any) -> str:
    frame = observation["rgb"] if isinstance(observation, dict) else observation
    return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()[:_DIGEST]
