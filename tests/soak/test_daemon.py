"""A daemon that is left alone: what changed late reaches all that is derived from it, and no more.

It takes minutes: the sensor looks every half minute, and Dagster calls a backfill of several days
done some minutes after its last run.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickStatus,
)

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import DerivedTable, derived_tables
from buildkite_assets.runs import (
    prepare_home,
    run_access,
    run_builds,
    run_catalog,
    run_changes,
    run_derived,
)
from buildkite_assets.sandbox import serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.tables import BUILDS, JOBS
from buildkite_assets.warehouse.derive import lagging_days, lagging_whole
from tests.syncing import command_environment, empty_sandbox, environment

PROJECT = Path(__file__).parents[2]
MODULE = ("-m", "buildkite_assets.definitions")
PATIENCE_SECONDS = 1200


@pytest.mark.soak
def test_late_changes_reach_what_is_derived_from_them_and_nothing_else(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    today = clock().date()
    day = [today - timedelta(days=n) for n in range(22)]
    builds = [
        acme.create_build("web", state="failed", jobs=2, created_at=clock() - timedelta(days=n))
        for n in range(1, 22)
    ]
    home = prepare_home(tmp_path / "home")
    with serve(sandbox) as server, dg.DagsterInstance.from_config(str(home)) as instance:
        settings = environment(
            server, tmp_path / "w.duckdb", BUILDKITE_START_DATE=day[21].isoformat()
        )
        session = Session(Settings.from_environment(settings))
        run_catalog(session, instance)
        run_access(session, instance)
        # Most days between are never read, as in an organization that began with a few.
        run_builds(session, instance, day[20], day[19], full=False)
        run_builds(session, instance, day[5], day[4], full=False)
        run_changes(session, instance)
        run_derived(session, instance)
        before = {table.name: materializations(instance, table) for table in derived_tables()}
        with daemon(command_environment(settings, home), tmp_path / "daemon.log"):
            sensor = switch_on_sensor(instance, command_environment(settings, home))
            wait_for(lambda: finished_ticks(instance, sensor) >= 1)

            clock.move(minutes=10)
            acme.retry_job(builds[19].jobs[0])  # of 20 days ago
            acme.retry_job(builds[4].jobs[0])
            acme.create_build("web", state="passed", jobs=1)
            # One tick of each is due at once.
            switch_on(instance, sensor, "follow_changes", "*/15 * * * *", seconds_ago=15 * 60)
            switch_on(instance, sensor, "today", "5 * * * *", seconds_ago=60 * 60)
            # A day that was missing is backfilled by hand meanwhile.
            run_builds(session, instance, day[12], day[12], full=False)

            wait_for(lambda: schedules_that_ran(instance) == {"follow_changes", "today"})
            switch_off_schedules(instance)
            wait_for(lambda: not lagging(session) and is_quiet(instance))
            ticks = finished_ticks(instance, sensor)
            wait_for(lambda: finished_ticks(instance, sensor) >= ticks + 2)
            assert is_quiet(instance)
            assert not lagging(session)
            # Dagster has meanwhile looked how fresh all of it is, partitioned or not.
            keys = [asset_key(table) for table in (BUILDS, JOBS, *derived_tables())]
            records = instance.get_freshness_state_records(keys)
            assert records.keys() == set(keys)
            assert {str(record.freshness_state.value) for record in records.values()} == {"PASS"}
        made = {
            table.name: materializations(instance, table)[len(before[table.name]) :]
            for table in derived_tables()
        }
    # The schedule of today reads the last week, of which only two days were known.
    changed = {d.isoformat() for d in (day[20], day[12], *day[:8])}
    for table in derived_tables():
        if table.is_daily:
            assert set(made[table.name]) == changed, table.name
    following = downstream_of_builds(session)
    for table in derived_tables():
        if not table.is_daily:
            assert bool(made[table.name]) == (asset_key(table) in following), table.name


def downstream_of_builds(session: Session) -> set[dg.AssetKey]:
    """What is derived from builds and jobs, at whatever distance."""
    graph = definitions(session).resolve_asset_graph()
    found: set[dg.AssetKey] = set()
    left = [asset_key(BUILDS), asset_key(JOBS)]
    while left:
        children = set(graph.get(left.pop()).child_keys) - found
        found |= children
        left += children
    return found


@contextmanager
def daemon(environment: dict[str, str], log: Path) -> Iterator[None]:
    """A daemon of Dagster's own, which is stopped in the end."""
    with (
        log.open("w") as said,
        subprocess.Popen(  # noqa: S603 - Dagster's command
            [sys.executable, "-m", "dagster._daemon", "run", *MODULE],
            env=environment,
            cwd=PROJECT,
            stdout=said,
            stderr=said,
        ) as process,
    ):
        try:
            yield
            assert process.poll() is None, log.read_text()[-5000:]
        finally:
            process.terminate()
            process.wait(60)


def switch_on_sensor(instance: dg.DagsterInstance, environment: dict[str, str]) -> InstigatorState:
    """Start the sensor of derived tables by Dagster's command, as people do."""
    subprocess.run(  # noqa: S603 - Dagster's command
        [sys.executable, "-m", "dagster", "sensor", "start", "derive", *MODULE],
        env=environment,
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    [state] = instance.all_instigator_state()
    return state


def switch_on(
    instance: dg.DagsterInstance, sensor: InstigatorState, name: str, cron: str, *, seconds_ago: int
) -> None:
    """Start a schedule as of some time ago."""
    origin = sensor.origin.repository_origin.get_instigator_origin(name)
    since = ScheduleInstigatorData(cron, time.time() - seconds_ago)
    instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, since)
    )


def finished_ticks(instance: dg.DagsterInstance, sensor: InstigatorState) -> int:
    """How often the sensor has been evaluated; a tick that failed ends the test."""
    ticks = instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id)
    assert not [tick.error for tick in ticks if tick.status is TickStatus.FAILURE]
    return len([tick for tick in ticks if tick.status is not TickStatus.STARTED])


def switch_off_schedules(instance: dg.DagsterInstance) -> None:
    """Keep the clock on the wall from starting more than the test is about."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
        instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))


def schedules_that_ran(instance: dg.DagsterInstance) -> set[str | None]:
    """The schedules that have started a run."""
    names = {run.tags.get("dagster/schedule_name") for run in instance.get_runs()}
    return names - {None}


def is_quiet(instance: dg.DagsterInstance) -> bool:
    """Whether all runs have ended, and well."""
    runs = instance.get_runs()
    assert dg.DagsterRunStatus.FAILURE not in {run.status for run in runs}
    return all(run.is_finished for run in runs)


def lagging(session: Session) -> bool:
    """Whether a derived table is not made of what is known now."""
    with session.warehouse.transaction() as connection:
        by_day = lagging_days(connection, derived_tables(), session.parameters)
        return bool(by_day or lagging_whole(connection, derived_tables(), session.parameters))


def materializations(instance: dg.DagsterInstance, table: DerivedTable) -> list[str | None]:
    """The partitions that were materialized, oldest first; None of a whole table."""
    records = instance.fetch_materializations(asset_key(table), limit=1000, ascending=True).records
    return [record.partition_key for record in records]


def wait_for(is_so: Callable[[], bool]) -> None:
    """Look each second, until the patience is over."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < until, "it took too long"
        time.sleep(1)
