"""One visitor's world: an environment, and what the page is told of it. Not to be used by two threads at once."""

import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctxmem_env.camera import cropped_fov
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.recording import write_video
from ctxmem_env.start import check_distance, check_fov
from ctxmem_env.viewer.choice import Choice, Offer
from ctxmem_env.viewer.limits import WORLD_BYTES
from ctxmem_env.viewer.messages import pack
from ctxmem_env.viewer.pictures import depth_png, enlarge, from_png, jpeg, png, read_photograph
from ctxmem_env.world_file import WorldFile

_FILMED = 1200  # newest frames that a video shows
_FPS = 12
_VIDEO_SIDE = 384  # pixels
_PROFILE = 16  # depths across a view, for the map


class Visit:
    """Opens, walks, saves and films. Whatever is refused with a ValueError leaves the world as it was.

    What returns bytes returns a frame for the page, as `ctxmem_env.viewer.messages` has it.
    """

    def __init__(self, offer: Offer):
        self._offer = offer
        self._env: GenerativeSceneEnv | None = None
        self.choice: Choice | None = None

    def open(self, choice: Choice) -> bytes:
        """A scene's first frame."""
        return self._enter(choice, "scene", lambda env: env.reset(seed=choice.seed, options=choice.options))

    def photograph(self, data: bytes, fov: float, distance: float | None) -> bytes:
        """The middle of an uploaded picture that spans `fov` degrees; `distance` as in the option of `reset`.

        Model, task and retrieval are those of the present world.
        """
        picture, choice = read_photograph(data), self._offer.choose({}, self.choice)
        check_fov("fov", fov)
        if distance is not None:
            check_distance("distance", distance)

        def start(env: GenerativeSceneEnv) -> tuple:
            shape = env.settings.width / env.settings.height
            frame = cropped_fov(fov, picture.width, min(picture.width, picture.height * shape))
            return env.reset(seed=choice.seed, options={"image": picture, "fov": frame, "distance": distance})

        return self._enter(choice, "photograph", start)

    def load(self, path: Path) -> bytes:
        """The world in an uploaded file; its task and its retrieval are taken up, too."""
        try:
            with WorldFile(path) as file:
                if sum(entry.size for entry in file.entries.values()) > WORLD_BYTES:
                    file.refuse(f"holds more than {WORLD_BYTES >> 20} MB; expected a world of this server")
                saved, painter = file.facts.get("settings"), file.facts.get("generator")
            if not isinstance(saved, dict) or not isinstance(painter, dict):
                saved, painter = {}, {}  # refused below
            known = self._offer.describe()["model"]
            asked = {name: saved.get(name) for name in ("task", "retrieval")}
            asked["model"] = painter.get("name") if painter.get("name") in known else None
            choice = replace(self._offer.choose(asked, self.choice), style="any")
            return self._enter(choice, "file", lambda env: env.load(path))
        except ValueError as error:
            raise ValueError(str(error).replace(f"path={str(path)!r}", "the file")) from None

    def save(self) -> bytes:
        """The file of the present world."""
        with tempfile.TemporaryDirectory(prefix="ctxmem-") as folder:
            return self.env.save(Path(folder) / "world.ctxworld").read_bytes()

    def film(self) -> Callable[[], bytes]:
        """What makes an MP4 of the newest frames of the present world, while the walk may go on."""
        _ = self.env
        frames = list(self._film)

        def make() -> bytes:
            with tempfile.TemporaryDirectory(prefix="ctxmem-") as folder:
                pictures = (enlarge(from_png(frame), _VIDEO_SIDE) for frame in frames)
                return write_video(Path(folder) / "walk.mp4", pictures, _FPS).read_bytes()

        return make

    def step(self, action: np.ndarray) -> bytes:
        """One step with a continuous action (4,)."""
        observation, reward, over, _, info = self.env.step(action)
        self._steps += 1
        self._total += reward
        return self._tell(observation, info, {"reward": round(reward, 3), "over": over})

    def retrieve(self, name: str) -> None:
        """From the next step on context is chosen by the strategy of that name."""
        choice = self._offer.choose({"retrieval": name}, self.choice)
        settings = self.env.settings
        self.env.settings = replace(settings, retrieval=name, of_worlds=settings.of_worlds | {"retrieval": name})
        self.env.world.retrieval = name
        self.choice = replace(choice, seed=self.choice.seed)

    @property
    def env(self) -> GenerativeSceneEnv:
        """The present world's; ValueError where there is none."""
        if self._env is None:
            raise ValueError("there is no world yet; open one first.")
        return self._env

    def _enter(self, choice: Choice, kind: str, start: Callable[[GenerativeSceneEnv], tuple]) -> bytes:
        generator = self._offer.generator(choice.model)
        env = GenerativeSceneEnv(
            model=generator,
            task=choice.task,
            actions="continuous",
            observation="rgbd" if generator.predicts_depth else "rgb",
            retrieval=choice.retrieval,
            num_context=self._offer.num_context,
            memory_capacity=self._offer.memory_capacity,
            collisions=generator.predicts_depth,
            sliding=True,
            device=self._offer.device,
        )
        observation, info = start(env)
        self._env, self.choice = env, choice
        self._steps, self._total = 0, 0.0
        self._film: deque[bytes] = deque(maxlen=_FILMED)
        self._times: list[int] = []
        opened = {"kind": kind, "choice": vars(choice), "cameras": self._cameras(), "fov": float(env.world.fov[0])}
        return self._tell(observation, info, {"opened": opened, "reward": 0.0, "over": False})

    def _cameras(self) -> list[list]:
        """Time, x, y, yaw and, across the middle of the view, depths, of every remembered frame."""
        memory = self.env.world.memory
        times, (entries,) = memory.times[0], (memory.gather(torch.arange(int(memory.lengths[0]))[None]),)
        return [
            [time, *_rounded(pose[[0, 1, 3]]), _profile(depth)]
            for time, pose, depth in zip(
                times.tolist(), entries.poses[0].cpu().numpy(), entries.depth[0].cpu().numpy(), strict=True
            )
        ]

    def _tell(self, observation: dict[str, Any], info: dict[str, Any], more: dict[str, Any]) -> bytes:
        memory, before = self.env.world.memory, set(self._times)
        self._times = memory.times[0].tolist()
        seen = observation if isinstance(observation, dict) else {"rgb": observation}
        used = [time for time in info["retrieved"].tolist() if time >= 0]
        header = {
            "type": "frame",
            "step": self._steps,
            "time": self._times[-1],
            "remembered": len(self._times),
            "forgotten": sorted(before - set(self._times)),
            "pose": _rounded(info["pose"]),
            "collision": bool(info["collision"]),
            "retrieved": used,
            "overlap": _rounded(info["overlap"][: len(used)]),
            "total": round(self._total, 3),
            "task": {
                name: value if isinstance(value, bool) else round(float(value), 3)
                for name, value in info.items()
                if name not in ("pose", "retrieved", "overlap", "collision")
            },
        }
        parts = {"frame": png(seen["rgb"])}
        self._film.append(parts["frame"])
        if "depth" in seen:
            depth = seen["depth"][..., 0]
            header |= {"ahead": _rounded(depth[len(depth) // 2, [depth.shape[1] // 2]])[0], "profile": _profile(depth)}
            parts["depth"] = depth_png(depth)
        if used:
            parts["strip"] = jpeg(self._strip(used))
        goal = seen.get("goal")
        if goal is not None and goal.ndim == 1:
            header["goal"] = _rounded(goal)
        elif goal is not None and "opened" in more:
            parts["goal"] = png(goal)
        return pack(header | more, parts)

    def _strip(self, times: list[int]) -> np.ndarray:
        """The retrieved frames side by side; black where one was forgotten in this very step."""
        memory, where = self.env.world.memory, {time: index for index, time in enumerate(self._times)}
        indices = torch.tensor([[where.get(time, -1) for time in times]])
        frames = memory.gather(indices).frames[0].cpu().numpy()
        return np.concatenate(list(frames), axis=1)


def _profile(depth: np.ndarray) -> list[float]:
    """Metres along the viewing axis, at places spread evenly across the middle row of a view."""
    columns = (np.arange(_PROFILE) + 0.5) * depth.shape[1] / _PROFILE
    return _rounded(depth[depth.shape[0] // 2, columns.astype(int)])


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]
