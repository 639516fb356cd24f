"""The figures and tables of CI health, over the sandbox's month."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pytest

from buildkite_assets.report import build_listings, ci_health, step_listings
from buildkite_assets.report.headlines import headlines
from buildkite_assets.report.listing import Listing
from buildkite_assets.report.opening import opened
from buildkite_assets.report.scope import Scope, known_pipelines, narrow, newest_days
from buildkite_assets.report.wording import duration, money, percent
from buildkite_assets.warehouse import Connection, Warehouse

from .conftest import settings_of

LISTINGS: list[Callable[[Connection], Listing]] = [
    build_listings.pipelines,
    build_listings.main_builds,
    build_listings.open_builds,
    build_listings.incidents,
    build_listings.dora,
    step_listings.queues,
    step_listings.slowest_steps,
    step_listings.failing_steps,
    step_listings.soft_failing_steps,
    step_listings.flaky_steps,
]
each_listing = pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.__name__)


def narrowed(month: Connection, days: int = 14, label: str | None = None) -> Connection:
    """The month narrowed to its newest days."""
    pipelines = {each.label: each for each in known_pipelines(month)}
    narrow(month, newest_days(month, days, pipelines[label] if label else None))
    return month


def test_each_headline_is_that_of_the_rows_it_names(month: Connection) -> None:
    """Worked out from the tables themselves, with the days written out."""

    def one(query: str) -> tuple[float, ...]:
        [row] = month.execute(query).fetchall()
        return tuple(row)

    rate, verdicts = one("""
        SELECT avg((outcome = 'passed')::INT), count(*) FROM build_runs
        WHERE is_default_branch AND outcome IN ('passed', 'failed') AND day >= '2025-11-07'
    """)
    median, slow, green = one("""
        SELECT quantile_cont(active_seconds, 0.5), quantile_cont(active_seconds, 0.9),
            count(active_seconds)
        FROM build_runs WHERE outcome = 'passed' AND day >= '2025-11-07'
    """)
    wait, waits = one("""
        SELECT quantile_cont(queue_seconds, 0.9), count(queue_seconds) FROM job_runs
        WHERE day >= '2025-11-07'
    """)
    red, times = one("""
        SELECT
            sum(red_seconds - greatest(epoch('2025-11-07'::TIMESTAMP - red_at), 0)), count(*)
        FROM branch_incidents WHERE is_open OR green_at >= '2025-11-07'
    """)
    cost, runs = one("""
        SELECT sum(cost), sum(runs) FROM agent_cost_daily WHERE local_day >= '2025-11-07'
    """)
    flaky, recovered = one(
        "SELECT count(*) FILTER (NOT is_recovered), count(*) FILTER (is_recovered) FROM flaky_steps"
    )
    told = {each.name: each for each in headlines(narrowed(month))}
    assert {name: each.value for name, each in told.items()} == {
        "Success rate of main": percent(rate),
        "Time to green, median": duration(median),
        "Time to green, 90th percentile": duration(slow),
        "Wait for an agent, 90th percentile": duration(wait),
        "Main red": duration(red),
        "Cost of agents": money(cost, "USD"),
        "Flaky steps": f"{flaky}",
    }
    for name, n in {
        "Success rate of main": f"{verdicts:,} builds",
        "Time to green, median": f"{green:,} passed builds",
        "Time to green, 90th percentile": f"{green:,} passed builds",
        "Wait for an agent, 90th percentile": f"{waits:,} jobs",
        "Main red": f"{times} incidents",
        "Cost of agents": f"{runs:,.0f} runs",
        "Flaky steps": f"{recovered} more",
    }.items():
        assert n in told[name].basis


def test_red_time_counts_only_within_the_days(month: Connection) -> None:
    """Main of api was red from the 18th to the 20th, so all of the 19th it was."""
    [api] = [each for each in known_pipelines(month) if each.label == "api"]
    day = date(2025, 11, 19)
    narrow(month, Scope(day, day, api))
    told = {each.name: each for each in headlines(month)}
    assert told["Main red"].value == "1 d 0 h"
    assert told["Main red"].basis.startswith("in 1 incident, 0 of them still open")


def test_red_time_that_is_known_only_before_the_days_is_not_negative(
    month_file: Path, tmp_path: Path
) -> None:
    """Main of api has been red since the 25th of October, known to the 26th."""
    path = tmp_path / "w.duckdb"
    shutil.copyfile(month_file, path)
    with duckdb.connect(path) as connection:
        connection.execute("""
            UPDATE branch_incidents
            SET red_at = '2025-10-25', green_at = NULL, is_open = true, red_seconds = 86400
            WHERE pipeline_slug = 'api'
        """)
    with opened(settings_of(path)) as connection:
        [api] = [each for each in known_pipelines(connection) if each.label == "api"]
        narrow(connection, Scope(date(2025, 11, 7), date(2025, 11, 20), api))
        told = {each.name: each for each in headlines(connection)}
    assert told["Main red"].value == "0 s"


@each_listing
def test_a_listing_has_the_columns_that_it_names_and_an_n_beside_each_rate(
    month: Connection, listing: Callable[[Connection], Listing]
) -> None:
    table = listing(narrowed(month, 30))
    rows = list(table.cells())
    assert rows
    assert all(len(row) == len(table.headings) for row in rows)
    shown = list(table.headings)
    counts = {"verdicts", "green_builds", "jobs", "code_failures", "retried_failures", "tries"}
    counts |= {"traced_deployments", "recoveries", "waits", "critical_jobs"}
    for place, column in enumerate(shown):
        if column.endswith("_rate") or "_p50_" in column:
            assert counts & set(shown[place + 1 : place + 3]), column


@each_listing
def test_a_listing_of_one_pipeline_names_no_other(
    month: Connection, month_file: Path, listing: Callable[[Connection], Listing]
) -> None:
    table = listing(narrowed(month, 30, "api"))
    if "pipeline" in table.rows.columns:
        assert set(table.rows["pipeline"]) <= {"api"}  # api may have no open build
    elif "queue" in table.rows.columns:
        with opened(settings_of(month_file)) as whole:
            every_queue = set(listing(narrowed(whole, 30)).rows["queue"])
        assert set(table.rows["queue"]) < every_queue
    else:
        assert table.rows.is_empty()  # api deploys nothing


def test_the_sandboxes_story_is_told(month: Connection) -> None:
    narrowed(month, 30)
    assert step_listings.flaky_steps(month).rows.select("pipeline", "step").row(0) == ("web", "e2e")
    worst = build_listings.incidents(month).rows.sort("red_seconds", descending=True)
    assert worst["pipeline"][0] == "api"
    assert step_listings.failing_steps(month).rows["pipeline"][0] == "api"
    assert set(build_listings.dora(month).rows["application"]) == {"deploy"}


def test_a_pipeline_without_a_default_branchs_build_is_unknown_not_green(
    month: Connection,
) -> None:
    told = {each.name: each for each in headlines(narrowed(month, 30, "nightly"))}
    assert told["Success rate of main"].value == "—"
    assert told["Main red"].value == "—"
    row = build_listings.pipelines(month).rows.row(0, named=True)
    assert (row["success_rate"], row["verdicts"], row["incidents"], row["is_red"]) == (
        None,
        0,
        None,
        None,
    )


def test_of_nothing_nothing_is_made_up(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.publish()
    with opened(settings_of(warehouse.path)) as connection:
        scope = newest_days(connection, 30)
        narrow(connection, scope)
        values = [each.value for each in headlines(connection)]
        assert values == ["—", "—", "—", "—", "—", "—", "0"]
        assert all(table.rows.is_empty() for table in ci_health.listings(connection))
        assert len(ci_health.figures(connection, scope)) == 6
