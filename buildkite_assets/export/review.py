"""An access review: what each team gives to whom, for people to decide on and auditors to keep."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from buildkite_assets.export.file_names import file_names
from buildkite_assets.export.spreadsheets import write_rows
from buildkite_assets.private_files import private_folder, private_opener, writing_to
from buildkite_assets.warehouse import WarehouseError, connect

_SNAPSHOT = """
SELECT organizations.organization_id::VARCHAR AS organization_id, slug, started_at, ended_at,
    token_email, is_administrator, sees_all_members, sees_all_teams, members, teams,
    team_members, team_pipelines, dagster_run_id
FROM access_syncs JOIN organizations USING (organization_id)
WHERE slug = $organization
QUALIFY row_number() OVER (ORDER BY started_at DESC) = 1
"""
_ORGANIZATIONS = "SELECT organization_id::VARCHAR, slug FROM organizations"
_TEAMS = """
SELECT team_id::VARCHAR, slug FROM teams
WHERE organization_id = $organization_id::UUID
ORDER BY slug, team_id
"""
# A member of a team without pipelines has a row too; of a finding either the team, the user or the
# pipeline may be none.
_TEAM = """
SELECT
    team_members.user_id, members.name, members.email,
    members.role AS organization_role, team_members.role AS team_role,
    team_members.created_at AS member_since,
    coalesce(pipelines.slug, levels.pipeline_id::VARCHAR) AS pipeline,
    levels.access_level, levels.created_at AS granted_at,
    usage.last_used_at, usage.is_never_used,
    (
        SELECT string_agg(DISTINCT rule_id, ' ' ORDER BY rule_id) FROM access_findings AS findings
        WHERE findings.organization_id = team_members.organization_id
            AND findings.status = 'open'
            AND coalesce(findings.user_id, findings.team_id, findings.pipeline_id) IS NOT NULL
            AND coalesce(findings.user_id = team_members.user_id, true)
            AND coalesce(findings.team_id = team_members.team_id, true)
            AND coalesce(findings.pipeline_id = levels.pipeline_id, findings.pipeline_id IS NULL)
    ) AS findings
FROM team_members
LEFT JOIN organization_members AS members USING (organization_id, user_id)
LEFT JOIN team_pipelines AS levels USING (organization_id, team_id)
LEFT JOIN pipelines USING (organization_id, pipeline_id)
LEFT JOIN pipeline_access_usage AS usage USING (organization_id, user_id, pipeline_id)
WHERE team_members.organization_id = $organization_id::UUID
    AND team_members.team_id = $team_id::UUID
ORDER BY members.name, team_members.user_id, pipeline
"""
_ADMINISTRATORS = """
SELECT user_id, name, email, sso_mode, valid_from AS known_since
FROM organization_members
WHERE organization_id = $organization_id::UUID AND role = 'ADMIN'
ORDER BY name, user_id
"""
_FINDINGS = """
SELECT rule_id, severity, status, user_id, team_id, pipeline_id, evidence, first_seen_at,
    resolved_at
FROM access_findings
WHERE organization_id = $organization_id::UUID
ORDER BY status, rule_id, user_id, team_id, pipeline_id, first_seen_at
"""


class UnknownOrganizationError(WarehouseError):
    """The warehouse has no snapshot of access of the organization asked for."""


def export_review(warehouse: Path, organization: str, folder: Path) -> Path:
    """Write one CSV per team, the administrators, the findings, and `manifest.json`.

    The manifest has each file's rows and SHA-256 sum, and the snapshot that all of it stands on.

    Args:
        warehouse: the published file.
        organization: the slug.
        folder: gets a folder named after organization and snapshot.

    Returns:
        That folder.

    Raises:
        UnknownOrganizationError: no snapshot of it is known.
        WarehouseError: there is no published file.
        UnwritableError: the folder cannot be written to.
    """
    with connect(warehouse) as connection, writing_to(folder):

        def rows(query: str, **values: object) -> tuple[list[str], list[tuple[Any, ...]]]:
            result = connection.execute(query, values)
            return [column[0] for column in result.description or []], result.fetchall()

        names, snapshots = rows(_SNAPSHOT, organization=organization)
        if not snapshots:
            raise UnknownOrganizationError(
                f"No snapshot of access of {organization} is known: check the slug, and run "
                "`buildkite-assets sync` with a token that has it."
            )
        snapshot = dict(zip(names, snapshots[0], strict=True))
        ids = {"organization_id": snapshot["organization_id"]}
        name = file_names(dict(rows(_ORGANIZATIONS)[1]))[ids["organization_id"]]
        out = folder / f"{name}-{snapshot['started_at']:%Y-%m-%dT%H%M%SZ}"
        private_folder(out)
        private_folder(out / "teams")
        files = [
            _write(out, "administrators.csv", *rows(_ADMINISTRATORS, **ids)),
            _write(out, "findings.csv", *rows(_FINDINGS, **ids)),
        ]
        for team_id, name in file_names(dict(rows(_TEAMS, **ids)[1])).items():
            team = rows(_TEAM, **ids, team_id=team_id)
            files.append(_write(out, f"teams/{name}.csv", *team))
        manifest = {
            "organization": organization,
            "snapshot": snapshot,
            "made_by": f"buildkite-assets {version('buildkite-assets')}",
            "files": files,
        }
        encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        with open(out / "manifest.json", "wb", opener=private_opener) as file:
            file.write(encoded + b"\n")
    return out


def _write(
    folder: Path, name: str, header: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> dict[str, object]:
    """Write a CSV; its entry in the manifest."""
    path = folder / name
    with open(path, "w", newline="", encoding="utf-8", opener=private_opener) as file:
        write_rows(file, [header, *rows])
    return {
        "name": name,
        "rows": len(rows),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
