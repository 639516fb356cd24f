"""Which days are known, and which are still to be settled."""

from datetime import datetime, timedelta

import pytest

from buildkite_assets.warehouse.coverage import covered_days, span, unsettled_days
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


def test_days_before_the_first_known_one_are_unsettled_from_the_first_partition_on(
    history: History,
) -> None:
    first = DAYS[0] - timedelta(days=1)
    history.connection.execute("UPDATE warehouse_meta SET start_date = ?", [first])
    assert unsettled_days(history.connection, ID, DAYS[1]) == [first]
