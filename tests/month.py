"""A month of the sandbox's organization, synced once for all tests that only read it.

It ends at noon of a fixed day; api's main was red until that morning. Between its two snapshots of
access, an hour before the end and at the end, some access is taken and some is given.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock

from buildkite_assets.demo import RULES
from buildkite_assets.runs import (
    run_access,
    run_builds,
    run_catalog,
    run_derived,
)
from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings

from .syncing import StandingClock

NOW = datetime(2025, 11, 20, 12, tzinfo=UTC)
DAYS = 30


def synced_month(folder: Path) -> Path:
    """The published file of the month, synced by the first process that asks."""
    folder.mkdir(exist_ok=True)
    published = folder / "acme.duckdb"
    with FileLock(folder / "lock"):
        if not (folder / "done").exists():
            _sync(published)
            (folder / "done").touch()
    return published


def _sync(published: Path) -> None:
    clock = StandingClock()
    clock.now = NOW - timedelta(hours=1)
    sandbox = Sandbox.company(clock=clock, days=DAYS, builds_per_day=60)
    sandbox.limits.organization_limit = None
    sandbox.limits.user_limit = None
    first = NOW.date() - timedelta(days=DAYS)
    with serve(sandbox) as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(published.parent / "state"))
        session = Session(
            Settings.from_environment(
                {
                    "BUILDKITE_API_URL": server.url,
                    "BUILDKITE_API_TOKEN": sandbox.tokens.administrator.value,
                    "BUILDKITE_ORGANIZATIONS": "acme",
                    "BUILDKITE_START_DATE": first.isoformat(),
                    "BUILDKITE_WAREHOUSE": str(published),
                    "BUILDKITE_RULES": str(RULES),
                }
            ),
            clock=clock,
        )
        with dg.DagsterInstance.ephemeral() as instance:
            run_catalog(session, instance)
            run_access(session, instance)
            change_access(sandbox)
            clock.now = NOW
            run_access(session, instance)
            run_builds(session, instance, first, NOW.date(), full=False)
            run_derived(session, instance)


def change_access(sandbox: Sandbox) -> None:
    """Remove somebody who is in the team Mobile, and let the team Data manage `nightly`."""
    acme = sandbox.organization("acme")
    teams = {team.name: team for team in acme.teams}
    acme.remove_member(teams["Mobile"].members[-1].user)
    acme.set_team_pipeline(teams["Data"], "nightly", "manage_build_and_read")
