"""A narrowed connection shows some pipelines and some days, and nothing else."""

import shutil
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from buildkite_assets.report.opening import opened
from buildkite_assets.report.scope import Pipeline, Scope, known_pipelines, narrow, newest_days
from buildkite_assets.warehouse import Connection, Warehouse

from .conftest import settings_of

NARROWED = {
    "build_runs": "day",
    "job_runs": "day",
    "build_critical_path": "day",
    "pipeline_daily": "local_day",
    "agent_cost_daily": "local_day",
}


def pipeline(connection: Connection, label: str) -> Pipeline:
    """The pipeline of this label."""
    [found] = [each for each in known_pipelines(connection) if each.label == label]
    return found


@pytest.mark.parametrize("table", NARROWED)
def test_rows_of_other_pipelines_and_days_are_out_of_sight(month: Connection, table: str) -> None:
    scope = Scope(date(2025, 11, 10), date(2025, 11, 14), pipeline(month, "web"))
    day = pl.col(NARROWED[table])
    is_shown = (pl.col("pipeline_slug") == "web") & day.is_between(scope.first_day, scope.last_day)
    expected = month.sql(f"FROM {table}").pl().filter(is_shown)
    narrow(month, scope)
    assert month.sql(f"FROM {table}").pl().height == expected.height > 0


def test_all_pipelines_are_all_of_them(month: Connection) -> None:
    everything = month.execute("SELECT count(*) FROM build_runs").fetchall()
    narrow(month, newest_days(month, 31))
    assert month.execute("SELECT count(*) FROM build_runs").fetchall() == everything


def test_an_incident_counts_where_it_touches_the_days(month: Connection) -> None:
    """The sandbox breaks main of api from the morning of the 18th to that of the 20th."""
    for first, last, times in ((16, 17, 0), (16, 18, 1), (19, 19, 1), (20, 20, 1)):
        with opened_again(month) as connection:
            days = Scope(date(2025, 11, first), date(2025, 11, last), pipeline(connection, "api"))
            narrow(connection, days)
            found = connection.execute(
                "SELECT count(*) FROM branch_incidents WHERE red_builds > 10"
            ).fetchall()
            assert found == [(times,)], days


def opened_again(connection: Connection) -> Connection:
    """Another connection to the same file, not narrowed."""
    [(path,)] = connection.execute(
        "SELECT path FROM duckdb_databases() WHERE database_name = 'buildkite'"
    ).fetchall()
    return opened(settings_of(Path(path)))


def test_the_newest_days_end_with_the_last_that_was_synced(month: Connection) -> None:
    assert newest_days(month, 7) == Scope(date(2025, 11, 14), date(2025, 11, 20))
    assert newest_days(month, 7).days == 7


def test_days_without_any_sync_end_today(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.publish()
    with opened(settings_of(warehouse.path)) as connection:
        scope = newest_days(connection, 7)
        assert scope.days == 7
        narrow(connection, scope)
        assert known_pipelines(connection) == []


def test_pipelines_of_one_name_in_two_organizations_stay_apart(
    month_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    shutil.copyfile(month_file, path)
    with duckdb.connect(path) as connection:
        connection.execute("""
            CREATE TEMP TABLE other AS SELECT uuid() AS id;
            INSERT INTO organizations BY NAME
            SELECT * EXCLUDE id REPLACE (id AS organization_id, 'other' AS slug)
            FROM organizations, other;
            INSERT INTO build_runs BY NAME
            SELECT * EXCLUDE id REPLACE (uuid() AS build_id, id AS organization_id)
            FROM build_runs, other
            WHERE pipeline_slug = 'web' AND outcome = 'passed'
        """)
    with opened(settings_of(path)) as connection:
        labels = [each.label for each in known_pipelines(connection)]
        assert {"acme/web", "acme/api", "other/web"} <= set(labels)
        narrow(connection, newest_days(connection, 31, pipeline(connection, "other/web")))
        rows = connection.execute("SELECT DISTINCT pipeline_slug, outcome FROM build_runs")
        assert rows.fetchall() == [("web", "passed")]
