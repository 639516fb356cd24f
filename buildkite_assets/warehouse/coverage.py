"""Which days are known, as far as syncs have come."""

from datetime import date, timedelta

import duckdb

from buildkite_assets.warehouse.feed import open_builds
from buildkite_assets.warehouse.ledger import followed_days, start_date

_DAY = timedelta(days=1)


def covered_days(connection: duckdb.DuckDBPyConnection, organization_id: str) -> list[date]:
    """The days of which every build was brought, by a full read or by feeds, in their order."""
    [(first_feed, last_feed)] = connection.execute(
        "SELECT min(started_at)::DATE, max(started_at)::DATE FROM sync_feeds "
        "WHERE organization_id = ?",
        [organization_id],
    ).fetchall()
    days = followed_days(connection, organization_id)
    if first_feed is not None:
        # The feeds alone make known what began after the first of them.
        days |= set(days_between(first_feed + _DAY, last_feed))
    return sorted(days)


def unsettled_days(
    connection: duckdb.DuckDBPyConnection, organization_id: str, today: date
) -> list[date]:
    """The days until today that a sync has still to read, or that have open builds."""
    still_open = {build.day for build in open_builds(connection, organization_id).values()}
    covered = covered_days(connection, organization_id)
    first = min([day for day in (start_date(connection), *covered[:1]) if day], default=today)
    return sorted(still_open | set(days_between(first, today)) - set(covered))


def days_between(first: date, last: date) -> list[date]:
    """The days from the first to the last, both included."""
    return [first + n * _DAY for n in range((last - first).days + 1)]
