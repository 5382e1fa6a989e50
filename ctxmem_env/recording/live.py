"""A video that grows while its pictures are made."""

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import numpy as np

from ctxmem_env.recording.video import write_video


class LiveVideo:
    """Writes pictures as they come, in a thread of its own, so that who makes them need not wait.

    The file appears under its name with `finish`.
    """

    def __init__(self, path: str | Path, fps: float):
        self.path, self.pictures = Path(path), 0
        self._queue: Queue[np.ndarray | None] = Queue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, args=(fps,), daemon=True)
        self._thread.start()

    def add(self, picture: np.ndarray) -> None:
        """One more picture, uint8 (height, width, 3); it must not change any more. None is kept once writing failed."""
        self.pictures += 1
        if self._error is None:
            self._queue.put(picture)

    def finish(self) -> Path:
        """Ends the video; raises what went wrong while it was written, OSError and ValueError as in `write_video`."""
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.path

    def _write(self, fps: float) -> None:
        try:
            write_video(self.path, self._pictures(), fps)
        except BaseException as error:  # of a thread nobody else would hear of it
            self._error = error
            while not self._queue.empty():
                self._queue.get()

    def _pictures(self) -> Iterator[np.ndarray]:
        while (picture := self._queue.get()) is not None:
            yield picture
