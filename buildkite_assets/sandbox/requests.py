"""A log of the requests that the sandbox answered."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class RecordedRequest:
    """A request and what became of it; `status` is 0 if no response was begun."""

    at: datetime
    method: str
    path: str
    query: dict[str, str]
    status: int = 0
    bytes_sent: int = 0


class RequestLog:
    """The requests in the order of their answers; safe to read while more arrive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[RecordedRequest] = []

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[RecordedRequest]:
        with self._lock:
            return iter(tuple(self._requests))

    def __getitem__(self, index: int) -> RecordedRequest:
        with self._lock:
            return self._requests[index]

    def append(self, request: RecordedRequest) -> None:
        """Add one."""
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._requests.clear()
