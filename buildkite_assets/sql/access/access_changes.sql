/*
One row per change of access that lies between two snapshots.

What a snapshot is the first to see is a change only if an earlier one would have shown it: one of
an administrator, or for memberships one that listed the team. Renames are none. Where all teams
come or go at once, Teams was enabled or disabled: that is one row, and what follows from it is
left out, as are effective levels while no team is known.

Key: organization_id, changed_at, object_type, user_id, team_id, pipeline_id
Recomputed: whole

Columns:
  organization_id  UUID       The organization.
  changed_at       TIMESTAMP  When the snapshot began that first saw it.
  object_type      VARCHAR    organization, organization_member, team, team_member, team_pipeline, or
                              effective_pipeline_access: what follows for a user and a pipeline.
  user_id          UUID       The user that it is about, if any.
  team_id          UUID       The team that it is about, if any.
  pipeline_id      UUID       The pipeline that it is about, if any.
  change_type      VARCHAR    granted, revoked, raised, lowered, role_changed, level_changed (one of
                              the levels is not known), or teams_toggled.
  before           VARCHAR    The role or level before; NULL if none.
  after            VARCHAR    The role or level after; NULL if none.
  rank_before      INTEGER    That level as 1, 2 or 3.
  rank_after       INTEGER    That level as 1, 2 or 3.
  cause            VARCHAR    joined, left, role_changed, team_created, team_deleted, joined_team,
                              left_team, pipeline_added, pipeline_removed, pipeline_deleted,
                              level_changed, teams_toggled, or unknown.
  window_start     TIMESTAMP  It happened after this: the last earlier snapshot that saw it otherwise
                              began then.
  window_end       TIMESTAMP  It happened before this: the snapshot that first saw it ended then.
*/
WITH states AS (
    SELECT
        organization_id, 'organization_member' AS object_type, user_id, NULL::UUID AS team_id,
        NULL::UUID AS pipeline_id, role AS value, NULL::INTEGER AS access_rank, valid_from, valid_to
    FROM organization_members_history
    UNION ALL
    SELECT
        organization_id, 'team', NULL, team_id, NULL, 'team', NULL, valid_from, valid_to
    FROM teams_history
    UNION ALL
    SELECT
        organization_id, 'team_member', user_id, team_id, NULL, role, NULL, valid_from, valid_to
    FROM team_members_history
    UNION ALL
    SELECT
        organization_id, 'team_pipeline', NULL, team_id, pipeline_id, access_level, access_rank,
        valid_from, valid_to
    FROM team_pipelines_history
),

-- Which snapshots would have shown a thing of a kind, or the members of a team.
sights AS (
    SELECT organization_id, 'organization_member' AS object_type, started_at
    FROM access_syncs
    WHERE sees_all_members
    UNION ALL
    SELECT organization_id, unnest(['team', 'team_member', 'team_pipeline']), started_at
    FROM access_syncs
    WHERE sees_all_teams
),

team_sights AS (
    SELECT
        organization_id, 'team_member' AS object_type, unnest(listed_team_ids) AS team_id,
        started_at
    FROM access_syncs
),

-- Each instant at which a thing appears, changes or is gone: what ends there and what begins there
-- are one.
points AS (
    SELECT
        organization_id, object_type, user_id, team_id, pipeline_id, changed_at,
        bool_or(is_there) AS is_there,
        any_value(value) AS value,
        any_value(access_rank) AS access_rank
    FROM (
        SELECT
            organization_id, object_type, user_id, team_id, pipeline_id,
            unnest([valid_from, valid_to]) AS changed_at,
            unnest([true, false]) AS is_there,
            unnest([value, NULL]) AS value,
            unnest([access_rank, NULL]) AS access_rank
        FROM states
    )
    WHERE changed_at IS NOT NULL
    GROUP BY organization_id, object_type, user_id, team_id, pipeline_id, changed_at
),

turns AS (
    SELECT
        organization_id, object_type, user_id, team_id, pipeline_id, changed_at,
        is_there,
        coalesce(lag(is_there) OVER thing, false) AS was_there,
        lag(value) OVER thing AS before,
        value AS after,
        lag(access_rank) OVER thing AS rank_before,
        access_rank AS rank_after,
        if(was_there, lag(changed_at) OVER thing, NULL) AS known_since,
        coalesce(lead(changed_at) OVER thing, 'infinity') AS ends_at
    FROM points
    WINDOW thing AS (
        PARTITION BY organization_id, object_type, user_id, team_id, pipeline_id
        ORDER BY changed_at
    )
),

-- `window_start` is NULL where no earlier snapshot would have shown it: that is no change.
seen_turns AS (
    SELECT
        turns.*,
        greatest(turns.known_since, sights.started_at, team_sights.started_at) AS window_start,
        access_syncs.ended_at AS window_end
    FROM turns
    ASOF LEFT JOIN sights
        ON sights.organization_id = turns.organization_id
        AND sights.object_type = turns.object_type
        AND sights.started_at < turns.changed_at
    ASOF LEFT JOIN team_sights
        ON team_sights.organization_id = turns.organization_id
        AND team_sights.object_type = turns.object_type
        AND team_sights.team_id = turns.team_id
        AND team_sights.started_at < turns.changed_at
    JOIN access_syncs
        ON access_syncs.organization_id = turns.organization_id
        AND access_syncs.started_at = turns.changed_at
),

team_counts AS (
    SELECT
        organization_id,
        'team' AS object_type,
        changed_at,
        sum(sum(is_there::INTEGER - was_there::INTEGER)) OVER (
            PARTITION BY organization_id ORDER BY changed_at
        ) AS teams_after,
        teams_after - sum(is_there::INTEGER - was_there::INTEGER) AS teams_before
    FROM turns
    WHERE object_type = 'team'
    GROUP BY organization_id, changed_at
),

-- Snapshots before or after which no team is known.
teamless AS (
    SELECT access_syncs.organization_id, access_syncs.started_at AS changed_at
    FROM access_syncs
    ASOF LEFT JOIN team_counts
        ON team_counts.organization_id = access_syncs.organization_id
        AND team_counts.changed_at <= access_syncs.started_at
    WHERE coalesce(team_counts.teams_after, 0) = 0
        OR (team_counts.changed_at = access_syncs.started_at AND team_counts.teams_before = 0)
),

toggles AS (
    SELECT
        team_counts.organization_id,
        team_counts.changed_at,
        if(team_counts.teams_after = 0, 'enabled', 'disabled or none') AS before,
        if(team_counts.teams_after = 0, 'disabled or none', 'enabled') AS after,
        sights.started_at AS window_start,
        access_syncs.ended_at AS window_end
    FROM team_counts
    ASOF JOIN sights
        ON sights.organization_id = team_counts.organization_id
        AND sights.object_type = team_counts.object_type
        AND sights.started_at < team_counts.changed_at
    JOIN access_syncs
        ON access_syncs.organization_id = team_counts.organization_id
        AND access_syncs.started_at = team_counts.changed_at
    WHERE (team_counts.teams_before = 0) <> (team_counts.teams_after = 0)
),

object_changes AS (
    SELECT *
    FROM seen_turns
    WHERE window_start IS NOT NULL
        AND (is_there <> was_there OR before <> after)
        AND (
            object_type = 'organization_member'
            OR (organization_id, changed_at) NOT IN (
                SELECT (organization_id, changed_at) FROM toggles
            )
        )
),

explained AS (
    SELECT
        changes.*,
        CASE
            WHEN changes.is_there AND changes.was_there
                THEN if(changes.object_type = 'team_pipeline', 'level_changed', 'role_changed')
            WHEN changes.object_type = 'organization_member' OR member.changed_at IS NOT NULL
                THEN if(changes.is_there, 'joined', 'left')
            WHEN changes.object_type = 'team' OR team.changed_at IS NOT NULL
                THEN if(changes.is_there, 'team_created', 'team_deleted')
            WHEN changes.object_type = 'team_member'
                THEN if(changes.is_there, 'joined_team', 'left_team')
            WHEN changes.is_there THEN 'pipeline_added'
            WHEN pipelines.absent_since <= changes.window_end THEN 'pipeline_deleted'
            ELSE 'pipeline_removed'
        END AS cause
    FROM object_changes AS changes
    LEFT JOIN object_changes AS team
        ON team.organization_id = changes.organization_id
        AND team.changed_at = changes.changed_at
        AND team.object_type = 'team'
        AND team.team_id = changes.team_id
        AND team.is_there = changes.is_there
    LEFT JOIN object_changes AS member
        ON member.organization_id = changes.organization_id
        AND member.changed_at = changes.changed_at
        AND member.object_type = 'organization_member'
        AND member.user_id = changes.user_id
        AND member.is_there = changes.is_there
        AND member.is_there <> member.was_there
    LEFT JOIN pipelines
        ON pipelines.organization_id = changes.organization_id
        AND pipelines.pipeline_id = changes.pipeline_id
),

-- States as they count for levels. One that was there before anybody could see it begins a moment
-- before the snapshot that saw it first, so that it is the same before and after.
spans AS (
    SELECT
        organization_id, object_type, user_id, team_id, pipeline_id,
        after AS value, rank_after AS access_rank,
        if(window_start IS NULL, changed_at - INTERVAL 1 MICROSECOND, changed_at) AS begins_at,
        ends_at
    FROM seen_turns
    WHERE is_there
),

paths AS (
    SELECT
        members.organization_id, members.user_id, levels.pipeline_id, members.team_id,
        levels.access_rank,
        greatest(members.begins_at, levels.begins_at) AS begins_at,
        least(members.ends_at, levels.ends_at) AS ends_at
    FROM spans AS members
    JOIN spans AS levels
        ON levels.organization_id = members.organization_id
        AND levels.team_id = members.team_id
        AND levels.begins_at < members.ends_at
        AND members.begins_at < levels.ends_at
    WHERE members.object_type = 'team_member' AND levels.object_type = 'team_pipeline'
    UNION ALL
    SELECT
        spans.organization_id, spans.user_id, pipelines.pipeline_id, NULL, 3,
        spans.begins_at, spans.ends_at
    FROM spans
    JOIN pipelines ON pipelines.organization_id = spans.organization_id
    WHERE spans.object_type = 'organization_member' AND spans.value = 'ADMIN'
),

changing AS (
    SELECT DISTINCT organization_id, user_id, pipeline_id
    FROM paths
    WHERE ends_at < 'infinity'
        OR (organization_id, begins_at) IN (SELECT (organization_id, started_at) FROM access_syncs)
),

steps AS (
    SELECT organization_id, user_id, pipeline_id, begins_at AS changed_at, access_rank, 1 AS delta
    FROM paths SEMI JOIN changing USING (organization_id, user_id, pipeline_id)
    UNION ALL
    SELECT organization_id, user_id, pipeline_id, ends_at, access_rank, -1
    FROM paths
    WHERE ends_at < 'infinity'
),

counts AS (
    SELECT
        organization_id, user_id, pipeline_id, changed_at,
        sum(coalesce(sum(delta) FILTER (access_rank IS NULL), 0)) OVER pair AS unknown,
        sum(coalesce(sum(delta) FILTER (access_rank = 1), 0)) OVER pair AS first,
        sum(coalesce(sum(delta) FILTER (access_rank = 2), 0)) OVER pair AS second,
        sum(coalesce(sum(delta) FILTER (access_rank = 3), 0)) OVER pair AS third
    FROM steps
    GROUP BY organization_id, user_id, pipeline_id, changed_at
    WINDOW pair AS (
        PARTITION BY organization_id, user_id, pipeline_id ORDER BY changed_at
    )
),

ranks AS (
    SELECT
        organization_id, user_id, pipeline_id, changed_at,
        CASE WHEN third > 0 THEN 3 WHEN second > 0 THEN 2 WHEN first > 0 THEN 1 END AS rank_after,
        lag(rank_after) OVER pair AS rank_before,
        unknown > 0 OR coalesce(lag(unknown) OVER pair, 0) > 0 AS is_unknown
    FROM counts
    WINDOW pair AS (
        PARTITION BY organization_id, user_id, pipeline_id ORDER BY changed_at
    )
),

rank_changes AS (
    SELECT
        ranks.organization_id, ranks.user_id, ranks.pipeline_id, ranks.changed_at,
        ranks.rank_before, ranks.rank_after, access_syncs.ended_at AS window_end,
        coalesce(rank_after, 0) > coalesce(rank_before, 0) AS is_rise
    FROM ranks
    JOIN access_syncs
        ON access_syncs.organization_id = ranks.organization_id
        AND access_syncs.started_at = ranks.changed_at
    WHERE ranks.rank_before IS DISTINCT FROM ranks.rank_after
        AND NOT ranks.is_unknown
        AND (ranks.organization_id, ranks.changed_at) NOT IN (
            SELECT (organization_id, changed_at) FROM teamless
        )
),

-- The paths that began at a rise, or ended at a fall.
turned_paths AS (
    SELECT rank_changes.*, paths.team_id
    FROM rank_changes
    JOIN paths
        ON paths.organization_id = rank_changes.organization_id
        AND paths.user_id = rank_changes.user_id
        AND paths.pipeline_id = rank_changes.pipeline_id
        AND if(rank_changes.is_rise, paths.begins_at, paths.ends_at) = rank_changes.changed_at
),

reasons AS (
    SELECT turned_paths.*, explained.cause, explained.window_start
    FROM turned_paths
    JOIN explained
        ON explained.organization_id = turned_paths.organization_id
        AND explained.changed_at = turned_paths.changed_at
        AND explained.user_id = turned_paths.user_id
        AND explained.team_id = turned_paths.team_id
    WHERE explained.object_type = 'team_member' AND explained.is_there <> explained.was_there
    UNION ALL
    SELECT turned_paths.*, explained.cause, explained.window_start
    FROM turned_paths
    JOIN explained
        ON explained.organization_id = turned_paths.organization_id
        AND explained.changed_at = turned_paths.changed_at
        AND explained.team_id = turned_paths.team_id
        AND explained.pipeline_id = turned_paths.pipeline_id
    WHERE explained.object_type = 'team_pipeline'
    UNION ALL
    SELECT turned_paths.*, explained.cause, explained.window_start
    FROM turned_paths
    JOIN explained
        ON explained.organization_id = turned_paths.organization_id
        AND explained.changed_at = turned_paths.changed_at
        AND explained.user_id = turned_paths.user_id
    WHERE explained.object_type = 'organization_member' AND turned_paths.team_id IS NULL
),

effective AS (
    SELECT
        organization_id, user_id, pipeline_id, changed_at, rank_before, rank_after, window_end,
        arg_min(
            cause,
            list_position(
                [
                    'left', 'joined', 'role_changed', 'pipeline_deleted', 'team_deleted',
                    'team_created', 'left_team', 'joined_team', 'pipeline_removed',
                    'pipeline_added', 'level_changed'
                ],
                cause
            )
        ) AS cause,
        min(window_start) AS window_start
    FROM reasons
    GROUP BY ALL
),

level_names AS (
    SELECT *
    FROM (
        VALUES (1, 'READ_ONLY'), (2, 'BUILD_AND_READ'), (3, 'MANAGE_BUILD_AND_READ')
    ) AS names (access_rank, access_level)
)

SELECT
    organization_id, changed_at, object_type, user_id, team_id, pipeline_id,
    CASE
        WHEN NOT is_there THEN 'revoked'
        WHEN NOT was_there THEN 'granted'
        WHEN object_type <> 'team_pipeline' THEN 'role_changed'
        WHEN rank_after > rank_before THEN 'raised'
        WHEN rank_after < rank_before THEN 'lowered'
        ELSE 'level_changed'
    END AS change_type,
    before, after, rank_before, rank_after, cause, window_start, window_end
FROM explained
UNION ALL
SELECT
    organization_id, changed_at, 'organization', NULL, NULL, NULL, 'teams_toggled', before, after,
    NULL, NULL, 'teams_toggled', window_start, window_end
FROM toggles
UNION ALL
SELECT
    effective.organization_id, effective.changed_at, 'effective_pipeline_access',
    effective.user_id, NULL, effective.pipeline_id,
    CASE
        WHEN effective.rank_before IS NULL THEN 'granted'
        WHEN effective.rank_after IS NULL THEN 'revoked'
        WHEN effective.rank_after > effective.rank_before THEN 'raised'
        ELSE 'lowered'
    END,
    names_before.access_level, names_after.access_level,
    effective.rank_before, effective.rank_after,
    effective.cause, effective.window_start, effective.window_end
FROM effective
LEFT JOIN level_names AS names_before ON names_before.access_rank = effective.rank_before
LEFT JOIN level_names AS names_after ON names_after.access_rank = effective.rank_after
LEFT JOIN pipelines
    ON pipelines.organization_id = effective.organization_id
    AND pipelines.pipeline_id = effective.pipeline_id
WHERE (pipelines.created_at IS NULL OR pipelines.created_at <= effective.window_end)
    AND (pipelines.absent_since IS NULL OR pipelines.absent_since > effective.window_start)
