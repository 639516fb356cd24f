"""Costs and figures by team: worked examples, and a model that divides run by run."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Price, Rules

from .history import History, plus


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
