/*
One row per finding of a rule, and per rule that could not be evaluated.

A finding stands on what snapshots of access knew, so it is first seen and resolved at one of them,
and only by those that could see what the rule needs. A rule whose inputs an organization does not
have (no snapshot, none of an administrator, no builds of the last 90 days, no team at all) reads
`not_evaluated`, which is not the same as no finding.

- pipeline_without_team: only administrators reach a pipeline that no team has.
- team_without_maintainer, team_without_members, team_without_pipelines.
- default_team_manages: who joins the organization manages the pipeline at once.
- many_administrators: more than 5.
- dormant_access: a member of a team has used none of the pipelines that it lets them build or
  manage for 90 days, nor had them for less; administrators are left out.
- used_after_end: a build started (not by a commit) or a block lifted by someone whose access to the
  pipeline had ended.
- redundant_path: all that a team gives a member, other teams give too; without default teams and
  administrators.
- member_without_team, sso_optional.
- secret_teams_unseen: the newest snapshot is not an administrator's.

Of dormant_access and redundant_path only those that are open are known.

Key: organization_id, rule_id, status, user_id, team_id, pipeline_id, first_seen_at
Recomputed: whole

Columns:
  organization_id  UUID       The organization.
  rule_id          VARCHAR    Which rule; never changes its meaning.
  severity         VARCHAR    high, medium, low or info.
  status           VARCHAR    open, resolved or not_evaluated.
  user_id          UUID       The user that it is about, if any.
  team_id          UUID       The team that it is about, if any.
  pipeline_id      UUID       The pipeline that it is about, if any.
  evidence         VARCHAR    What it stands on, as JSON: names, and a count or times where they help.
  first_seen_at    TIMESTAMP  The first snapshot that could tell; the use itself for used_after_end.
  resolved_at      TIMESTAMP  The first snapshot that no longer had it; NULL while it is open.
*/
WITH limits AS (
    SELECT 5 AS most_administrators, INTERVAL 90 DAY AS dormant_after
),

rules AS (
    SELECT *
    FROM (
        VALUES
            ('pipeline_without_team', 'medium', 'all_teams'),
            ('team_without_maintainer', 'medium', 'teams'),
            ('team_without_members', 'low', 'teams'),
            ('team_without_pipelines', 'low', 'all_teams'),
            ('default_team_manages', 'high', 'teams'),
            ('many_administrators', 'high', 'members'),
            ('dormant_access', 'medium', 'teams_and_builds'),
            ('used_after_end', 'medium', 'all_teams'),
            ('redundant_path', 'info', 'teams'),
            ('member_without_team', 'low', 'all_teams'),
            ('sso_optional', 'high', 'all_members'),
            ('secret_teams_unseen', 'info', 'any')
    ) AS rules (rule_id, severity, need)
),

-- The snapshots that have what a rule needs.
coverage AS (
    SELECT organization_id, started_at, 'any' AS need FROM access_syncs
    UNION ALL
    SELECT organization_id, started_at, 'members' FROM access_syncs WHERE members IS NOT NULL
    UNION ALL
    SELECT organization_id, started_at, 'all_members' FROM access_syncs WHERE sees_all_members
    UNION ALL
    SELECT organization_id, started_at, 'teams' FROM access_syncs WHERE teams > 0
    UNION ALL
    SELECT organization_id, started_at, 'all_teams'
    FROM access_syncs
    WHERE sees_all_teams AND teams > 0
    UNION ALL
    SELECT organization_id, started_at, 'teams_and_builds'
    FROM access_syncs
    CROSS JOIN limits
    JOIN (
        SELECT organization_id, min(day) AS builds_known_since FROM sync_days GROUP BY ALL
    ) USING (organization_id)
    WHERE teams > 0 AND builds_known_since <= started_at - dormant_after
),

snapshots AS (
    SELECT
        organization_id,
        max(started_at) AS snapshot_at,
        organization_id IN (SELECT organization_id FROM teams) AS has_teams
    FROM access_syncs
    GROUP BY organization_id
),

-- From when to when something is there that a rule is about, with those who keep it from being a
-- finding: a rule finds a subject without holders, and many_administrators too many of them.
subjects AS (
    SELECT
        'pipeline_without_team' AS rule_id, organization_id, NULL::UUID AS user_id,
        NULL::UUID AS team_id, pipeline_id, created_at AS begins_at,
        coalesce(least(absent_since, archived_at), 'infinity') AS ends_at, true AS is_subject
    FROM pipelines
    UNION ALL
    SELECT
        unnest(['team_without_maintainer', 'team_without_members', 'team_without_pipelines']),
        organization_id, NULL, team_id, NULL, valid_from, coalesce(valid_to, 'infinity'), true
    FROM teams_history
    UNION ALL
    SELECT
        'default_team_manages', levels.organization_id, NULL, levels.team_id, levels.pipeline_id,
        greatest(levels.valid_from, teams.valid_from),
        coalesce(least(levels.valid_to, teams.valid_to, pipelines.archived_at), 'infinity'), true
    FROM team_pipelines_history AS levels
    JOIN teams_history AS teams
        ON teams.organization_id = levels.organization_id
        AND teams.team_id = levels.team_id
        AND teams.valid_from < coalesce(levels.valid_to, 'infinity')
        AND levels.valid_from < coalesce(teams.valid_to, 'infinity')
    LEFT JOIN pipelines
        ON pipelines.organization_id = levels.organization_id
        AND pipelines.pipeline_id = levels.pipeline_id
    WHERE levels.access_rank = 3 AND teams.is_default_team
    UNION ALL
    SELECT
        'member_without_team', organization_id, user_id, NULL, NULL, valid_from,
        coalesce(valid_to, 'infinity'), true
    FROM organization_members_history
    UNION ALL
    SELECT
        'sso_optional', organization_id, user_id, NULL, NULL, valid_from,
        coalesce(valid_to, 'infinity'), true
    FROM organization_members_history
    WHERE sso_mode = 'OPTIONAL'
    UNION ALL
    SELECT
        'secret_teams_unseen', organization_id, NULL, NULL, NULL, started_at,
        coalesce(
            lead(started_at) OVER (PARTITION BY organization_id ORDER BY started_at), 'infinity'
        ),
        NOT sees_all_teams
    FROM access_syncs
    UNION ALL
    SELECT
        'pipeline_without_team', organization_id, NULL, NULL, pipeline_id, valid_from,
        coalesce(valid_to, 'infinity'), false
    FROM team_pipelines_history
    UNION ALL
    SELECT
        'team_without_pipelines', organization_id, NULL, team_id, NULL, valid_from,
        coalesce(valid_to, 'infinity'), false
    FROM team_pipelines_history
    UNION ALL
    SELECT
        unnest(
            if(
                role = 'MAINTAINER',
                ['team_without_maintainer', 'team_without_members'],
                ['team_without_members']
            )
        ),
        organization_id, NULL, team_id, NULL, valid_from, coalesce(valid_to, 'infinity'), false
    FROM team_members_history
    UNION ALL
    SELECT
        'member_without_team', organization_id, user_id, NULL, NULL, valid_from,
        coalesce(valid_to, 'infinity'), false
    FROM team_members_history
    UNION ALL
    SELECT
        'many_administrators', organization_id, NULL, NULL, NULL, valid_from,
        coalesce(valid_to, 'infinity'), false
    FROM organization_members_history
    WHERE role = 'ADMIN'
    UNION ALL
    SELECT
        'teams_known', organization_id, NULL, NULL, NULL, valid_from,
        coalesce(valid_to, 'infinity'), true
    FROM teams_history
),

counts AS (
    SELECT
        rule_id, organization_id, user_id, team_id, pipeline_id, changed_at,
        sum(sum(subject)) OVER thing AS subjects,
        sum(sum(holder)) OVER thing AS holders
    FROM (
        SELECT
            * EXCLUDE (begins_at, ends_at), begins_at AS changed_at,
            if(is_subject, 1, 0) AS subject, if(is_subject, 0, 1) AS holder
        FROM subjects
        UNION ALL
        SELECT
            * EXCLUDE (begins_at, ends_at), ends_at,
            if(is_subject, -1, 0), if(is_subject, 0, -1)
        FROM subjects
        WHERE ends_at < 'infinity'
    )
    GROUP BY rule_id, organization_id, user_id, team_id, pipeline_id, changed_at
    WINDOW thing AS (
        PARTITION BY rule_id, organization_id, user_id, team_id, pipeline_id ORDER BY changed_at
    )
),

turns AS (
    SELECT
        * EXCLUDE (subjects),
        CASE rule_id
            WHEN 'many_administrators' THEN holders > (SELECT most_administrators FROM limits)
            WHEN 'secret_teams_unseen' THEN subjects > 0
            ELSE subjects > 0 AND holders = 0
        END AS is_found
    FROM counts
    QUALIFY is_found IS DISTINCT FROM lag(is_found, 1, false) OVER (
        PARTITION BY rule_id, organization_id, user_id, team_id, pipeline_id ORDER BY changed_at
    )
),

intervals AS (
    SELECT
        * EXCLUDE (changed_at), changed_at AS begins_at,
        coalesce(
            lead(changed_at) OVER (
                PARTITION BY rule_id, organization_id, user_id, team_id, pipeline_id ORDER BY changed_at
            ),
            'infinity'
        ) AS ends_at
    FROM turns
    QUALIFY is_found
),

-- Where no team is known, nobody is in one, and no pipeline has one: that says nothing.
standing AS (
    SELECT
        intervals.* EXCLUDE (begins_at, ends_at, is_found),
        greatest(intervals.begins_at, known.begins_at) AS begins_at,
        least(intervals.ends_at, known.ends_at) AS ends_at
    FROM intervals
    JOIN intervals AS known
        ON known.organization_id = intervals.organization_id
        AND known.rule_id = 'teams_known'
        AND known.begins_at < intervals.ends_at
        AND intervals.begins_at < known.ends_at
    WHERE intervals.rule_id IN ('pipeline_without_team', 'member_without_team')
    UNION ALL
    SELECT * EXCLUDE (begins_at, ends_at, is_found), begins_at, ends_at
    FROM intervals
    WHERE rule_id NOT IN ('pipeline_without_team', 'member_without_team', 'teams_known')
),

-- What each team gives a member, and the paths that give as much.
team_paths AS (
    SELECT
        team_members.organization_id, team_members.user_id, team_members.team_id,
        team_pipelines.pipeline_id, team_pipelines.access_rank, teams.is_default_team,
        greatest(team_members.valid_from, team_pipelines.valid_from) AS since,
        greatest(team_members.created_at, team_pipelines.created_at) AS had_since
    FROM team_members
    JOIN team_pipelines USING (organization_id, team_id)
    JOIN teams USING (organization_id, team_id)
    WHERE team_pipelines.access_rank IS NOT NULL
),

members_paths AS (
    SELECT *
    FROM team_paths
    WHERE NOT coalesce(is_default_team, false)
        AND (organization_id, user_id) NOT IN (
            SELECT (organization_id, user_id) FROM organization_members WHERE role = 'ADMIN'
        )
),

covered AS (
    SELECT
        own.organization_id, own.user_id, own.team_id, own.pipeline_id,
        min(other.since) IS NOT NULL AS is_covered,
        greatest(any_value(own.since), min(other.since)) AS since
    FROM members_paths AS own
    LEFT JOIN team_paths AS other
        ON other.organization_id = own.organization_id
        AND other.user_id = own.user_id
        AND other.pipeline_id = own.pipeline_id
        AND other.team_id <> own.team_id
        AND other.access_rank >= own.access_rank
    GROUP BY own.organization_id, own.user_id, own.team_id, own.pipeline_id
),

redundant AS (
    SELECT
        'redundant_path' AS rule_id, organization_id, user_id, team_id,
        NULL::UUID AS pipeline_id, count(*) AS holders,
        max(since) AS begins_at, 'infinity'::TIMESTAMP AS ends_at
    FROM covered
    GROUP BY organization_id, user_id, team_id
    HAVING bool_and(is_covered)
),

dormant AS (
    SELECT
        'dormant_access' AS rule_id, paths.organization_id, paths.user_id, paths.team_id,
        NULL::UUID AS pipeline_id, count(*) AS holders,
        greatest(min(paths.had_since), max(usage.last_used_at)) + dormant_after AS begins_at,
        'infinity'::TIMESTAMP AS ends_at
    FROM members_paths AS paths
    CROSS JOIN limits
    JOIN snapshots USING (organization_id)
    LEFT JOIN pipeline_access_usage AS usage
        ON usage.organization_id = paths.organization_id
        AND usage.user_id = paths.user_id
        AND usage.pipeline_id = paths.pipeline_id
    WHERE paths.access_rank >= 2
    GROUP BY
        paths.organization_id, paths.user_id, paths.team_id, dormant_after, snapshots.snapshot_at
    HAVING begins_at <= snapshots.snapshot_at
),

ends AS (
    SELECT
        organization_id, user_id, pipeline_id, change_type, window_start, window_end,
        lead(window_start) OVER (
            PARTITION BY organization_id, user_id, pipeline_id ORDER BY changed_at
        ) AS granted_again_after
    FROM access_changes
    WHERE object_type = 'effective_pipeline_access' AND change_type IN ('granted', 'revoked')
    QUALIFY change_type = 'revoked'
),

uses AS (
    SELECT organization_id, creator_id AS user_id, pipeline_id, created_at AS used_at
    FROM builds
    WHERE source IN ('ui', 'api')
    UNION ALL
    SELECT jobs.organization_id, jobs.unblocked_by_id, builds.pipeline_id, jobs.unblocked_at
    FROM jobs
    JOIN builds USING (build_id)
    WHERE jobs.unblocked_by_id IS NOT NULL
),

used_after_end AS (
    SELECT
        'used_after_end' AS rule_id, ends.organization_id, ends.user_id, NULL::UUID AS team_id,
        ends.pipeline_id, count(*) AS holders, min(uses.used_at) AS begins_at,
        'infinity'::TIMESTAMP AS ends_at
    FROM ends
    JOIN uses
        ON uses.organization_id = ends.organization_id
        AND uses.user_id = ends.user_id
        AND uses.pipeline_id = ends.pipeline_id
        AND uses.used_at > ends.window_end
        AND uses.used_at <= coalesce(ends.granted_again_after, 'infinity')
    GROUP BY ends.organization_id, ends.user_id, ends.pipeline_id
),

found AS (
    SELECT rule_id, organization_id, user_id, team_id, pipeline_id, holders, begins_at, ends_at
    FROM standing
    UNION ALL BY NAME
    FROM redundant
    UNION ALL BY NAME
    FROM dormant
),

-- First seen by a snapshot that could tell.
covered_findings AS (
    SELECT found.*, rules.severity, coverage.started_at AS first_seen_at
    FROM found
    JOIN rules ON rules.rule_id = found.rule_id
    ASOF JOIN coverage
        ON coverage.organization_id = found.organization_id
        AND coverage.need = rules.need
        AND coverage.started_at >= found.begins_at
    UNION ALL
    SELECT used_after_end.*, rules.severity, used_after_end.begins_at
    FROM used_after_end
    JOIN rules ON rules.rule_id = used_after_end.rule_id
),

user_names AS (
    SELECT organization_id, user_id, arg_max(name, valid_from) AS name
    FROM organization_members_history
    GROUP BY ALL
),

team_names AS (
    SELECT organization_id, team_id, arg_max(slug, valid_from) AS slug
    FROM teams_history
    GROUP BY ALL
)

SELECT
    findings.organization_id,
    findings.rule_id,
    findings.severity,
    if(findings.ends_at < 'infinity', 'resolved', 'open') AS status,
    findings.user_id,
    findings.team_id,
    findings.pipeline_id,
    to_json({
        'user': user_names.name,
        'team': team_names.slug,
        'pipeline': pipelines.slug,
        'count': nullif(findings.holders, 0)
    })::VARCHAR AS evidence,
    findings.first_seen_at,
    if(findings.ends_at < 'infinity', findings.ends_at, NULL) AS resolved_at
FROM covered_findings AS findings
LEFT JOIN user_names
    ON user_names.organization_id = findings.organization_id
    AND user_names.user_id = findings.user_id
LEFT JOIN team_names
    ON team_names.organization_id = findings.organization_id
    AND team_names.team_id = findings.team_id
LEFT JOIN pipelines
    ON pipelines.organization_id = findings.organization_id
    AND pipelines.pipeline_id = findings.pipeline_id
WHERE findings.first_seen_at < findings.ends_at
UNION ALL
SELECT
    organizations.organization_id, rules.rule_id, rules.severity, 'not_evaluated', NULL, NULL,
    NULL, to_json({'needs': rules.need})::VARCHAR, NULL, NULL
FROM organizations
CROSS JOIN rules
LEFT JOIN snapshots ON snapshots.organization_id = organizations.organization_id
WHERE (organizations.organization_id, rules.need) NOT IN (
        SELECT (organization_id, need) FROM coverage
    )
    OR (rules.need IN ('teams', 'all_teams', 'teams_and_builds') AND NOT snapshots.has_teams)
