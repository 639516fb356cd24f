"""What figures show of the sandbox's month, of nothing, and of odd names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from buildkite_assets import figures
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.figures import Figure, png, svg
from buildkite_assets.warehouse import Connection, Warehouse, connect
from tests.derived.history import ORGANIZATION, History, plus

FIGURES: list[Callable[[Connection], Figure]] = [
    figures.access_changes,
    figures.active_durations,
    figures.build_outcomes,
    figures.cost_by_team,
    figures.flaky_steps,
    figures.main_strip,
    figures.queue_wait_heatmap,
    figures.time_decomposition,
]
each_figure = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)


@pytest.fixture(scope="module")
def month(month_file: Path) -> Iterator[Connection]:
    with connect(month_file) as connection:
        yield connection


def shown(figure: Figure) -> list[dict[str, Any]]:
    """The rows that a figure is drawn from, each once."""
    rows = [row for rows in figure.to_dict()["datasets"].values() for row in rows]
    return [dict(row) for row in {tuple(row.items()) for row in rows}]


def all_of(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


@each_figure
def test_a_figure_of_the_month_has_a_title_and_says_what_it_stands_on(
    month: Connection, figure: Callable[[Connection], Figure]
) -> None:
    drawn = figure(month)
    title = drawn.to_dict()["title"]
    picture = svg(drawn)
    assert title["text"] in picture
    assert title["subtitle"] in picture
    assert len(shown(drawn)) > 1


@each_figure
def test_where_nothing_is_known_a_figure_says_so(
    figure: Callable[[Connection], Figure], tmp_path: Path
) -> None:
    """A warehouse without derived tables, and one whose derived tables are empty."""
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.publish()
    with connect(warehouse.path) as connection:
        assert says_that_there_is_nothing(figure(connection))
    empty = History().derive(*(table.name for table in derived_tables()))
    assert says_that_there_is_nothing(figure(empty.connection))


def says_that_there_is_nothing(figure: Figure) -> bool:
    [row] = shown(figure)
    return row["reason"] in svg(figure) and row["reason"].startswith("no ")


def test_the_strip_has_a_mark_for_each_build_of_a_default_branch(month: Connection) -> None:
    marks = {
        (row["pipeline"], row["number"], row["kind"])
        for row in shown(figures.main_strip(month, days=14))
    }
    assert marks == set(
        all_of(
            month,
            """
            SELECT pipeline_slug, number, outcome
            FROM build_runs
            WHERE is_default_branch AND is_verdict AND day > '2025-11-06'
            """,
        )
    )
    assert "failed" in {kind for pipeline, _, kind in marks if pipeline == "api"}


def test_a_figure_of_one_pipeline_shows_no_other(month: Connection) -> None:
    for figure in (figures.main_strip, figures.active_durations):
        assert {row["pipeline"] for row in shown(figure(month, pipeline="web"))} == {"web"}
    assert {row["pipeline"] for row in shown(figures.flaky_steps(month, pipeline="web"))} == {"web"}


def test_durations_are_those_of_the_days(month: Connection) -> None:
    rows = {
        (row["local_day"][:10], row["green_builds"]): row["p90_minutes"]
        for row in shown(figures.active_durations(month, pipeline="api"))
    }
    expected = all_of(
        month,
        """
        SELECT local_day::VARCHAR, green_builds, green_p90_seconds / 60
        FROM pipeline_daily
        WHERE pipeline_slug = 'api' AND green_builds > 0 AND local_day > '2025-10-21'
        """,
    )
    assert rows == {(day, builds): pytest.approx(minutes) for day, builds, minutes in expected}


def test_outcomes_add_up_to_all_builds(month: Connection) -> None:
    [(builds,)] = all_of(month, "SELECT count(*) FROM builds")
    assert sum(row["builds"] for row in shown(figures.build_outcomes(month, days=99))) == builds


def test_the_heat_map_is_hottest_where_macos_starves(month: Connection) -> None:
    rows = shown(figures.queue_wait_heatmap(month, quantile=0.5))
    hottest = max(rows, key=lambda row: row["wait_minutes"])
    assert hottest["queue"] == "macos"
    assert hottest["local_hour"] in {12, 13}
    assert min(row["waits"] for row in rows) >= 5


def test_waits_of_the_heat_map_are_those_of_the_jobs(month: Connection) -> None:
    """Tuesdays at noon in Berlin are 11:00 UTC in winter, and the month has no summer Tuesday."""
    [cell] = [
        row
        for row in shown(figures.queue_wait_heatmap(month))
        if (row["queue"], row["weekday"], row["local_hour"]) == ("macos", "Tue", 12)
    ]
    [(waits, minutes)] = all_of(
        month,
        """
        SELECT count(*), quantile_cont(queue_seconds, 0.9) / 60
        FROM job_runs
        WHERE queue_key = 'macos' AND queue_seconds IS NOT NULL AND day > '2025-10-23'
            AND isodow(runnable_at) = 2 AND hour(runnable_at) = 11
        """,
    )
    assert cell["waits"] == waits
    assert cell["wait_minutes"] == pytest.approx(minutes)


def test_the_parts_of_a_builds_time_add_up_to_its_length(month: Connection) -> None:
    rows = shown(figures.time_decomposition(month))
    for pipeline in {row["pipeline"] for row in rows}:
        parts = [row for row in rows if row["pipeline"] == pipeline]
        assert [row["kind"] for row in sorted(parts, key=lambda row: row["place"])] == [
            *("queue", "run", "block", "gap")
        ]
        assert sum(row["share"] for row in parts) == pytest.approx(1)
        assert min(row["share"] for row in parts) >= 0


def test_a_late_retry_does_not_carry_the_mean() -> None:
    """Four builds run for 9 minutes after a minute's wait; one of them is retried a day later.

    The day before the retry is nobody's work: a tenth of each build is waiting, the rest running.
    """
    history = History()
    add_organization(history, ORGANIZATION, "acme")
    pipeline = history.pipeline()
    for _ in range(4):
        build = history.build(pipeline, "10:00", finished_at="10:10")
        job = history.job(build, "test", "10:00", "10:01", "10:10", "failed")
    again = history.job(build, "test", "2026-11-03 10:00", "2026-11-03 10:01", "2026-11-03 10:10")
    history.retry(job, again, "manual")
    history.derive("build_critical_path", "build_runs")
    rows = shown(figures.time_decomposition(history.connection))
    shares = {row["kind"]: row["share"] for row in rows}
    assert shares == {"queue": pytest.approx(0.1), "run": pytest.approx(0.9), "block": 0, "gap": 0}
    assert {row["late_retries"] for row in rows} == {1}


def test_a_legend_of_many_queues_leaves_room_for_the_bars() -> None:
    """Of 34 queues the six that run longest have a colour, and the others share one."""
    history = History()
    add_organization(history, ORGANIZATION, "acme")
    pipeline = history.pipeline()
    for n in range(34):
        build = history.build(pipeline, "10:00")
        queue = history.queue(f"queue-{n:02}")
        history.job(build, "t", "10:00", "10:00", plus("10:00", minutes=34 - n), queue_id=queue)
    history.derive("agent_cost_daily")
    figure = figures.cost_by_team(history.connection)
    named = {row["queue"] for row in shown(figure)}
    assert named == {*(f"queue-{n:02}" for n in range(6)), "other queues"}
    assert sum(row["hours"] for row in shown(figure)) == pytest.approx(sum(range(35)) / 60)


def test_a_line_of_one_day_is_visible() -> None:
    history = History()
    add_organization(history, ORGANIZATION, "acme")
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "t", "10:00", "10:01", "10:10")
    history.derive("pipeline_daily")
    picture = svg(figures.active_durations(history.connection))
    assert "mark-symbol" in picture


def test_cost_of_teams_adds_up_to_the_cost_of_all_days(month: Connection) -> None:
    [(cost, hours)] = all_of(
        month, "SELECT sum(cost), sum(agent_minutes) / 60 FROM agent_cost_daily"
    )
    rows = shown(figures.cost_by_team(month, days=99))
    assert sum(row["cost"] or 0 for row in rows) == pytest.approx(cost)
    assert sum(row["hours"] for row in rows) == pytest.approx(hours)
    assert "mobile" in {row["team"] for row in rows if row["queue"] == "macos"}
    assert "(no team owns it)" in {row["team"] for row in rows}


def test_changes_of_access_point_up_and_down(month: Connection) -> None:
    """Somebody left, and a team of seven may do more with one pipeline."""
    rows = shown(figures.access_changes(month))
    effective = {row["kind"]: row["height"] for row in rows if row["is_effective"]}
    assert effective["raised"] == 7
    assert effective["revoked"] < 0


def add_organization(history: History, organization_id: UUID, slug: str) -> None:
    history.connection.execute(
        "INSERT INTO organizations BY NAME SELECT ? AS organization_id, ? AS slug",
        [organization_id, slug],
    )


def test_pipelines_of_several_organizations_are_told_apart() -> None:
    other = UUID(int=2)
    history = History()
    add_organization(history, ORGANIZATION, "acme")
    add_organization(history, other, "zeta")
    history.build(history.pipeline("web"), "10:00")
    theirs = history.pipeline("web")
    history.connection.execute(
        "UPDATE pipelines SET organization_id = ? WHERE pipeline_id = ?", [other, theirs]
    )
    history.build(theirs, "11:00", organization_id=other)
    history.derive("build_runs")
    names = {row["pipeline"] for row in shown(figures.main_strip(history.connection))}
    assert names == {"acme/web", "zeta/web"}


def test_queues_with_one_key_are_told_apart() -> None:
    """By the cluster within an organization, and by the organization beyond it."""
    other = UUID(int=2)
    history = History()
    web = history.pipeline()
    created = {
        organization: history.build(web, "10:00", organization_id=organization)
        for organization in (ORGANIZATION, other)
    }
    for organization, cluster, minutes in (
        (ORGANIZATION, "Linux", 1),
        (ORGANIZATION, "Mac", 30),
        (other, "Linux", 10),
    ):
        queue = history.queue(
            "default",
            history.cluster(cluster, organization_id=organization),
            organization_id=organization,
        )
        for _ in range(5):
            history.job(
                created[organization],
                *("t", "10:00", f"10:{minutes:02}", "11:00"),
                organization_id=organization,
                queue_id=queue,
            )
    add_organization(history, ORGANIZATION, "acme")
    add_organization(history, other, "zeta")
    history.derive("queue_hourly", "agent_cost_daily")
    assert {
        row["queue"]: (row["waits"], row["wait_minutes"])
        for row in shown(figures.queue_wait_heatmap(history.connection, quantile=0.5))
    } == {
        "acme/Linux / default": (5, 1),
        "acme/Mac / default": (5, 30),
        "zeta/default": (5, 10),
    }
    assert {
        row["queue"]: row["hours"] for row in shown(figures.cost_by_team(history.connection))
    } == {
        "acme/Linux / default": pytest.approx(5 * 59 / 60),
        "acme/Mac / default": pytest.approx(5 * 30 / 60),
        "zeta/default": pytest.approx(5 * 50 / 60),
    }


def test_names_from_outside_are_text_in_a_picture() -> None:
    history = History()
    add_organization(history, ORGANIZATION, "acme")
    history.build(history.pipeline("<script>alert(1)</script>"), "10:00")
    history.derive("build_runs")
    picture = svg(figures.main_strip(history.connection))
    assert "<script>" not in picture
    assert "&lt;script&gt;" in picture


def test_a_name_that_is_too_long_to_measure_is_cut() -> None:
    history = History()
    add_organization(history, ORGANIZATION, "acme")
    history.build(history.pipeline("x" * 100_000), "10:00")
    history.derive("build_runs")
    [row] = shown(figures.main_strip(history.connection))
    assert row["pipeline"] == "x" * 200 + "…"


def test_pictures_need_nothing_from_outside(month: Connection) -> None:
    drawn = figures.main_strip(month)
    picture = svg(drawn)
    assert picture.startswith("<svg")
    assert "currentColor" in picture
    assert "href" not in picture
    assert "url(" not in picture
    assert png(drawn).startswith(b"\x89PNG")
