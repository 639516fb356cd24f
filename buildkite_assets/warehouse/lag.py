"""Since when derived tables lag behind what they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from buildkite_assets.derived_tables import DerivedTable
from buildkite_assets.tables import SYNC_FEEDS
from buildkite_assets.warehouse.derive import (
    Parameters,
    in_order,
    inputs,
    lagging_days,
    lagging_whole,
)

# The first thing that was stored after a table was made. Tables recomputed whole follow all days,
# and stand under a day of their own: an ASOF join wants one to be equal. Those that take the time
# from feeds stand under another one: a feed that changes nothing leaves the others as they are.
_SINCE = """
WITH lagging AS (
    SELECT unnest($names::VARCHAR[]) AS table_name, unnest($days::DATE[]) AS day
),

made AS (
    SELECT
        lagging.table_name, lagging.day, derived_at,
        coalesce(
            lagging.day,
            if(
                list_contains($feed_readers, lagging.table_name),
                DATE '0001-01-02',
                DATE '0001-01-01'
            )
        ) AS changes_of,
        coalesce(derived_at, TIMESTAMP '0001-01-01') AS after
    FROM lagging
    LEFT JOIN derived_days
        ON lagging.table_name = derived_days.table_name
        AND lagging.day IS NOT DISTINCT FROM derived_days.day
),

stored AS (
    SELECT created_at::DATE AS day, unnest([synced_at, absent_since]) AS stored_at FROM builds
    UNION ALL
    SELECT day, read_at FROM sync_days
),

changes AS (
    FROM stored
    UNION ALL
    SELECT unnest([DATE '0001-01-01', DATE '0001-01-02']), stored_at FROM stored
    UNION ALL
    SELECT unnest([DATE '0001-01-01', DATE '0001-01-02']), started_at FROM access_syncs
    UNION ALL
    SELECT DATE '0001-01-02', finished_at FROM sync_feeds
)

SELECT made.table_name, made.day, coalesce(changes.stored_at, made.derived_at)
FROM made
ASOF LEFT JOIN changes ON made.changes_of = changes.day AND made.after < changes.stored_at
"""


@dataclass(frozen=True)
class Lag:
    """A derived table, or a day of it, that is not made of what its inputs are now.

    Attributes:
        table_name: which.
        day: of the builds; None for a table that is recomputed whole.
        since: Buildkite's clock when the first change came that it lacks, or the first feed where
            it takes the time from feeds. Where neither came, but its query, the rules or the
            catalog changed, this machine's clock when it was made; None where it was never made
            and there is nothing to make it of.
    """

    table_name: str
    day: date | None
    since: datetime | None


def lags(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[DerivedTable], parameters: Parameters
) -> list[Lag]:
    """Everything that lags, in the order of the tables and their days."""
    lagging: list[tuple[str, date | None]] = [
        (table.name, day)
        for table, days in lagging_days(connection, tables, parameters).items()
        for day in days
    ]
    lagging += [(table.name, None) for table in lagging_whole(connection, tables, parameters)]
    rows = connection.execute(
        _SINCE,
        {
            "names": [name for name, _ in lagging],
            "days": [day for _, day in lagging],
            "feed_readers": _feed_readers(tables),
        },
    ).fetchall()
    return sorted(
        (Lag(*row) for row in rows), key=lambda lag: (lag.table_name, lag.day or date.min)
    )


def _feed_readers(tables: Sequence[DerivedTable]) -> list[str]:
    """The names of the tables that are made of `sync_feeds`, at whatever distance."""
    found = {SYNC_FEEDS.name}
    for table in in_order(tables):
        if inputs(table) & found:
            found.add(table.name)
    return sorted(found)
