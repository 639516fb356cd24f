"""Buildkite's two rate limits: one per organization, one per user."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Scope = Literal["rest", "rest_user"]

_UNLIMITED = 1_000_000
"""What the headers say of a limit that is switched off."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of one limit is used in the current window; `reset` is in seconds."""

    scope: Scope
    limit: int
    current: int
    reset: int

    @property
    def remaining(self) -> int:
        """Requests left; negative when more came than are allowed, as really seen."""
        return self.limit - self.current

    def headers(self) -> dict[str, str]:
        """Return the headers that every response carries."""
        prefix = "RateLimit" if self.scope == "rest" else "RateLimit-User"
        headers = {
            f"{prefix}-Scope": self.scope,
            f"{prefix}-Limit": str(self.limit),
            f"{prefix}-Remaining": str(self.remaining),
            f"{prefix}-Reset": str(self.reset),
        }
        if self.remaining <= 0:
            headers[f"{prefix}-Warning"] = "You have exceeded your API rate limit."
        return headers


class Limits:
    """Counts requests in fixed windows of the clock. A limit of None is switched off."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        organization_limit: int | None = 200,
        user_limit: int | None = 50,
        window_seconds: float = 60,
    ) -> None:
        self._clock = clock
        self.organization_limit = organization_limit
        self.user_limit = user_limit
        self.window_seconds = window_seconds
        self._window = 0
        self._counts: Counter[tuple[Scope, str]] = Counter()
        self._also_used: Counter[Scope] = Counter()

    def count(self, organization: str, user_id: str) -> tuple[Usage, Usage]:
        """Count one request and return the use of the organization's and the user's limit."""
        self._roll()
        self._counts["rest", organization] += 1
        self._counts["rest_user", user_id] += 1
        return self.usage("rest", organization), self.usage("rest_user", user_id)

    def usage(self, scope: Scope, key: str) -> Usage:
        """Return the use of a limit by an organization (slug) or a user (id)."""
        window_end = self._roll()
        limit = self.organization_limit if scope == "rest" else self.user_limit
        reset = math.ceil(window_end - self._clock().timestamp())
        return Usage(
            scope,
            _UNLIMITED if limit is None else limit,
            self._counts[scope, key] + self._also_used[scope],
            max(reset, 1),
        )

    def consume(self, requests: int, scope: Scope = "rest") -> None:
        """Use up allowance in the current window, as another user or program would."""
        self._roll()
        self._also_used[scope] += requests

    def _roll(self) -> float:
        """Start a new window if its time has come; return the current one's end (epoch)."""
        window = math.floor(self._clock().timestamp() / self.window_seconds)
        if window != self._window:
            self._window = window
            self._counts.clear()
            self._also_used.clear()
        return (window + 1) * self.window_seconds
