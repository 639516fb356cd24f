"""Schedules, evaluated and run as Dagster does: which days they ask for, and what they leave."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.assets.unread import EVERYTHING_WAS_READ
from buildkite_assets.automation import today
from buildkite_assets.definitions import definitions
from buildkite_assets.runs import run_builds, run_catalog, run_changes
from buildkite_assets.sandbox import Sandbox, SandboxServer, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect

from .other_programs import opened_for_writing
from .syncing import StandingClock, environment, without_limits

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def server(clock: StandingClock) -> Iterator[SandboxServer]:
    """Serve an organization with a build on each of the last ten days."""
    sandbox = without_limits(Sandbox.empty(clock=clock))
    for days in range(10):
        at = clock().replace(hour=0, minute=0) - timedelta(days=days)
        sandbox.organization("acme").create_build("web", state="passed", created_at=at)
    with serve(sandbox) as server:
        yield server


def session_of(server: SandboxServer, folder: Path, first: date) -> Session:
    settings = {"BUILDKITE_START_DATE": first.isoformat()}
    return Session(Settings.from_environment(environment(server, folder / "w.duckdb") | settings))


def asked_for(session: Session, day: date) -> tuple[str, str]:
    """The first and last day that the schedule asks for in an hour of this day."""
    at = datetime.combine(day, time(12, 5), UTC)
    context = dg.build_schedule_context(scheduled_execution_time=at, resources={"session": session})
    request = today(context)
    assert isinstance(request, dg.RunRequest)
    return request.tags[RANGE[0]], request.tags[RANGE[1]]


def execute(
    session: Session, instance: dg.DagsterInstance, job: str, tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    """Run a job as a schedule does."""
    return (
        definitions(session).resolve_job_def(job).execute_in_process(instance=instance, tags=tags)
    )


def test_today_asks_for_the_days_of_the_week_that_were_not_read_to_their_end(
    server: SandboxServer, tmp_path: Path, clock: StandingClock
) -> None:
    day = [clock().date() - timedelta(days=n) for n in range(10)]
    session = session_of(server, tmp_path, day[9])
    with dg.DagsterInstance.ephemeral() as instance:
        # Nothing is known: a week, but no day before the first partition.
        assert asked_for(session, day[0]) == (f"{day[7]}", f"{day[0]}")
        late = session_of(server, tmp_path, day[2])
        assert asked_for(late, day[0]) == (f"{day[2]}", f"{day[0]}")

        run_catalog(session, instance)
        run_builds(session, instance, day[5], day[3], full=False)
        asked = asked_for(session, day[0])
        assert asked == (f"{day[7]}", f"{day[0]}")
        server.sandbox.requests.clear()
        execute(session, instance, "builds_job", dict(zip(RANGE, asked, strict=True)))
        read = {
            r.query["created_from"][:10]
            for r in server.sandbox.requests
            if "per_page" in r.query and "created_from" in r.query
        }
        # Those known already were left as they were.
        assert read == {f"{day[n]}" for n in (7, 6, 2, 1, 0)}

        # Today is read each hour, and yesterday once more when it is over. The file that others
        # read does not matter, even if another program has it locked.
        with opened_for_writing(session.settings.warehouse):
            assert asked_for(session, day[0]) == (f"{day[0]}", f"{day[0]}")
        tomorrow = day[0] + timedelta(days=1)
        assert asked_for(session, tomorrow) == (f"{day[0]}", f"{tomorrow}")

        # A feed that began later does not make a day one that was read to its end.
        clock.move(minutes=15)
        run_changes(session, instance)
        assert asked_for(session, day[0]) == (f"{day[0]}", f"{day[0]}")
        assert asked_for(session, tomorrow) == (f"{day[0]}", f"{tomorrow}")
    with connect(session.settings.warehouse) as connection:
        assert connection.execute("SELECT count(*) FROM builds").fetchall() == [(8,)]


def test_one_run_lists_the_catalog_and_then_takes_the_snapshot(
    server: SandboxServer, tmp_path: Path, clock: StandingClock
) -> None:
    session = session_of(server, tmp_path, clock().date())
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(session, instance, "catalog_and_access_job")
    # No check of the catalog can keep the snapshot from being taken.
    checked = {
        check.asset_key.path[-1]
        for check in result.get_asset_check_evaluations()
        if check.check_name != EVERYTHING_WAS_READ
    }
    assert "access_syncs" in checked
    assert checked.isdisjoint({"organizations", "pipelines", "clusters", "queues"})
    with connect(session.settings.warehouse) as connection:
        assert connection.execute("SELECT count(*) FROM pipelines").fetchall() == [(1,)]
        assert connection.execute("SELECT count(*) FROM organization_members").fetchall() == [(2,)]


def test_checks_run_alone_and_ask_buildkite_for_nothing(
    server: SandboxServer, tmp_path: Path, clock: StandingClock
) -> None:
    session = session_of(server, tmp_path, clock().date())
    with dg.DagsterInstance.ephemeral() as instance:
        run_catalog(session, instance)
        run_builds(session, instance, clock().date(), clock().date(), full=False)
        run_changes(session, instance)
        server.sandbox.requests.clear()
        result = execute(session, instance, "checks_job")
    evaluated = {check.check_name for check in result.get_asset_check_evaluations()}
    assert evaluated >= {"no_late_changes", "no_rejected_builds"}
    assert not [event for event in result.all_events if event.is_step_materialization]
    assert len(server.sandbox.requests) == 0
