"""The file format and its writing: damage is noticed, lies are refused, and what was there before is never lost."""

import hashlib
import json
import os
import resource
import struct
import zlib

import numpy as np
import pytest
from files import read_all
from gymnasium.error import ResetNeeded
from helpers import make
from test_state import opened

from ctxmem_env import world_file
from ctxmem_env.world_file import DTYPES, WorldFile, write_world_file


def write_raw(path, table, body=b"", version=1):
    """A file whose checksums are right, whatever it says."""
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    start = b"ctxworld" + struct.pack("<I", version)
    path.write_bytes(start + body + text + struct.pack("<Q", len(text)) + hashlib.sha256(text).digest())
    return path


def entry(body=b"", **changes):
    sha256 = hashlib.sha256(body).hexdigest()
    base = {"name": "a", "dtype": "uint8", "shape": [4], "rows": False, "bytes": len(body), "sha256": sha256}
    return {"facts": {}, "arrays": [base | changes]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3), (2, 5, 4), (3, 1, 6, 3), (0, 4, 4), (2, 0, 3)])
def test_arrays_come_back_as_they_were(dtype, shape, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    array = values.view(dtype)[..., 0] if dtype != "bool" else values[..., 0] > 127
    facts = {"text": "ä", "number": 2**130, "list": [None, 0.1]}
    path = write_world_file(
        tmp_path / "new" / "a.ctxworld", facts, [("first", array), ("second", array[..., ::-1] if shape else array)]
    )
    found, arrays = read_all(path)
    assert found == facts and list(arrays) == ["first", "second"]
    assert arrays["first"].dtype == array.dtype and arrays["first"].shape == shape
    assert arrays["first"].tobytes() == array.tobytes()
    assert arrays["second"].tobytes() == np.ascontiguousarray(array[..., ::-1] if shape else array).tobytes()


def test_a_path_without_a_file_is_refused(tmp_path):
    env = make().unwrapped
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ValueError, match=rf"path='{path}' cannot be read \({why}\); check the name"):
            env.load(path)
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(seed=0)


HUGE = zlib.compress(bytes(1 << 20))


@pytest.mark.parametrize(
    ("table", "body", "match"),
    [
        (b"[1, 2", b"", "has a table that makes no sense"),
        (b"[" * 100_000, b"", "has a table that makes no sense"),
        ([], b"", "has a table that makes no sense"),
        ({"facts": [], "arrays": []}, b"", "the table does not fit the file"),
        (entry(b"x", bytes=2), b"x", "the table does not fit the file"),
        (entry(b"x", bytes=0, shape=[0]), b"x", "the table does not fit the file"),
        (entry(b"x", dtype="object"), b"x", "'a' is 'object' with checksum"),
        (entry(b"x", dtype=["uint8"]), b"x", "has a table that makes no sense"),
        (entry(b"x", name=["a"]), b"x", "has a table that makes no sense"),
        (entry(b"x", shape=[-1]), b"x", r"'a' has shape \[-1\]"),
        (entry(b"x", shape=[True]), b"x", r"'a' has shape \[True\]"),
        (entry(b"x", shape=[1] * 9), b"x", "'a' has shape"),
        (entry(b"x", shape=[10**9, 10**9, 10**9]), b"x", "cannot be 10{27} bytes"),
        (entry(HUGE, shape=[len(HUGE) * 1041]), HUGE, "cannot be .* bytes"),
        (entry(b"x", shape=[4], rows=True), b"x", r"'a' cannot be 4 bytes of shape \[4\]"),
        (entry(b"x"), b"x", "is no world of this package"),
    ],
)
def test_a_table_that_lies_is_refused_before_anything_is_unpacked(table, body, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        make().unwrapped.load(write_raw(tmp_path / "a.ctxworld", table, body))


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (HUGE, "a does not unpack to the 4 bytes that its table tells of"),
        (zlib.compress(b"abc"), "a does not unpack to the 4 bytes"),
        (zlib.compress(b"abcd")[:-1], "a does not unpack to the 4 bytes"),
        (zlib.compress(b"abcd") + b"e", "a does not unpack to the 4 bytes"),
        (b"abcdefgh", "a cannot be unpacked"),
    ],
)
def test_a_stream_that_holds_anything_else_is_refused(body, match, tmp_path):
    path = write_raw(tmp_path / "a.ctxworld", entry(body), body)
    with WorldFile(path) as file, pytest.raises(ValueError, match=f"path='{path}' is damaged: {match}"):
        file.read("a")


def test_an_array_that_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    path = write_world_file(tmp_path / "a.ctxworld", {}, [("a", np.zeros(10_000_000, np.uint8))])
    monkeypatch.setattr(world_file, "available_bytes", lambda device: 9_999_999)
    with pytest.raises(ValueError, match=r"holds 0.0 GB, which do not fit into the 0.0 GB that are free"):
        WorldFile(path)


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    env = opened(steps=1)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ValueError, match=rf"path='{tmp_path}/file/a.ctxworld': its folder cannot be made"):
        env.save(tmp_path / "file" / "a.ctxworld")
    with pytest.raises(ValueError, match=rf"path='{tmp_path}' is a folder; expected the name of a file"):
        env.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def kept(tmp_path):
    """An environment whose world was saved and has gone on, and the bytes of the file."""
    env = opened(steps=20)
    path = env.save(tmp_path / "a.ctxworld")
    env.step(1)
    return env, path, path.read_bytes()


def test_a_full_disk_leaves_the_former_file_and_nothing_else(kept):
    env, path, before = kept
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
        with pytest.raises(OSError, match="could not be saved, and what was there before is left as it was") as caught:
            env.save(path)
        with pytest.raises(OSError, match="could not be saved, and no file was made"):
            env.save(path.with_name("b.ctxworld"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    env.save(path)
    assert path.read_bytes() != before


@pytest.mark.parametrize("broken", ["fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_a_save_that_is_broken_off_leaves_the_former_file_and_nothing_else(broken, error, kept, monkeypatch):
    env, path, before = kept

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(type(error)):
            env.save(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    env.save(path)


def test_ctrl_c_between_two_arrays_leaves_the_former_file_and_nothing_else(tmp_path):
    path = write_world_file(tmp_path / "a.ctxworld", {"whole": 1}, [("a", np.ones(3))])

    def arrays():
        yield "a", np.zeros(100_000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_world_file(path, {}, arrays())
    assert read_all(path)[0] == {"whole": 1} and list(tmp_path.iterdir()) == [path]
