"""Files and folders that are there whole or not at all."""

import os
import shutil
import tempfile
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


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` when the block ends, and the place of what was there.

    Until then it lies beside `path` under a name that begins with a dot. Whatever goes wrong, what `path` was before is
    left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = (Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)) for _ in range(2))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if path.exists():
            # It is whole until the new one is, and between two renames it lies beside.
            os.rename(path, aside / path.name)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not path.exists() and (aside / path.name).exists():
            os.rename(aside / path.name, path)
        shutil.rmtree(aside, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """The name, too, is to survive a power cut; where a folder cannot be opened (Windows), the system sees to that."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
