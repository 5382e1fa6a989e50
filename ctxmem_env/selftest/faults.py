"""Disks that fill, folders that take nothing, signals in the midst: what was there before stays, and nothing else."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ctxmem_env.bench.results import keep
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.store import save_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.policies.network import NetworkPolicy, save_policy
from ctxmem_env.recording import write_video
from ctxmem_env.selftest.calls import small_env
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.training.checkpoint import save_checkpoint

_ROOM = 1 << 20  # bytes of the disk that fills
_SIDE = 128  # pixels of the frames of worlds, of which 30 fill it
_SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}


class Writer(NamedTuple):
    """Something that the package writes: its name, and how it writes a small and a large one to a path."""

    name: str
    write: Callable[[Path, bool], Any]


def writers() -> list[Writer]:
    """Everything that takes the place of something of the same name. The large ones are beyond `_ROOM`."""
    rng = np.random.default_rng(0)

    def world(path: Path, large: bool) -> None:
        env = small_env(model=PoseGenerator(_SIDE, _SIDE), tour=0)
        env.reset(seed=0, options={"image": rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)})
        depth = torch.ones(1, _SIDE, _SIDE)
        for _ in range(30 if large else 1):
            noise = torch.from_numpy(rng.integers(0, 256, (1, _SIDE, _SIDE, 3), dtype=np.uint8))
            env.world.memory.append(noise, depth, env.world.poses)
        env.save(path)

    def checkpoint(path: Path, large: bool) -> None:
        save_checkpoint(path, {"weights": torch.zeros(_ROOM if large else 10)}, {"step": 1})

    def policy(path: Path, large: bool) -> None:
        encoder = {"images": ["depth"], "features": 2048 if large else 4, "height": 36, "width": 36}
        save_policy(NetworkPolicy("roam", encoder, (512 if large else 4,)), path)

    def generator(path: Path, large: bool) -> None:
        sizes = {"height": 16, "width": 16, "num_heads": 1, "num_layers": 1, "num_context_layers": 1, "pixel_dim": 4}
        save_generator(SceneGenerator(SceneTransformer(dim=256 if large else 16, **sizes)), path)

    def video(path: Path, large: bool) -> None:
        size = (360, 640, 3) if large else (16, 16, 3)
        write_video(path, (rng.integers(0, 256, size, dtype=np.uint8) for _ in range(8 if large else 2)))

    def results(path: Path, large: bool) -> None:
        keep(path, {"bench": "large" if large else "small", "machine": {}, "noise": "x" * (_ROOM if large else 1)})

    return [
        Writer("world.ctxworld", world),
        Writer("checkpoint.safetensors", checkpoint),
        Writer("policy.safetensors", policy),
        Writer("generator", generator),
        Writer("video.mp4", video),
        Writer("video.gif", video),
        Writer("results.json", results),
    ]


def fill_disks(folder: Path) -> list[dict[str, Any]]:
    """Each writer on a disk that fills, where a small one of its kind was before; see `_outcome`."""
    outcomes = []
    for writer in writers():
        with small_disk(folder / "disk") as (disk, kind):
            writer.write(disk / writer.name, False)
            before = _content(disk)
            with _files_of_at_most(_ROOM // 2 if kind == "file size limit" else None):
                error = _error(lambda writer=writer, disk=disk: writer.write(disk / writer.name, True))
            outcomes.append(_outcome("full disk", kind, writer, error, before, disk))
    return outcomes


def deny_folders(folder: Path) -> list[dict[str, Any]]:
    """Each writer in a folder that nobody may write to; see `_outcome`."""
    outcomes = []
    for writer in writers():
        with small_disk(folder / "disk") as (disk, kind):
            writer.write(disk / writer.name, False)
            before = _content(disk)
            with read_only(disk, kind):
                error = _error(lambda writer=writer, disk=disk: writer.write(disk / writer.name, False))
            outcomes.append(_outcome("read-only folder", kind, writer, error, before, disk))
    return outcomes


def interrupt_videos(folder: Path, times: int = 3) -> list[dict[str, Any]]:
    """A process that writes a video over an older one gets a signal in the midst of it; see `_outcome`.

    Only SIGINT leaves it the time to clean up behind itself.
    """
    outcomes = []
    for name, number in _SIGNALS.items():
        for i in range(times):
            path = folder / f"{name}_{i}" / "video.mp4"
            write_video(path, [np.zeros((16, 16, 3), np.uint8)] * 2)
            before = _content(path.parent)
            code = _signalled_while(lambda path=path: write_video(path, _endless()), path, number)
            if number != signal.SIGINT:
                for rest in path.parent.glob(f".{path.stem}.*"):
                    rest.unlink()
            writer = Writer("video.mp4", write_video)
            outcomes.append(_outcome(f"{name} in a video", "signal", writer, f"exit {code}", before, path.parent))
    return outcomes


def _signalled_while(work: Callable[[], Any], path: Path, number: int) -> int:
    """How a process ended that did `work` and got the signal once its unfinished file was there."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with suppress(BaseException):
            work()
        os._exit(1)
    end = time.monotonic() + 60
    while not list(path.parent.glob(f".{path.stem}.*")) and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _endless() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    while True:
        yield rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)


@contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, str]]:
    """A disk of 1 MiB, of its own where this process may mount one, and how it is bounded."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield folder, "tmpfs" if mounted else "file size limit"
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        else:
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()


@contextmanager
def read_only(folder: Path, kind: str) -> Iterator[None]:
    """Nobody may write to the folder; without a disk of its own nobody but root."""
    if kind == "tmpfs":
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    else:
        folder.chmod(0o555)
    try:
        yield
    finally:
        if kind == "tmpfs":
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        else:
            folder.chmod(0o755)


@contextmanager
def _files_of_at_most(size: int | None) -> Iterator[None]:
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def _error(work: Callable[[], Any]) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _outcome(
    fault: str, kind: str, writer: Writer, error: Exception | str | None, before: dict[str, bytes], folder: Path
) -> dict[str, Any]:
    """fault, writer, and how the disk was bounded; error: what was raised; documented: whether that was an OSError or a
    ValueError, or the process ended by the signal; lost: files that are not what they were; left: files that were not
    there before.
    """
    after = _content(folder)
    return {
        "fault": fault,
        "writer": writer.name,
        "by": kind,
        "error": error if isinstance(error, str) else f"{type(error).__name__}: {error}"[:200],
        "documented": isinstance(error, OSError | ValueError | str),
        "lost": sorted(name for name in before if after.get(name) != before[name]),
        "left": sorted(after.keys() - before.keys()),
    }
