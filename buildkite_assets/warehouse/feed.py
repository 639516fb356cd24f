"""What a change feed needs to know of the warehouse, and what it leaves there."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import duckdb
import pyarrow as pa

from buildkite_assets.tables import BUILD_CHANGES, LATE_CHANGES
from buildkite_assets.warehouse.compare import (
    IS_UNFINISHED,
    find_changes,
    keep_current,
    log_changes,
)
from buildkite_assets.warehouse.merge import merge_staged, stage_builds
from buildkite_assets.warehouse.staging import Staging

OVERLAP = timedelta(seconds=120)
"""How much earlier than a response's date a read point lies: server clocks differ a little."""


@dataclass(frozen=True)
class FeedStart:
    """Where an organization's next change feed begins.

    Attributes:
        read_point: every change before it is stored.
        first_day: the first day that is known.
    """

    read_point: datetime
    first_day: date


@dataclass(frozen=True)
class OpenBuild:
    """A build that is not final as far as the warehouse knows, and the day of its creation."""

    build_id: str
    pipeline_id: str | None
    pipeline_slug: str
    number: int
    day: date


@dataclass(frozen=True)
class FeedRead:
    """What a change feed read, on its way into the ledger.

    Attributes:
        organization_id: whose builds.
        read_point: where it began.
        started_at: Buildkite's clock before its first request.
        finished_at: Buildkite's clock in its last response.
        requests: how many it took.
        dagster_run_id: the run.
        gone: ids of unfinished builds that Buildkite no longer has.
    """

    organization_id: str
    read_point: datetime
    started_at: datetime
    finished_at: datetime
    requests: int
    dagster_run_id: str | None
    gone: list[str]


@dataclass(frozen=True)
class TouchedDay:
    """A day of which a feed merged builds, with what it holds now of all organizations.

    `changed` counts the builds that are new, changed or gone. It is 0 where the feed found only
    that unfinished builds still go on.
    """

    day: date
    changed: int
    builds: int
    jobs: int


def feed_start(connection: duckdb.DuckDBPyConnection, organization_id: str) -> FeedStart | None:
    """Where the next feed begins, or None while no day of the organization is known."""
    [(read_point, first_day)] = connection.execute(
        """
        SELECT
            coalesce(
                (SELECT arg_max(read_point, started_at) FROM sync_feeds
                 WHERE organization_id = $organization_id),
                min(read_at) - $overlap
            ),
            min(day)
        FROM sync_days WHERE organization_id = $organization_id
        """,
        {"organization_id": organization_id, "overlap": OVERLAP},
    ).fetchall()
    if read_point is None or first_day is None:
        return None
    return FeedStart(read_point.replace(tzinfo=UTC), first_day)


def open_builds(
    connection: duckdb.DuckDBPyConnection, organization_id: str
) -> dict[str, OpenBuild]:
    """The builds that may change without being listed as changed, by id.

    Their pipeline's present slug counts, where the pipeline is known.
    """
    rows = connection.execute(
        f"""
        SELECT
            build_id::VARCHAR, pipeline_id::VARCHAR, coalesce(pipelines.slug, pipeline_slug),
            number, builds.created_at::DATE
        FROM builds LEFT JOIN pipelines USING (pipeline_id)
        WHERE builds.organization_id = $organization_id AND builds.absent_since IS NULL
          AND pipelines.absent_since IS NULL
          AND ({IS_UNFINISHED})
        """,
        {"organization_id": organization_id},
    ).fetchall()
    return {row[0]: OpenBuild(*row) for row in rows}


def merge_feed(
    connection: duckdb.DuckDBPyConnection,
    read: FeedRead,
    builds: Staging,
    jobs: Staging,
    rejected: pa.Table,
) -> list[TouchedDay]:
    """Merge what a feed read, log each change, and move the read point.

    Unfinished builds are merged even if they have not changed, so that their `synced_at` moves on.
    Builds of days that are not known are left out: those days are yet to be read in full.

    Args:
        connection: within a transaction.
        read: the feed.
        builds: rows of `builds` by page.
        jobs: rows of `jobs` by page.
        rejected: rows of `rejected_builds`.

    Raises:
        UnsoundRowsError: a key would stand twice.
    """
    stage_builds(connection, read.organization_id, [builds], [jobs])
    find_changes(connection)
    keep_current(connection, _days_to_follow(connection, read.organization_id))
    _mark_gone(connection, read.gone, read.finished_at)
    log_changes(connection, BUILD_CHANGES, read.organization_id, read.finished_at)
    merge_staged(connection, rejected)
    touched = _touched_days(connection)
    _record(connection, read, sum(day.changed for day in touched))
    return touched


def log_late_changes(
    connection: duckdb.DuckDBPyConnection, organization_id: str, read_at: datetime
) -> int:
    """Note what is staged that feeds should have brought since an earlier read; how many changes.

    Call it between `stage_builds` and `merge_staged` of a full read. Days that are not known yet,
    and those that an upgrade wants read again for its new columns, are not compared.
    """
    start = feed_start(connection, organization_id)
    if start is None:
        return 0
    find_changes(connection)
    connection.execute(
        """
        DELETE FROM changed_builds WHERE day NOT IN (
            SELECT day FROM sync_days WHERE organization_id = ? AND NOT is_to_read_again
        )
        """,
        [organization_id],
    )
    return log_changes(connection, LATE_CHANGES, organization_id, read_at, before=start.read_point)


def reopen_read_point(
    connection: duckdb.DuckDBPyConnection, organization_id: str, read_at: datetime
) -> None:
    """Have the next feed begin no later than a full read did that is being committed.

    A feed that ran while the day was being read did not follow it, since it was not yet known.
    """
    connection.execute(
        """
        UPDATE sync_feeds SET read_point = least(read_point, $read_at - $overlap)
        WHERE organization_id = $organization_id AND started_at = (
            SELECT max(started_at) FROM sync_feeds WHERE organization_id = $organization_id
        )
        """,
        {
            "organization_id": organization_id,
            "read_at": read_at.replace(tzinfo=None),
            "overlap": OVERLAP,
        },
    )


def _days_to_follow(connection: duckdb.DuckDBPyConnection, organization_id: str) -> list[date]:
    """The days that are known, and those that began after the first feed's read point."""
    rows = connection.execute(
        """
        SELECT day FROM sync_days WHERE organization_id = $organization_id
        UNION
        SELECT created_at::DATE FROM staged_builds
        WHERE created_at::DATE >= (
            SELECT min(started_at) FROM sync_feeds WHERE organization_id = $organization_id
        )
        """,
        {"organization_id": organization_id},
    ).fetchall()
    return [day for (day,) in rows]


def _mark_gone(
    connection: duckdb.DuckDBPyConnection, build_ids: list[str], noticed_at: datetime
) -> None:
    connection.execute(
        """
        INSERT INTO changes BY NAME
        SELECT build_id, 'absent_since' AS field, state AS old FROM builds
        WHERE absent_since IS NULL AND build_id IN (SELECT unnest($build_ids::UUID[]))
        """,
        {"build_ids": build_ids},
    )
    connection.execute("""
        INSERT INTO changed_builds BY NAME
        SELECT build_id, created_at::DATE AS day FROM builds
        WHERE build_id IN (SELECT build_id FROM changes)
          AND build_id NOT IN (SELECT build_id FROM changed_builds)
    """)
    for table in ("builds", "jobs"):
        connection.execute(
            f"""
            UPDATE {table} SET absent_since = $noticed_at
            WHERE absent_since IS NULL AND build_id IN (SELECT unnest($build_ids::UUID[]))
            """,
            {"noticed_at": noticed_at.replace(tzinfo=None), "build_ids": build_ids},
        )


def _touched_days(connection: duckdb.DuckDBPyConnection) -> list[TouchedDay]:
    rows = connection.execute("""
        WITH touched AS (
            SELECT day, count(*) FILTER (is_changed) AS changed
            FROM (
                SELECT day, true AS is_changed FROM changed_builds
                UNION ALL
                SELECT created_at::DATE, false FROM staged_builds
            )
            GROUP BY day
        )
        SELECT
            day,
            changed,
            (SELECT count(*) FROM builds
             WHERE absent_since IS NULL
               AND created_at >= day AND created_at < day + INTERVAL 1 DAY),
            (SELECT count(*) FROM jobs
             WHERE absent_since IS NULL
               AND build_created_at >= day AND build_created_at < day + INTERVAL 1 DAY)
        FROM touched ORDER BY day
    """).fetchall()
    return [TouchedDay(*row) for row in rows]


def _record(connection: duckdb.DuckDBPyConnection, read: FeedRead, changed: int) -> None:
    """Move the read point, unless a full read has meanwhile set it back behind this feed's."""
    start = feed_start(connection, read.organization_id)
    was_set_back = start is not None and start.read_point < read.read_point
    read_point = start.read_point if start and was_set_back else read.started_at - OVERLAP
    connection.execute(
        "DELETE FROM sync_feeds WHERE organization_id = ? AND started_at = ?",
        [read.organization_id, read.started_at.replace(tzinfo=None)],
    )
    connection.execute(
        """
        INSERT INTO sync_feeds VALUES (
            $organization_id, $read_point, $started_at, $finished_at,
            $requests, $changed, $dagster_run_id
        )
        """,
        {
            "organization_id": read.organization_id,
            "started_at": read.started_at.replace(tzinfo=None),
            "finished_at": read.finished_at.replace(tzinfo=None),
            "read_point": read_point.replace(tzinfo=None),
            "requests": read.requests,
            "changed": changed,
            "dagster_run_id": read.dagster_run_id,
        },
    )
