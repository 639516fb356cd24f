"""How many builds to ask for at once: as many as one comfortable body holds."""

from threading import Lock

LARGEST = 100
_FIRST = 10
_TARGET_BYTES = 8_000_000
_REGAINED = 5


class PageSize:
    """A page size that follows the size of the bodies; all windows of a sync share one.

    A build is 4 KB or 4 MB, so a fixed size would waste requests or time out.
    """

    def __init__(self, first: int = _FIRST, target_bytes: int = _TARGET_BYTES) -> None:
        self._size = first
        self._largest = LARGEST
        self._ceiling = LARGEST
        self._target_bytes = target_bytes
        self._lock = Lock()

    @property
    def builds(self) -> int:
        """Builds to ask for in the next request, 1 to 100."""
        return self._size

    def fit(self, builds: int, size_bytes: int) -> None:
        """Aim at the target from what a page of `builds` weighed.

        It grows fourfold at most, and after trouble by a few builds at a time: to go straight back
        to the size that failed would have every other request fail.
        """
        if builds == 0:
            return
        fitting = int(self._target_bytes * builds / max(size_bytes, 1))
        with self._lock:
            self._size = max(1, min(fitting, self._size * 4, self._ceiling))
            self._ceiling = min(self._ceiling + _REGAINED, self._largest)

    def shrink(self) -> None:
        """Halve it: the server could not answer in time."""
        with self._lock:
            self._size = max(1, self._size // 2)
            self._ceiling = self._size

    def limit(self, largest: int) -> None:
        """Never ask for more than `largest` again: the server refuses it."""
        with self._lock:
            self._largest = min(self._largest, largest)
            self._ceiling = min(self._ceiling, largest)
            self._size = min(self._size, largest)
