"""Corrects instants in the future, which an answer with a wrong date left in an older version.

Newer replaces older, so a row dated in 2037 would stay as it is until then. Such dates are known to
be wrong, but not by how much.
"""

from datetime import datetime

import duckdb

from buildkite_assets.tables import BUILD_CHANGES, LATE_CHANGES, TABLES

_OTHER_CLOCKS = {"build_created_at", "changed_at", "derived_at", "purged_at"}
"""What builds say of themselves, and what this machine's clock said."""

NOTED_INSTANTS = [
    (table.name, column.name)
    for table in TABLES
    for column in table.columns
    if column.type == "TIMESTAMP" and not column.path and column.name not in _OTHER_CLOCKS
]


def correct_future(
    connection: duckdb.DuckDBPyConnection, answered_at: datetime, latest: datetime
) -> None:
    """Move instants in the future to just before now, in their order.

    Whatever is read from now on is then newer. Days with such rows are marked as to be read again
    in full, since what changed meanwhile was left out as older.

    Args:
        connection: within a transaction, before anything of it is compared or merged.
        answered_at: Buildkite's clock in an answer of this run, whose date was believed. Without
            one, it may be this machine's clock that is wrong.
        latest: the latest instant that Buildkite's clock may show now.
    """
    now = answered_at.replace(tzinfo=None)
    future = {"latest": latest.replace(tzinfo=None)}
    noted = " UNION ALL ".join(
        f"SELECT {column} AS instant FROM {table} WHERE {column} > $latest"
        for table, column in NOTED_INSTANTS
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE corrections AS
        SELECT
            instant,
            $now::TIMESTAMP - to_microseconds(row_number() OVER latest_first) AS corrected
        FROM (SELECT DISTINCT instant FROM ({noted}))
        WINDOW latest_first AS (ORDER BY instant DESC)
        """,
        {**future, "now": now},
    )
    if not connection.execute("FROM corrections LIMIT 1").fetchall():
        return
    _read_days_again(connection, future)
    _forget_feeds(connection, future)
    for table in (BUILD_CHANGES.name, LATE_CHANGES.name):
        connection.execute(
            f"UPDATE {table} SET lag_seconds = NULL WHERE noticed_at > $latest", future
        )
    for table, column in NOTED_INSTANTS:
        connection.execute(
            f"UPDATE {table} SET {column} = corrected FROM corrections WHERE {column} = instant"
        )


def _read_days_again(connection: duckdb.DuckDBPyConnection, future: dict[str, datetime]) -> None:
    connection.execute(
        """
        UPDATE sync_days SET is_to_read_again = true
        WHERE read_at > $latest OR (organization_id, day) IN (
            SELECT (organization_id, created_at::DATE) FROM builds
            WHERE synced_at > $latest OR absent_since > $latest
        )
        """,
        future,
    )


def _forget_feeds(connection: duckdb.DuckDBPyConnection, future: dict[str, datetime]) -> None:
    """Have the next feed begin where the last one did that was not dated in the future.

    Feeds that came later, even if they are dated right, began in the future and found nothing.
    """
    connection.execute(
        """
        DELETE FROM sync_feeds USING (
            SELECT organization_id, min(rowid) AS first_row FROM sync_feeds
            WHERE read_point > $latest OR started_at > $latest OR finished_at > $latest
            GROUP BY organization_id
        ) AS wrong
        WHERE sync_feeds.organization_id = wrong.organization_id
          AND sync_feeds.rowid >= wrong.first_row
        """,
        future,
    )
