/*
One row per user and pipeline that they have access to, as the newest snapshot has it.

The highest level of all the paths counts: each team that has both, and the role of administrator,
who may do everything everywhere. Where an organization shows no team, Teams is disabled, or there
is none, or the token may not list them, which the API does not tell apart: administrators then
have the highest level, and for the other members there is a row per pipeline without a level.

Who may only read the members' list as a member sees no secret teams: levels are then what is known
at least, and `is_complete` is false. Public pipelines, which everybody may read, and pipelines'
own `allowed_teams` are not counted in.

Key: organization_id, user_id, pipeline_id
Recomputed: whole

Columns:
  organization_id               UUID       The organization.
  user_id                       UUID       The user.
  pipeline_id                   UUID       The pipeline.
  access_level                  VARCHAR    `READ_ONLY`, `BUILD_AND_READ`, `MANAGE_BUILD_AND_READ`, or
                                           NULL where it is not known.
  access_rank                   INTEGER    The same as 1, 2 or 3, to compare by.
  is_administrator              BOOLEAN    Whether the user administers the organization.
  is_only_through_default_team  BOOLEAN    Whether the default team is the only path.
  are_teams_unknown             BOOLEAN    Whether the organization shows no team at all.
  is_complete                   BOOLEAN    Whether a snapshot has seen secret teams too, and the
                                           user's role is known: no other path can exist.
  paths                         STRUCT(access_rank INTEGER, access_level VARCHAR, via VARCHAR, team_slug VARCHAR, team_id UUID)[]  All the ways, highest first; `via` is administrator or team.
  snapshot_at                   TIMESTAMP  When the newest snapshot of the organization began.
*/
WITH snapshots AS (
    SELECT
        organization_id,
        max(started_at) AS snapshot_at,
        bool_or(sees_all_teams) AS has_seen_all_teams,
        organization_id NOT IN (SELECT organization_id FROM teams) AS are_teams_unknown
    FROM access_syncs
    GROUP BY organization_id
),

known_pipelines AS (
    SELECT organization_id, pipeline_id FROM pipelines WHERE absent_since IS NULL
    UNION
    SELECT organization_id, pipeline_id FROM team_pipelines
),

paths AS (
    SELECT
        team_members.organization_id,
        team_members.user_id,
        team_pipelines.pipeline_id,
        team_pipelines.access_rank,
        teams.is_default_team,
        {
            'access_rank': team_pipelines.access_rank,
            'access_level': team_pipelines.access_level,
            'via': 'team',
            'team_slug': teams.slug,
            'team_id': teams.team_id
        } AS path
    FROM team_members
    JOIN team_pipelines USING (organization_id, team_id)
    JOIN teams USING (organization_id, team_id)
    UNION ALL
    SELECT
        organization_id,
        user_id,
        pipeline_id,
        3,
        false,
        {
            'access_rank': 3,
            'access_level': 'MANAGE_BUILD_AND_READ',
            'via': 'administrator',
            'team_slug': NULL,
            'team_id': NULL
        }
    FROM organization_members
    JOIN known_pipelines USING (organization_id)
    WHERE role = 'ADMIN'
    UNION ALL
    SELECT organization_id, user_id, pipeline_id, NULL, NULL, NULL
    FROM organization_members
    JOIN snapshots USING (organization_id)
    JOIN known_pipelines USING (organization_id)
    WHERE are_teams_unknown AND role IS DISTINCT FROM 'ADMIN'
),

levels AS (
    SELECT
        organization_id,
        user_id,
        pipeline_id,
        max(access_rank)::INTEGER AS access_rank,
        bool_and(is_default_team) AS is_only_through_default_team,
        list(path) FILTER (path IS NOT NULL) AS paths
    FROM paths
    GROUP BY organization_id, user_id, pipeline_id
)

SELECT
    levels.organization_id,
    levels.user_id,
    levels.pipeline_id,
    CASE levels.access_rank
        WHEN 1 THEN 'READ_ONLY'
        WHEN 2 THEN 'BUILD_AND_READ'
        WHEN 3 THEN 'MANAGE_BUILD_AND_READ'
    END AS access_level,
    levels.access_rank,
    coalesce(members.role = 'ADMIN', false) AS is_administrator,
    levels.is_only_through_default_team,
    snapshots.are_teams_unknown,
    snapshots.has_seen_all_teams AND members.role IS NOT NULL AS is_complete,
    coalesce(list_sort(levels.paths, 'DESC', 'NULLS LAST'), []) AS paths,
    snapshots.snapshot_at
FROM levels
JOIN snapshots ON snapshots.organization_id = levels.organization_id
LEFT JOIN organization_members AS members
    ON members.organization_id = levels.organization_id AND members.user_id = levels.user_id
