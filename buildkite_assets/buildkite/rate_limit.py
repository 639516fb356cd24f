"""Spreads requests over time, so that an allowance is shared and never exhausted.

Buildkite counts requests in windows of about a minute, per organization and per user, and every
response tells both (`RateLimit-*` and `RateLimit-User-*`). `Pacer` keeps a distance between the
starts of requests from which follows that we use at most our share of the smaller allowance, and
of what other users have left of it. All processes of one machine that use the same token keep that
distance together, through a small file.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import msgspec
from filelock import FileLock

from buildkite_assets.buildkite.errors import BuildkiteError

WINDOW_SECONDS = 60.0
_HEADERS = ("RateLimit", "RateLimit-User")
_LONGEST_WINDOW_SECONDS = 5 * WINDOW_SECONDS
_LONGEST_WAIT_SECONDS = _LONGEST_WINDOW_SECONDS + 2
_NO_WAIT_SECONDS = 0.002
_CATCH_UP_SECONDS = 0.5  # counted in, so that a window with it stays within our share


@dataclass(frozen=True)
class Window:
    """One allowance as a response told it: `remaining` of `limit` for `reset_seconds` more."""

    limit: float
    remaining: float
    reset_seconds: float

    def interval_seconds(self, share: float) -> float:
        """The distance between requests that uses at most `share` of this allowance.

        It grows when other users have taken more than we left to them, so that what remains lasts
        until the window ends, for them and for us.
        """
        period_seconds = WINDOW_SECONDS + _CATCH_UP_SECONDS
        even = min(period_seconds / (share * self.limit), _LONGEST_WINDOW_SECONDS)
        if self.is_exhausted(share):
            return even
        return max(even, self.reset_seconds / (share * self.remaining))

    def is_exhausted(self, share: float) -> bool:
        """Whether our share of what remains is less than one request."""
        return share * self.remaining < 1


def windows(headers: Mapping[str, str]) -> list[Window]:
    """The allowances that a response's headers tell; those that make no sense are left out."""
    found = []
    for prefix in _HEADERS:
        limit = _number(headers.get(f"{prefix}-Limit"))
        remaining = _number(headers.get(f"{prefix}-Remaining"))
        if limit is None or remaining is None or limit <= 0:
            continue
        reset = believable_reset(headers.get(f"{prefix}-Reset")) or 0.0
        found.append(Window(limit, remaining, reset))
    return found


def believable_reset(text: object) -> float | None:
    """Seconds until an allowance is renewed, or None where `text` cannot be that."""
    seconds = _number(text)
    if seconds is None or not 0 <= seconds <= _LONGEST_WINDOW_SECONDS:
        return None
    return seconds


def _number(text: object) -> float | None:
    if not isinstance(text, str | int | float):
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class _Pace(msgspec.Struct):
    """What the processes of one machine share; instants by the machine's monotonic clock."""

    last_at: float = 0.0
    paused_until: float = 0.0
    interval_seconds: float = 0.0

    @property
    def next_at(self) -> float:
        return max(self.paused_until, self.last_at + self.interval_seconds)


class Pacer:
    """Says when the next request may start.

    Nobody holds a turn in advance: whoever waits asks again when its wait is over, so that a pause
    that began meanwhile holds it too.

    Args:
        share: the part of each allowance that we may use, above 0 and at most 1.
        state: the file that processes with the same token share.
    """

    def __init__(self, share: float, state: Path) -> None:
        self._share = share
        self._state = state
        self._lock = FileLock(f"{state}.lock", mode=0o600)
        self._mutex = Lock()
        self._is_loaded = False
        self._pace = _Pace()
        self.windows: list[Window] = []

    @property
    def remaining(self) -> int | None:
        """Requests left to all in the smaller allowance, as last told; None before that."""
        return min((int(window.remaining) for window in self.windows), default=None)

    def wait_turn(self, on_wait: Callable[[float], None] | None = None) -> None:
        """Return when a request may start.

        Args:
            on_wait: called with the seconds of each wait, before it begins.

        Raises:
            BuildkiteError: the file of the pace cannot be used.
        """
        while wait_seconds := self._take_turn():
            if on_wait:
                on_wait(wait_seconds)
            time.sleep(wait_seconds)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take the allowances from a response's headers, where it has them.

        Raises:
            BuildkiteError: the file of the pace cannot be used.
        """
        told = windows(headers)
        if not told:
            return
        self.windows = told
        interval = max(window.interval_seconds(self._share) for window in told)
        exhausted = [w.reset_seconds for w in told if w.is_exhausted(self._share)]
        with self._mutex:
            if exhausted or self._is_slow() or interval > _NO_WAIT_SECONDS:
                with self._shared() as pace:
                    pace.interval_seconds = interval
                    if exhausted:
                        until = time.monotonic() + max(exhausted)
                        pace.paused_until = max(pace.paused_until, until)

    def pause(self, seconds: float) -> None:
        """Hold every request back for `seconds`, and a moment more so that not all wake at once.

        Raises:
            BuildkiteError: the file of the pace cannot be used.
        """
        until = time.monotonic() + seconds + random.uniform(0.1, 1.0)  # noqa: S311 - no secret
        with self._mutex, self._shared() as pace:
            pace.paused_until = max(pace.paused_until, until)

    def _take_turn(self) -> float:
        """Seconds to wait before asking again, or 0 when the turn is the caller's."""
        with self._mutex:
            if self._is_loaded and not self._is_slow():
                return 0.0
            with self._shared() as pace:
                now = time.monotonic()
                if now < pace.next_at:
                    return pace.next_at - now
                # Who comes a little late has the lost moment made up for, or the rate would sag.
                pace.last_at = max(pace.next_at, now - _CATCH_UP_SECONDS)
                return 0.0

    def _is_slow(self) -> bool:
        pace = self._pace
        return pace.interval_seconds > _NO_WAIT_SECONDS or pace.next_at > time.monotonic()

    @contextmanager
    def _shared(self) -> Iterator[_Pace]:
        """The pace, to read and change while no other process does."""
        try:
            with self._lock:
                self._pace = self._load()
                self._is_loaded = True
                yield self._pace
                self._state.write_bytes(msgspec.json.encode(self._pace))
        except OSError as error:
            raise BuildkiteError(
                f"{self._state} keeps the pace of requests and cannot be used: {error.strerror}. "
                "Mend that, or set XDG_STATE_HOME to a folder that can be written."
            ) from error

    def _load(self) -> _Pace:
        try:
            pace = msgspec.json.decode(self._state.read_bytes(), type=_Pace)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return _Pace()
        # The monotonic clock starts anew with the machine: what lies too far ahead is of before.
        is_of_before = pace.next_at > time.monotonic() + _LONGEST_WAIT_SECONDS
        return _Pace() if is_of_before else pace
