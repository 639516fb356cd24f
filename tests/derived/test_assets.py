"""The derived tables through Dagster, over the sandbox's last days."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.runs import run_builds, run_catalog, run_derived
from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect
from buildkite_assets.warehouse.derive import lagging_days, lagging_whole

TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
JOB_RUNS = dg.AssetKey(["buildkite", "job_runs"])


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    sandbox = Sandbox.company(days=2, builds_per_day=20)
    sandbox.limits.organization_limit = None
    sandbox.limits.user_limit = None
    with serve(sandbox) as server:
        yield Session(
            Settings.from_environment(
                {
                    "BUILDKITE_API_URL": server.url,
                    "BUILDKITE_API_TOKEN": sandbox.tokens.administrator.value,
                    "BUILDKITE_ORGANIZATIONS": "acme",
                    "BUILDKITE_START_DATE": YESTERDAY.isoformat(),
                    "BUILDKITE_WAREHOUSE": str(tmp_path / "acme.duckdb"),
                }
            )
        )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def lagging(session: Session) -> tuple[dict[str, list[date]], list[str]]:
    with session.warehouse.transaction() as connection:
        by_day = lagging_days(connection, derived_tables(), session.parameters)
        whole = lagging_whole(connection, derived_tables(), session.parameters)
    return {table.name: days for table, days in by_day.items()}, [table.name for table in whole]


def derived_runs(instance: dg.DagsterInstance) -> int:
    return len([run for run in instance.get_runs() if run.job_name.startswith("derived")])


def checks_run(instance: dg.DagsterInstance) -> set[str]:
    """The checks that ran with derived tables."""
    runs = [run for run in instance.get_runs() if run.job_name.startswith("derived")]
    events = [
        entry.dagster_event
        for run in runs
        for entry in instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
    ]
    return {event.asset_check_evaluation_data.check_name for event in events if event}


def test_a_sync_makes_what_lags_and_nothing_else(
    session: Session, instance: dg.DagsterInstance
) -> None:
    run_catalog(session, instance)
    run_builds(session, instance, YESTERDAY, TODAY, full=False)
    by_day, whole = lagging(session)
    assert by_day["job_runs"] == [YESTERDAY, TODAY]
    assert set(by_day) | set(whole) == {table.name for table in derived_tables()}

    run_derived(session, instance)
    assert lagging(session) == ({}, [])
    with connect(session.settings.warehouse) as connection:
        [(runs,)] = connection.execute("SELECT count(*) FROM job_runs").fetchall()
        [(jobs,)] = connection.execute(
            "SELECT count(*) FROM jobs WHERE type = 'script' AND absent_since IS NULL"
        ).fetchall()
    assert runs == jobs > 0
    days = [YESTERDAY.isoformat(), TODAY.isoformat()]
    events = instance.get_latest_materialization_event(JOB_RUNS)
    assert events is not None
    assert events.asset_materialization
    assert events.asset_materialization.partition == TODAY.isoformat()
    assert "| logical_job_key |" in str(events.asset_materialization.metadata["preview"].value)
    assert set(instance.get_materialized_partitions(JOB_RUNS)) == set(days)

    assert checks_run(instance) == {"no_dangling_grants"}

    before = derived_runs(instance)
    run_derived(session, instance)
    assert derived_runs(instance) == before

    run_builds(session, instance, TODAY, TODAY, full=True)
    by_day, whole = lagging(session)
    assert by_day["job_runs"] == [TODAY]
    run_derived(session, instance)
    assert lagging(session) == ({}, [])


def test_each_derived_table_is_an_asset_that_tells_what_it_is(session: Session) -> None:
    graph = definitions(session).resolve_asset_graph()
    for table in derived_tables():
        node = graph.get(dg.AssetKey(["buildkite", table.name]))
        assert node.description is not None
        assert node.description.startswith("One row per ")
        assert node.kinds >= {"duckdb", "sql"}
        assert node.group_name == table.group
        assert (node.partitions_def is not None) == table.is_daily
        schema = node.metadata["dagster/column_schema"]
        assert [column.name for column in schema.columns] == [c.name for c in table.columns]
        assert all(column.description for column in schema.columns)
    assert graph.get(JOB_RUNS).parent_keys == {
        dg.AssetKey(["buildkite", name])
        for name in ("builds", "clusters", "job_labels", "jobs", "pipelines", "queues")
    }
