"""Merges snapshots of access into its history: what changed is closed and opened anew.

The API shows only the present, and less of it to some than to others. So a state is closed only
where the snapshot shows another one, or where the snapshot would have shown it if it still were.
Who changed what between two snapshots is not known: a state holds from the snapshot that first
saw it to the one that first did not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from buildkite_assets.tables import (
    ACCESS_TABLES,
    ORGANIZATION_MEMBERS,
    TEAM_MEMBERS,
    TEAM_PIPELINES,
    TEAMS,
    VALID_FROM,
    Table,
    history_of,
)
from buildkite_assets.warehouse.errors import UnsoundRowsError
from buildkite_assets.warehouse.purge import readmit_members

_NOT_TOLD_TO_ALL = {"name", "email", "role", "sso_mode"}


@dataclass(frozen=True)
class AccessRows:
    """One snapshot of an organization as rows.

    Attributes:
        organization_id: whose.
        started_at: Buildkite's clock before anything was listed; all states change then.
        ended_at: Buildkite's clock when all was listed.
        dagster_run_id: the run that took it.
        token_id: the token that it was taken with.
        token_email: the token's user, as it may be stored.
        token_scopes: what the token may do.
        is_administrator: whether that user administers the organization; None if not told.
        rows: for each table that could be listed its rows, without `valid_from`.
        listed_team_ids: the teams whose members and pipelines were listed to their end.
        unsettled_team_ids: the other teams: their lists changed each time they were read, or
            failed.
        requests: that it took.
        has_settled_members: whether the list of members did not change while it was read.
        has_settled_teams: whether the list of teams did not.
    """

    organization_id: str
    started_at: datetime
    ended_at: datetime
    dagster_run_id: str | None
    token_id: str
    token_email: str | None
    token_scopes: Sequence[str]
    is_administrator: bool | None
    rows: Mapping[Table, pa.Table]
    listed_team_ids: Sequence[str]
    unsettled_team_ids: Sequence[str]
    requests: int
    has_settled_members: bool
    has_settled_teams: bool

    @property
    def sees_all_members(self) -> bool:
        """Whether a member who is not in it has left."""
        is_listed = ORGANIZATION_MEMBERS in self.rows and self.has_settled_members
        return self.is_administrator is True and is_listed

    @property
    def sees_every_team(self) -> bool:
        """Whether a team that is not in it is gone; others than administrators see some."""
        is_listed = TEAMS in self.rows and self.has_settled_teams
        return self.is_administrator is True and is_listed

    @property
    def sees_all_teams(self) -> bool:
        """Whether a team, a membership or a grant that is not in it is gone."""
        return self.sees_every_team and not self.unsettled_team_ids


def known_ids(
    connection: duckdb.DuckDBPyConnection, table: Table, organization_id: str
) -> dict[str, list[str]]:
    """Return the ids of what an access table has at present, by team.

    Of tables that are not about a team's members or pipelines, all ids are under "".
    """
    team = "team_id" if table in {TEAM_MEMBERS, TEAM_PIPELINES} else "''"
    rows = connection.execute(
        f"""
        SELECT {team}::VARCHAR, list({table.key[-1]}::VARCHAR) FROM {table.name}
        WHERE organization_id = ? GROUP BY ALL
        """,
        [organization_id],
    ).fetchall()
    return dict(rows)


def merge_access(connection: duckdb.DuckDBPyConnection, snapshot: AccessRows) -> bool:
    """Merge a snapshot within the caller's transaction; False where a later one is known already.

    Raises:
        UnsoundRowsError: something would stand twice in the present.
    """
    parameters = {
        "organization_id": snapshot.organization_id,
        "started_at": snapshot.started_at.replace(tzinfo=None),
    }
    [(is_late,)] = connection.execute(
        """
        SELECT coalesce(max(started_at) >= $started_at, false) FROM access_syncs
        WHERE organization_id = $organization_id
        """,
        parameters,
    ).fetchall()
    if is_late:
        return False
    for table in ACCESS_TABLES:
        if table in snapshot.rows:
            _stage(connection, table, snapshot.rows[table], parameters)
            if table is ORGANIZATION_MEMBERS:
                readmit_members(connection, "seen")
            _close(connection, table, snapshot, parameters)
            _open(connection, table, parameters)
    _record(connection, snapshot)
    return True


def _stage(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    rows: pa.Table,
    parameters: Mapping[str, object],
) -> None:
    """Make `seen`, the snapshot's rows, and `news`, those of them that the present differs from.

    What a snapshot is not told stays as it was known.
    """
    key = ", ".join(table.key)
    names = [column.name for column in table.columns if column is not VALID_FROM]
    told = ", ".join(
        f"coalesce(incoming.{name}, present.{name}) AS {name}"
        if name in _NOT_TOLD_TO_ALL
        else f"incoming.{name}"
        for name in names
    )
    connection.register("incoming", rows)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE seen AS
        SELECT DISTINCT ON ({key}) {told}
        FROM incoming LEFT JOIN {table.name} AS present USING ({key})
    """)
    connection.unregister("incoming")
    columns = ", ".join(names)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE news AS
        SELECT {columns} FROM seen
        EXCEPT
        SELECT {columns} FROM {table.name} WHERE organization_id = $organization_id
        """,
        {"organization_id": parameters["organization_id"]},
    )


def _close(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    snapshot: AccessRows,
    parameters: Mapping[str, object],
) -> None:
    """End the states that the snapshot shows to be over."""
    would_be_seen, team_ids = _would_be_seen(table, snapshot)
    key = ", ".join(table.key)
    connection.execute(
        f"""
        UPDATE {history_of(table).name} SET valid_to = $started_at
        WHERE organization_id = $organization_id AND valid_to IS NULL
          AND (({key}) IN (SELECT ({key}) FROM news)
               OR ({would_be_seen} AND ({key}) NOT IN (SELECT ({key}) FROM seen)))
        """,
        {**parameters, **team_ids},
    )


def _would_be_seen(table: Table, snapshot: AccessRows) -> tuple[str, dict[str, list[str]]]:
    """Return the condition under which a row that still held would be in the snapshot.

    A team whose lists failed keeps its members and grants; the other teams lose theirs as usual. A
    user who is not an administrator sees all members of a team, but not all of its pipelines.
    """
    if table is ORGANIZATION_MEMBERS:
        return str(snapshot.sees_all_members), {}
    if table is TEAMS:
        return str(snapshot.sees_every_team), {}
    if snapshot.sees_every_team:  # of a team that is gone, members and grants are gone too
        return (
            "team_id NOT IN (SELECT unnest($team_ids::UUID[]))",
            {"team_ids": list(snapshot.unsettled_team_ids)},
        )
    if table is TEAM_MEMBERS or snapshot.is_administrator:
        return (
            "team_id IN (SELECT unnest($team_ids::UUID[]))",
            {"team_ids": list(snapshot.listed_team_ids)},
        )
    return "false", {}


def _open(
    connection: duckdb.DuckDBPyConnection, table: Table, parameters: Mapping[str, object]
) -> None:
    """Begin the states that are new, and hold that the present has each thing once.

    Raises:
        UnsoundRowsError: it has one twice.
    """
    connection.execute(
        f"""
        INSERT INTO {history_of(table).name} BY NAME
        SELECT *, $started_at AS valid_from FROM news
        """,
        {"started_at": parameters["started_at"]},
    )
    doubled = connection.execute(
        f"""
        SELECT {table.key[-1]} FROM {table.name} WHERE organization_id = $organization_id
        GROUP BY {", ".join(table.key)} HAVING count(*) > 1 LIMIT 1
        """,
        {"organization_id": parameters["organization_id"]},
    ).fetchall()
    if doubled:
        raise UnsoundRowsError(
            f"{table.name}.{table.key[-1]} {doubled[0][0]} would stand twice: nothing was "
            "changed. Please report it."
        )


def _record(connection: duckdb.DuckDBPyConnection, snapshot: AccessRows) -> None:
    counts = {f"{table.name}": rows.num_rows for table, rows in snapshot.rows.items()}
    connection.execute(
        """
        INSERT INTO access_syncs BY NAME
        SELECT $organization_id AS organization_id, $started_at AS started_at,
            $ended_at AS ended_at, $dagster_run_id AS dagster_run_id, $token_id AS token_id,
            $token_email AS token_email, $token_scopes::VARCHAR[] AS token_scopes,
            $is_administrator AS is_administrator, $sees_all_members AS sees_all_members,
            $sees_all_teams AS sees_all_teams, $listed_team_ids::UUID[] AS listed_team_ids,
            $organization_members AS members, $teams AS teams, $team_members AS team_members,
            $team_pipelines AS team_pipelines, $requests AS requests
        """,
        {
            "organization_id": snapshot.organization_id,
            "started_at": snapshot.started_at.replace(tzinfo=None),
            "ended_at": snapshot.ended_at.replace(tzinfo=None),
            "dagster_run_id": snapshot.dagster_run_id,
            "token_id": snapshot.token_id,
            "token_email": snapshot.token_email,
            "token_scopes": list(snapshot.token_scopes),
            "is_administrator": snapshot.is_administrator,
            "sees_all_members": snapshot.sees_all_members,
            "sees_all_teams": snapshot.sees_all_teams,
            "listed_team_ids": list(snapshot.listed_team_ids),
            "requests": snapshot.requests,
            **{table.name: counts.get(table.name) for table in ACCESS_TABLES},
        },
    )
