"""A clock that stands until it is moved, and a served sandbox to drive by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from buildkite_assets.sandbox import Organization, Sandbox, Token, serve

Body = Any
"""A JSON body; tests look into it without declaring its form."""

Parameter = str | int | list[str]

NOW = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)


class StandingClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def move(self, **by: float) -> None:
        """Let time pass, given like a timedelta's parts."""
        self.now += timedelta(**by)


class Api:
    """Requests to one served sandbox, by default with the administrator's token."""

    def __init__(self, url: str, sandbox: Sandbox) -> None:
        self.url = url
        self.sandbox = sandbox
        self._client = httpx.Client(timeout=20)

    def get(self, path: str, token: Token | None = None, /, **query: Parameter) -> httpx.Response:
        """Send a request to a path under /v2, or to a whole address."""
        value = (token or self.sandbox.tokens.administrator).value
        url = path if path.startswith("http") else self.url + path
        headers = {"Authorization": f"Bearer {value}"}
        return self._client.get(url, params=query or None, headers=headers)

    def json(self, path: str, token: Token | None = None, /, **query: Parameter) -> Body:
        """Return the body of an answer that must be a success."""
        response = self.get(path, token, **query)
        assert response.status_code == 200, response.text
        return response.json()

    def numbers(self, **query: Parameter) -> list[int]:
        """Return the numbers of acme's builds that a filter finds, as listed."""
        return [build["number"] for build in self.json("/organizations/acme/builds", **query)]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@pytest.fixture
def clock() -> StandingClock:
    """Return a clock at noon of a Thursday."""
    return StandingClock()


@pytest.fixture
def sandbox(clock: StandingClock) -> Sandbox:
    """Return a sandbox without builds."""
    return Sandbox.empty(clock=clock)


@pytest.fixture
def acme(sandbox: Sandbox) -> Organization:
    """Return the sandbox's organization."""
    return sandbox.organization("acme")


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[Api]:
    """Serve the sandbox."""
    with serve(sandbox) as server:
        api = Api(server.url, sandbox)
        yield api
        api.close()


@pytest.fixture(scope="module")
def company() -> Iterator[Api]:
    """Serve a company's month; tests that share it do not change it."""
    sandbox = Sandbox.company(clock=StandingClock(), builds_per_day=60)
    sandbox.limits.organization_limit = None
    sandbox.limits.user_limit = None
    with serve(sandbox) as server:
        api = Api(server.url, sandbox)
        yield api
        api.close()
