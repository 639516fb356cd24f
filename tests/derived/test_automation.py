"""Which derived tables Dagster asks for when builds change: those of the days, and what follows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.runs import (
    BlockedError,
    run_access,
    run_builds,
    run_catalog,
    run_changes,
    run_derived,
)
from buildkite_assets.sandbox import serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse.derive import in_order, inputs, lagging_days, lagging_whole
from tests.syncing import empty_sandbox, environment

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=n) for n in range(6)]


def whole_tables_made_of(names: set[str]) -> set[str]:
    """The tables recomputed whole that read one of these, or one that does."""
    found: set[str] = set()
    for table in in_order(derived_tables()):
        if not table.is_daily and inputs(table) & (names | found):
            found.add(table.name)
    return found


def test_what_follows_a_late_change_and_in_which_order(tmp_path: Path) -> None:
    """What each tick asks for is run: of a day that changed late, and of one that was read late.

    Days between were never read, and the newest day is not asked for, as eager would have it.
    """
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    old = acme.create_build("web", state="failed", jobs=2, created_at=clock() - timedelta(days=5))
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        settings = environment(server, tmp_path / "w.duckdb")
        settings["BUILDKITE_START_DATE"] = DAYS[-1].isoformat()
        session = Session(Settings.from_environment(settings), clock=clock)
        follower = Follower(definitions(session), instance)
        run_catalog(session, instance)
        run_builds(session, instance, DAYS[5], DAYS[5], full=False)
        run_changes(session, instance)
        run_derived(session, instance)
        assert follower.tick() == {}

        clock.move(minutes=10)
        acme.retry_job(old.jobs[0])
        run_changes(session, instance)
        run_builds(session, instance, DAYS[2], DAYS[2], full=False)
        tables = derived_tables()
        by_day = {table.name for table in tables if table.is_daily}
        behind_days = whole_tables_made_of(by_day)
        late = follower.tick()
        directly = late.pop(None)
        assert late == {f"{DAYS[n]}": by_day for n in (5, 2)}
        assert directly == whole_tables_made_of({"builds", "jobs"}) - behind_days
        assert follower.tick() == {None: behind_days}
        assert follower.tick() == {}
        with session.warehouse.transaction() as connection:
            assert lagging_days(connection, tables, session.parameters) == {}
            assert lagging_whole(connection, tables, session.parameters) == []

        # A catalog that is listed anew asks for nothing: `lagging_days` knows what it changed.
        run_catalog(session, instance)
        assert follower.tick() == {}


def test_days_with_open_builds_follow_every_feed_and_quiet_days_none(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    for state, n in (("running", 5), ("passed", 2)):
        acme.create_build("web", state=state, created_at=clock() - timedelta(days=n))
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        settings = environment(server, tmp_path / "w.duckdb")
        settings["BUILDKITE_START_DATE"] = DAYS[-1].isoformat()
        session = Session(Settings.from_environment(settings), clock=clock)
        follower = Follower(definitions(session), instance)
        run_catalog(session, instance)
        run_builds(session, instance, DAYS[5], DAYS[2], full=False)
        run_changes(session, instance)
        run_derived(session, instance)
        assert follower.tick() == {}
        for _ in range(2):
            clock.move(minutes=15)
            run_changes(session, instance)
            asked = follower.tick()
            assert asked.keys() - {None} == {f"{DAYS[5]}"}
            assert follower.tick()[None] >= {"open_builds", "queue_backlog", "queue_hourly"}
            assert follower.tick() == {}

        acme.cancel_build(acme.builds[0])
        clock.move(minutes=15)
        run_changes(session, instance)
        while follower.tick():
            pass
        clock.move(minutes=15)
        run_changes(session, instance)
        assert follower.tick() == {}


def test_a_change_that_comes_while_another_is_followed_is_not_forgotten(tmp_path: Path) -> None:
    """Between the tick that asks for a day and the next one, the day changes again."""
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    old = acme.create_build("web", state="failed", jobs=2, created_at=clock() - timedelta(days=5))
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        settings = environment(server, tmp_path / "w.duckdb")
        settings["BUILDKITE_START_DATE"] = DAYS[-1].isoformat()
        session = Session(Settings.from_environment(settings), clock=clock)
        follower = Follower(definitions(session), instance)
        assert follower.tick() == {}
        run_catalog(session, instance)
        run_access(session, instance)
        run_builds(session, instance, DAYS[5], DAYS[5], full=False)
        assert f"{DAYS[5]}" in follower.tick()
        clock.move(minutes=10)
        acme.retry_job(old.jobs[0])
        run_changes(session, instance)
        assert f"{DAYS[5]}" in follower.tick()
        while follower.tick():
            pass
        tables = derived_tables()
        with session.warehouse.transaction() as connection:
            assert lagging_days(connection, tables, session.parameters) == {}
            lagging = lagging_whole(connection, tables, session.parameters)
        # It is made of no other table, so that no change asks for it: a sync makes it once.
        assert [table.name for table in lagging] == ["resource_types"]


def test_days_wait_while_a_check_that_blocks_fails(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    sandbox.organization("acme").create_build("web", state="passed", created_at=clock())
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        settings = environment(server, tmp_path / "w.duckdb")
        settings["BUILDKITE_START_DATE"] = TODAY.isoformat()
        session = Session(Settings.from_environment(settings), clock=clock)
        follower = Follower(definitions(session), instance)
        assert follower.tick() == {}
        run_catalog(session, instance)
        run_builds(session, instance, TODAY, TODAY, full=False)
        with session.warehouse.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs SELECT * REPLACE (uuid() AS job_id, uuid() AS build_id) FROM jobs"
            )
        with pytest.raises(BlockedError):
            run_builds(session, instance, TODAY, TODAY, full=False)
        assert follower.tick() == {}

        # It is not forgotten: the checks of every hour find that all is well again.
        with session.warehouse.transaction() as connection:
            connection.execute(
                "DELETE FROM jobs WHERE build_id NOT IN (SELECT build_id FROM builds)"
            )
        session.warehouse.publish()
        job = definitions(session).resolve_job_def("checks_job")
        assert job.execute_in_process(instance=instance).success
        assert f"{TODAY}" in follower.tick()


class Follower:
    """Evaluates the conditions tick by tick as the daemon does, and runs what each asks for."""

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self._defs, self._instance = defs, instance
        self._job = defs.resolve_implicit_global_asset_job_def()
        self._cursor: dg.AutomationConditionCursor | None = None

    def tick(self) -> dict[str | None, set[str]]:
        """The tables that are asked for, by partition; they are materialized before it returns."""
        result = dg.evaluate_automation_conditions(self._defs, self._instance, cursor=self._cursor)
        self._cursor = result.cursor
        asked: dict[str | None, set[str]] = {}
        for table in derived_tables():
            for partition in result.get_requested_partitions(asset_key(table)):
                asked.setdefault(partition, set()).add(table.name)
        for partition, names in asked.items():
            self._job.execute_in_process(
                instance=self._instance,
                asset_selection=[dg.AssetKey(["buildkite", name]) for name in names],
                partition_key=partition,
            )
        return asked
