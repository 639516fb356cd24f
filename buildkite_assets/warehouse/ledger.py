"""What the warehouse knows of its own syncs: the first day, the days read in full, and of whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import duckdb


@dataclass(frozen=True)
class DayRead:
    """One organization's builds of one UTC day, read in full."""

    organization_id: str
    day: date
    read_at: datetime
    builds: int
    jobs: int
    rejected: int
    requests: int
    size_bytes: int
    dagster_run_id: str | None


@dataclass(frozen=True)
class ListedOrganization:
    """An organization as it was listed last."""

    id: str
    slug: str


def listed_organizations(
    connection: duckdb.DuckDBPyConnection, wanted: Sequence[str]
) -> list[ListedOrganization]:
    """The organizations that the last listing had, or those of them with one of these slugs."""
    rows = connection.execute("""
        SELECT organization_id::VARCHAR, slug FROM organizations
        WHERE synced_at = (SELECT max(synced_at) FROM organizations) ORDER BY slug
    """).fetchall()
    return [ListedOrganization(*row) for row in rows if not wanted or row[1] in wanted]


def record_day(connection: duckdb.DuckDBPyConnection, read: DayRead) -> None:
    """Note that a day is known."""
    connection.execute(
        "DELETE FROM sync_days WHERE organization_id = ? AND day = ?",
        [read.organization_id, read.day],
    )
    connection.execute(
        "INSERT INTO sync_days VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, false)",
        [
            read.organization_id,
            read.day,
            read.read_at.replace(tzinfo=None),
            read.builds,
            read.jobs,
            read.rejected,
            read.requests,
            read.size_bytes,
            read.dagster_run_id,
        ],
    )


def known_days(connection: duckdb.DuckDBPyConnection, organization_id: str) -> set[date]:
    """The days that were read to their end, by this version of the schema."""
    rows = connection.execute(
        """
        SELECT day FROM sync_days
        WHERE organization_id = ? AND NOT is_to_read_again AND read_at >= day + INTERVAL 1 DAY
        """,
        [organization_id],
    ).fetchall()
    return {day for (day,) in rows}


def followed_days(connection: duckdb.DuckDBPyConnection, organization_id: str) -> set[date]:
    """The days that need no full read before a change feed, which will bring what they lack."""
    rows = connection.execute(
        """
        SELECT day FROM sync_days AS days
        WHERE organization_id = $organization_id AND NOT is_to_read_again
          AND (read_at >= day + INTERVAL 1 DAY OR EXISTS (
              FROM sync_feeds
              WHERE organization_id = $organization_id AND started_at > days.read_at
          ))
        """,
        {"organization_id": organization_id},
    ).fetchall()
    return {day for (day,) in rows}


def unread_days(
    connection: duckdb.DuckDBPyConnection, organization_ids: Sequence[str], first: date, last: date
) -> list[date]:
    """The days of a range that one of these organizations needs read in full before a feed."""
    followed = [followed_days(connection, organization) for organization in organization_ids]
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return [day for day in days if not followed or not all(day in known for known in followed)]


def organization_ids(connection: duckdb.DuckDBPyConnection, slugs: Sequence[str]) -> list[str]:
    """The ids of the organizations with these slugs; of all that are stored if there are none."""
    rows = connection.execute(
        "SELECT organization_id::VARCHAR FROM organizations "
        "WHERE len($slugs) = 0 OR list_contains($slugs::VARCHAR[], slug)",
        {"slugs": list(slugs)},
    ).fetchall()
    return [organization_id for (organization_id,) in rows]


def row_counts(connection: duckdb.DuckDBPyConnection) -> dict[date, tuple[int, int]]:
    """Of each day read in full, how many builds and jobs were found, in all organizations."""
    rows = connection.execute(
        "SELECT day, sum(builds)::BIGINT, sum(jobs)::BIGINT FROM sync_days GROUP BY day"
    ).fetchall()
    return {day: (builds, jobs) for day, builds, jobs in rows}


def start_date(connection: duckdb.DuckDBPyConnection) -> date | None:
    """The first daily partition, or None before the first sync."""
    [(day,)] = connection.execute("SELECT start_date FROM warehouse_meta").fetchall()
    return day if isinstance(day, date) else None


def extend_start_date(connection: duckdb.DuckDBPyConnection, day: date) -> None:
    """Make `day` the first daily partition, unless an earlier one is."""
    connection.execute("UPDATE warehouse_meta SET start_date = least(start_date, ?)", [day])
