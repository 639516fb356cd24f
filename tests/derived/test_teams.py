"""Costs and figures by team: worked examples, and a model that divides run by run."""

from collections import defaultdict
from datetime import date
from statistics import median
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Price, Rules

from .history import History, at, plus


def approx(*values: float | str | None) -> tuple[object, ...]:
    return tuple(pytest.approx(v) if isinstance(v, float) else v for v in values)


# agent_cost_daily


def test_each_of_several_owners_has_its_part_and_what_nobody_owns_is_kept() -> None:
    """A minute each at 0.6: `both` is of two teams (30 s, half a run and 0.3 each), `one` of one.

    `free` has readers alone. Of the run of a pipeline that is not known, no owner can be.
    """
    history = History(Rules(prices=(Price(0.6, queue="default"),)))
    a, b, readers = history.team("a"), history.team("b"), history.team("readers")
    pipelines = {slug: history.pipeline(slug) for slug in ("both", "free", "one")}
    history.grant(a, pipelines["both"])
    history.grant(b, pipelines["both"])
    history.grant(a, pipelines["one"], 2)
    history.grant(readers, pipelines["free"], 1)
    for slug in ("both", "free", "one", "unknown"):
        build = history.build(pipelines.get(slug), "10:00", pipeline_slug=slug)
        history.job(build, "t", "10:00", "10:00", "10:01")
    history.derive("agent_cost_daily")
    columns = ["pipeline_slug", "team_slug", "attribution", "runs", "agent_minutes", "cost"]
    assert history.rows("agent_cost_daily", *columns) == [
        approx("both", "a", "shared", 0.5, 0.5, 0.3),
        approx("both", "b", "shared", 0.5, 0.5, 0.3),
        approx("free", None, "none", 1.0, 1.0, 0.6),
        approx("one", "a", "sole", 1.0, 1.0, 0.6),
        approx("unknown", None, "not_evaluated", 1.0, 1.0, 0.6),
    ]


def test_a_run_is_of_those_who_owned_the_pipeline_when_it_began() -> None:
    """Handed over from a to b at noon: runs of 1 min at 11:59, over noon, and 2 min at 12:00."""
    history = History()
    pipeline = history.pipeline()
    history.grant(history.team("a"), pipeline, gone="12:00")
    history.grant(history.team("b"), pipeline, seen="12:00", created="12:00")
    build = history.build(pipeline, "11:00")
    for begin, end in (("11:59", "12:00"), ("11:59:30", "12:00:30"), ("12:00", "12:02")):
        history.job(build, "t", "11:00", begin, end)
    history.derive("agent_cost_daily")
    columns = ["team_slug", "runs", "agent_minutes"]
    assert history.rows("agent_cost_daily", *columns) == [("a", 2, 2), ("b", 1, 2)]


def test_where_no_teams_were_seen_owners_are_not_evaluated() -> None:
    history = History()
    history.job(history.build(history.pipeline(), "10:00"), "t", "10:00", "10:00", "10:01")
    history.derive("agent_cost_daily")
    columns = ["team_id", "attribution", "agent_minutes"]
    assert history.rows("agent_cost_daily", *columns) == [(None, "not_evaluated", 1)]


HANDOVERS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 3), st.integers(0, 5)),
    max_size=6,
)
RUNS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 600)), min_size=1, max_size=15)


@settings(max_examples=15, deadline=None)
@given(HANDOVERS, RUNS)
def test_minutes_of_each_team_are_what_dividing_run_by_run_gives_and_none_is_lost(
    grants: list[tuple[int, int, int, int]], runs: list[tuple[int, int]]
) -> None:
    """Teams get access to pipelines hour by hour; each run's minute goes to its owners then."""
    history = History()
    pipelines = [history.pipeline(slug) for slug in "xyz"]
    teams = [history.team(slug, seen="00:00") for slug in "abcd"]
    ranks: dict[tuple[int, int, int], int] = {}
    for pipeline, team, rank, begun in grants:
        if (pipeline, team, begun) in ranks:
            continue
        ranks[pipeline, team, begun] = rank
        begin, end = plus("00:00", hours=begun), plus("00:00", hours=begun + 1)
        history.grant(teams[team], pipelines[pipeline], rank, seen=begin, gone=end, created=begin)
    expected: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    for pipeline, minute in runs:
        begin = plus("00:00", minutes=minute)
        build = history.build(pipelines[pipeline], begin)
        history.job(build, "t", begin, begin, plus(begin, minutes=1))
        here = {
            team: rank
            for (at_pipeline, team, hour), rank in ranks.items()
            if at_pipeline == pipeline and hour == minute // 60
        }
        owners = [team for team, rank in here.items() if rank == max(here.values()) >= 2]
        for owner in owners:
            expected["xyz"[pipeline], "abcd"[owner]] += 60 / len(owners)
        if not owners:
            expected["xyz"[pipeline], None] += 60
    history.derive("agent_cost_daily")
    rows = history.connection.execute(
        "SELECT pipeline_slug, team_slug, sum(agent_minutes) * 60 "
        "FROM agent_cost_daily GROUP BY ALL"
    ).fetchall()
    assert {(pipeline, team): seconds for pipeline, team, seconds in rows} == {
        key: pytest.approx(seconds) for key, seconds in expected.items()
    }
    [totals] = history.connection.execute(
        "SELECT sum(runs), sum(agent_minutes), sum(unpriced_minutes) FROM agent_cost_daily"
    ).fetchall()
    assert list(totals) == pytest.approx([len(runs)] * 3)


# team_ci_weekly


def built(history: History, pipeline: UUID | None, created: str, minutes: int, state: str) -> UUID:
    """A build with one job that ran so many minutes; its step is named by them."""
    build = history.build(pipeline, created, state, pipeline_slug="lost")
    history.job(build, f"{minutes}", created, created, plus(created, minutes=minutes))
    return build


def test_a_teams_week_is_computed_from_the_builds_of_all_its_pipelines() -> None:
    """Team a owns `one` and `two` alone. Green in 1, 2 and 9 min: median 2, p90 7.6; 3 of 4 passed.

    The median of the pipelines' medians (1.5 and 9) would be 5.25. 2 of 14 min were wasted, by the
    canceled build: 1 of 5 ended ones. The week after has one build, green in 4 min: 2 min more.
    """
    history = History()
    one, two, team = history.pipeline("one"), history.pipeline("two"), history.team("a")
    history.grant(team, one)
    history.grant(team, two, 2)
    for pipeline, created, minutes, state in (
        (one, "2026-11-02 10:00", 1, "passed"),
        (one, "2026-11-03 10:00", 2, "passed"),
        (two, "2026-11-04 10:00", 9, "passed"),
        (two, "2026-11-08 23:59", 0, "failed"),
        (two, "2026-11-08 23:59", 2, "canceled"),
        (one, "2026-11-09 00:00", 4, "passed"),
    ):
        built(history, pipeline, created, minutes, state)
    history.derive("team_ci_weekly")
    columns = ["week", "team_slug", "attribution", "pipelines", "builds", "verdicts"]
    assert history.rows("team_ci_weekly", *columns) == [
        (date(2026, 11, 2), "a", "sole", 2, 5, 4),
        (date(2026, 11, 9), "a", "sole", 1, 1, 1),
    ]
    columns = [
        "success_rate",
        "ended_builds",
        "canceled_rate",
        "wasted_share",
        "success_rate_change",
    ]
    assert history.rows("team_ci_weekly", *columns) == [
        approx(0.75, 5, 0.2, 1 / 7, None),
        approx(1.0, 1, 0.0, 0.0, 0.25),
    ]
    columns = ["green_builds", "green_p50_seconds", "green_p90_seconds", "green_p50_change_seconds"]
    assert history.rows("team_ci_weekly", *columns) == [
        approx(3, 120.0, 456.0, None),
        approx(1, 240.0, 240.0, 120.0),
    ]


def test_a_shared_pipeline_is_told_apart_and_counts_once_in_parts() -> None:
    """`own` of a: 60 min. `both` of a and b: 30 min. Each has half of `both`: 15 min.

    In all 2 builds and 1.5 h, though the builds of the rows sum to 3. Teams that only read, and
    pipelines that nobody owns or knows, have no team's row.
    """
    history = History()
    own, both, free = (history.pipeline(slug) for slug in ("own", "both", "free"))
    a, b = history.team("a"), history.team("b")
    history.grant(a, own)
    history.grant(b, own, 1)
    history.grant(a, both)
    history.grant(b, both)
    for pipeline, minutes in ((own, 60), (both, 30), (free, 12), (None, 6)):
        built(history, pipeline, "10:00", minutes, "passed")
    history.derive("team_ci_weekly")
    columns = ["team_slug", "attribution", "builds", "builds_part", "agent_hours"]
    assert history.rows("team_ci_weekly", *columns, "agent_hours_part") == [
        ("a", "shared", 1, 0.5, 0.5, 0.25),
        ("a", "sole", 1, 1, 1, 1),
        ("b", "shared", 1, 0.5, 0.5, 0.25),
        (None, "none", 1, 1, 0.2, 0.2),
        (None, "not_evaluated", 1, 1, 0.1, 0.1),
    ]


def test_a_build_is_of_those_who_owned_the_pipeline_when_it_was_created() -> None:
    history = History()
    pipeline = history.pipeline()
    history.grant(history.team("a"), pipeline, gone="12:00")
    history.grant(history.team("b"), pipeline, seen="12:00", created="12:00")
    for created in ("11:59:59", "12:00", "13:00"):
        built(history, pipeline, created, 1, "passed")
    history.derive("team_ci_weekly")
    assert history.rows("team_ci_weekly", "team_slug", "builds") == [("a", 1), ("b", 2)]


def test_a_teams_weeks_cross_the_years_end_and_daylight_saving() -> None:
    """As of `pipeline_weekly`: in Berlin 2026-W53 begins on 27 December at 23:00 UTC (trap 17)."""
    history = History(Rules(time_zone="Europe/Berlin"))
    pipeline = history.pipeline()
    history.grant(history.team("a"), pipeline)
    for created in (
        "2026-03-29 21:59", "2026-03-29 22:00", "2026-12-27 22:59", "2026-12-27 23:00",
        "2027-01-03 22:59", "2027-01-03 23:00",
    ):  # fmt: skip
        history.build(pipeline, created)
    history.derive("team_ci_weekly")
    assert history.rows("team_ci_weekly", "iso_week", "builds") == [
        ("2026-W13", 1), ("2026-W14", 1), ("2026-W52", 1), ("2026-W53", 2), ("2027-W01", 1),
    ]  # fmt: skip


def test_without_a_verdict_a_teams_rates_are_null_not_zero() -> None:
    history = History()
    pipeline = history.pipeline()
    history.grant(history.team("a"), pipeline)
    history.build(pipeline, "10:00", "running")
    history.derive("team_ci_weekly")
    columns = ["open_builds", "is_final", "success_rate", "canceled_rate", "green_p50_seconds"]
    assert history.rows("team_ci_weekly", *columns, "wasted_share", "agent_hours") == [
        (1, False, None, None, None, None, 0)
    ]


TEAMS_BUILDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 21),
        st.integers(0, 30),
        st.sampled_from(["passed", "failed", "canceled", "running", "skipped"]),
    ),
    max_size=20,
)
OWNERS = st.lists(st.sets(st.integers(0, 2)), min_size=3, max_size=3)


@settings(max_examples=15, deadline=None)
@given(TEAMS_BUILDS, OWNERS)
def test_a_teams_weeks_are_what_collecting_its_builds_gives(
    builds: list[tuple[int, int, int, str]], owners: list[set[int]]
) -> None:
    history = History()
    pipelines = [history.pipeline(slug) for slug in "xyz"]
    for n, team in enumerate([history.team(slug) for slug in "abc"]):
        for pipeline, owning in zip(pipelines, owners, strict=True):
            history.grant(team, pipeline, 3 if n in owning else 1)
    collected: defaultdict[tuple[str | None, str, date], list[tuple[int, int, str]]]
    collected = defaultdict(list)
    for pipeline_no, day, minutes, state in builds:
        created = plus("2026-10-26 12:00", days=day)
        built(history, pipelines[pipeline_no], created, minutes, state)
        owning = owners[pipeline_no]
        attribution = ("none", "sole", "shared")[min(len(owning), 2)]
        monday = at(plus("2026-10-26 12:00", days=day // 7 * 7)).date()
        for team_no in owning or [None]:
            name = None if team_no is None else "abc"[team_no]
            collected[name, attribution, monday].append((len(owning) or 1, minutes, state))
    history.derive("team_ci_weekly")
    rows = history.rows(
        "team_ci_weekly", "team_slug", "attribution", "week", "builds", "builds_part",
        "success_rate", "green_builds", "green_p50_seconds", "agent_hours_part",
    )  # fmt: skip
    assert {row[:3]: row[3:] for row in rows} == {
        key: week_of(each) for key, each in collected.items()
    }


def week_of(builds: list[tuple[int, int, str]]) -> tuple[object, ...]:
    """Builds as owners, minutes and state: their number, parts, rate, median and hours."""
    verdicts = [state for _, _, state in builds if state in {"passed", "failed"}]
    green = [minutes * 60 for _, minutes, state in builds if state == "passed"]
    return (
        len(builds),
        pytest.approx(sum(1 / owners for owners, _, _ in builds)),
        verdicts.count("passed") / len(verdicts) if verdicts else None,
        len(green),
        median(green) if green else None,
        pytest.approx(sum(minutes / 60 / owners for owners, minutes, _ in builds)),
    )
