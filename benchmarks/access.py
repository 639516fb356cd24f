"""Access at size: one snapshot's merge, and all that is derived of it, in wall and CPU seconds.

1,000 users, 2,000 pipelines and 250 teams, one of them the default team, which has all users and
all pipelines: two million pairs. 4,000 further memberships and 8,000 levels lie in the others.
"""

import time
from datetime import UTC, datetime

import click
import duckdb
import pyarrow as pa

from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rules import Rules
from buildkite_assets.tables import (
    ORGANIZATION_MEMBERS,
    PIPELINES,
    TEAM_MEMBERS,
    TEAM_PIPELINES,
    TEAMS,
    Table,
)
from buildkite_assets.warehouse.attributes import seed_states
from buildkite_assets.warehouse.derive import derive_whole, in_order
from buildkite_assets.warehouse.history import AccessRows, merge_access
from buildkite_assets.warehouse.preview import count_rows
from buildkite_assets.warehouse.schema import upgrade

USERS, PIPELINE_COUNT, TEAM_COUNT = 1_000, 2_000, 250
ADMINISTRATORS = 5
MEMBERSHIPS, LEVELS = 4_000, 8_000
AT = datetime(2026, 1, 1, tzinfo=UTC)

_ID = (
    "CREATE MACRO id(kind, n) AS (lpad(kind::VARCHAR, 8, '0') || '-0000-7000-8000-' || "
    "lpad(n::VARCHAR, 12, '0'))::UUID"
)
_PIPELINES = """
INSERT INTO pipelines (pipeline_id, organization_id, slug, created_at, synced_at)
SELECT id(3, n), id(1, 0), 'pipeline-' || n, TIMESTAMP '2025-01-01', now()::TIMESTAMP
FROM range($pipelines) r(n)
"""
_ROWS: dict[Table, str] = {
    ORGANIZATION_MEMBERS: """
        SELECT id(1, 0) AS organization_id, id(2, n) AS user_id, 'Person ' || n AS name,
            'person-' || n || '@example.com' AS email,
            if(n < $administrators, 'ADMIN', 'MEMBER') AS role, 'REQUIRED' AS sso_mode
        FROM range($users) r(n)
    """,
    TEAMS: """
        SELECT id(1, 0) AS organization_id, id(4, n) AS team_id, 'team-' || n AS slug,
            'Team ' || n AS name, 'VISIBLE' AS privacy, n = 0 AS is_default_team,
            TIMESTAMP '2025-01-01' AS created_at
        FROM range($teams) r(n)
    """,
    TEAM_MEMBERS: """
        SELECT id(1, 0) AS organization_id, id(4, team) AS team_id, id(2, user) AS user_id,
            'MEMBER' AS role, TIMESTAMP '2025-01-01' AS created_at
        FROM (
            SELECT 0 AS team, n AS user FROM range($users) r(n)
            UNION
            SELECT 1 + n % ($teams - 1), (n * 7) % $users FROM range($memberships) r(n)
        )
    """,
    TEAM_PIPELINES: """
        SELECT id(1, 0) AS organization_id, id(4, team) AS team_id,
            id(3, pipeline) AS pipeline_id, level AS access_level, rank::INTEGER AS access_rank,
            TIMESTAMP '2025-01-01' AS created_at
        FROM (
            SELECT 0 AS team, n AS pipeline, 'READ_ONLY' AS level, 1 AS rank
            FROM range($pipelines) r(n)
            UNION
            SELECT 1 + n % ($teams - 1), (n * 13) % $pipelines, 'BUILD_AND_READ', 2
            FROM range($levels) r(n)
        )
    """,
}
_SIZES = {
    "users": USERS,
    "pipelines": PIPELINE_COUNT,
    "teams": TEAM_COUNT,
    "administrators": ADMINISTRATORS,
    "memberships": MEMBERSHIPS,
    "levels": LEVELS,
}


def main() -> None:
    """Print how long the merge and each derived table takes, and how much of the CPU."""
    with duckdb.connect() as connection:
        connection.execute("SET arrow_lossless_conversion = true")
        upgrade(connection)
        connection.execute(_ID)
        connection.execute(_PIPELINES, {"pipelines": PIPELINE_COUNT})
        seed_states(connection, PIPELINES)
        snapshot = _snapshot(connection)
        before = _clocks()
        merge_access(connection, snapshot)
        _report("merge of a snapshot", before)
        began = _clocks()
        for table in in_order(derived_tables()):
            if table.group == "access_review":
                before = _clocks()
                derive_whole(connection, table, derived_tables(), Rules().parameters())
                _report(table.name, before, f"{count_rows(connection, table):>10,} rows")
        _report("all derived tables", began)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _report(what: str, before: tuple[float, float], rows: str = "") -> None:
    wall, cpu = (now - then for now, then in zip(_clocks(), before, strict=True))
    click.echo(f"{what:28} {wall:6.2f} s {cpu:6.2f} s CPU {rows}")


def _snapshot(connection: duckdb.DuckDBPyConnection) -> AccessRows:
    rows = {table: _arrow(connection, query) for table, query in _ROWS.items()}
    teams = connection.execute("SELECT id(4, n)::VARCHAR FROM range(?) r(n)", [TEAM_COUNT])
    return AccessRows(
        organization_id="00000001-0000-7000-8000-000000000000",
        started_at=AT,
        ended_at=AT,
        dagster_run_id=None,
        token_id="00000009-0000-7000-8000-000000000000",  # noqa: S106 - an id
        token_email=None,
        token_scopes=["read_organizations", "read_teams"],
        is_administrator=True,
        rows=rows,
        unsettled_team_ids=[],
        listed_team_ids=[team_id for (team_id,) in teams.fetchall()],
        requests=0,
        has_settled_members=True,
        has_settled_teams=True,
    )


def _arrow(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    names = {name: value for name, value in _SIZES.items() if f"${name}" in query}
    return connection.sql(query, params=names).to_arrow_table()


if __name__ == "__main__":
    main()
