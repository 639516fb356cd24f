"""A served sandbox, a warehouse, and snapshots between them, taken with any of its tokens."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rules import Rules
from buildkite_assets.sandbox import Organization, Sandbox, Token, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect
from buildkite_assets.warehouse.derive import derive_whole, in_order

Row = tuple[Any, ...]

NOON = datetime(2025, 3, 3, 12, 0, tzinfo=UTC)


class StandingClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def move(self, **by: float) -> None:
        """Let time pass, given like a timedelta's parts."""
        self.now += timedelta(**by)


class Lab:
    """One sandbox, one warehouse, and the runs between them."""

    def __init__(self, url: str, sandbox: Sandbox, clock: StandingClock, folder: Path) -> None:
        self.url = url
        self.sandbox = sandbox
        self.clock = clock
        self.path = folder / "buildkite.duckdb"
        self.instance = dg.DagsterInstance.ephemeral()
        self.environment: dict[str, str] = {}
        self.rules = Rules()

    def session(self, token: Token | None = None) -> Session:
        """Return a session with this token, the administrator's by default."""
        return Session(Settings.from_environment(self.variables(token)), clock=self.clock)

    def variables(self, token: Token | None = None) -> dict[str, str]:
        """Return the environment variables of such a session."""
        return {
            "BUILDKITE_API_URL": self.url,
            "BUILDKITE_API_TOKEN": (token or self.sandbox.tokens.administrator).value,
            "BUILDKITE_WAREHOUSE": str(self.path),
            **self.environment,
        }

    def run(
        self, job: str, token: Token | None = None, *, raises: bool = True
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process."""
        return (
            definitions(self.session(token))
            .resolve_job_def(job)
            .execute_in_process(instance=self.instance, raise_on_error=raises)
        )

    def sync(self, token: Token | None = None, **later: float) -> dg.ExecuteInProcessResult:
        """Let time pass (an hour by default), and take a snapshot."""
        self.clock.move(**(later or {"hours": 1}))
        self.run("catalog_job", token)
        return self.run("access_job", token)

    def read_day(self, day: str) -> None:
        """Read a UTC day of builds."""
        definitions(self.session()).resolve_job_def("builds_job").execute_in_process(
            instance=self.instance, partition_key=day
        )

    def derive(self) -> None:
        """Recompute the derived tables of access."""
        warehouse = self.session().warehouse
        with warehouse.transaction() as connection:
            for table in in_order(derived_tables()):
                if table.group == "access_review":
                    derive_whole(connection, table, derived_tables(), self.rules.parameters())
        warehouse.publish()

    def rows(self, query: str) -> list[Row]:
        """Return what a query finds in the published file."""
        with connect(self.path) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def clock() -> StandingClock:
    """Return a clock at noon of 3 March 2025."""
    return StandingClock()


@pytest.fixture
def lab(clock: StandingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Serve a sandbox with the organization acme, without limits."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    sandbox = Sandbox.empty(clock=clock)
    sandbox.limits.organization_limit = None
    sandbox.limits.user_limit = None
    with serve(sandbox) as server:
        yield Lab(server.url, sandbox, clock, tmp_path)


@pytest.fixture
def acme(lab: Lab) -> Organization:
    """Return the sandbox's organization."""
    return lab.sandbox.organization("acme")
