/*
One row per pipeline, span of time, and team that owned the pipeline then.

Figures of pipelines are given to teams by this rule alone. Of the teams that have access to a
pipeline, those with the highest level own it, if that is `BUILD_AND_READ` at least: who may only
read it is a guest. A team owns nothing while it is a default team, since whoever joins the
organization joins it. Several teams of the same level own a pipeline together.

The history begins with the first snapshot that saw teams; the owners that it saw count for all
time before it. Later ones count from when Buildkite says that the team was given the pipeline,
and a level from the first snapshot that saw it. The spans of a pipeline follow one another without
gaps. A token that is not an administrator's sees no secret teams, so that these own nothing.
Organizations that never showed a team have no rows: who owns their pipelines is not known.

Key: organization_id, pipeline_id, owned_from, team_id
Recomputed: whole

Columns:
  organization_id  UUID       The organization.
  pipeline_id      UUID       The pipeline.
  owned_from       TIMESTAMP  When the span begins; NULL for the first one.
  owned_to         TIMESTAMP  Before when it ends; NULL for the last one.
  team_id          UUID       A team that owned it; NULL where none did.
  team_slug        VARCHAR    That team's present slug, else its last one.
  owners           BIGINT     How many teams owned it.
  attribution      VARCHAR    `sole` of one owner, `shared` of several, or `none`.
*/
WITH known_teams AS (
    SELECT organization_id, team_id, arg_max(slug, valid_from) AS slug
    FROM teams_history
    GROUP BY ALL
),

team_states AS (
    SELECT
        organization_id,
        team_id,
        is_default_team,
        if(
            lag(valid_from) OVER in_order IS NULL, '-infinity'::TIMESTAMP, valid_from
        ) AS begins_at,
        lead(valid_from, 1, 'infinity'::TIMESTAMP) OVER in_order AS ends_at
    FROM teams_history
    WINDOW in_order AS (PARTITION BY organization_id, team_id ORDER BY valid_from)
),

beginnings AS (
    SELECT organization_id, min(valid_from) AS known_from FROM teams_history GROUP BY ALL
),

levels AS (
    SELECT
        organization_id,
        pipeline_id,
        team_id,
        access_rank,
        CASE
            WHEN valid_from = known_from THEN '-infinity'::TIMESTAMP
            -- The same grant with another level.
            WHEN created_at = lag(created_at) OVER (
                PARTITION BY organization_id, pipeline_id, team_id ORDER BY valid_from
            ) THEN valid_from
            ELSE least(created_at, valid_from)
        END AS held_from,
        coalesce(valid_to, 'infinity'::TIMESTAMP) AS held_to
    FROM team_pipelines_history
    JOIN beginnings USING (organization_id)
),

candidates AS (
    SELECT levels.* REPLACE (
        greatest(held_from, begins_at) AS held_from,
        least(held_to, ends_at) AS held_to
    )
    FROM levels
    JOIN team_states USING (organization_id, team_id)
    WHERE access_rank >= 2
        AND is_default_team IS DISTINCT FROM true
        AND begins_at < held_to
        AND held_from < ends_at
),

edges AS (
    SELECT organization_id, pipeline_id, '-infinity'::TIMESTAMP AS begins_at
    FROM pipelines
    JOIN beginnings USING (organization_id)
    UNION
    SELECT
        organization_id,
        pipeline_id,
        unnest(['-infinity'::TIMESTAMP, held_from, held_to]) AS begins_at
    FROM candidates
),

spans AS (
    SELECT
        *,
        lead(begins_at, 1, 'infinity'::TIMESTAMP) OVER (
            PARTITION BY organization_id, pipeline_id ORDER BY begins_at
        ) AS ends_at
    FROM edges
    WHERE begins_at < 'infinity'::TIMESTAMP
),

ranked AS (
    SELECT
        spans.*,
        team_id,
        access_rank = max(access_rank) OVER (
            PARTITION BY spans.organization_id, spans.pipeline_id, begins_at
        ) AS is_highest
    FROM spans
    LEFT JOIN candidates
        ON candidates.organization_id = spans.organization_id
        AND candidates.pipeline_id = spans.pipeline_id
        AND candidates.held_from <= spans.begins_at
        AND candidates.held_to > spans.begins_at
),

owned AS (
    SELECT
        organization_id,
        pipeline_id,
        begins_at,
        ends_at,
        coalesce(list(DISTINCT team_id ORDER BY team_id) FILTER (is_highest), []) AS team_ids
    FROM ranked
    GROUP BY ALL
),

-- What another team, or a lower level, cut in two although the owners stayed is one span.
numbered AS (
    SELECT
        *,
        count(*) FILTER (is_new) OVER (
            PARTITION BY organization_id, pipeline_id ORDER BY begins_at
        ) AS span_no
    FROM (
        SELECT
            *,
            team_ids IS DISTINCT FROM lag(team_ids) OVER (
                PARTITION BY organization_id, pipeline_id ORDER BY begins_at
            ) AS is_new
        FROM owned
    )
),

merged AS (
    SELECT
        organization_id,
        pipeline_id,
        nullif(min(begins_at), '-infinity'::TIMESTAMP) AS owned_from,
        nullif(max(ends_at), 'infinity'::TIMESTAMP) AS owned_to,
        team_ids,
        len(team_ids) AS owners,
        unnest(if(owners = 0, [NULL], team_ids)) AS team_id
    FROM numbered
    GROUP BY organization_id, pipeline_id, span_no, team_ids
)

SELECT
    merged.organization_id,
    pipeline_id,
    owned_from,
    owned_to,
    team_id,
    slug AS team_slug,
    owners,
    CASE owners WHEN 0 THEN 'none' WHEN 1 THEN 'sole' ELSE 'shared' END AS attribution
FROM merged
LEFT JOIN known_teams USING (team_id)
