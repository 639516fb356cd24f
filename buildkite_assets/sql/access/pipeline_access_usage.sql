/*
One row per user and pipeline that they have access to: whether they use it.

Used means a build created or a block lifted by that user, whatever started the build; reading
leaves no trace. The 90 days end with the organization's newest snapshot of access. What the
builds do not reach back to is not known: where no day of builds was read, all of it is NULL.

Key: organization_id, user_id, pipeline_id
Recomputed: whole

Columns:
  organization_id        UUID       The organization.
  user_id                UUID       The user.
  pipeline_id            UUID       The pipeline.
  access_level           VARCHAR    Their highest level; NULL where it is not known.
  access_rank            INTEGER    The same as 1, 2 or 3.
  last_build_created_at  TIMESTAMP  When they last created a build of it.
  builds_created_90d     BIGINT     Builds of it that they created in the 90 days.
  last_unblocked_at      TIMESTAMP  When they last lifted a block in it.
  blocks_lifted_90d      BIGINT     Blocks in it that they lifted in the 90 days.
  last_used_at           TIMESTAMP  The later of the two.
  is_never_used          BOOLEAN    Whether they did neither in all the builds that are known.
  builds_known_since     DATE       The first day of builds that was read.
  snapshot_at            TIMESTAMP  When the newest snapshot of the organization began.
*/
WITH known AS (
    SELECT organization_id, min(day) AS builds_known_since FROM sync_days GROUP BY organization_id
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

snapshots AS (
    SELECT organization_id, max(started_at) AS snapshot_at FROM access_syncs GROUP BY ALL
),

usage AS (
    SELECT
        uses.organization_id,
        uses.user_id,
        uses.pipeline_id,
        max(uses.built_at) AS last_build_created_at,
        count(*) FILTER (uses.built_at > snapshots.snapshot_at - INTERVAL 90 DAY)
            AS builds_created_90d,
        max(uses.unblocked_at) AS last_unblocked_at,
        count(*) FILTER (uses.unblocked_at > snapshots.snapshot_at - INTERVAL 90 DAY)
            AS blocks_lifted_90d
    FROM uses
    JOIN snapshots USING (organization_id)
    GROUP BY uses.organization_id, uses.user_id, uses.pipeline_id
)

SELECT
    access.organization_id,
    access.user_id,
    access.pipeline_id,
    access.access_level,
    access.access_rank,
    usage.last_build_created_at,
    if(known.builds_known_since IS NULL, NULL, coalesce(usage.builds_created_90d, 0))
        AS builds_created_90d,
    usage.last_unblocked_at,
    if(known.builds_known_since IS NULL, NULL, coalesce(usage.blocks_lifted_90d, 0))
        AS blocks_lifted_90d,
    greatest(usage.last_build_created_at, usage.last_unblocked_at) AS last_used_at,
    if(known.builds_known_since IS NULL, NULL, usage.user_id IS NULL) AS is_never_used,
    known.builds_known_since,
    access.snapshot_at
FROM effective_pipeline_access AS access
LEFT JOIN usage USING (organization_id, user_id, pipeline_id)
LEFT JOIN known ON known.organization_id = access.organization_id
