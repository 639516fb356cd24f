"""Since when derived tables lag behind what they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from buildkite_assets.derived_tables import DerivedTable
from buildkite_assets.warehouse.derive import Parameters, lagging_days, lagging_whole

# The first thing that was stored after a table was made. Tables recomputed whole follow all days,
# and stand under a day of their own: an ASOF join wants one to be equal.
_SINCE = """
WITH lagging AS (
    SELECT unnest($names::VARCHAR[]) AS table_name, unnest($days::DATE[]) AS day
),

made AS (
    SELECT
        lagging.table_name, lagging.day, derived_at,
        coalesce(lagging.day, DATE '0001-01-01') AS changes_of,
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
    SELECT DATE '0001-01-01', stored_at FROM stored
    UNION ALL
    SELECT DATE '0001-01-01', started_at FROM access_syncs
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
        since: Buildkite's clock when the first change came that it lacks. Where no build changed,
            but its query, the rules or the catalog did, this machine's clock when it was made;
            None where it was never made and there is nothing to make it of.
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
        _SINCE, {"names": [name for name, _ in lagging], "days": [day for _, day in lagging]}
    ).fetchall()
    return sorted(
        (Lag(*row) for row in rows), key=lambda lag: (lag.table_name, lag.day or date.min)
    )
