/*
One row per user and pipeline that they have access to: whether they use it.

Used means a build created or a block lifted by that user, whatever started the build; reading
leaves no trace. Recent is what happened in the `dormant_days` of the rules file before the
organization's newest snapshot of access. What the builds do not reach back to is not known: where
no day of builds was read, all of it is NULL.

Key: organization_id, user_id, pipeline_id
Recomputed: whole

Columns:
  organization_id         UUID       The organization.
  user_id                 UUID       The user.
  pipeline_id             UUID       The pipeline.
  access_level            VARCHAR    Their highest level; NULL where it is not known.
  access_rank             INTEGER    The same as 1, 2 or 3.
  last_build_created_at   TIMESTAMP  When they last created a build of it.
  recent_builds_created   BIGINT     Builds of it that they created recently.
  last_unblocked_at       TIMESTAMP  When they last lifted a block in it.
  recent_blocks_lifted    BIGINT     Blocks in it that they lifted recently.
  last_used_at            TIMESTAMP  The later of the two.
  is_never_used           BOOLEAN    Whether they did neither in all the builds that are known.
  recent_days             INTEGER    How many days are recent, 90 by default.
  recent_days_known       BIGINT     Of how many of these days the builds are known.
  builds_known_since      DATE       The first day of builds that was read.
  snapshot_at             TIMESTAMP  When the newest snapshot of the organization began.
*/
WITH snapshots AS (
    SELECT
        organization_id,
        max(started_at) AS snapshot_at,
        max(started_at) - to_days($dormant_days::INTEGER) AS recent_from
    FROM access_syncs
    GROUP BY ALL
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

known AS (
    SELECT
        organization_id,
        snapshots.recent_from,
        min(known_days.day) AS builds_known_since,
        count(*) FILTER (
            known_days.day >= snapshots.recent_from::DATE
            AND known_days.day < snapshots.snapshot_at::DATE
        ) AS recent_days_known
    FROM snapshots
    JOIN known_days USING (organization_id)
    GROUP BY organization_id, snapshots.snapshot_at, snapshots.recent_from
),

uses AS (
    SELECT
        organization_id, creator_id AS user_id, pipeline_id,
        created_at AS built_at, NULL::TIMESTAMP AS unblocked_at
    FROM builds
    WHERE creator_id IS NOT NULL AND pipeline_id IS NOT NULL
    UNION ALL
    SELECT
        builds.organization_id, jobs.unblocked_by_id, builds.pipeline_id, NULL, jobs.unblocked_at
    FROM jobs
    JOIN builds USING (build_id)
    WHERE jobs.unblocked_by_id IS NOT NULL AND builds.pipeline_id IS NOT NULL
),

usage AS (
    SELECT
        uses.organization_id,
        uses.user_id,
        uses.pipeline_id,
        max(uses.built_at) AS last_build_created_at,
        count(*) FILTER (uses.built_at > known.recent_from) AS recent_builds_created,
        max(uses.unblocked_at) AS last_unblocked_at,
        count(*) FILTER (uses.unblocked_at > known.recent_from) AS recent_blocks_lifted
    FROM uses
    JOIN known USING (organization_id)
    GROUP BY uses.organization_id, uses.user_id, uses.pipeline_id
)

SELECT
    access.organization_id,
    access.user_id,
    access.pipeline_id,
    access.access_level,
    access.access_rank,
    usage.last_build_created_at,
    if(known.builds_known_since IS NULL, NULL, coalesce(usage.recent_builds_created, 0))
        AS recent_builds_created,
    usage.last_unblocked_at,
    if(known.builds_known_since IS NULL, NULL, coalesce(usage.recent_blocks_lifted, 0))
        AS recent_blocks_lifted,
    greatest(usage.last_build_created_at, usage.last_unblocked_at) AS last_used_at,
    if(known.builds_known_since IS NULL, NULL, usage.user_id IS NULL) AS is_never_used,
    $dormant_days::INTEGER AS recent_days,
    coalesce(known.recent_days_known, 0) AS recent_days_known,
    known.builds_known_since,
    access.snapshot_at
FROM effective_pipeline_access AS access
LEFT JOIN usage USING (organization_id, user_id, pipeline_id)
LEFT JOIN known ON known.organization_id = access.organization_id
