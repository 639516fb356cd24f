"""The month of the sandbox's organization, told by the tables.

The month ends at noon of a fixed day; api's main was red until that morning.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from buildkite_assets.warehouse import connect

from .soundness import impossible_ratios, negative_durations


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


def test_the_hours_of_each_queue_add_up_to_its_jobs(month: duckdb.DuckDBPyConnection) -> None:
    """A job that never started has waited until it gave up."""
    rows = month.execute("""
        WITH by_queue AS (
            SELECT queue, queue_id, queue_key,
                count(runnable_at) AS arrivals,
                count(started_at) AS starts,
                count(queue_seconds) AS waits,
                sum(queue_seconds) AS queue_seconds,
                sum(coalesce(censored_queue_seconds, 0)) AS censored_seconds
            FROM job_runs
            GROUP BY ALL
        ),
        hours AS (
            SELECT queue, queue_id, queue_key,
                sum(arrivals) AS arrivals,
                sum(starts) AS starts,
                sum(waits) AS waits,
                sum(mean_waiting) * 3600 AS waiting_seconds
            FROM queue_hourly
            GROUP BY ALL
        )
        SELECT
            by_queue.queue,
            hours.arrivals = by_queue.arrivals
                AND hours.starts = by_queue.starts
                AND hours.waits = by_queue.waits
                AND abs(waiting_seconds - queue_seconds - censored_seconds) < 1
        FROM by_queue
        FULL JOIN hours
            ON hours.queue = by_queue.queue
            AND hours.queue_key = by_queue.queue_key
            AND hours.queue_id IS NOT DISTINCT FROM by_queue.queue_id
        ORDER BY 1
    """).fetchall()
    queues = ["(no cluster) / default", "Linux / default", "deploy", "gpu", "large", "macos"]
    assert rows == [(queue, True) for queue in queues]


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


def test_only_main_of_api_was_red_for_whole_days(month: duckdb.DuckDBPyConnection) -> None:
    """The day after each break: 24 local hours, all red. Nobody else had a day mostly red."""
    rows = month.execute("""
        SELECT pipeline_slug, local_day, known_seconds / 3600, green_time_share, last_state
        FROM branch_health_daily
        WHERE green_time_share < 0.05
            AND local_day < (SELECT max(local_day) FROM branch_health_daily)
        ORDER BY local_day
    """).fetchall()
    assert rows == [
        ("api", date(2025, 10, 22), 24, 0, "red"),
        ("api", date(2025, 11, 19), 24, 0, "red"),
    ]


def test_the_team_whose_main_was_red_had_the_worst_weeks(
    month: duckdb.DuckDBPyConnection,
) -> None:
    rows = month.execute("""
        SELECT team_slug, attribution, iso_week
        FROM team_ci_weekly
        WHERE verdicts >= 20
        ORDER BY success_rate
        LIMIT 2
    """).fetchall()
    assert rows == [("api", "sole", "2025-W43"), ("api", "sole", "2025-W47")]


def test_macs_make_mobile_the_dearest_team_and_app_is_paid_by_two(
    month: duckdb.DuckDBPyConnection,
) -> None:
    rows = month.execute("""
        SELECT team_slug FROM agent_cost_daily GROUP BY ALL ORDER BY sum(cost) DESC NULLS LAST
    """).fetchall()
    assert rows[0] == ("mobile",)
    rows = month.execute("""
        SELECT pipeline_slug, team_slug, sum(agent_minutes)
        FROM agent_cost_daily WHERE attribution = 'shared' GROUP BY ALL ORDER BY ALL
    """).fetchall()
    assert [row[:2] for row in rows] == [("app", "release"), ("app", "web")]
    assert rows[0][2] == pytest.approx(rows[1][2])
    rows = month.execute(
        "SELECT DISTINCT pipeline_slug FROM agent_cost_daily WHERE attribution = 'none'"
    ).fetchall()
    assert rows == [("docs",)]


def test_every_build_and_script_job_is_there_once(month: duckdb.DuckDBPyConnection) -> None:
    [counts] = month.execute("""
        SELECT
            (SELECT count(*) FROM builds) - (SELECT count(*) FROM build_runs),
            (SELECT count(*) FROM jobs WHERE type = 'script') - (SELECT count(*) FROM job_runs),
            (SELECT count(*) FROM job_runs) - (SELECT sum(attempts) FROM job_retry_chains),
            (SELECT count(*) FROM builds) - (SELECT sum(builds) FROM pipeline_daily),
            (SELECT count(*) FROM builds) - (SELECT sum(builds) FROM pipeline_weekly),
            (SELECT count(*) FROM builds) - (SELECT sum(builds) FROM build_trees),
            (SELECT count(*) FROM builds) - (SELECT round(sum(builds_part), 6) FROM team_ci_weekly),
            (SELECT count(*) FROM job_runs) - (SELECT sum(attempts) FROM step_daily),
            (SELECT count(started_at) FROM job_runs) - (SELECT sum(starts) FROM queue_hourly),
            (SELECT count(agent_seconds) FROM job_runs)
                - (SELECT round(sum(runs), 6) FROM agent_cost_daily),
            (
                SELECT count(*) FROM build_runs WHERE is_default_branch AND is_verdict
            ) - (SELECT sum(verdicts) FROM branch_health_daily)
    """).fetchall()
    assert counts == (0,) * 11


def test_agent_time_is_the_same_wherever_it_is_summed(month: duckdb.DuckDBPyConnection) -> None:
    [sums] = month.execute("""
        SELECT
            (SELECT sum(agent_seconds) FROM build_runs),
            (SELECT sum(agent_seconds) FROM build_trees),
            (SELECT sum(agent_seconds) FROM job_retry_chains),
            (SELECT sum(agent_hours) * 3600 FROM pipeline_daily),
            (SELECT sum(agent_hours) * 3600 FROM pipeline_weekly),
            (SELECT sum(agent_hours_part) * 3600 FROM team_ci_weekly),
            (SELECT sum(agent_minutes) * 60 FROM agent_cost_daily),
            (SELECT sum(priced_minutes + unpriced_minutes) * 60 FROM agent_cost_daily)
    """).fetchall()
    assert sums[0] > 0
    assert list(sums) == pytest.approx([sums[0]] * 8)


def test_no_figure_of_the_month_is_impossible(month: duckdb.DuckDBPyConnection) -> None:
    assert negative_durations(month) == []
    assert impossible_ratios(month) == []


def test_no_incident_of_the_month_ends_before_it_begins(month: duckdb.DuckDBPyConnection) -> None:
    """Incidents of a pipeline follow one another, and are as long as its red days."""
    assert (
        month.execute("""
            SELECT pipeline_slug, red_at, red_until
            FROM branch_incidents
            WHERE red_at > red_until OR green_at IS DISTINCT FROM if(is_open, NULL, red_until)
            UNION ALL
            SELECT pipeline_slug, red_at, red_until
            FROM branch_incidents
            QUALIFY red_until > lead(red_at) OVER (PARTITION BY pipeline_id ORDER BY red_at)
        """).fetchall()
        == []
    )
    red = month.execute("""
        SELECT pipeline_slug, sum(seconds)
        FROM (
            SELECT pipeline_slug, red_seconds AS seconds FROM branch_incidents
            UNION ALL
            SELECT pipeline_slug, -red_seconds FROM branch_health_daily
        )
        GROUP BY pipeline_slug
    """).fetchall()
    assert len(red) > 5
    assert all(abs(seconds) < 0.001 for _, seconds in red)


def test_some_incidents_of_the_month_were_ended_by_a_retry(
    month: duckdb.DuckDBPyConnection,
) -> None:
    ended = dict(
        month.execute("SELECT ended_by, count(*) FROM branch_incidents GROUP BY ALL").fetchall()
    )
    assert ended["retry"] >= 1
    assert ended["build"] > ended["retry"]


def test_the_pieces_of_each_day_of_the_month_add_up(month: duckdb.DuckDBPyConnection) -> None:
    """On 26 October 2025 clocks went back. A pipeline's first and last day are not whole."""
    lengths = month.execute("""
        SELECT DISTINCT if(local_day = DATE '2025-10-26', 25, 24), round(known_seconds, 3) / 3600
        FROM branch_health_daily
        WINDOW of_pipeline AS (PARTITION BY pipeline_id)
        QUALIFY local_day > min(local_day) OVER of_pipeline
            AND local_day < max(local_day) OVER of_pipeline
        ORDER BY ALL
    """).fetchall()
    assert lengths == [(24, 24), (25, 25)]
    differences = month.execute("""
        SELECT count(*)
        FROM branch_health_daily
        WHERE abs(known_seconds - green_seconds - red_seconds) > 0.001
    """).fetchall()
    assert differences == [(0,)]
