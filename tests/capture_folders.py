"""Small captures, written for the tests."""

import json
import math
import struct

import av
import numpy as np
import torch
from PIL import Image

from ctxmem_env.camera import camera_to_world

SIZE = 24


def path(n=5, seed=0):
    """Poses (n, 6) with height, pitch and roll."""
    rng = np.random.default_rng(seed)
    return rng.uniform([-3, -3, 1, -3, -0.5, -0.2], [3, 3, 2, 3, 0.5, 0.2], (n, 6))


def pictures(n=5, height=SIZE, width=SIZE, seed=0):
    return np.random.default_rng(seed).integers(256, size=(n, height, width, 3), dtype=np.uint8)


def views(frames, depth=3.0):
    return [(frame, np.full(frame.shape[:2], depth, np.float32)) for frame in frames]


def same_poses(found, expected, atol=1e-5):
    offset = np.asarray(found) - np.asarray(expected)
    offset[:, 3:] = (offset[:, 3:] + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(offset, 0, atol=atol)


def level_path(n=5):
    """Upright poses (n, 6) with the scale and the middle that captures without a scale get."""
    poses = path(n)
    poses[:, 4:] = 0.0
    poses[:, :3] -= poses[:, :3].mean(0)
    poses[:, :3] *= 1.5 / np.median(np.linalg.norm(poses[:, :3], axis=1))
    poses[:, 2] += 1.5
    return poses


def write_film(file, frames, fps=10, keys=12, codec="ffv1"):
    """A video without losses, with a place to begin every `keys` frames."""
    options = {"libx264rgb": {"qp": "0", "x264-params": "scenecut=0:bframes=2"}}.get(codec, {})
    with av.open(str(file), "w") as film:
        stream = film.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = {"ffv1": "bgr0", "libx264rgb": "rgb24"}[codec]
        stream.codec_context.gop_size = keys
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode())
    return file


def minecraft(folder, frames, poses, name="seed_1_part_1"):
    """A video of GF-Minecraft and its metadata; entry 0 has no meaning."""
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    (folder / "video").mkdir(exist_ok=True)
    (folder / "annotation.csv").write_text("Original video name,Start frame index,End frame index,Prompt\n")
    write_film(folder / "video" / f"{name}.mp4", frames, codec="libx264rgb")
    actions = {"0": {}}
    for i, (x, y, z, yaw, pitch, _) in enumerate(poses[1:].tolist(), 1):
        place = {"pos": [x, z - 1.62, -y], "yaw": -90 - math.degrees(yaw) + 720, "pitch": -math.degrees(pitch)}
        actions[str(i)] = {"ws": 1, "ad": 0, "scs": 0, "pitch_delta": 0.0, "yaw_delta": 0.0, **place}
    (folder / "metadata" / f"{name}.json").write_text(json.dumps({"actions": actions}))
    return folder


def realestate(file, poses, fps=10):
    """The cameras of RealEstate10K, one for every second frame of a video; returns their times in microseconds."""
    lines, times = ["https://www.example.com/watch?v=0"], []
    for i, matrix in enumerate(camera_to_world(torch.as_tensor(poses)).numpy()):
        times.append(round(2 * i * 1e6 / fps))
        numbers = [0.5, 0.75, 0.5, 0.5, 0, 0, *np.linalg.inv(matrix)[:3].flatten().tolist()]
        lines.append(" ".join(map(repr, [times[-1], *numbers])))
    file.write_text("\n".join(lines) + "\n")
    return times


def edit(folder, change, name="transforms.json"):
    """The JSON file of a capture after `change(content)`."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def free(content):
    """Without a scale or a direction that is up."""
    del content["orientation_override"], content["auto_scale_poses_override"]
    for frame in content["frames"]:
        del frame["depth_file_path"]


def colmap(folder, poses, models, suffix, frames=None):
    """A model of COLMAP, written from its description, in axes that are turned, shifted and shrunk."""
    tilt = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # Z of ours is Y of COLMAP's world
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    (folder / "images").mkdir()
    cameras, images, text_cameras, text_images = b"", b"", "# Camera list\n", "# Image list\n"
    for i, (name, number, parameters) in enumerate(models):
        cameras += struct.pack("<iiQQ", i + 7, number, SIZE, SIZE) + struct.pack(f"<{len(parameters)}d", *parameters)
        text_cameras += f"{i + 7} {name} {SIZE} {SIZE} {' '.join(map(repr, parameters))}\n"
    for i, matrix in enumerate(camera_to_world(torch.as_tensor(poses)).numpy()):
        turn = (tilt @ matrix[:3, :3]).T
        place = -turn @ (tilt @ matrix[:3, 3] * 0.1 + [5.0, 6.0, 7.0])
        w = math.sqrt(max(1 + np.trace(turn), 1e-12)) / 2
        antisymmetric = (turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1])
        q = [w, *(value / (4 * w) for value in antisymmetric)]
        camera = 7 + i % len(models)
        images += struct.pack("<i7di", i + 1, *q, *place, camera) + f"{i}.png".encode() + b"\0"
        images += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.0, 2.0, -1, 3.0, 4.0, 9)
        text_images += f"{i + 1} {' '.join(map(repr, map(float, [*q, *place])))} {camera} {i}.png\n"
        text_images += "1.0 2.0 -1 3.0 4.0 9\n" if i % 2 else "\n"
        Image.fromarray((pictures(len(poses)) if frames is None else frames)[i]).save(folder / "images" / f"{i}.png")
    if suffix == ".bin":
        (sparse / "cameras.bin").write_bytes(struct.pack("<Q", len(models)) + cameras)
        (sparse / "images.bin").write_bytes(struct.pack("<Q", len(poses)) + images)
    else:
        (sparse / "cameras.txt").write_text(text_cameras)
        (sparse / "images.txt").write_text(text_images)
    return folder


HALF = SIZE / 2
MODELS = [
    ("SIMPLE_PINHOLE", 0, (20.0, HALF, HALF)),
    ("PINHOLE", 1, (20.0, 21.0, HALF, HALF)),
    ("SIMPLE_RADIAL", 2, (20.0, HALF, HALF, 0.01)),
    ("RADIAL", 3, (20.0, HALF, HALF, 0.01, 0.02)),
    ("OPENCV", 4, (20.0, 21.0, HALF, HALF, 0.01, 0.02, 0.003, 0.004)),
]
