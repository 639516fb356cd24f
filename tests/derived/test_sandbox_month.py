"""The month of the sandbox's organization, told by the tables, and recorded builds through them.

The month ends at noon of a fixed day; api's main was red until that morning.
"""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from buildkite_assets.buildkite.decoding import decode_builds
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rows import Privacy, build_rows
from buildkite_assets.warehouse import connect
from tests.month import NOW

from .history import History

RECORDED = Path(__file__).parents[2] / "../shared/recorded"


@pytest.fixture(scope="module")
def month(month_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(month_file) as connection:
        yield connection


def test_the_flakiest_step_is_e2e_of_web(month: duckdb.DuckDBPyConnection) -> None:
    rows = month.execute(
        "SELECT pipeline_slug, step, flake_rate FROM flaky_steps WHERE jobs >= 20 "
        "ORDER BY flake_rate DESC LIMIT 2"
    ).fetchall()
    assert rows[0][:2] == ("web", "e2e")
    assert rows[0][2] > 0.15
    assert rows[1][2] < 0.05


def test_the_queue_macos_starves_at_local_noon(month: duckdb.DuckDBPyConnection) -> None:
    rows = month.execute("""
        SELECT queue_key, local_hour
        FROM queue_hourly
        WHERE isodow(local_day) <= 5
        GROUP BY ALL
        HAVING sum(waits) >= 20
        ORDER BY sum(wait_p50_seconds * waits) / sum(waits) DESC
        LIMIT 2
    """).fetchall()
    assert set(rows) == {("macos", 12), ("macos", 13)}


def test_main_of_api_was_red_for_two_days(month: duckdb.DuckDBPyConnection) -> None:
    """It breaks every 28 days at 10:00 UTC, so the month's first day has a break, too."""
    rows = month.execute("""
        SELECT pipeline_slug, red_at::DATE, is_open, red_builds >= 5
        FROM branch_incidents
        WHERE red_seconds > 40 * 3600
        ORDER BY red_at
    """).fetchall()
    assert rows == [
        ("api", date(2025, 10, 21), False, True),
        ("api", date(2025, 11, 18), False, True),
    ]


def test_every_build_and_script_job_is_there_once(month: duckdb.DuckDBPyConnection) -> None:
    [counts] = month.execute("""
        SELECT
            (SELECT count(*) FROM builds) - (SELECT count(*) FROM build_runs),
            (SELECT count(*) FROM jobs WHERE type = 'script') - (SELECT count(*) FROM job_runs),
            (SELECT count(*) FROM job_runs) - (SELECT sum(attempts) FROM job_retry_chains),
            (SELECT count(*) FROM builds) - (SELECT sum(builds) FROM pipeline_daily),
            (SELECT count(*) FROM builds) - (SELECT sum(builds) FROM pipeline_weekly),
            (SELECT count(*) FROM builds) - (SELECT sum(builds) FROM build_trees),
            (SELECT count(*) FROM job_runs) - (SELECT sum(attempts) FROM step_daily),
            (SELECT count(started_at) FROM job_runs) - (SELECT sum(starts) FROM queue_hourly)
    """).fetchall()
    assert counts == (0,) * 8


def test_agent_time_is_the_same_wherever_it_is_summed(month: duckdb.DuckDBPyConnection) -> None:
    [sums] = month.execute("""
        SELECT
            (SELECT sum(agent_seconds) FROM build_runs),
            (SELECT sum(agent_seconds) FROM build_trees),
            (SELECT sum(agent_seconds) FROM job_retry_chains),
            (SELECT sum(agent_hours) * 3600 FROM pipeline_daily),
            (SELECT sum(agent_hours) * 3600 FROM pipeline_weekly),
            (SELECT sum(agent_minutes) * 60 FROM agent_cost_daily),
            (SELECT sum(priced_minutes + unpriced_minutes) * 60 FROM agent_cost_daily)
    """).fetchall()
    assert sums[0] > 0
    assert list(sums) == pytest.approx([sums[0]] * 7)


def negative_durations(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns that hold durations and have a negative one; changes may be negative."""
    return [
        f"{table.name}.{column.name}"
        for table in derived_tables()
        for column in table.columns
        if column.name.endswith(("seconds", "minutes", "hours")) and "change" not in column.name
        if connection.execute(
            f"SELECT count(*) FROM {table.name} WHERE {column.name} < 0"  # noqa: S608
        ).fetchall()
        != [(0,)]
    ]


def test_no_duration_of_the_month_is_negative(month: duckdb.DuckDBPyConnection) -> None:
    assert negative_durations(month) == []


def recorded_bodies() -> list[bytes]:
    """The lists of builds among the recordings, as bodies."""
    bodies = [(RECORDED / "segment-analytics-next/builds_page_clean.json").read_bytes()]
    for path in sorted(RECORDED.glob("*-vcr/*.json")):
        for exchange in _objects(json.loads(path.read_text())):
            body = exchange.get("body")
            if isinstance(body, list) and body and "jobs" in body[0]:
                bodies.append(json.dumps(body).encode())
    return bodies


def _objects(tree: object) -> Iterator[dict[str, object]]:
    if isinstance(tree, dict):
        yield tree
    for value in (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    ):
        yield from _objects(value)


@pytest.mark.skipif(not RECORDED.exists(), reason="no recordings beside the checkout")
def test_recorded_builds_go_through_every_table_without_a_negative_duration() -> None:
    history = History()
    bodies = recorded_bodies()
    builds = 0
    for body in bodies:
        page = build_rows(decode_builds(body), lambda _: None, NOW, Privacy())
        assert page.rejected == []
        for name, rows, key in (
            ("builds", page.builds, "build_id"),
            ("jobs", page.jobs, "job_id"),
        ):
            history.connection.register("incoming", rows)
            history.connection.execute(
                f"INSERT INTO {name} BY NAME FROM incoming "  # noqa: S608
                f"WHERE {key} NOT IN (SELECT {key} FROM {name})"
            )
            history.connection.unregister("incoming")
        builds += page.builds.num_rows
    history.derive(*(table.name for table in derived_tables()))
    assert len(bodies) > 1
    assert 3 < len(history.rows("build_runs")) <= builds
    assert len(history.rows("job_runs")) >= 30
    assert negative_durations(history.connection) == []
