"""Which days are known, as far as syncs have come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import duckdb

from buildkite_assets.warehouse.feed import open_builds
from buildkite_assets.warehouse.ledger import followed_days, start_date

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """What an organization's syncs have reached.

    Attributes:
        first_day: the first UTC day that was read.
        last_day: the last one that was read, or the day of the last feed.
        missing_days: those between them that neither a read nor a feed has brought.
        synced_at: when the last feed ended, or the last day was read, whichever came later; in UTC.
    """

    first_day: date
    last_day: date
    missing_days: list[date]
    synced_at: datetime


def span(connection: duckdb.DuckDBPyConnection, organization_id: str) -> Span | None:
    """What an organization's syncs have reached; None before its first day was read."""
    rows = connection.execute(
        "SELECT day, read_at FROM sync_days WHERE organization_id = ?", [organization_id]
    ).fetchall()
    read_at: dict[date, datetime] = dict(rows)
    if not read_at:
        return None
    [(last_feed, feed_ended_at)] = connection.execute(
        "SELECT max(started_at)::DATE, max(finished_at) FROM sync_feeds WHERE organization_id = ?",
        [organization_id],
    ).fetchall()
    first_day, last_day = min(read_at), max(day for day in (*read_at, last_feed) if day)
    missing = set(days_between(first_day, last_day)) - set(read_at)
    return Span(
        first_day,
        last_day,
        sorted(missing - _fed_days(connection, organization_id)),
        max(at for at in (read_at.get(last_day), feed_ended_at) if at),
    )


def covered_days(connection: duckdb.DuckDBPyConnection, organization_id: str) -> list[date]:
    """The days of which every build was brought, by a full read or by feeds, in their order."""
    followed = followed_days(connection, organization_id)
    return sorted(followed | _fed_days(connection, organization_id))


def unsettled_days(
    connection: duckdb.DuckDBPyConnection, organization_id: str, today: date
) -> list[date]:
    """The days until today that a sync has still to read, or that have open builds."""
    still_open = {build.day for build in open_builds(connection, organization_id).values()}
    covered = covered_days(connection, organization_id)
    first = min([day for day in (start_date(connection), *covered[:1]) if day], default=today)
    return sorted(still_open | set(days_between(first, today)) - set(covered))


def days_to_settle(
    connection: duckdb.DuckDBPyConnection, organization_id: str, ages_days: Sequence[int]
) -> list[date]:
    """Return the covered days that reached one of these ages since they were last read in full.

    The clock is the organization's latest feed. Days that only feeds brought were never read. Days
    that must be read again, for another reason than their age, are due at once.
    """
    rows = connection.execute(
        """
        SELECT DISTINCT day
        FROM (SELECT unnest($days::DATE[]) AS day)
        CROSS JOIN (SELECT unnest($ages_days::INTEGER[]) AS age_days)
        LEFT JOIN (FROM sync_days WHERE organization_id = $organization_id) USING (day)
        WHERE day + to_days(age_days) <= (
                SELECT max(started_at) FROM sync_feeds WHERE organization_id = $organization_id
            )
            AND coalesce(read_at < day + to_days(age_days), true)
        UNION
        SELECT day FROM sync_days
        WHERE organization_id = $organization_id AND is_to_read_again
        ORDER BY day
        """,
        {
            "days": covered_days(connection, organization_id),
            "ages_days": list(ages_days),
            "organization_id": organization_id,
        },
    ).fetchall()
    return [day for (day,) in rows]


def _fed_days(connection: duckdb.DuckDBPyConnection, organization_id: str) -> set[date]:
    """The days that the feeds alone make known: those that began after the first of them."""
    [(first_feed, last_feed)] = connection.execute(
        "SELECT min(started_at)::DATE, max(started_at)::DATE FROM sync_feeds "
        "WHERE organization_id = ?",
        [organization_id],
    ).fetchall()
    return set(days_between(first_feed + _DAY, last_feed)) if first_feed else set()


def days_between(first: date, last: date) -> list[date]:
    """The days from the first to the last, both included."""
    return [first + n * _DAY for n in range((last - first).days + 1)]
