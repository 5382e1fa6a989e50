"""The file format of a saved world: named arrays and JSON facts, with checksums and without code.

All numbers are little-endian. A file, by convention `NAME.ctxworld`, is, one after the other:

| bytes | what                                                                           |
|-------|--------------------------------------------------------------------------------|
| 8     | `ctxworld` in ASCII                                                            |
| 4     | format version, unsigned: 1                                                    |
| ...   | the arrays, each one zlib stream (RFC 1950), in the order of the table         |
| ...   | the table, JSON in UTF-8                                                       |
| 8     | length of the table in bytes, unsigned                                         |
| 32    | SHA-256 of the table                                                           |

The table is `{"facts": {...}, "arrays": [{"name", "dtype", "shape", "rows", "bytes", "sha256"}, ...]}`: dtype is one of
`DTYPES`, shape a list of integers, bytes the length of the zlib stream and sha256 its SHA-256 in hexadecimal. An array
holds its values in C order. Where `rows` is true (frames and depth, which take a sixth less room so), every row
along axis 1 but the first holds differences from the row before, modulo 2 to the number of bits, with the values read
as unsigned integers; and of each entry along axis 0 come first the lowest bytes of all values, then the next.

What the arrays and facts of a world are is told in `ctxmem_env.saving`. This module knows nothing of worlds. Nothing is
allocated before its size is known to fit: a stream ends at the size that the table gives, and no table may give a size
that zlib could not have packed into the bytes that are there, or that is more than the memory that is free.
"""

import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from ctxmem_env.atomic import open_whole
from ctxmem_env.device import available_bytes

MAGIC, VERSION = b"ctxworld", 1
DTYPES = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")
_START, _END = len(MAGIC) + 4, 8 + hashlib.sha256().digest_size
_LEVEL = 1  # of zlib: five times as fast as level 6, for 7 % more room
_AT_ONCE = 1 << 16  # bytes of an array that are packed
_LARGEST_TABLE = 1 << 26
_LARGEST_RATIO = 1040  # zlib packs at most 1,032 bytes into one


class Entry(NamedTuple):
    """One array of the table; `offset` is where its stream begins in the file."""

    dtype: str
    shape: tuple[int, ...]
    rows: bool
    offset: int
    bytes: int
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of the array itself."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def write_world_file(path: str | Path, facts: dict[str, Any], arrays: Iterable[tuple[str, np.ndarray]]) -> Path:
    """Write facts (JSON types) and named arrays, one at a time; the file appears whole, or what was there stays.

    Raises:
        ValueError: a path that cannot be written to.
        OSError: writing failed half way, as on a full disk.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"path={str(path)!r}: its folder cannot be made ({error}); choose another one.") from error
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} is a folder; expected the name of a file.")
    try:
        with open_whole(path) as file:
            _write(file, facts, arrays)
    except OSError as error:
        kept = "what was there before is left as it was" if path.exists() else "no file was made"
        raise OSError(error.errno, f"the world could not be saved, and {kept}: {error.strerror}", str(path)) from error
    return path


def _write(file: BinaryIO, facts: dict[str, Any], arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    table = []
    file.write(MAGIC + VERSION.to_bytes(4, "little"))
    for name, array in arrays:
        rows = array.ndim > 2 and array.itemsize <= 2 and array.dtype != bool and array.size > 0
        packer, sha256, length = zlib.compressobj(_LEVEL), hashlib.sha256(), 0
        values = memoryview(_pack_rows(array)) if rows else _little(array).reshape(-1).view(np.uint8)
        # Piece by piece: whole copies of all that is long would raise what the process holds with every save.
        parts = (packer.compress(values[first : first + _AT_ONCE]) for first in range(0, len(values), _AT_ONCE))
        for data in (*parts, packer.flush()):
            file.write(data)
            sha256.update(data)
            length += len(data)
        entry = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "rows": rows}
        table.append(entry | {"bytes": length, "sha256": sha256.hexdigest()})
    text = json.dumps({"facts": facts, "arrays": table}).encode()
    file.write(text + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest())


class WorldFile:
    """A file that `write_world_file` wrote: its facts, its table by name, and its arrays when they are asked for.

    Raises ValueError, on opening or on reading, for a file that is not there, is something else, or is not intact.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._file = open(self.path, "rb")  # noqa: SIM115  closed by __exit__
        except OSError as error:
            raise ValueError(f"path={str(path)!r} cannot be read ({error.strerror}); check the name.") from error
        try:
            self.facts, self.entries = self._read_table()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "WorldFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def refuse(self, reason: str) -> NoReturn:
        """Raise the ValueError that names this file."""
        raise ValueError(f"path={str(self.path)!r} {reason}.")

    def read(self, name: str) -> np.ndarray:
        """The array of that name."""
        entry = self.entries[name]
        self._file.seek(entry.offset)
        data = self._file.read(entry.bytes)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            self.refuse(f"is damaged: {name} does not match its checksum; put an intact copy in its place")
        stream = zlib.decompressobj()
        try:
            # One more byte than there should be: the end of a stream is only seen when somebody asks for more.
            values = stream.decompress(data, entry.size + 1)
        except zlib.error as error:
            self.refuse(f"is damaged: {name} cannot be unpacked ({error}); put an intact copy in its place")
        if len(values) != entry.size or not stream.eof or stream.unused_data:
            self.refuse(f"is damaged: {name} does not unpack to the {entry.size:,} bytes that its table tells of")
        return _unpack_rows(values, entry) if entry.rows else _from_bytes(values, entry)

    def _read_table(self) -> tuple[dict[str, Any], dict[str, Entry]]:
        size, start = os.fstat(self._file.fileno()).st_size, self._file.read(_START)
        if not start or start[: len(MAGIC)] != MAGIC[: len(start)]:
            self.refuse("is not a saved world: it does not begin as one")
        cut = "is truncated or damaged; put an intact copy in its place"
        if size < _START + _END:
            self.refuse(cut)
        version = int.from_bytes(start[len(MAGIC) :], "little")
        if version != VERSION:
            self.refuse(f"has format version {version}, and this package reads {VERSION}; use the one that wrote it")
        self._file.seek(size - _END)
        end = self._file.read(_END)
        length = int.from_bytes(end[:8], "little")
        if length > min(size - _START - _END, _LARGEST_TABLE):
            self.refuse(cut)
        self._file.seek(size - _END - length)
        text = self._file.read(length)
        if hashlib.sha256(text).digest() != end[8:]:
            self.refuse(cut)
        try:
            table = json.loads(text)
            facts, entries, offset = table["facts"], {}, _START
            for part in table["arrays"]:
                entries[part["name"]] = entry = _check_entry(part, offset)
                offset += entry.bytes
            if not isinstance(facts, dict) or len(entries) != len(table["arrays"]) or offset != size - _END - length:
                raise ValueError("the table does not fit the file")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self.refuse(f"has a table that makes no sense ({error!r})")
        needed, free = sum(entry.size for entry in entries.values()), available_bytes("cpu")
        if free is not None and needed > free:
            self.refuse(f"holds {needed / 1e9:.1f} GB, which do not fit into the {free / 1e9:.1f} GB that are free")
        return facts, entries


def _check_entry(part: dict[str, Any], offset: int) -> Entry:
    shape, numbers = part["shape"], [*part["shape"], part["bytes"]]
    if not all(type(number) is int and number >= 0 for number in numbers) or len(shape) > 8:
        raise ValueError(f"{part['name']!r} has shape {shape} and {part['bytes']} bytes")
    if part["dtype"] not in DTYPES or not isinstance(part["name"], str) or not isinstance(part["sha256"], str):
        raise ValueError(f"{part['name']!r} is {part['dtype']!r} with checksum {part['sha256']!r}")
    entry = Entry(part["dtype"], tuple(shape), part["rows"] is True, offset, part["bytes"], part["sha256"])
    if entry.size > _LARGEST_RATIO * entry.bytes or (entry.rows and (len(shape) < 3 or entry.size == 0)):
        raise ValueError(f"{part['name']!r} cannot be {entry.size} bytes of shape {shape} in {entry.bytes}")
    return entry


def _little(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _from_bytes(values: bytes, entry: Entry) -> np.ndarray:
    stored = np.uint8 if entry.dtype == "bool" else np.dtype(entry.dtype).newbyteorder("<")
    return np.frombuffer(values, stored).astype(entry.dtype).reshape(entry.shape)


def _unsigned(dtype: str | np.dtype) -> np.dtype:
    return np.dtype(f"<u{np.dtype(dtype).itemsize}")


def _pack_rows(array: np.ndarray) -> bytes:
    values = _little(array).view(_unsigned(array.dtype))
    differences = values.copy()
    differences[:, 1:] -= values[:, :-1]
    return differences[..., None].view(np.uint8).reshape(len(array), -1, array.itemsize).swapaxes(1, 2).tobytes()


def _unpack_rows(values: bytes, entry: Entry) -> np.ndarray:
    unsigned = _unsigned(entry.dtype)
    planes = np.frombuffer(values, np.uint8).reshape(entry.shape[0], unsigned.itemsize, -1)
    differences = np.ascontiguousarray(planes.swapaxes(1, 2)).view(unsigned).reshape(entry.shape)
    return differences.cumsum(1, dtype=unsigned).view(np.dtype(entry.dtype).newbyteorder("<")).astype(entry.dtype)
