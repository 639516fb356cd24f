/*
One row per finding of a rule, and per rule that could not be evaluated.

A finding stands on what snapshots of access knew, so it is first seen by one of them, of those that
could see what the rule needs. A rule whose inputs an organization does not have (no snapshot, none
of an administrator, not all builds of the last days, no team at all) reads `not_evaluated`, which
is not the same as no finding.

- pipeline_without_team: only administrators reach a pipeline that no team has.
- team_without_maintainer, team_without_members, team_without_pipelines.
- default_team_manages: who joins the organization manages the pipeline at once.
- many_administrators: more than `most_administrators` of the rules file.
- dormant_access: a member of a team has had what it lets them build or manage for `dormant_days` of
  the rules file, and used none of it for as long.
- used_after_end: a build started (not by a commit) or a block lifted by someone whose access to the
  pipeline had ended.
- redundant_path: all that a team gives a member, other teams give too.
- member_without_team, sso_optional.
- secret_teams_unseen: the newest snapshot is not an administrator's.

Pipelines are left out while they are archived; of dormant_access and redundant_path so are administrators and
what default teams give.

Key: organization_id, rule_id, status, user_id, team_id, pipeline_id, first_seen_at
Recomputed: whole
Personal: evidence

Columns:
  organization_id  UUID       The organization.
  rule_id          VARCHAR    Which rule; never changes its meaning.
  severity         VARCHAR    high, medium, low or info.
  status           VARCHAR    open, resolved or not_evaluated.
  user_id          UUID       The user that it is about, if any.
  team_id          UUID       The team that it is about, if any.
  pipeline_id      UUID       The pipeline that it is about, if any.
  evidence         VARCHAR    What it stands on, as JSON: names, and where it helps a count of
                              administrators, pipelines or uses.
  first_seen_at    TIMESTAMP  The first snapshot that could tell; the use itself for used_after_end.
  resolved_at      TIMESTAMP  When it was over: the first snapshot that no longer had it, or the use
                              or the archiving that ended it; NULL while it is open.
*/
WITH rules AS (
    SELECT *
    FROM (
        VALUES
            ('pipeline_without_team', 'medium', 'all_teams', ['pipeline'], 0, false),
            ('team_without_maintainer', 'medium', 'teams', ['team'], 0, false),
            ('team_without_members', 'low', 'teams', ['team'], 0, false),
            ('team_without_pipelines', 'low', 'all_teams', ['team'], 0, false),
            ('default_team_manages', 'high', 'teams', ['team', 'pipeline'], 0, false),
            ('many_administrators', 'high', 'members', [], $most_administrators::INTEGER, true),
            ('dormant_access', 'medium', 'teams_and_builds', ['user', 'team'], 0, true),
            ('used_after_end', 'medium', 'all_teams', ['user', 'pipeline'], 0, true),
            ('redundant_path', 'info', 'teams', ['user', 'team'], 0, true),
            ('member_without_team', 'low', 'all_teams', ['user'], 0, false),
            ('sso_optional', 'high', 'all_members', ['user'], 0, false),
            ('secret_teams_unseen', 'info', 'any', [], 0, false)
    ) AS rules (rule_id, severity, need, about, allowed, has_count)
),

-- A rule finds what it is about where there are more of its subjects than allowed, and none of what
-- speaks against it. Both are kinds of `things`.
parts AS (
    SELECT *
    FROM (
        VALUES
            ('pipeline_without_team', 'pipeline', true),
            ('pipeline_without_team', 'team_pipeline', false),
            ('team_without_maintainer', 'team', true),
            ('team_without_maintainer', 'team_maintainer', false),
            ('team_without_members', 'team', true),
            ('team_without_members', 'team_member', false),
            ('team_without_pipelines', 'team', true),
            ('team_without_pipelines', 'team_pipeline', false),
            ('default_team_manages', 'managed_by_default', true),
            ('many_administrators', 'administrator', true),
            ('dormant_access', 'old_path', true),
            ('dormant_access', 'used_path', false),
            ('dormant_access', 'administrator_in_team', false),
            ('redundant_path', 'path', true),
            ('redundant_path', 'path_of_its_own', false),
            ('redundant_path', 'administrator_in_team', false),
            ('member_without_team', 'member', true),
            ('member_without_team', 'team_member', false),
            ('sso_optional', 'member_with_optional_sso', true),
            ('secret_teams_unseen', 'partial_snapshot', true),
            ('teams_known', 'team', true)
    ) AS parts (rule_id, kind, is_subject)
),

-- The days whose builds were read, and those that change feeds brought from begin to end.
known_days AS (
    SELECT organization_id, day FROM sync_days
    UNION
    SELECT
        organization_id,
        unnest(range(min(started_at)::DATE + 1, max(read_point)::DATE, INTERVAL 1 DAY))::DATE
    FROM sync_feeds
    GROUP BY organization_id
),

-- The unbroken runs of such days.
runs_of_days AS (
    SELECT organization_id, min(day) AS first_day, max(day) AS last_day
    FROM (
        SELECT
            organization_id, day,
            day - row_number() OVER (PARTITION BY organization_id ORDER BY day)::INTEGER AS run
        FROM known_days
    )
    GROUP BY organization_id, run
),

-- The snapshots that have what a rule needs.
coverage AS (
    SELECT
        syncs.organization_id,
        syncs.started_at,
        unnest([
            'any',
            if(syncs.members IS NOT NULL, 'members', NULL),
            if(syncs.sees_all_members, 'all_members', NULL),
            if(syncs.teams > 0, 'teams', NULL),
            if(syncs.teams > 0 AND syncs.sees_all_teams, 'all_teams', NULL),
            if(syncs.teams > 0 AND days.first_day IS NOT NULL, 'teams_and_builds', NULL)
        ]) AS need
    FROM access_syncs AS syncs
    LEFT JOIN runs_of_days AS days
        ON days.organization_id = syncs.organization_id
        AND days.first_day <= syncs.started_at::DATE - $dormant_days::INTEGER
        AND days.last_day >= syncs.started_at::DATE - 1
),

-- When a pipeline was not archived; that it is no longer shows when a listing has it so.
unarchived AS (
    SELECT
        organization_id, pipeline_id, valid_to,
        if(lag(valid_from) OVER in_order IS NULL, '-infinity'::TIMESTAMP, valid_from) AS begins_at,
        least(
            lead(valid_from, 1, 'infinity'::TIMESTAMP) OVER in_order,
            archived_at,
            lead(archived_at) OVER in_order
        ) AS ends_at
    FROM pipelines_history
    WINDOW in_order AS (PARTITION BY pipeline_id ORDER BY valid_from)
),

levels AS (
    SELECT
        levels.organization_id, levels.team_id, levels.pipeline_id, levels.access_rank,
        levels.created_at, coalesce(teams.is_default_team, false) AS is_default_team,
        greatest(levels.valid_from, teams.valid_from, unarchived.begins_at) AS begins_at,
        coalesce(least(levels.valid_to, teams.valid_to, unarchived.ends_at), 'infinity')
            AS ends_at
    FROM team_pipelines_history AS levels
    JOIN teams_history AS teams
        ON teams.organization_id = levels.organization_id
        AND teams.team_id = levels.team_id
        AND teams.valid_from < coalesce(levels.valid_to, 'infinity')
        AND levels.valid_from < coalesce(teams.valid_to, 'infinity')
    LEFT JOIN unarchived
        ON unarchived.organization_id = levels.organization_id
        AND unarchived.pipeline_id = levels.pipeline_id
    WHERE greatest(levels.valid_from, teams.valid_from, unarchived.begins_at)
        < coalesce(least(levels.valid_to, teams.valid_to, unarchived.ends_at), 'infinity')
),

paths AS (
    SELECT
        levels.organization_id, members.user_id, levels.team_id, levels.pipeline_id,
        levels.access_rank, levels.is_default_team,
        greatest(members.created_at, levels.created_at) AS had_since,
        greatest(members.valid_from, levels.begins_at) AS begins_at,
        least(members.valid_to, levels.ends_at) AS ends_at
    FROM team_members_history AS members
    JOIN levels
        ON levels.organization_id = members.organization_id
        AND levels.team_id = members.team_id
        AND levels.begins_at < coalesce(members.valid_to, 'infinity')
        AND members.valid_from < levels.ends_at
),

-- When a path gave what no other team gave: the time that the paths that cover it leave. At its end
-- a cover of no length closes the last gap.
covers AS (
    SELECT
        own.*,
        greatest(own.begins_at, other.begins_at) AS covered_from,
        least(own.ends_at, other.ends_at) AS covered_to
    FROM paths AS own
    JOIN paths AS other
        ON other.organization_id = own.organization_id
        AND other.user_id = own.user_id
        AND other.pipeline_id = own.pipeline_id
        AND other.team_id <> own.team_id
        AND other.access_rank >= own.access_rank
        AND other.begins_at < own.ends_at
        AND own.begins_at < other.ends_at
    WHERE NOT own.is_default_team
    UNION ALL
    SELECT *, ends_at, ends_at FROM paths WHERE NOT is_default_team
),

paths_of_their_own AS (
    SELECT
        organization_id, user_id, team_id,
        greatest(
            begins_at,
            max(covered_to) OVER (
                PARTITION BY organization_id, user_id, team_id, pipeline_id, begins_at
                ORDER BY covered_from
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            )
        ) AS begins_at,
        covered_from AS ends_at
    FROM covers
),

uses AS (
    SELECT
        organization_id, creator_id AS user_id, pipeline_id, created_at AS used_at,
        source IN ('ui', 'api') AS is_by_hand
    FROM builds
    WHERE creator_id IS NOT NULL
    UNION ALL
    SELECT
        jobs.organization_id, jobs.unblocked_by_id, builds.pipeline_id, jobs.unblocked_at, true
    FROM jobs
    JOIN builds USING (build_id)
    WHERE jobs.unblocked_by_id IS NOT NULL
),

-- From when to when something was there; of uses those of one day as one.
things AS (
    SELECT
        'pipeline' AS kind, organization_id, NULL::UUID AS user_id, NULL::UUID AS team_id,
        pipeline_id, greatest(created_at, begins_at) AS begins_at,
        least(valid_to, ends_at) AS ends_at
    FROM unarchived
    JOIN pipelines USING (organization_id, pipeline_id)
    UNION ALL
    SELECT
        unnest([
            'member',
            if(role = 'ADMIN', 'administrator', NULL),
            if(sso_mode = 'OPTIONAL', 'member_with_optional_sso', NULL)
        ]),
        organization_id, user_id, NULL, NULL, valid_from, valid_to
    FROM organization_members_history
    UNION ALL
    SELECT 'team', organization_id, NULL, team_id, NULL, valid_from, valid_to FROM teams_history
    UNION ALL
    SELECT
        unnest(['team_member', if(role = 'MAINTAINER', 'team_maintainer', NULL)]),
        organization_id, user_id, team_id, NULL, valid_from, valid_to
    FROM team_members_history
    UNION ALL
    SELECT 'team_pipeline', organization_id, NULL, team_id, pipeline_id, valid_from, valid_to
    FROM team_pipelines_history
    UNION ALL
    SELECT 'managed_by_default', organization_id, NULL, team_id, pipeline_id, begins_at, ends_at
    FROM levels
    WHERE is_default_team AND access_rank = 3
    UNION ALL
    SELECT
        'administrator_in_team', members.organization_id, members.user_id, team_members.team_id,
        NULL, members.valid_from, members.valid_to
    FROM organization_members_history AS members
    JOIN team_members_history AS team_members USING (organization_id, user_id)
    WHERE members.role = 'ADMIN'
    UNION ALL
    SELECT 'path', organization_id, user_id, team_id, NULL, begins_at, ends_at
    FROM paths
    WHERE NOT is_default_team
    UNION ALL
    SELECT 'path_of_its_own', organization_id, user_id, team_id, NULL, begins_at, ends_at
    FROM paths_of_their_own
    UNION ALL
    SELECT
        'old_path', organization_id, user_id, team_id, NULL,
        greatest(begins_at, had_since + to_days($dormant_days::INTEGER)), ends_at
    FROM paths
    WHERE NOT is_default_team AND access_rank >= 2
    UNION ALL
    SELECT
        'used_path', paths.organization_id, paths.user_id, paths.team_id, NULL,
        greatest(paths.begins_at, used.begins_at), least(paths.ends_at, used.ends_at)
    FROM paths
    JOIN (
        SELECT
            organization_id, user_id, pipeline_id, min(used_at) AS begins_at,
            max(used_at) + to_days($dormant_days::INTEGER) AS ends_at
        FROM uses
        GROUP BY organization_id, user_id, pipeline_id, used_at::DATE
    ) AS used USING (organization_id, user_id, pipeline_id)
    WHERE NOT paths.is_default_team AND paths.access_rank >= 2
    UNION ALL
    SELECT
        'partial_snapshot', organization_id, NULL, NULL, NULL, started_at,
        lead(started_at) OVER (PARTITION BY organization_id ORDER BY started_at)
    FROM access_syncs
    QUALIFY NOT sees_all_teams
),

-- How much there was of what a rule is about, and of what speaks against it, after each change.
counts AS (
    SELECT
        rule_id, organization_id, user_id, team_id, pipeline_id, changed_at,
        sum(sum(if(is_subject, delta, 0))) OVER about AS subjects,
        sum(sum(if(is_subject, 0, delta))) OVER about AS holders,
        holders = 0 AND subjects > coalesce(any_value(allowed), 0) AS is_found
    FROM (
        SELECT
            parts.rule_id, parts.is_subject, rules.allowed, things.organization_id,
            if('user' IN rules.about, things.user_id, NULL) AS user_id,
            if('team' IN rules.about, things.team_id, NULL) AS team_id,
            if('pipeline' IN rules.about, things.pipeline_id, NULL) AS pipeline_id,
            unnest([things.begins_at, coalesce(things.ends_at, 'infinity')]) AS changed_at,
            unnest([1, -1]) AS delta
        FROM things
        JOIN parts ON parts.kind = things.kind
        LEFT JOIN rules ON rules.rule_id = parts.rule_id
        WHERE things.begins_at < coalesce(things.ends_at, 'infinity')
    )
    GROUP BY rule_id, organization_id, user_id, team_id, pipeline_id, changed_at
    WINDOW about AS (
        PARTITION BY rule_id, organization_id, user_id, team_id, pipeline_id ORDER BY changed_at
    )
),

turns AS (
    SELECT *, is_found IS DISTINCT FROM lag(is_found) OVER about AS is_turn
    FROM counts
    WINDOW about AS (
        PARTITION BY rule_id, organization_id, user_id, team_id, pipeline_id ORDER BY changed_at
    )
),

numbered AS (
    SELECT *, sum(is_turn::INTEGER) OVER about AS spell
    FROM turns
    WINDOW about AS (
        PARTITION BY rule_id, organization_id, user_id, team_id, pipeline_id ORDER BY changed_at
    )
),

-- From when to when something was found, with the last count of it.
spells AS (
    SELECT
        rule_id, organization_id, user_id, team_id, pipeline_id,
        arg_max(subjects, changed_at)::BIGINT AS subjects,
        min(changed_at) AS begins_at,
        lead(min(changed_at)) OVER (
            PARTITION BY rule_id, organization_id, user_id, team_id, pipeline_id ORDER BY spell
        ) AS ends_at
    FROM numbered
    GROUP BY rule_id, organization_id, user_id, team_id, pipeline_id, spell, is_found
    QUALIFY is_found
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

found AS (
    SELECT * FROM spells WHERE rule_id NOT IN ('pipeline_without_team', 'member_without_team')
    UNION ALL
    -- Where no team is known, nobody is in one, and no pipeline has one: that says nothing.
    SELECT
        spells.* REPLACE (
            greatest(spells.begins_at, known.begins_at) AS begins_at,
            least(spells.ends_at, known.ends_at) AS ends_at
        )
    FROM spells
    JOIN spells AS known
        ON known.organization_id = spells.organization_id
        AND known.rule_id = 'teams_known'
        AND known.begins_at < spells.ends_at
        AND spells.begins_at < known.ends_at
    WHERE spells.rule_id IN ('pipeline_without_team', 'member_without_team')
    UNION ALL
    SELECT
        'used_after_end', ends.organization_id, ends.user_id, NULL, ends.pipeline_id, count(*),
        min(uses.used_at), 'infinity'::TIMESTAMP
    FROM ends
    JOIN uses
        ON uses.organization_id = ends.organization_id
        AND uses.user_id = ends.user_id
        AND uses.pipeline_id = ends.pipeline_id
        AND uses.is_by_hand
        AND uses.used_at > ends.window_end
        AND uses.used_at <= coalesce(ends.granted_again_after, 'infinity')
    GROUP BY ends.organization_id, ends.user_id, ends.pipeline_id
),

-- First seen by a snapshot that could tell; a use after the end tells by itself.
findings AS (
    SELECT found.*, rules.severity, rules.has_count, coverage.started_at AS first_seen_at
    FROM found
    JOIN rules ON rules.rule_id = found.rule_id
    ASOF JOIN coverage
        ON coverage.organization_id = found.organization_id
        AND coverage.need = rules.need
        AND coverage.started_at >= found.begins_at
    WHERE found.rule_id <> 'used_after_end'
    UNION ALL
    SELECT found.*, rules.severity, rules.has_count, found.begins_at
    FROM found
    JOIN rules ON rules.rule_id = found.rule_id
    WHERE found.rule_id = 'used_after_end'
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
        'count': if(findings.has_count, findings.subjects, NULL)
    })::VARCHAR AS evidence,
    findings.first_seen_at,
    nullif(findings.ends_at, 'infinity') AS resolved_at
FROM findings
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
WHERE (organizations.organization_id, rules.need) NOT IN (
        SELECT (organization_id, need) FROM coverage WHERE need IS NOT NULL
    )
    OR (
        rules.need IN ('teams', 'all_teams', 'teams_and_builds')
        AND organizations.organization_id NOT IN (SELECT organization_id FROM teams)
    )
