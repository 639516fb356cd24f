"""What a sync says of itself while it works."""

import time
from threading import Lock


class Progress:
    """Counts what the present step of a sync has done; safe to use from several threads.

    Attributes:
        step: what the step does, for people.
        parts: to be read, in `unit`.
        parts_read: of these.
        builds: stored by this step.
        jobs: stored by this step.
        requests: answered.
        bytes: of the unpacked bodies.
        remaining: requests left in the smaller allowance of this minute, where known.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.begin("")

    def begin(self, step: str) -> None:
        """Begin a step of the sync: count from zero."""
        with self._lock:
            self.step = step
            self.unit = "parts"
            self.parts = 0
            self.parts_read = 0
            self.requests = 0
            self.builds = 0
            self.jobs = 0
            self.bytes = 0
            self.remaining: int | None = None
            self._wait_reason = ""
            self._wait_until = 0.0

    def expect(self, parts: int, unit: str) -> None:
        """Take note that so many more parts are to be read, such as 30 `days`."""
        with self._lock:
            self.parts += parts
            self.unit = unit

    def part_read(self) -> None:
        """Count a part as read."""
        with self._lock:
            self.parts_read += 1

    def stored(self, builds: int, jobs: int) -> None:
        """Count rows of `builds` and `jobs` as stored."""
        with self._lock:
            self.builds += builds
            self.jobs += jobs

    def answered(self, size_bytes: int, remaining: int | None) -> None:
        """Count a response: its unpacked size, and the requests left in this minute if known."""
        with self._lock:
            self.requests += 1
            self.bytes += size_bytes
            self.remaining = remaining

    def waiting(self, reason: str, seconds: float) -> None:
        """Take note that a request waits: what for, and for how long."""
        with self._lock:
            self._wait_reason = reason
            self._wait_until = time.monotonic() + seconds

    @property
    def wait(self) -> tuple[str, float] | None:
        """What the last request to wait waits for, and the seconds left; None if none waits."""
        with self._lock:
            left_seconds = self._wait_until - time.monotonic()
            return (self._wait_reason, left_seconds) if left_seconds > 0 else None
