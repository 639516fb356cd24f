"""Rendered jobs of builds, kept until the build changes or the room is needed."""

from collections import OrderedDict

_ROOM_BYTES = 256 * 1024 * 1024


class RenderedJobs:
    """The least recently used bytes go first once `room_bytes` are full."""

    def __init__(self, room_bytes: int = _ROOM_BYTES) -> None:
        self._room_bytes = room_bytes
        self._used_bytes = 0
        self._bytes: OrderedDict[tuple[str, bool], bytes] = OrderedDict()

    def get(self, build_id: str, *, include_retried: bool) -> bytes | None:
        """Return the build's rendered jobs, if they are kept."""
        key = (build_id, include_retried)
        rendered = self._bytes.get(key)
        if rendered is not None:
            self._bytes.move_to_end(key)
        return rendered

    def put(self, build_id: str, rendered: bytes, *, include_retried: bool) -> None:
        """Keep the build's rendered jobs."""
        self._bytes[build_id, include_retried] = rendered
        self._used_bytes += len(rendered)
        while self._used_bytes > self._room_bytes:
            _, dropped = self._bytes.popitem(last=False)
            self._used_bytes -= len(dropped)

    def discard(self, build_id: str) -> None:
        """Forget a build that changed."""
        for include_retried in (False, True):
            dropped = self._bytes.pop((build_id, include_retried), None)
            if dropped is not None:
                self._used_bytes -= len(dropped)

    def clear(self) -> None:
        """Forget all builds: something changed that many of them show."""
        self._bytes.clear()
        self._used_bytes = 0
