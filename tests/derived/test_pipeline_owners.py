"""Which teams own a pipeline, and when: worked examples, and a model that asks hour by hour."""

from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .history import History, at, plus

COLUMNS = ["team_slug", "attribution", "owned_from", "owned_to"]


def naive(text: str) -> datetime:
    return at(text).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("ranks", "owners", "attribution"),
    [
        ({"a": 3, "b": 2}, ["a"], "sole"),
        ({"a": 3, "b": 3, "c": 2}, ["a", "b"], "shared"),
        ({"a": 2, "b": 2, "c": 1}, ["a", "b"], "shared"),
        ({"a": 2}, ["a"], "sole"),
        ({"a": 1, "b": 1}, [None], "none"),
        ({"a": None, "b": 2}, ["b"], "sole"),
        ({"everyone": 3, "a": 2}, ["a"], "sole"),
        ({"everyone": 3}, [None], "none"),
        ({}, [None], "none"),
    ],
)
def test_the_teams_that_may_do_most_own_a_pipeline(
    ranks: dict[str, int], owners: list[str | None], attribution: str
) -> None:
    """Readers own nothing, nor does the default team; a level that is not known (NULL) is none."""
    history = History()
    pipeline = history.pipeline()
    history.team("unrelated")
    for slug, rank in ranks.items():
        history.grant(history.team(slug, is_default=slug == "everyone"), pipeline, rank)
    history.derive("pipeline_owners")
    assert history.rows("pipeline_owners", *COLUMNS) == [
        (owner, attribution, None, None) for owner in owners
    ]
    count = 0 if owners == [None] else len(owners)
    assert set(history.rows("pipeline_owners", "owners")) == {count}


def test_without_a_snapshot_of_teams_nobody_is_said_to_own_or_not() -> None:
    history = History()
    history.pipeline()
    history.derive("pipeline_owners")
    assert history.rows("pipeline_owners") == []


def test_ownership_follows_the_history_and_the_first_snapshot_counts_for_before() -> None:
    """Team a is there at the first snapshot, b from 10:00 on with the same level, a until 12:00.

    From 14:00 on b may only read. So a alone until 10:00, both until 12:00, b alone until 14:00.
    """
    history = History()
    pipeline = history.pipeline()
    a, b = history.team("a"), history.team("b")
    history.grant(a, pipeline, gone="12:00", created="2026-05-01 00:00")
    history.grant(b, pipeline, seen="10:00", gone="14:00", created="10:00")
    history.grant(b, pipeline, 1, seen="14:00", created="10:00")
    history.derive("pipeline_owners")
    ten, noon, two = naive("10:00"), naive("12:00"), naive("14:00")
    assert history.rows("pipeline_owners", *COLUMNS) == [
        ("a", "shared", ten, noon),
        ("b", "shared", ten, noon),
        ("b", "sole", noon, two),
        (None, "none", two, None),
        ("a", "sole", None, ten),
    ]


def test_a_grant_counts_from_when_it_was_given_though_it_was_seen_later() -> None:
    """A new pipeline's builds begin before the next snapshot. Its level is as seen, from then on.

    Given at 9:50 and seen at 10:00 with `BUILD_AND_READ`, raised at 11:00: one owner throughout.
    """
    history = History()
    pipeline, team = history.pipeline(), history.team("a")
    history.grant(team, pipeline, 2, seen="10:00", gone="11:00", created="09:50")
    history.grant(team, pipeline, 3, seen="11:00", created="09:50")
    history.derive("pipeline_owners")
    assert history.rows("pipeline_owners", *COLUMNS) == [
        ("a", "sole", naive("09:50"), None),
        (None, "none", None, naive("09:50")),
    ]


def test_a_raised_level_owns_from_the_snapshot_that_saw_it() -> None:
    """Reading since May; building since some time between 10:00 and 11:00."""
    history = History()
    pipeline, team = history.pipeline(), history.team("a")
    history.grant(team, pipeline, 1, gone="11:00", created="2026-05-01 00:00")
    history.grant(team, pipeline, 2, seen="11:00", created="2026-05-01 00:00")
    history.derive("pipeline_owners")
    assert history.rows("pipeline_owners", *COLUMNS) == [
        ("a", "sole", naive("11:00"), None),
        (None, "none", None, naive("11:00")),
    ]


def test_a_renamed_team_has_one_slug() -> None:
    history = History()
    pipeline, team = history.pipeline(), history.team("old")
    history.connection.execute("UPDATE teams_history SET valid_to = '2026-11-02'")
    history.connection.execute(
        "INSERT INTO teams_history BY NAME SELECT * REPLACE ('new' AS slug, "
        "valid_to AS valid_from, NULL AS valid_to) FROM teams_history"
    )
    history.grant(team, pipeline)
    history.derive("pipeline_owners")
    assert history.rows("pipeline_owners", *COLUMNS) == [("new", "sole", None, None)]


HOURS = 8
TIMELINES = st.lists(
    st.lists(st.sampled_from([None, 1, 2, 3]), min_size=HOURS, max_size=HOURS),
    min_size=1,
    max_size=3,
)
SNAPSHOTS = st.sets(st.integers(1, HOURS - 1), min_size=2, max_size=4)


def given_at(timeline: list[int | None], hour: int) -> int:
    """The hour in which the team was given what it has in this one."""
    while hour > 0 and timeline[hour - 1] is not None:
        hour -= 1
    return hour


def seen_grants(
    timeline: list[int | None], snapshots: list[int]
) -> list[tuple[int, int, int, int | None]]:
    """What the history has of a team: rank, given at, seen from, gone at; all in hours."""
    grants: list[tuple[int, int, int, int | None]] = []
    for snapshot in snapshots:
        rank = timeline[snapshot]
        seen = None if rank is None else (rank, given_at(timeline, snapshot))
        if grants and grants[-1][3] is None and seen != grants[-1][:2]:
            grants[-1] = (*grants[-1][:3], snapshot)
        if seen and (not grants or grants[-1][3] is not None):
            grants.append((*seen, snapshot, None))
    return grants


def owners_in(timelines: list[list[int | None]], snapshots: list[int], hour: int) -> set[int]:
    """The highest of the last snapshot's levels and of those given since that the next one saw."""
    last = max((each for each in snapshots if each <= hour), default=snapshots[0])
    following = min((each for each in snapshots if each > last), default=last)
    levels: dict[int, int] = {}
    for team, timeline in enumerate(timelines):
        known = [timeline[last] or 0]
        rank = timeline[following]
        if rank is not None and last < given_at(timeline, following) <= hour:
            known.append(rank)
        levels[team] = max(known)
    highest = max(levels.values())
    return {team for team, rank in levels.items() if rank == highest >= 2}


@settings(max_examples=25, deadline=None)
@given(TIMELINES, SNAPSHOTS)
def test_owners_are_those_that_asking_hour_by_hour_gives(
    timelines: list[list[int | None]], taken: set[int]
) -> None:
    snapshots = sorted(taken)
    history = History()
    pipeline = history.pipeline()
    hours = [plus("00:00", hours=hour) for hour in range(HOURS)]
    for n, timeline in enumerate(timelines):
        team = history.team(str(n), seen=hours[snapshots[0]])
        for rank, begun, seen, gone in seen_grants(timeline, snapshots):
            history.grant(
                team, pipeline, rank,
                seen=hours[seen], gone=None if gone is None else hours[gone], created=hours[begun],
            )  # fmt: skip
    history.derive("pipeline_owners")
    spans: dict[tuple[datetime, datetime], set[int]] = {}
    counts: dict[tuple[datetime, datetime], int] = {}
    for team, begin, end, owners in history.rows(
        "pipeline_owners", "team_slug", "owned_from", "owned_to", "owners"
    ):
        span = (begin or datetime.min, end or datetime.max)  # noqa: DTZ901 - UTC without saying so
        spans.setdefault(span, set()).update({int(team)} if team else set())
        counts[span] = owners
    assert counts == {span: len(teams) for span, teams in spans.items()}
    found = sorted(spans)
    assert found[0][0] == datetime.min  # noqa: DTZ901
    assert found[-1][1] == datetime.max  # noqa: DTZ901
    for earlier, later in pairwise(found):
        assert earlier[1] == later[0]
        assert spans[earlier] != spans[later]
    for hour in range(HOURS):
        [now] = [spans[span] for span in found if span[0] <= naive(hours[hour]) < span[1]]
        assert now == owners_in(timelines, snapshots, hour)
