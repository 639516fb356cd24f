"""Days cut by the local clock, against a model that asks zoneinfo minute by minute."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Rules, Weekday, WorkingHours

from .history import History, plus

HOUR = 3600
MINUTE = timedelta(minutes=1)

# Their clocks change at midnight, forward, backward or both, by half an hour, or never.
ZONES = [
    "Africa/Cairo",
    "America/Asuncion",
    "America/Havana",
    "America/Santiago",
    "America/Sao_Paulo",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
]


def text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"


def green_main(zone: str, begin: str, end: str) -> History:
    """Main is green from one instant to the other."""
    history = History(Rules(time_zone=zone))
    history.build(history.pipeline(), begin, finished_at=begin)
    history.read(end)
    return history.derive("branch_health_daily")


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("America/Havana", {date(2026, 10, 31): 24, date(2026, 11, 1): 25, date(2026, 11, 2): 24}),
        ("America/Havana", {date(2026, 3, 7): 24, date(2026, 3, 8): 23, date(2026, 3, 9): 24}),
        ("Asia/Beirut", {date(2026, 3, 28): 24, date(2026, 3, 29): 23, date(2026, 3, 30): 24}),
        ("Asia/Beirut", {date(2026, 10, 23): 24, date(2026, 10, 24): 25, date(2026, 10, 25): 24}),
        ("Africa/Cairo", {date(2026, 4, 24): 23, date(2026, 10, 29): 25, date(2026, 10, 30): 24}),
        ("America/Asuncion", {date(2018, 3, 24): 25, date(2018, 10, 7): 23}),
        ("America/Santiago", {date(2026, 4, 4): 25, date(2026, 9, 6): 23}),
        ("Australia/Lord_Howe", {date(2026, 4, 5): 24.5, date(2026, 10, 4): 23.5}),
        ("Asia/Kolkata", {date(2026, 3, 29): 24, date(2026, 10, 25): 24}),
        # The island skipped a day when it moved over the date line.
        ("Pacific/Apia", {date(2011, 12, 29): 24, date(2011, 12, 31): 24}),
    ],
)
def test_a_day_is_as_long_as_its_clock_makes_it(zone: str, days: dict[date, float]) -> None:
    begin, end = min(days) - timedelta(days=3), max(days) + timedelta(days=3)
    history = green_main(zone, f"{begin} 00:00", f"{end} 00:00")
    rows = dict(history.rows("branch_health_daily", "local_day", "known_seconds"))
    assert {each: rows.get(each, 0) / HOUR for each in days} == days
    assert date(2011, 12, 30) not in rows


@st.composite
def spans(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone, and a span of some days, around a change of its clock if it has one that year."""
    zone = draw(st.sampled_from(ZONES))
    local = ZoneInfo(zone)
    noon = datetime(draw(st.integers(2014, 2026)), 1, 1, 12, tzinfo=UTC)
    days = [noon + timedelta(days=n) for n in range(3, 362)]
    changes = [
        each
        for each in days
        if each.astimezone(local).utcoffset()
        != (each - timedelta(days=1)).astimezone(local).utcoffset()
    ]
    middle = draw(st.sampled_from(changes or days))
    minutes = st.integers(0, 3 * 24 * 60)
    return zone, middle - draw(minutes) * MINUTE, middle + draw(minutes) * MINUTE


def each_minute(begin: datetime, end: datetime, zone: str) -> list[datetime]:
    """The local time at each minute of a span."""
    local = ZoneInfo(zone)
    return [(begin + n * MINUTE).astimezone(local) for n in range((end - begin) // MINUTE)]


@settings(max_examples=25, deadline=None)
@given(spans())
def test_the_pieces_of_a_span_fall_on_the_days_that_the_clock_shows(
    span: tuple[str, datetime, datetime],
) -> None:
    zone, begin, end = span
    history = green_main(zone, text(begin), text(end))
    minutes = Counter(local.date() for local in each_minute(begin, end, zone))
    rows = history.rows("branch_health_daily", "local_day", "known_seconds")
    assert {day: seconds for day, seconds in rows if seconds} == {
        day: 60 * count for day, count in minutes.items()
    }
    stretches = history.rows("local_days", "begins_at", "ends_at")
    assert all(ends_at == begins_at for (_, ends_at), (begins_at, _) in pairwise(stretches))


@pytest.mark.parametrize(
    ("zone", "day", "begin", "end", "hours"),
    [
        # 00:30 to 01:00, then from 00:30 on once more
        ("America/Havana", date(2026, 11, 1), "00:30", "06:00", 6),
        ("America/Havana", date(2026, 11, 1), "00:00", "00:30", 1),
        # midnight is 01:00
        ("America/Havana", date(2026, 3, 8), "00:30", "06:00", 5),
        ("America/Havana", date(2026, 3, 8), "00:00", "00:45", 0),
        # 24:00 is 23:00
        ("Asia/Beirut", date(2026, 10, 24), "22:30", "23:30", 1.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), "01:00", "03:00", 1.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), "01:45", "03:00", 1.5),
    ],
)
def test_working_hours_count_whatever_the_clock_shows_twice(
    zone: str, day: date, begin: str, end: str, hours: float
) -> None:
    """Main is red for a week around the day, which is no holiday, while all others are."""
    week = [day + timedelta(days=n) for n in range(-3, 4)]
    holidays = tuple(each for each in week if each != day)
    work = WorkingHours(get_args(Weekday), begin, end, holidays)
    history = History(Rules(time_zone=zone, working_hours=work))
    pipeline = history.pipeline()
    for each, state in ((min(holidays), "failed"), (max(holidays), "passed")):
        history.build(pipeline, f"{each} 12:00", state, finished_at=f"{each} 12:00")
    history.derive("branch_incidents")
    assert history.rows("branch_incidents", "working_seconds") == [hours * HOUR]


@settings(max_examples=25, deadline=None)
@given(spans(), st.integers(0, 1438), st.integers(1, 1439), st.sets(st.integers(0, 6)))
def test_working_hours_are_those_that_the_clock_shows(
    span: tuple[str, datetime, datetime], begin: int, length: int, off: set[int]
) -> None:
    """Work may begin or end in an hour that the clock shows twice or never."""
    zone, red_at, green_at = span
    first = time(begin // 60, begin % 60)
    last_minute = min(begin + length, 1439)
    last = time(last_minute // 60, last_minute % 60)
    days = tuple(day for n, day in enumerate(get_args(Weekday)) if n not in off)
    hours = WorkingHours(days, f"{first:%H:%M}", f"{last:%H:%M}")
    history = History(Rules(time_zone=zone, working_hours=hours))
    pipeline = history.pipeline()
    history.build(pipeline, text(red_at), "failed", finished_at=text(red_at))
    history.build(pipeline, plus(text(red_at), seconds=1), finished_at=text(green_at + MINUTE))
    history.derive("branch_incidents")
    worked = sum(
        local.weekday() not in off and first <= local.time() < last
        for local in each_minute(red_at, green_at + MINUTE, zone)
    )
    assert history.rows("branch_incidents", "working_seconds") == [60 * worked]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(ZONES), st.lists(st.integers(0, 366 * 24 * 60), min_size=1, max_size=12))
def test_builds_and_jobs_count_on_the_day_and_in_the_week_that_the_clock_shows(
    zone: str, minutes: list[int]
) -> None:
    """The tables that ask for the local time of an instant, which no clock makes ambiguous."""
    history = History(Rules(time_zone=zone))
    pipeline = history.pipeline()
    local = ZoneInfo(zone)
    days: Counter[date] = Counter()
    weeks: Counter[date] = Counter()
    for minute in minutes:
        instant = datetime(2018, 1, 1, tzinfo=UTC) + minute * MINUTE
        created = text(instant)
        build = history.build(pipeline, created, "failed", finished_at=created)
        history.job(build, "t", created, created, created, "failed")
        day = instant.astimezone(local).date()
        days[day] += 1
        weeks[day - timedelta(days=day.weekday())] += 1
    history.derive("pipeline_daily", "step_daily", "agent_cost_daily", "pipeline_weekly")
    history.derive("step_failures", "team_ci_weekly", "branch_health_daily")
    by_day = sorted(days.items())
    assert history.rows("pipeline_daily", "local_day", "builds") == by_day
    assert history.rows("step_daily", "local_day", "attempts") == by_day
    assert sorted(history.rows("agent_cost_daily", "local_day", "runs")) == by_day
    built = history.rows("branch_health_daily", "local_day", "verdicts", where="verdicts > 0")
    assert built == by_day
    by_week = sorted(weeks.items())
    assert history.rows("pipeline_weekly", "week", "builds") == by_week
    assert history.rows("team_ci_weekly", "week", "builds") == by_week
    assert sorted(history.rows("step_failures", "week", "failures")) == by_week
