"""From what was listed of an organization's access to the rows of one snapshot."""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from buildkite_assets.buildkite.access import AccessSnapshot, TeamAccess
from buildkite_assets.rows import Privacy, record_rows
from buildkite_assets.tables import (
    ORGANIZATION_MEMBERS,
    TEAM_MEMBERS,
    TEAM_PIPELINES,
    TEAMS,
    Table,
)
from buildkite_assets.warehouse.history import AccessRows


def access_rows(
    organization_id: str, snapshot: AccessSnapshot, privacy: Privacy, dagster_run_id: str | None
) -> AccessRows:
    """The rows of a snapshot, of each table that could be listed.

    Args:
        organization_id: whose.
        snapshot: what was listed.
        privacy: what of people is kept.
        dagster_run_id: the run that listed it.

    Raises:
        ValueError: a value fits no column.
    """
    token, at = snapshot.token, snapshot.started_at
    ids = {"organization_id": organization_id}
    rows: dict[Table, pa.Table] = {}
    if snapshot.members is not None:
        rows[ORGANIZATION_MEMBERS] = record_rows(
            ORGANIZATION_MEMBERS, snapshot.members, at, privacy, **ids
        )
    if snapshot.teams is not None:
        teams = [team.team for team in snapshot.teams]
        rows[TEAMS] = record_rows(TEAMS, teams, at, privacy, **ids)
        rows |= _team_rows(snapshot.teams, at, privacy, ids)
    return AccessRows(
        organization_id=organization_id,
        started_at=at,
        ended_at=snapshot.ended_at,
        dagster_run_id=dagster_run_id,
        token_id=token.uuid,
        token_email=privacy.email(token.user.email) if token.user else None,
        token_scopes=token.scopes,
        is_administrator=snapshot.is_administrator,
        rows=rows,
        listed_team_ids=[team.team.id for team in snapshot.teams or [] if team.is_settled],
        unsettled_team_ids=[team.team.id for team in snapshot.teams or [] if not team.is_settled],
        has_settled_members=snapshot.has_settled_members,
        has_settled_teams=snapshot.has_settled_teams,
        requests=snapshot.requests,
    )


def _team_rows(
    teams: list[TeamAccess], at: datetime, privacy: Privacy, ids: Mapping[str, str]
) -> dict[Table, pa.Table]:
    members = [record_rows(TEAM_MEMBERS, [], at, privacy, **ids, team_id="")]
    pipelines = [record_rows(TEAM_PIPELINES, [], at, privacy, **ids, team_id="")]
    for team in teams:
        team_ids = {**ids, "team_id": team.team.id}
        members.append(record_rows(TEAM_MEMBERS, team.members, at, privacy, **team_ids))
        pipelines.append(record_rows(TEAM_PIPELINES, team.pipelines, at, privacy, **team_ids))
    return {
        TEAM_MEMBERS: pa.concat_tables(members),
        TEAM_PIPELINES: pa.concat_tables(pipelines),
    }
