"""Who can do what, of one organization: the tables of the access review.

Each function takes a connection that `narrow_to_organization` has narrowed. What was not collected
is said to be not evaluated, which is not the same as nothing found.
"""

from buildkite_assets.report.listing import Listing
from buildkite_assets.report.opening import published_tables
from buildkite_assets.report.wording import count, instant
from buildkite_assets.warehouse import Connection

_TABLES = (
    "access_changes",
    "access_findings",
    "access_syncs",
    "effective_pipeline_access",
    "organization_members",
    "pipeline_access_usage",
    "pipelines",
    "teams",
)
_VIEW = """
CREATE TEMP VIEW {table} AS
SELECT shown.* FROM buildkite.{table} AS shown SEMI JOIN shown_organization USING (organization_id)
"""
_NEWEST_CHANGES = 200


def organizations(connection: Connection) -> dict[str, str]:
    """The ids of the organizations that are known, by their slugs."""
    rows = connection.execute(
        "SELECT slug, organization_id::VARCHAR FROM organizations ORDER BY slug"
    ).fetchall()
    return dict(rows)


def narrow_to_organization(connection: Connection, organization_id: str) -> None:
    """Have a connection show only one organization's rows of the tables that the review reads.

    Args:
        connection: what `opened` gave, not narrowed before.
        organization_id: which.
    """
    connection.execute(
        "CREATE TEMP TABLE shown_organization AS SELECT $id::UUID AS organization_id",
        {"id": organization_id},
    )
    for table in set(_TABLES) & published_tables(connection):
        connection.execute(_VIEW.format(table=table))


def coverage(connection: Connection) -> tuple[str, bool]:
    """What the newest snapshot could see, in words, and whether that is all there is."""
    snapshots = connection.execute("""
        SELECT started_at, token_email, is_administrator, sees_all_members, sees_all_teams,
            members, teams, team_pipelines, count(*) OVER () AS snapshots,
            min(started_at) OVER () AS first_at
        FROM access_syncs
        ORDER BY started_at DESC
        LIMIT 1
    """).fetchall()
    if not snapshots:
        return "Not evaluated: no snapshot of access was taken yet.", False
    [(at, email, is_administrator, all_members, all_teams, members, teams, grants, n, first)] = (
        snapshots
    )
    role = {True: "an administrator", False: "not an administrator", None: "of unknown role"}
    seen = [
        _seen(members, "member", "all" if all_members else "those that it may see"),
        _seen(teams, "team", "secret ones too" if all_teams else "without secret ones"),
        _seen(grants, "grant", "of these teams to pipelines"),
    ]
    return (
        f"Newest snapshot {instant(at)}, taken with the token of {email or 'an unknown user'}, "
        f"who is {role[is_administrator]}: {'; '.join(seen)}. "
        f"History has {count(n, 'snapshot')}, since {instant(first)}."
    ), bool(all_members and all_teams)


def _seen(number: int | None, noun: str, which: str) -> str:
    """How many of a kind a snapshot listed; NULL is what it may not list."""
    if number is None:
        return f"{noun}s not evaluated, as the token may not list them"
    return f"{count(number, noun)} ({which})"


def effective_access(connection: Connection) -> Listing:
    """Who can do what with which pipeline, and by which paths."""
    rows = connection.sql("""
        SELECT
            coalesce(members.name, access.user_id::VARCHAR) AS person,
            members.email,
            coalesce(pipelines.slug, access.pipeline_id::VARCHAR) AS pipeline,
            coalesce(access.access_level, 'not known') AS access_level,
            array_to_string(
                [
                    coalesce(path.team_slug, path.via) || ' (' || path.access_level || ')'
                    FOR path IN access.paths
                ],
                ', '
            ) AS paths,
            usage.last_used_at,
            access.is_complete
        FROM effective_pipeline_access AS access
        LEFT JOIN pipelines USING (pipeline_id)
        LEFT JOIN organization_members AS members ON members.user_id = access.user_id
        LEFT JOIN pipeline_access_usage AS usage
            ON usage.user_id = access.user_id AND usage.pipeline_id = access.pipeline_id
        ORDER BY person, access.access_rank DESC NULLS LAST, pipeline
    """).pl()
    return Listing(
        title="Effective access",
        caption=(
            "One row per person and pipeline: the highest level, and all paths to it, highest "
            "first. Where it is not complete, the snapshot saw no secret teams: the level is what "
            "is known at least."
        ),
        headings={
            "person": "Person",
            "email": "E-mail",
            "pipeline": "Pipeline",
            "access_level": "Level",
            "paths": "Paths",
            "last_used_at": "Last used (UTC)",
            "is_complete": "Complete",
        },
        rows=rows,
        if_empty="Not evaluated: no access is known.",
    )


def unused_access(connection: Connection) -> Listing:
    """Access beyond reading that was not used in the 90 days before the newest snapshot."""
    rows = connection.sql("""
        SELECT
            coalesce(members.name, usage.user_id::VARCHAR) AS person,
            members.email,
            coalesce(pipelines.slug, usage.pipeline_id::VARCHAR) AS pipeline,
            usage.access_level,
            usage.last_used_at,
            usage.builds_known_since
        FROM pipeline_access_usage AS usage
        LEFT JOIN pipelines USING (pipeline_id)
        LEFT JOIN organization_members AS members ON members.user_id = usage.user_id
        WHERE
            usage.access_rank > 1
            AND builds_known_since IS NOT NULL
            AND (last_used_at IS NULL OR last_used_at < snapshot_at - INTERVAL 90 DAY)
        ORDER BY person, usage.access_rank DESC, pipeline
    """).pl()
    return Listing(
        title="Unused access",
        caption=(
            "One row per person and pipeline that they may build or manage, without a build "
            "created or a block lifted in the 90 days before the newest snapshot, as far as "
            "builds are known. Reading leaves no trace. What the rule dormant_access makes of it "
            "stands among the findings."
        ),
        headings={
            "person": "Person",
            "email": "E-mail",
            "pipeline": "Pipeline",
            "access_level": "Level",
            "last_used_at": "Last used before (UTC)",
            "builds_known_since": "Builds known since",
        },
        rows=rows,
        if_empty="None is known: all of it was used, or no builds are known.",
    )


def findings(connection: Connection) -> Listing:
    """What the rules found, the most severe first, and the rules that could not be evaluated."""
    rows = connection.sql("""
        SELECT
            severity,
            rule_id,
            status,
            coalesce(members.name, findings.user_id::VARCHAR) AS person,
            coalesce(teams.name, findings.team_id::VARCHAR) AS team,
            coalesce(pipelines.slug, findings.pipeline_id::VARCHAR) AS pipeline,
            evidence,
            first_seen_at,
            resolved_at
        FROM access_findings AS findings
        LEFT JOIN pipelines USING (pipeline_id)
        LEFT JOIN teams USING (team_id)
        LEFT JOIN organization_members AS members ON members.user_id = findings.user_id
        ORDER BY
            list_position(['open', 'not_evaluated', 'resolved'], status),
            list_position(['high', 'medium', 'low', 'info'], severity),
            rule_id,
            person,
            team,
            pipeline
    """).pl()
    return Listing(
        title="Findings",
        caption=(
            "One row per finding of a rule, open ones first, the most severe first; and one per "
            "rule that could not be evaluated, which is not the same as no finding."
        ),
        headings={
            "severity": "Severity",
            "rule_id": "Rule",
            "status": "Status",
            "person": "Person",
            "team": "Team",
            "pipeline": "Pipeline",
            "evidence": "Evidence",
            "first_seen_at": "First seen (UTC)",
            "resolved_at": "Resolved (UTC)",
        },
        rows=rows,
        if_empty="No finding, and no rule that could not be evaluated.",
    )


def changes(connection: Connection) -> Listing:
    """How access changed between snapshots, the newest first."""
    rows = connection.sql(
        """
        SELECT
            changed_at,
            change_type,
            object_type,
            coalesce(members.name, changes.user_id::VARCHAR) AS person,
            coalesce(teams.name, changes.team_id::VARCHAR) AS team,
            coalesce(pipelines.slug, changes.pipeline_id::VARCHAR) AS pipeline,
            before,
            after,
            cause,
            window_start
        FROM access_changes AS changes
        LEFT JOIN pipelines USING (pipeline_id)
        LEFT JOIN teams USING (team_id)
        LEFT JOIN organization_members AS members ON members.user_id = changes.user_id
        ORDER BY changed_at DESC, object_type, person, team, pipeline
        LIMIT $newest
        """,
        params={"newest": _NEWEST_CHANGES},
    ).pl()
    return Listing(
        title="Changes",
        caption=(
            f"One row per change between two snapshots, the newest {_NEWEST_CHANGES}. It happened "
            "after the first time and was seen at the second. Who has left is told by id."
        ),
        headings={
            "window_start": "After (UTC)",
            "changed_at": "Seen (UTC)",
            "change_type": "Change",
            "object_type": "Of",
            "person": "Person",
            "team": "Team",
            "pipeline": "Pipeline",
            "before": "Before",
            "after": "After",
            "cause": "Cause",
        },
        rows=rows,
        if_empty="No change is known: history begins with the first snapshot.",
    )
