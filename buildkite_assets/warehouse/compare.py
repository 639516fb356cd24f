"""What staged builds and jobs change, told before they are merged.

Works on the temporary tables that `merge.stage_builds` makes, within its transaction, and leaves
`changed_builds` (build_id, day, changed_at) and `changes` (rows as in `build_changes`).
"""

from collections.abc import Iterable
from datetime import date, datetime

import duckdb

from buildkite_assets.tables import BUILDS, JOBS, Column, Table

OPEN_STATES = ("creating", "scheduled", "running", "failing", "canceling")
"""The states of unfinished builds that Buildkite can list; `waiting` it cannot."""

_FINAL_STATES = ("passed", "failed", "canceled", "blocked", "skipped", "not_run")

IS_UNFINISHED = f"state IN {OPEN_STATES} OR (finished_at IS NULL AND state NOT IN {_FINAL_STATES})"
"""SQL condition: the build is not finished. A state that is not known counts if it has no end."""

_EVENTS = """
    SELECT build_id, greatest(created_at, scheduled_at, started_at, failing_at, finished_at)
        AS happened_at
    FROM staged_builds
    UNION ALL
    SELECT build_id, greatest(
        created_at, runnable_at, started_at, finished_at, expired_at, unblocked_at
    )
    FROM staged_jobs
"""


def find_changes(connection: duckdb.DuckDBPyConnection) -> None:
    """Compare what is staged with what is stored, column by column, foreign columns left out."""
    # Old and new values are compared in memory: a merge's limit does not reckon with them.
    connection.execute("RESET memory_limit")
    # DuckDB 1.5 tells its own limit from then on, but keeps to the old one until it is set.
    [(limit,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    connection.execute(f"SET memory_limit = '{limit}'")
    for table in (BUILDS, JOBS):
        key = "build_id"
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE stored_{table.name} AS
            FROM {table.name} SEMI JOIN staged_builds USING ({key})
        """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE changes AS
        SELECT build_id, NULL::UUID AS job_id, 'created' AS field,
               NULL::VARCHAR AS old, state AS new
        FROM staged_builds ANTI JOIN stored_builds USING (build_id)
        UNION ALL
        SELECT build_id, job_id, 'created', NULL, staged_jobs.state
        FROM staged_jobs ANTI JOIN stored_jobs USING (job_id) SEMI JOIN stored_builds
          USING (build_id)
        UNION ALL
        SELECT build_id, job_id, 'absent_since', stored_jobs.state, NULL
        FROM stored_jobs ANTI JOIN staged_jobs USING (job_id)
        WHERE stored_jobs.absent_since IS NULL
        UNION ALL
        {_differences(BUILDS)}
        UNION ALL
        {_differences(JOBS)}
    """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE changed_builds AS
        SELECT build_id, any_value(created_at)::DATE AS day, max(happened_at) AS changed_at
        FROM staged_builds SEMI JOIN changes USING (build_id) JOIN ({_EVENTS}) USING (build_id)
        GROUP BY build_id
    """)


def keep_current(connection: duckdb.DuckDBPyConnection, days: Iterable[date]) -> None:
    """Unstage builds of other days, and finished builds that have not changed.

    Unfinished builds stay staged even if they have not changed: `synced_at` says up to when they
    are known to wait or run.
    """
    connection.execute(
        "DELETE FROM staged_builds WHERE created_at::DATE NOT IN (SELECT unnest($days::DATE[]))",
        {"days": list(days)},
    )
    connection.execute(f"""
        DELETE FROM staged_builds
        WHERE NOT ({IS_UNFINISHED}) AND build_id NOT IN (SELECT build_id FROM changed_builds)
    """)
    for name in ("staged_jobs", "changes", "changed_builds"):
        connection.execute(
            f"DELETE FROM {name} WHERE build_id NOT IN (SELECT build_id FROM staged_builds)"
        )


def log_changes(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    organization_id: str,
    noticed_at: datetime,
    before: datetime | None = None,
) -> int:
    """Write the changes found to `build_changes` or `late_changes`; how many there were.

    Args:
        connection: within the transaction.
        table: which of the two.
        organization_id: whose builds.
        noticed_at: Buildkite's clock.
        before: with it, every field of builds that tell of nothing at or after this instant, what
            vanished left out; without it, what people want to know.
    """
    [(written,)] = connection.execute(
        f"""
        INSERT INTO {table.name} BY NAME
        SELECT changes.*, $organization_id::UUID AS organization_id, day,
               $noticed_at::TIMESTAMP AS noticed_at, changed_at,
               greatest(epoch($noticed_at::TIMESTAMP) - epoch(changed_at), 0) AS lag_seconds
        FROM changes JOIN changed_builds USING (build_id)
        WHERE CASE WHEN $before::TIMESTAMP IS NULL
            THEN job_id IS NULL OR field IN ('state', 'retried', 'created', 'absent_since')
            ELSE changed_at < $before::TIMESTAMP AND field <> 'absent_since'
        END
        """,
        {
            "organization_id": organization_id,
            "noticed_at": noticed_at.replace(tzinfo=None),
            "before": before.replace(tzinfo=None) if before else None,
        },
    ).fetchall()
    return int(written)


def _differences(table: Table) -> str:
    """A query for each changed value of rows that are both staged and stored."""
    key = table.key[0]
    job_id = "NULL::UUID" if table is BUILDS else "job_id"
    columns = [column for column in table.own_columns if column.name != key]
    pairs = ", ".join(_pair(column) for column in columns)
    return f"""
        SELECT build_id, {job_id} AS job_id, pair.field, pair.old, pair.new
        FROM (
            SELECT staged.build_id, staged.{key}, unnest([{pairs}]) AS pair
            FROM staged_{table.name} AS staged JOIN stored_{table.name} AS stored USING ({key})
            WHERE ({_values("staged", columns)}) IS DISTINCT FROM ({_values("stored", columns)})
        )
        WHERE pair.old IS DISTINCT FROM pair.new
    """


def _pair(column: Column) -> str:
    name = f'"{column.name}"'
    return (
        f"{{'field': '{column.name}', 'old': stored.{name}::VARCHAR, "
        f"'new': staged.{name}::VARCHAR}}"
    )


def _values(alias: str, columns: list[Column]) -> str:
    return ", ".join(f'{alias}."{column.name}"' for column in columns)
