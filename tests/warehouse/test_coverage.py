"""Which days are known, and which are still to be settled."""

from datetime import date, datetime, timedelta

import pytest

from buildkite_assets.warehouse.coverage import (
    covered_days,
    days_to_settle,
    span,
    unsettled_days,
)
from buildkite_assets.warehouse.feed import open_builds
from tests.checks.evaluating import evaluate, feed, metadata, organization, read_days
from tests.derived.history import DAY, ORGANIZATION, History, at

ID = str(ORGANIZATION)
DAYS = [DAY + timedelta(days=n) for n in range(10)]


@pytest.fixture
def history() -> History:
    history = History()
    read_days(history, DAYS[0], DAYS[1])
    return history


def noon(day: int) -> datetime:
    return at(f"{DAYS[day]} 12:00")


def test_a_day_that_was_read_to_its_end_is_covered(history: History) -> None:
    assert covered_days(history.connection, ID) == DAYS[:2]


def test_a_day_that_was_read_before_its_end_is_covered_once_a_feed_followed(
    history: History,
) -> None:
    read_days(history, DAYS[2], DAYS[2], early=True)
    assert covered_days(history.connection, ID) == DAYS[:2]
    feed(history, noon(2) + timedelta(minutes=1))
    assert covered_days(history.connection, ID) == DAYS[:3]


def test_days_that_began_after_the_first_feed_are_covered_until_the_last(history: History) -> None:
    feed(history, noon(3))
    feed(history, noon(6))
    assert covered_days(history.connection, ID) == [*DAYS[:2], *DAYS[4:7]]


def test_another_organization_s_days_are_its_own(history: History) -> None:
    assert covered_days(history.connection, "00000000-0000-0000-0000-000000000002") == []


def test_a_day_that_is_known_through_feeds_alone_is_not_missing(history: History) -> None:
    """Days between the last read and the first feed are, as the check tells."""
    feed(history, noon(3))
    feed(history, noon(6))
    known = span(history.connection, ID)
    assert known
    assert (known.first_day, known.last_day) == (DAYS[0], DAYS[6])
    assert known.missing_days == DAYS[2:4]
    organization(history)
    told = evaluate(history, "no_missing_days")
    assert not told.passed
    assert metadata(told)["rows"] == len(known.missing_days)


def test_the_newest_day_or_a_feed_is_a_sync_and_an_old_day_read_again_is_none(
    history: History,
) -> None:
    read_at = "SELECT max(read_at) FROM sync_days"
    [(newest_read_at,)] = history.connection.execute(read_at).fetchall()
    read_again = "UPDATE sync_days SET read_at = ? WHERE day = ?"
    history.connection.execute(read_again, [noon(8).replace(tzinfo=None), DAYS[0]])
    known = span(history.connection, ID)
    assert known
    assert known.synced_at == newest_read_at
    feed(history, noon(6))
    history.connection.execute(read_again, [noon(9).replace(tzinfo=None), DAYS[1]])
    known = span(history.connection, ID)
    assert known
    assert known.synced_at == noon(6).replace(tzinfo=None)


def test_nothing_is_known_before_the_first_day_was_read() -> None:
    assert span(History().connection, ID) is None


def test_unsettled_is_what_is_not_covered_or_has_an_open_build(history: History) -> None:
    history.connection.execute("UPDATE warehouse_meta SET start_date = ?", [DAYS[0]])
    assert unsettled_days(history.connection, ID, DAYS[3]) == DAYS[2:4]
    history.build(history.pipeline(), "10:00", "running")
    history.build(None, f"{DAYS[1]} 10:00", "running", absent_since=f"{DAYS[2]} 10:00")
    history.build(None, f"{DAYS[1]} 10:00", "blocked")
    assert unsettled_days(history.connection, ID, DAYS[3]) == [DAYS[0], *DAYS[2:4]]


@pytest.mark.parametrize(
    ("fed", "read_again", "due"),
    [
        # Read when it was one day old; due at two, at seven, and never before.
        ("2026-11-03 23:59", None, []),
        ("2026-11-04 00:00", None, [DAYS[0]]),
        ("2026-11-05 00:00", None, DAYS[:2]),
        # Read again as soon as it was due: the next age counts.
        ("2026-11-05 12:00", "2026-11-05 02:00", [DAYS[1]]),
        ("2026-11-08 23:59", "2026-11-05 02:00", [DAYS[1]]),
        ("2026-11-09 00:00", "2026-11-05 02:00", DAYS[:2]),
        # Read a while after it was due, and late for the next: once for both.
        ("2026-11-09 00:00", "2026-11-08 02:00", DAYS[:2]),
        ("2026-11-20 00:00", "2026-11-09 00:00", [DAYS[1]]),
        ("2027-01-01 00:00", "2026-12-02 00:00", [DAYS[1]]),
    ],
)
def test_a_day_is_due_once_for_each_age_that_it_reached_since_it_was_read(
    history: History, fed: str, read_again: str | None, due: list[date]
) -> None:
    """2 November is read again; 3 November, which was read on the 4th, is there beside it."""
    if read_again:
        history.connection.execute(
            "UPDATE sync_days SET read_at = ? WHERE day = ?",
            [at(read_again).replace(tzinfo=None), DAYS[0]],
        )
    feed(history, at(fed))
    known = [DAYS[0], DAYS[1]]
    assert [
        day for day in days_to_settle(history.connection, ID, [2, 7, 30]) if day in known
    ] == due


def test_a_day_that_only_feeds_brought_is_due_as_well(history: History) -> None:
    feed(history, noon(3))
    feed(history, noon(6))
    assert days_to_settle(history.connection, ID, [2]) == [*DAYS[:2], DAYS[4]]


def test_a_day_to_be_read_again_is_due_at_once(history: History) -> None:
    feed(history, noon(1))
    assert days_to_settle(history.connection, ID, [2]) == []
    history.connection.execute(
        "UPDATE sync_days SET is_to_read_again = true WHERE day = ?", [DAYS[0]]
    )
    assert days_to_settle(history.connection, ID, [2]) == [DAYS[0]]


def test_nothing_is_due_before_the_first_feed(history: History) -> None:
    assert days_to_settle(history.connection, ID, [2]) == []


# Whether a build is open without an end, and with one.
STATES = {
    **dict.fromkeys(("creating", "scheduled", "running", "failing", "canceling"), (True, True)),
    **dict.fromkeys(("passed", "failed", "canceled", "blocked"), (False, False)),
    **dict.fromkeys(("skipped", "not_run"), (False, False)),
    "a state that nobody knows": (True, False),
}


@pytest.mark.parametrize("has_end", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_what_is_open_is_so_to_the_feed_and_to_every_check(
    history: History, state: str, *, has_end: bool
) -> None:
    organization(history)
    end = f"{DAYS[0]} 10:00" if has_end else None
    history.build(history.pipeline(), "10:00", state, started_at="11:00", finished_at=end)
    is_open = STATES[state][has_end]
    days = DAYS[:1] if is_open else []
    assert [build.day for build in open_builds(history.connection, ID).values()] == days
    assert unsettled_days(history.connection, ID, DAYS[1]) == days
    assert evaluate(history, "old_days_are_final", now=noon(9)).passed != is_open
    ends_too_early = has_end and not is_open
    assert evaluate(history, "builds_finish_after_start").passed != ends_too_early


def test_a_deleted_pipeline_s_builds_settle_no_more(history: History) -> None:
    history.build(history.pipeline(), "10:00", "running")
    history.connection.execute("UPDATE pipelines SET absent_since = now()::TIMESTAMP")
    assert unsettled_days(history.connection, ID, DAYS[1]) == []


def test_days_before_the_first_known_one_are_unsettled_from_the_first_partition_on(
    history: History,
) -> None:
    first = DAYS[0] - timedelta(days=1)
    history.connection.execute("UPDATE warehouse_meta SET start_date = ?", [first])
    assert unsettled_days(history.connection, ID, DAYS[1]) == [first]
