"""Readers of captures and of camera paths for the fuzzer; each function gets an empty folder and gives a `Target`."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ctxmem_env.selftest.mutate import SEPARATOR
from ctxmem_env.selftest.target import Target

_OUTSIDE = (1, 2, 3)  # the colour of a picture that lies outside of every capture
_SIZE = 24


def transforms_json(folder: Path) -> Target:
    """Captures of nerfstudio, with depth."""
    from ctxmem_env.captures.write import write_nerfstudio

    root = write_nerfstudio(folder / "capture", _views(), _poses(), 80.0)
    _set_traps(root)
    content = (root / "transforms.json").read_bytes()
    instant = json.dumps({"camera_angle_x": 1.2, "frames": json.loads(content)["frames"], "k1": 0.01, "w": 24.0})
    return Target([content, instant.encode()], _reads_capture(root, "transforms.json"))


def context_as_memory(folder: Path) -> Target:
    """Captures of the published dataset."""
    from ctxmem_env.captures.write import write_published

    root = write_published(folder / "capture", "walk", _views(), _poses())
    _set_traps(root)
    return Target([(root / "jsons/walk.json").read_bytes()], _reads_capture(root, "jsons/walk.json"))


def minecraft(folder: Path) -> Target:
    """Captures of GF-Minecraft: metadata beside a video."""
    root = folder / "capture"
    (root / "metadata").mkdir(parents=True)
    _film(root / "video" / "walk.mp4")
    actions = {str(i): {"pos": [i, 64.0, 2], "yaw": 30.0 * i, "pitch": 5, "ws": 1} for i in range(3)}
    seed = json.dumps({"biome": "plains", "actions": actions}).encode()
    return Target([seed], _reads_capture(root, "metadata/walk.json"))


def real_estate(folder: Path) -> Target:
    """Captures of RealEstate10K: a text file beside a video."""
    root = folder / "capture"
    _film(root / "walk.mp4")
    rows = [f"{i * 83333} 0.5 0.9 0.5 0.5 0 0 1 0 0 {i} 0 1 0 0 0 0 1 {i}" for i in range(3)]
    return Target(["\n".join(["https://a.b/c", *rows]).encode()], _reads_capture(root, "walk.txt"))


def camera_path(folder: Path) -> Target:
    """Camera paths without pictures, of either format."""
    from ctxmem_env.cli.drive import follow
    from ctxmem_env.trajectory import read_trajectory

    path = folder / "path.json"
    own = {"fov": 90, "poses": _poses().tolist()}
    steps = {str(i): {"position": [i, 2.0, 150.0], "rotation": [0, 0, 365.0], "scale": [1, 1, 1]} for i in range(3)}

    def run(data: bytes) -> None:
        path.write_bytes(data)
        trajectory = read_trajectory(path)
        trajectory.frame_fov(1.0)
        follow(trajectory, None, "path")

    return Target([json.dumps(content).encode() for content in (own, {"CineCameraActor": steps})], run)


def colmap_binary(folder: Path) -> Target:
    """Sparse models of COLMAP, cameras.bin and images.bin."""
    root = _colmap_folder(folder)
    cameras = struct.pack("<QiiQQ8d", 1, 7, 4, _SIZE, _SIZE, 20, 21, 12, 12, 0.01, 0.02, 0.003, 0.004)
    images = struct.pack("<Q", 2)
    for i in range(2):
        images += struct.pack("<i7di", i, 1, 0.1 * i, 0, 0, i, 2, 3, 7) + f"{i:04d}.png".encode() + b"\0"
        images += struct.pack("<Qddq", 1, 1, 2, -1)
    return Target([cameras + SEPARATOR + images], _reads_capture(root, "cameras.bin", "images.bin"))


def colmap_text(folder: Path) -> Target:
    """Sparse models of COLMAP, cameras.txt and images.txt."""
    root = _colmap_folder(folder)
    cameras = f"# cameras\n7 OPENCV {_SIZE} {_SIZE} 20 21 12 12 0.01 0.02 0.003 0.004\n8 PINHOLE 24 24 20 21 12 12\n"
    images = "# images\n1 1 0 0 0 1 2 3 7 0000.png\n1 2 -1\n2 1 0.1 0 0 2 2 3 8 0001.png\n\n"
    return Target([cameras.encode() + SEPARATOR + images.encode()], _reads_capture(root, "cameras.txt", "images.txt"))


def _film(path: Path) -> None:
    from ctxmem_env.recording import write_video

    write_video(path, (frame for frame, _ in _views()))
    _set_traps(path.parent)


def _poses() -> np.ndarray:
    return np.array([[0, 0, 1.5, 0, 0, 0], [0.5, 0.1, 1.5, 0.2, 0.1, 0], [1, 0, 1.5, 3.0, -0.1, 0.05]])


def _views() -> list[tuple[np.ndarray, np.ndarray]]:
    frames = np.random.default_rng(0).integers(100, 256, (3, _SIZE, _SIZE, 3), dtype=np.uint8)
    return [(frame, np.full((_SIZE, _SIZE), 2.0, np.float32)) for frame in frames]


def _colmap_folder(folder: Path) -> Path:
    root = folder / "capture"
    (root / "images").mkdir(parents=True)
    for i, (frame, _) in enumerate(_views()[:2]):
        Image.fromarray(frame).save(root / "images" / f"{i:04d}.png")
    _set_traps(root)
    return root


def _set_traps(root: Path) -> None:
    """Beside the capture a picture that must not be read, and in it links that lead to it, or nowhere."""
    outside = root.parent / "outside.png"
    Image.new("RGB", (_SIZE, _SIZE), _OUTSIDE).save(outside)
    images = root / "images"
    images.mkdir(exist_ok=True)
    (images / "link.png").symlink_to(outside)
    (images / "loop").symlink_to(images / "loop")


def _reads_capture(root: Path, *names: str) -> Callable[[bytes], None]:
    """Writes the files and remembers what the capture holds; nothing of it may come from outside."""
    from ctxmem_env.captures import open_capture, remember

    def run(data: bytes) -> None:
        parts = data.split(SEPARATOR)
        for name, part in zip(names, [*parts, *[b""] * len(names)], strict=False):
            (root / name).write_bytes(part)
        found = remember(open_capture(root), None, None, None, 8, 8)
        assert not (found.frames == np.array(_OUTSIDE, np.uint8)).all((1, 2, 3)).any(), "a picture from outside"
        assert np.isfinite(found.poses).all(), "poses that are not finite"

    return run
