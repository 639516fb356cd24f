"""How long default branches were green and red: worked examples, and a model minute by minute."""

from collections import Counter
from datetime import date, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Rules

from .history import ORGANIZATION, History, at, plus

HOUR = 3600
OTHER = UUID(int=2)
SHARE = ["local_day", "known_seconds", "green_seconds", "red_seconds", "green_time_share"]
TURNS = ["last_state", "turned_red", "turned_green"]
BUILDS = ["passed_builds", "failed_builds", "verdicts", "red_builds_share"]


def day(number: int) -> date:
    return date(2026, 11, number)


def health(history: History, *columns: str) -> list[Any]:
    return history.derive("branch_health_daily").rows("branch_health_daily", *columns)


def test_a_day_is_split_by_its_verdicts_and_before_the_first_nothing_is_known() -> None:
    """Monday: green from 06:00, red from 14:20 to 15:40, green till midnight: 18 h known.

    Red 80 min, so green 16 h 40 min: 25/27. Of three verdicts one is red. Read until 06:00 on
    Tuesday, when nothing was built: 6 h, all green.
    """
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "05:30", finished_at="06:00")
    history.build(pipeline, "14:00", "failed", finished_at="14:20")
    history.build(pipeline, "15:00", finished_at="15:40")
    history.read("2026-11-03 06:00")
    assert health(history, *SHARE) == [
        (day(2), 18 * HOUR, 60_000, 4_800, pytest.approx(25 / 27)),
        (day(3), 6 * HOUR, 6 * HOUR, 0, 1),
    ]
    assert history.rows("branch_health_daily", *TURNS) == [("green", 1, 1), ("green", 0, 0)]
    assert history.rows("branch_health_daily", *BUILDS) == [
        (2, 1, 3, pytest.approx(1 / 3)),
        (0, 0, 0, None),
    ]


def test_a_red_weekend_on_which_nobody_builds_is_red() -> None:
    """Red from Friday the 6th, 18:00, until Monday the 9th, 09:00; read until Monday noon."""
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "2026-11-06 17:50", "failed", finished_at="2026-11-06 18:00")
    history.build(pipeline, "2026-11-09 08:50", finished_at="2026-11-09 09:00")
    history.read("2026-11-09 12:00")
    assert health(history, *SHARE) == [
        (day(6), 6 * HOUR, 0, 6 * HOUR, 0),
        (day(7), 24 * HOUR, 0, 24 * HOUR, 0),
        (day(8), 24 * HOUR, 0, 24 * HOUR, 0),
        (day(9), 12 * HOUR, 3 * HOUR, 9 * HOUR, 0.25),
    ]
    assert history.rows("branch_health_daily", *TURNS) == [
        ("red", 0, 0), ("red", 0, 0), ("red", 0, 0), ("green", 0, 1),
    ]  # fmt: skip


def test_only_verdicts_of_the_default_branch_itself_count() -> None:
    """Trap 13: a merge queue's builds, pull requests and branches are not main."""
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", finished_at="10:10")
    history.build(pipeline, "10:11", "canceled", finished_at="10:12")
    history.build(pipeline, "10:13", "running")
    for columns in (
        {"branch": "topic"},
        {"pull_request_id": "7"},
        {"branch": "gh-readonly-queue/main/pr-1", "merge_queue_base_branch": "main"},
    ):
        history.build(pipeline, "10:20", "failed", finished_at="10:30", **columns)
    bare = history.pipeline("bare", default_branch=None)
    history.build(bare, "10:20", "failed", finished_at="10:30")
    history.read("11:00")
    assert health(history, "pipeline_id", "known_seconds", "red_seconds", "verdicts") == [
        (pipeline, 3_000, 0, 1)
    ]


def test_an_older_build_that_ends_later_changes_nothing_but_is_counted() -> None:
    """Created 10:00, 10:05 and 10:30; ended 11:00, 10:20 and 10:40. Read until noon.

    Red from 10:20 to 10:40, then green: the first build's failure at 11:00 is old news.
    """
    history = History()
    pipeline = history.pipeline()
    for created, end, state in (
        ("10:00", "11:00", "failed"),
        ("10:05", "10:20", "failed"),
        ("10:30", "10:40", "passed"),
    ):
        history.build(pipeline, created, state, finished_at=end)
    history.read("12:00")
    assert health(history, "known_seconds", "red_seconds", *TURNS, *BUILDS) == [
        (6_000, 1_200, "green", 0, 1, 1, 2, 3, pytest.approx(2 / 3))
    ]


def test_days_have_23_and_25_hours_where_clocks_change_and_years_end() -> None:
    """Berlin: midnights of 25 October 2026 are at 22:00 and 23:00 UTC, of 29 March at 23 and 22.

    Each pipeline was archived an hour before a midnight, or at noon.
    """
    history = History(Rules(time_zone="Europe/Berlin"))
    for slug, begin, end in (
        ("autumn", "2026-10-24 21:00", "2026-10-26 22:00"),
        ("new year", "2026-12-30 23:00", "2027-01-01 11:00"),
        ("spring", "2026-03-28 22:00", "2026-03-30 21:00"),
    ):
        pipeline = history.pipeline(slug, archived_at=end)
        history.build(pipeline, begin, finished_at=begin)
    history.read("2027-01-05 00:00")
    history.derive("branch_health_daily")
    rows = history.rows("branch_health_daily", "pipeline_slug", "local_day", "known_seconds")
    assert [(slug, each, seconds / HOUR) for slug, each, seconds in rows] == [
        ("autumn", date(2026, 10, 24), 1),
        ("autumn", date(2026, 10, 25), 25),
        ("autumn", date(2026, 10, 26), 23),
        ("new year", date(2026, 12, 31), 24),
        ("new year", date(2027, 1, 1), 12),
        ("spring", date(2026, 3, 28), 1),
        ("spring", date(2026, 3, 29), 23),
        ("spring", date(2026, 3, 30), 23),
    ]


def test_a_share_of_no_time_is_null() -> None:
    """Builds were read up to the very instant in which it ended."""
    history = History()
    history.build(history.pipeline(), "10:00", "failed", finished_at="10:10")
    history.read("10:10")
    assert health(history, *SHARE[1:], "last_state", "red_builds_share") == [
        (0, 0, 0, None, "red", 1)
    ]


def test_the_last_day_ends_where_the_own_organization_was_last_read() -> None:
    """Another organization's builds are read later, which says nothing about this one."""
    history = History()
    history.build(history.pipeline(), "10:00", finished_at="10:10")
    history.read("12:10")
    other = history.pipeline("other")
    history.build(other, "10:00", finished_at="10:10")
    for table in ("builds", "pipelines"):
        history.connection.execute(
            f"UPDATE {table} SET organization_id = ? WHERE pipeline_id = ?",  # noqa: S608
            [OTHER, other],
        )
    history.read("2026-11-20 12:00", OTHER)
    assert health(history, "known_seconds", "local_day")[0] == (2 * HOUR, day(2))
    assert len(history.rows("branch_health_daily")) == 1 + 19


def test_a_full_read_of_a_day_says_nothing_about_later_days() -> None:
    """Without a feed: Monday was read on Friday, Wednesday while it lasted, at 15:00."""
    history = History()
    history.build(history.pipeline(), "10:00", finished_at="10:10")
    for number, read_at in ((2, "2026-11-06 12:00"), (4, "2026-11-04 15:00")):
        history.connection.execute(
            "INSERT INTO sync_days (organization_id, day, read_at) VALUES (?, ?, ?)",
            [ORGANIZATION, day(number), at(read_at).replace(tzinfo=None)],
        )
    assert sum(health(history, "known_seconds")) == 53 * HOUR - 600


@pytest.mark.parametrize("is_archived", [True, False])
def test_days_end_with_the_pipeline(is_archived: bool) -> None:  # noqa: FBT001 - two cases
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", finished_at="10:10")
    if is_archived:
        history.list_pipeline(pipeline, seen="12:00", archived_at="11:10")
    else:
        history.lose_pipeline(pipeline, seen="11:10")
    history.read("15:00")
    assert health(history, "known_seconds") == [HOUR]


def test_a_day_is_final_when_it_is_over_and_its_builds_are() -> None:
    """The first build was read again after 30 days, the second was not; each carries its state.

    Read until 3 December 06:00: that day is not over.
    """
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", finished_at="10:10", synced_at="2026-12-03 06:00")
    history.build(
        pipeline, "2026-11-04 10:00", finished_at="2026-11-04 10:10", synced_at="2026-11-30 00:00"
    )
    history.read("2026-12-03 06:00")
    assert health(history, "is_final") == [True, True] + [False] * 30
    history.connection.execute("UPDATE builds SET synced_at = '2026-12-04 06:00'")
    history.read("2026-12-04 06:00")
    assert health(history, "is_final") == [True] * 32 + [False]


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
VERDICTS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(1, 40),
        st.sampled_from(["passed", "failed", "failed", "passed", "canceled", "running"]),
        st.sampled_from(["main", "main", "main", "topic"]),
    ),
    min_size=3,
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(ZONES, VERDICTS, st.integers(0, 20))
def test_health_is_what_asking_quarter_by_quarter_gives(
    zone: str, builds: list[tuple[int, int, str, str]], quiet: int
) -> None:
    """Builds around a change of clocks begin and end in whole hours; each quarter has one state."""
    begin = "2026-10-24 12:15"
    history = History(Rules(time_zone=zone))
    pipeline = history.pipeline()
    verdicts: list[tuple[int, int, int, str]] = []
    told = max(created + run for created, run, _, _ in builds) + quiet
    for n, (created, run, state, branch) in enumerate(builds):
        history.build(
            pipeline, plus(begin, hours=created), state, branch=branch,
            finished_at=plus(begin, hours=created + run),
        )  # fmt: skip
        if branch == "main" and state in {"passed", "failed"}:
            verdicts.append((created, n, created + run, state))
    history.read(plus(begin, hours=told))
    local = ZoneInfo(zone)

    def local_day(hours: float) -> date:
        return (at(begin) + timedelta(hours=hours)).astimezone(local).date()

    seconds: Counter[tuple[date, str]] = Counter()
    turns: Counter[tuple[date, str]] = Counter()
    last: dict[date, str] = {}
    ended: Counter[tuple[date, str]] = Counter()
    state_before = None
    for quarter in range(4 * told + 1):
        done = [verdict for verdict in verdicts if verdict[2] * 4 <= quarter]
        if not done:
            continue
        state = max(done)[3]
        here = local_day(quarter / 4)
        if quarter < 4 * told:
            seconds[here, state] += 900
        turns[here, state] += state_before not in {state, None}
        last[here] = "green" if state == "passed" else "red"
        state_before = state
    for _, _, end, state in verdicts:
        ended[local_day(end), state] += 1
    columns = ["local_day", "green_seconds", "red_seconds", *TURNS, "passed_builds"]
    assert health(history, *columns, "failed_builds") == [
        (
            each, seconds[each, "passed"], seconds[each, "failed"], last[each],
            turns[each, "failed"], turns[each, "passed"],
            ended[each, "passed"], ended[each, "failed"],
        )
        for each in sorted(last)
    ]  # fmt: skip
