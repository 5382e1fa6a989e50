"""Episodes as small files: what leads to the frames, in place of the frames.

An episode is JSON: `env_id` and `arguments` of `gymnasium.make`, `seed` and `options` of `reset`, the `actions`, the
`generator` (its name, and the SHA-256 of its weights), and a digest of each frame, so that a replay can tell whether it
shows the same.
"""

import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec, load_env_creator

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
                "and pictures by the path of their file, tasks and strategies of your own by a name that is registered."
            ) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_whole(path) as file:
            file.write(text.encode())
        return path


class Shown(NamedTuple):
    """A moment of a replay. reward, terminated and truncated belong to the action that led there.

    same: whether the frame that the environment itself gave is the one that was recorded, to the bit.
    """

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    same: bool


class RecordEpisode(gym.Wrapper):
    """Remembers what leads to the frames of an episode, so that a small file can bring it back.

    What is recorded is what the environment itself gets and gives, whatever wrappers below this one make of actions
    and observations. A reset without a seed gets one, drawn after that of the reset before. A moment that
    `clone_state` kept has its own way there recorded, and `restore_state` goes on with that.

    >>> env = RecordEpisode(gym.make("CtxMemScene-v0"))
    """

    def __init__(self, env: gym.Env):
        self._env_id = _find_id(env.unwrapped.spec)
        if self._env_id is None:
            raise ValueError(
                f"env={env!r} was not made by gymnasium.make of one of {', '.join(_IDS)}, or of an id of your own with "
                "the entry_point of one of them; make it so."
            )
        env, self._tap = _tap(env)
        super().__init__(env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        given = self._tap.draw_seed() if seed is None else seed  # here, for wrappers below may use it, too
        result = self.env.reset(seed=given, options=options)
        if seed is not None:
            self._tap.seeds = np.random.default_rng(seed)
        return result

    def episode(self) -> Episode:
        """What was done since reset; ValueError before the first one, and where no reset and actions lead."""
        bare, record = self.unwrapped, self._tap.record
        if not len(bare._track):
            raise ValueError("there is no episode yet; call reset() first.")
        if record is None:
            raise ValueError(
                "the present moment was not reached by a reset and steps that were recorded: load, set_prompt, "
                "restore_state of a moment from before, or a call of env.unwrapped came between, and no episode can "
                "tell of it; call reset() of RecordEpisode, and then only its step()."
            )
        given = bare.spec.kwargs  # with those that an id of one's own brings
        arguments = {name: value for name, value in given.items() if name not in ("device", "render_mode")}
        generator = identify_generator(bare.settings, bare.world)
        actions = bare.action_space.to_jsonable(record.actions)
        package, frames = version("ctxmem-env"), record.frames[:]
        return Episode(self._env_id, arguments, record.seed, record.options, actions, generator, frames, package)


@dataclass
class _Record:
    """What led from a reset to a moment, which is kept in the track of the environment."""

    seed: int
    options: dict[str, Any] | None
    prompts: list[str]
    actions: list[Any]
    frames: list[str]

    def __deepcopy__(self, memo: dict) -> "_Record":
        return replace(self, actions=self.actions[:], frames=self.frames[:])  # their elements never change


class _Tap(gym.Wrapper):
    """Stands right around the environment itself, below all wrappers, and records what goes in and out."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.seeds = np.random.default_rng()
        self.digest = ""  # of the last frame that came out

    @property
    def spec(self):
        return self.env.spec  # it is no part of what was asked for

    @property
    def record(self) -> _Record | None:
        """Of the present moment; None where something else led there as well."""
        track = self.unwrapped._track
        whole = track.record is not None and len(track.record.frames) == len(track)
        return track.record if whole else None

    def draw_seed(self) -> int:
        return int(self.seeds.integers(2**31))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        seed = self.draw_seed() if seed is None else seed
        observation, info = self.env.reset(seed=seed, options=options)
        bare, self.digest = self.unwrapped, _digest(observation)
        bare._track.record = _Record(seed, deepcopy(options), bare.world.prompts[:], [], [self.digest])
        return observation, info

    def step(self, action):
        bare, record = self.unwrapped, self.record
        follows = record is not None and bare.world.prompts == record.prompts
        remembered = None if record is None else bare.world.memory.counts
        try:
            result = self.env.step(action)
        except Exception:
            # A step that failed half way has moved the world, and no action led there.
            if record is not None and not torch.equal(bare.world.memory.counts, remembered):
                bare._track.record = None
            raise
        self.digest = _digest(result[0])
        if follows:
            record.actions.append(deepcopy(action))
            record.frames.append(self.digest)
        return result


def _find_id(spec: EnvSpec | None) -> str | None:
    """Which of the package's ids has the entry point of a specification."""
    made = None if spec is None else _creator(spec)
    return next((name for name in _IDS if _creator(gym.spec(name)) is made), None)


def _creator(spec: EnvSpec) -> Any:
    return load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point


def _tap(env: gym.Env) -> tuple[gym.Env, _Tap]:
    """The environment with a tap at its bottom, put there unless there is one, and the tap."""
    above, inner = None, env
    while isinstance(inner, gym.Wrapper) and not isinstance(inner, _Tap):
        above, inner = inner, inner.env
    if isinstance(inner, _Tap):
        return env, inner
    tap = _Tap(inner)
    if above is None:
        return tap, tap
    above.env = tap
    return env, tap


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
    if content["seed"] < 0:
        raise ValueError(f"{advice}; its seed is {content['seed']}, below 0.")
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
        env: from `open_episode`, perhaps wrapped, but by nothing that changes actions; None: one that is closed at the
            end.
        any_generator: play it with another generator than it was recorded with.

    Raises:
        ValueError: a file that holds no episode; or, unless `any_generator`, another generator.
    """
    episode = episode if isinstance(episode, Episode) else load_episode(episode)
    own, tap = _tap(open_episode(episode) if env is None else env)
    try:
        actions = _read_actions(episode, own.unwrapped.action_space)
        observation, info = own.reset(seed=episode.seed, options=episode.options)
        bare = own.unwrapped
        _check_generator(episode, identify_generator(bare.settings, bare.world), any_generator)
        yield Shown(observation, 0.0, False, False, info, tap.digest == episode.frames[0])
        for action, digest in zip(actions, episode.frames[1:], strict=True):
            yield Shown(*own.step(action), tap.digest == digest)
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
