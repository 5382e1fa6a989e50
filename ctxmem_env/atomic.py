"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def open_whole(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the name `path` when the block ends, after it has reached the disk.

    Until then it lies beside `path` under a name that begins with a dot. Whatever goes wrong, what `path` was before is
    left as it was; only a process that is killed leaves the unfinished file behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # KeyboardInterrupt too
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_whole(path: str | Path, text: str) -> None:
    """Text as a file, in UTF-8; see `open_whole`."""
    with open_whole(path) as file:
        file.write(text.encode())


def _sync_folder(folder: Path) -> None:
    """The name, too, is to survive a power cut; where a folder cannot be opened (Windows), the system sees to that."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
