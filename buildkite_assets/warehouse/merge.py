"""Merges rows by key: newer replaces older, nothing is doubled, absence is marked.

Every function works within the caller's transaction and checks what it wrote, so that nothing
unsound is ever committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from buildkite_assets.tables import (
    ABSENT_SINCE,
    BUILDS,
    CATALOG_HISTORIES,
    JOBS,
    QUEUES,
    SYNCED_AT,
    Table,
)
from buildkite_assets.warehouse.attributes import close_absent, merge_states
from buildkite_assets.warehouse.errors import UnsoundRowsError
from buildkite_assets.warehouse.purge import strip_purged
from buildkite_assets.warehouse.staging import Staging, read_all

_MEMORY_PER_BYTE = 1.5
_LEAST_BYTES = 80_000_000  # with DuckDB 1.5, 48 were too few for some 20,000 jobs


@dataclass(frozen=True)
class BuildWindow:
    """A window of builds that was read in full.

    Attributes:
        organization_id: whose builds.
        created_from: its begin, inclusive, UTC.
        created_to: its end, exclusive, UTC.
        read_at: Buildkite's clock when the read began.
        visible_pipeline_ids: pipelines that the token sees; of others nothing is known.
    """

    organization_id: str
    created_from: datetime
    created_to: datetime
    read_at: datetime
    visible_pipeline_ids: frozenset[str]


def merge_records(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table) -> None:
    """Merge rows of a catalog table by its key, and the states that they show into its history.

    What was listed before the stored row was, or before a complete list lacked it, is left out.

    Raises:
        UnsoundRowsError: a key would stand twice.
    """
    key = table.key[0]
    known_at = ", ".join(
        f"stored.{column.name}" for column in table.columns if column in {SYNCED_AT, ABSENT_SINCE}
    )
    connection.register("incoming", rows)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE staged AS
        SELECT DISTINCT ON ({key}) * FROM incoming
        WHERE NOT EXISTS (
            FROM {table.name} AS stored
            WHERE stored.{key} = incoming.{key} AND greatest({known_at}) > incoming.synced_at
        )
    """)
    connection.unregister("incoming")
    strip_purged(connection, "staged", table)
    connection.execute(f"DELETE FROM {table.name} WHERE {key} IN (SELECT {key} FROM staged)")
    connection.execute(f"INSERT INTO {table.name} BY NAME FROM staged")
    _check_unique(connection, table, "staged")
    if table in CATALOG_HISTORIES:
        merge_states(connection, table, "staged")


def known_pipeline_ids(connection: duckdb.DuckDBPyConnection, organization_id: str) -> set[str]:
    """The ids of an organization's pipelines that are stored."""
    rows = connection.execute(
        "SELECT pipeline_id::VARCHAR FROM pipelines WHERE organization_id = ?", [organization_id]
    ).fetchall()
    return {pipeline_id for (pipeline_id,) in rows}


def present_ids(
    connection: duckdb.DuckDBPyConnection, table: Table, organization_id: str
) -> dict[str, list[str]]:
    """Return the ids of a catalog table's rows that no listing missed; queues by cluster.

    Of other tables all ids are under "".
    """
    group = "cluster_id" if table is QUEUES else "''"
    rows = connection.execute(
        f"""
        SELECT {group}::VARCHAR, list({table.key[0]}::VARCHAR) FROM {table.name}
        WHERE organization_id = ? AND absent_since IS NULL
        GROUP BY ALL
        """,
        [organization_id],
    ).fetchall()
    return dict(rows)


def mark_absent_records(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    organization_id: str,
    present: Sequence[pa.Table],
    read_at: datetime,
) -> None:
    """Mark what a complete list of an organization's records no longer has.

    Args:
        connection: within a transaction.
        table: which catalog table.
        organization_id: whose records were listed.
        present: the rows of the list.
        read_at: Buildkite's clock before the list was read.
    """
    key = table.key[0]
    connection.execute("CREATE OR REPLACE TEMP TABLE present (id UUID)")
    for rows in present:
        connection.register("incoming", rows)
        connection.execute(f"INSERT INTO present SELECT {key} FROM incoming")
        connection.unregister("incoming")
    connection.execute(
        f"""
        UPDATE {table.name} SET absent_since = $read_at
        WHERE organization_id = $organization_id AND absent_since IS NULL
          AND synced_at < $read_at AND {key} NOT IN (SELECT id FROM present)
        """,
        {"read_at": _naive(read_at), "organization_id": organization_id},
    )
    close_absent(connection, table, organization_id, read_at)


def stage_builds(
    connection: duckdb.DuckDBPyConnection,
    organization_id: str,
    builds: Sequence[Staging],
    jobs: Sequence[Staging],
) -> None:
    """Make the temporary tables `staged_builds`, `staged_jobs` and `seen_builds`.

    Of a build that comes twice the later copy counts; one that is older than what is stored is
    seen, but not staged.

    Args:
        connection: within a transaction.
        organization_id: whose builds.
        builds: rows of `builds`, each with the number of the `page` it came in, which is its own
            among all of these.
        jobs: rows of `jobs`, likewise.
    """
    _limit_memory(connection, sum(staging.size_bytes for staging in (*builds, *jobs)))
    build_rows, job_rows = read_all(builds), read_all(jobs)
    if build_rows is None or job_rows is None:
        for table in (BUILDS, JOBS):
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE staged_{table.name} AS FROM {table.name} LIMIT 0"
            )
        connection.execute("""
            CREATE OR REPLACE TEMP TABLE seen_builds AS
            SELECT build_id, synced_at FROM staged_builds
        """)
        return
    connection.register("incoming", build_rows)
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE staged_builds AS
        SELECT $organization_id::UUID AS organization_id, * FROM incoming
        QUALIFY row_number() OVER (PARTITION BY build_id ORDER BY page DESC) = 1
        """,
        {"organization_id": organization_id},
    )
    connection.unregister("incoming")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE seen_builds AS SELECT build_id, synced_at FROM staged_builds"
    )
    connection.execute("""
        DELETE FROM staged_builds USING builds AS stored
        WHERE stored.build_id = staged_builds.build_id
          AND stored.synced_at > staged_builds.synced_at
    """)
    connection.execute("""
        UPDATE staged_builds SET pipeline_id = stored.pipeline_id FROM builds AS stored
        WHERE stored.build_id = staged_builds.build_id AND staged_builds.pipeline_id IS NULL
    """)
    connection.register("incoming", job_rows)
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE staged_jobs AS
        SELECT $organization_id::UUID AS organization_id, * FROM incoming
        """,
        {"organization_id": organization_id},
    )
    connection.unregister("incoming")
    # Not while reading `incoming`: DuckDB 1.5 cannot push a join on UUIDs down into Arrow.
    connection.execute("""
        DELETE FROM staged_jobs WHERE rowid NOT IN (
            SELECT max(staged_jobs.rowid) FROM staged_jobs SEMI JOIN staged_builds
            USING (build_id, page) GROUP BY job_id
        )
    """)
    for table in (BUILDS, JOBS):
        connection.execute(f"ALTER TABLE staged_{table.name} DROP COLUMN page")
        strip_purged(connection, f"staged_{table.name}", table)


def merge_staged(connection: duckdb.DuckDBPyConnection, rejected: pa.Table) -> None:
    """Merge the builds that `stage_builds` staged, with all their attempts.

    Attempts that a build no longer has stay, marked; builds that could not be read are noted and
    keep what is known of them.

    Args:
        connection: within a transaction.
        rejected: rows of `rejected_builds`.

    Raises:
        UnsoundRowsError: a key would stand twice.
    """
    connection.execute("""
        DELETE FROM rejected_builds USING seen_builds
        WHERE rejected_builds.reference = seen_builds.build_id::VARCHAR
          AND rejected_builds.seen_at <= seen_builds.synced_at
    """)
    if rejected.num_rows:
        connection.register("incoming", rejected)
        connection.execute("""
            CREATE OR REPLACE TEMP TABLE staged_rejected AS
            SELECT DISTINCT ON (organization_id, reference) * FROM incoming
        """)
        connection.unregister("incoming")
        connection.execute("""
            DELETE FROM rejected_builds AS old USING staged_rejected
            WHERE old.organization_id = staged_rejected.organization_id
              AND old.reference = staged_rejected.reference
        """)
        connection.execute("INSERT INTO rejected_builds BY NAME FROM staged_rejected")
    connection.execute("""
        UPDATE jobs SET absent_since = staged_builds.synced_at
        FROM staged_builds
        WHERE jobs.build_id = staged_builds.build_id AND jobs.absent_since IS NULL
          AND jobs.job_id NOT IN (SELECT job_id FROM staged_jobs)
    """)
    connection.execute("DELETE FROM jobs WHERE job_id IN (SELECT job_id FROM staged_jobs)")
    connection.execute("INSERT INTO jobs BY NAME FROM staged_jobs")
    connection.execute("DELETE FROM builds WHERE build_id IN (SELECT build_id FROM staged_builds)")
    connection.execute("INSERT INTO builds BY NAME FROM staged_builds")
    _check_unique(connection, BUILDS, "staged_builds")
    _check_unique(connection, JOBS, "staged_jobs")


def mark_absent_builds(connection: duckdb.DuckDBPyConnection, window: BuildWindow) -> None:
    """Mark what was not staged although the window was read in full.

    Call it right after `merge_staged`, in the same transaction. Builds that another sync stored
    after this read began, and builds of pipelines that the token does not see, are left alone.
    Notes of unreadable builds that this read did not repeat go.
    """
    parameters = {
        "organization_id": window.organization_id,
        "created_from": _naive(window.created_from),
        "created_to": _naive(window.created_to),
        "read_at": _naive(window.read_at),
        "visible_pipeline_ids": sorted(window.visible_pipeline_ids),
    }
    connection.execute(
        """
        UPDATE builds SET absent_since = $read_at
        WHERE organization_id = $organization_id
          AND created_at >= $created_from AND created_at < $created_to
          AND absent_since IS NULL AND synced_at < $read_at
          AND pipeline_id IN (SELECT unnest($visible_pipeline_ids::UUID[]))
          AND build_id NOT IN (SELECT build_id FROM seen_builds)
          AND build_id::VARCHAR NOT IN (
              SELECT reference FROM rejected_builds WHERE organization_id = $organization_id
          )
        """,
        parameters,
    )
    connection.execute(
        """
        UPDATE jobs SET absent_since = builds.absent_since
        FROM builds
        WHERE jobs.build_id = builds.build_id AND jobs.absent_since IS NULL
          AND builds.absent_since IS NOT NULL AND builds.organization_id = $organization_id
          AND builds.created_at >= $created_from AND builds.created_at < $created_to
          AND jobs.build_created_at >= $created_from AND jobs.build_created_at < $created_to
        """,
        {key: parameters[key] for key in ("organization_id", "created_from", "created_to")},
    )
    connection.execute(
        """
        DELETE FROM rejected_builds
        WHERE organization_id = $organization_id AND seen_at < $read_at
          AND created_day >= $created_from::DATE AND created_day < $created_to::DATE
        """,
        {key: value for key, value in parameters.items() if key != "visible_pipeline_ids"},
    )


def count_builds(connection: duckdb.DuckDBPyConnection, window: BuildWindow) -> tuple[int, int]:
    """How many builds and jobs the warehouse has in a window, those absent upstream left out."""
    [(builds, jobs)] = connection.execute(
        """
        SELECT count(*), (
            SELECT count(*) FROM jobs
            WHERE organization_id = $organization_id AND absent_since IS NULL
              AND build_created_at >= $created_from AND build_created_at < $created_to
        )
        FROM builds
        WHERE organization_id = $organization_id AND absent_since IS NULL
          AND created_at >= $created_from AND created_at < $created_to
        """,
        {
            "organization_id": window.organization_id,
            "created_from": _naive(window.created_from),
            "created_to": _naive(window.created_to),
        },
    ).fetchall()
    return builds, jobs


def _limit_memory(connection: duckdb.DuckDBPyConnection, staged_bytes: int) -> None:
    """Have DuckDB keep little more in memory than it needs to merge so much.

    Its own limit is most of the machine, and its second thread costs more than it saves here.
    """
    limit = _LEAST_BYTES + round(staged_bytes * _MEMORY_PER_BYTE)
    connection.execute(f"SET memory_limit = '{limit} B'")
    connection.execute("SET threads = 1")


def _check_unique(connection: duckdb.DuckDBPyConnection, table: Table, staged: str) -> None:
    """Hold that each key that was written stands once.

    Raises:
        UnsoundRowsError: one stands twice.
    """
    key = table.key[0]
    doubled = connection.execute(f"""
        SELECT {key} FROM {table.name} WHERE {key} IN (SELECT {key} FROM {staged})
        GROUP BY {key} HAVING count(*) > 1 LIMIT 1
    """).fetchall()
    if doubled:
        raise UnsoundRowsError(
            f"{table.name}.{key} {doubled[0][0]} would stand twice: nothing was changed. "
            "Please report it; a sync with --full of the day in question may mend it."
        )


def _naive(instant: datetime) -> datetime:
    """The instant as TIMESTAMP holds it: UTC without saying so."""
    return instant.replace(tzinfo=None)
