"""How much anybody may ask of the server, and how often."""

import time
from dataclasses import dataclass

MESSAGE_BYTES = 4096  # of one message on a WebSocket
UPLOAD_BYTES = 16 << 20  # of a photograph or a saved world
UPLOAD_SECONDS = 60.0  # that it may take
PICTURE_PIXELS = 40_000_000  # of a photograph
WORLD_BYTES = 256 << 20  # of a saved world when it is unpacked
CONNECTIONS = 512  # at once, of all kinds
REQUEST_SECONDS = 10.0  # until a connection has asked for something
HTTP_SECONDS = 180.0  # that a connection may last without becoming a WebSocket
SEND_SECONDS = 10.0  # in which a visitor must take a frame
MISTAKES = 20  # messages that make no sense, until the connection is closed
OPENING_SECONDS = 20.0  # in which a visitor must have asked for a world


@dataclass(frozen=True)
class Limits:
    """What the operator chooses.

    visitors: places; fps: steps a second of each visitor, at most; idle_seconds: until a visitor who asks for nothing
    loses the place, and yield_seconds the same when somebody else waits for one.
    """

    visitors: int = 8
    fps: float = 20.0
    idle_seconds: float = 600.0
    yield_seconds: float = 60.0


class Bucket:
    """At most `burst` events at once and `rate` a second in the long run."""

    def __init__(self, rate: float, burst: float):
        self._rate, self._burst = rate, burst
        self._filled, self._at = burst, time.monotonic()

    def take(self) -> float:
        """Counts one event; seconds to wait until it is due, 0 for at once."""
        now = time.monotonic()
        self._filled = min(self._burst, self._filled + self._rate * (now - self._at)) - 1
        self._at = now
        return max(0.0, -self._filled / self._rate)

    def give_back(self) -> None:
        """One event that was counted does not come."""
        self._filled = min(self._burst, self._filled + 1)
