"""Files that fuzzing found to break something: each is refused by name, at once, and costs nothing."""

import hashlib
import json
import resource
import shutil
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from capture_folders import path, pictures, views
from helpers import make
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ctxmem_env.captures import open_capture, view_frames
from ctxmem_env.captures.write import write_nerfstudio
from ctxmem_env.cli.drive import parse_actions, read_actions
from ctxmem_env.config import TrainConfig, load_config
from ctxmem_env.generator.locate import read_traits
from ctxmem_env.generator.store import read_generator
from ctxmem_env.photograph import open_image
from ctxmem_env.trajectory import read_trajectory
from ctxmem_env.true_scene import TrueSceneEnv
from ctxmem_env.viewer.pictures import read_photograph

DEEP = "[" * 200_000


@pytest.mark.parametrize(
    "read",
    [read_trajectory, lambda file: read_actions(file, None), open_capture],
    ids=["trajectory", "actions", "capture"],
)
def test_json_that_is_nested_too_deep_is_refused(read, tmp_path):
    (tmp_path / "a.json").write_text(DEEP)
    with pytest.raises(ValueError, match="is not JSON"):
        read(tmp_path / "a.json")


def test_yaml_that_takes_long_to_read_is_refused_at_once(tmp_path):
    """PyYAML takes a minute for 64 KiB of brackets."""
    began = time.process_time()
    for text in ("[" * 65_536, "a: [" + "{" * 30_000, "# " + "x" * 200_000):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(ValueError, match="is not valid YAML: more than 100,000 characters, or than 500 brackets"):
            load_config(TrainConfig, tmp_path / "a.yaml")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- " * 3_000, "is not valid YAML: maximum recursion depth"),
        ("name: 2001-99-99", "is not valid YAML: month must be in 1..12"),
        ("learning_rate: .nan", "learning_rate must be a finite number, got nan"),
        ("learning_rate: -.inf", "learning_rate must be a finite number, got -inf"),
        ("learning_rate: 1" + "0" * 400, "learning_rate must be a finite number, got 1000"),
    ],
)
def test_yaml_that_holds_no_configuration_is_refused(text, message, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"a.yaml.*{message}"):
        load_config(TrainConfig, tmp_path / "a.yaml")


def test_yaml_that_refers_to_itself_does_not_fill_the_message(tmp_path):
    """Thirty lists that each hold the one before twice are 2^30 words when they are written out."""
    lists = "".join(f"  l{i}: &l{i} [*l{i - 1}, *l{i - 1}]\n" for i in range(1, 30))
    (tmp_path / "a.yaml").write_text(f"model:\n  l0: &l0 [x, x]\n{lists}name: *l29\n")
    with pytest.raises(ValueError, match="name must be of type str, got ") as caught:
        load_config(TrainConfig, tmp_path / "a.yaml")
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("text", ["forward*99999999999", "stay*600000,stay*600000", "stay*1" + "0" * 30])
def test_actions_beyond_number_are_refused(text):
    with pytest.raises(ValueError, match=r"actions: '.*' leads to more than 1,000,000 actions; ask for fewer"):
        parse_actions(text)


def test_numbers_beyond_float_are_no_actions(tmp_path):
    (tmp_path / "a.json").write_text(f"[[1{'0' * 400}, 0, 0, 0]]")
    with pytest.raises(ValueError, match="is not a list of names"):
        read_actions(tmp_path / "a.json", None)


@pytest.fixture
def change(untrained_model, tmp_path):
    """Changes a JSON file of a generator's folder, with checksums that are right; the folder."""
    folder = tmp_path / "model"
    shutil.copytree(untrained_model, folder)

    def change(name, **values):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        sums = json.loads((folder / "checksums.json").read_text())
        sums[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "checksums.json").write_text(json.dumps(sums))
        return folder

    return change


@pytest.mark.parametrize(
    "values",
    [
        {"num_layers": 2**63 - 1},
        {"num_layers": 10**6},
        {"num_context_layers": 10**9},
        {"num_layers": 1.5},
        {"dim": 2**20},
        {"pixel_dim": 2**30},
        {"patch_size": 0},
        {"remember_every": 0},
        {"num_heads": 2**62},
        {"num_attended": 0},
        {"num_attended": "all"},
    ],
    ids=str,
)
def test_a_generator_that_tells_of_sizes_that_its_weights_do_not_have_costs_nothing(values, change):
    folder, began = change("transformer/config.json", **values), time.process_time()
    with pytest.raises(ValueError, match=r"model='.*model'"):
        read_generator(folder)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("steps", [0, -1, 1.5, "many", None])
def test_a_generator_with_no_number_of_steps_is_refused(steps, change):
    with pytest.raises(ValueError, match=r"cannot be read .*default_num_steps="):
        read_generator(change("model_index.json", default_num_steps=steps))


@pytest.mark.parametrize("height", [0, -64, 64.5, 2**40, "64", None, float("inf")])
def test_a_generator_of_no_sane_height_is_refused_when_an_environment_is_made(height, change):
    folder = change("transformer/config.json", height=height)
    with pytest.raises(ValueError, match="has no height and width"):
        read_traits(str(folder))


def test_a_list_is_no_file_of_checksums(change):
    folder = change("model_index.json")
    (folder / "checksums.json").write_text('["a"]')
    with pytest.raises(ValueError, match=r"checksums.json cannot be read \(a list, not an object"):
        read_generator(folder)


@pytest.mark.parametrize("size", [{"height": 2**32 - 1}, {"width": 10**12}])
def test_a_true_scene_of_frames_beyond_memory_is_refused(size):
    with pytest.raises(ValueError, match=r"is out of range; expected an integer in \[8, 8192\]"):
        TrueSceneEnv(**size)


def bomb(path: Path, side: int) -> Path:
    """A PNG of few bytes that tells of so many pixels on each side."""
    Image.new("1", (8, 8)).save(path, format="PNG")
    data = bytearray(path.read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_picture_that_unpacks_to_gigabytes_is_refused(side, tmp_path):
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is not an image file that can be read"):
        env.reset(options={"image": bomb(tmp_path / "bomb.png", side)})
    folder = write_nerfstudio(tmp_path / "capture", views(pictures()), path(), 80.0)
    bomb(folder / "images" / "0001.png", side)
    with pytest.raises(ValueError, match=r"0001.png is no picture that can be read"):
        env.reset(options={"capture": folder})
    env.step(0)


def test_a_picture_in_a_format_that_another_program_reads_is_refused(tmp_path):
    """Pillow hands PostScript to an interpreter, whatever the name of the file."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"is not an image file that can be read \(cannot identify"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("option", ["pose", "goal"])
def test_numbers_beyond_float_are_no_place(option):
    env = make(task="image_goal")
    with pytest.raises(ValueError, match=rf"options\['{option}'\]=.* is not numeric"):
        env.reset(options={option: [10**400, 0, 0, 0, 0, 0]})


def test_a_picture_with_a_part_of_four_gigabytes_is_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    at = data.index(b"IDAT")
    (tmp_path / "a.png").write_bytes(data[: at - 4] + b"\xff" * 4 + data[at:])
    former = resource.getrlimit(resource.RLIMIT_AS)
    size = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, former[1]))
        with pytest.raises(ValueError, match="is not an image file that can be read"):
            open_image(tmp_path / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, former)


@pytest.mark.parametrize(("name", "content"), [(b"cHRM", b"12345"), (b"iCCP", b""), (b"gAMA", b"1")])
def test_a_picture_with_a_part_behind_its_pixels_that_is_too_short_is_refused(name, content, tmp_path):
    """Pillow opens it, and fails with errors of other kinds when it is decoded."""
    folder = write_nerfstudio(tmp_path / "capture", views(pictures()), path(), 80.0)
    file = folder / "images" / "0001.png"
    data = file.read_bytes()
    part = name + content
    part = len(content).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big")
    file.write_bytes(data[:-12] + part + data[-12:])
    with pytest.raises(ValueError, match="is not an image file that can be read"):
        open_image(file)
    with pytest.raises(ValueError, match=r"0001.png cannot be decoded"):
        view_frames(open_capture(folder).shots, 8, 8, 80.0)
    with pytest.raises(ValueError, match="is not a picture that can be read"):
        read_photograph(file.read_bytes())


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_text_of_a_picture_is_not_taken_for_a_colour(mode, tmp_path):
    notes = PngInfo()
    notes.add_text("transparency", "all of it")
    grey = Image.new("L", (8, 8), 7)
    grey.convert(mode).save(tmp_path / "a.png", pnginfo=notes)
    assert open_image(tmp_path / "a.png").tobytes() == grey.convert("RGB").tobytes()


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning")  # of Pillow
def test_a_picture_whose_notes_are_broken_is_refused_or_read(tmp_path):
    """What turns a picture upright stands in notes that may be broken, too."""
    picture = Image.fromarray(np.full((8, 16, 3), 200, np.uint8))
    notes = picture.getexif()
    notes[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=notes)
    assert open_image(tmp_path / "a.jpg").size == (8, 16)
    data = (tmp_path / "a.jpg").read_bytes()
    at = data.index(b"Exif\0\0") + 6
    for i in range(at, at + 12):
        (tmp_path / "a.jpg").write_bytes(data[:i] + bytes([data[i] ^ 0x81]) + data[i + 1 :])
        try:
            assert open_image(tmp_path / "a.jpg").size in ((8, 16), (16, 8))
        except ValueError as error:
            assert "is not an image file that can be read" in str(error)


def test_a_generator_that_was_read_is_on_the_cpu_in_single_precision(untrained_model):
    generator = read_generator(untrained_model)
    assert all(
        value.device.type == "cpu" and value.dtype == torch.float32 for value in generator.transformer.parameters()
    )
