/*
One row per block step of a build, and how long the build stood still for it.

A build stands still from the end of the work before the block (its creation, if there is none)
until someone lifts the block. A block that still stands has no length yet: `open_builds` says how
long it has lasted so far. A block that other work of the build hides costs nothing. Two blocks
lifted in one gap both count from its begin: sum them as `build_runs` does, the longest of each gap.

Key: job_id
Recomputed: by day

Columns:
  job_id           UUID       Buildkite's id of the block.
  build_id         UUID       The build that it belongs to.
  organization_id  UUID       The organization that it belongs to.
  pipeline_id      UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug    VARCHAR    The pipeline's present slug, else the one when read.
  day              DATE       The UTC day of the build's creation; the partition.
  step             VARCHAR    The block's key, else its label.
  state            VARCHAR    As Buildkite spells it: blocked, unblocked, …
  is_open          BOOLEAN    Whether the build still stands at it.
  unblocked_by_id  UUID       The user who lifted it.
  unblocked_at     TIMESTAMP  When it was lifted.
  waited_from      TIMESTAMP  When the work before it had ended; NULL if the build has not stopped at
                              it.
  blocked_seconds  DOUBLE     How long the build stood still until it was lifted; NULL if it was not.
*/
WITH blocks AS (
    SELECT
        jobs.job_id,
        build_id,
        builds.organization_id,
        builds.pipeline_id,
        coalesce(pipelines.slug, builds.pipeline_slug) AS pipeline_slug,
        builds.created_at,
        coalesce(jobs.step_key, nullif(trim(jobs.name), ''), '(unnamed)') AS step,
        jobs.state,
        jobs.state = 'blocked' AND (coalesce(builds.blocked, false) OR builds.state = 'blocked')
            AS is_open,
        jobs.unblocked_by_id,
        jobs.unblocked_at,
        coalesce(jobs.unblocked_at, if(is_open, builds.synced_at, NULL)) AS waited_to
    FROM jobs
    JOIN builds USING (build_id)
    LEFT JOIN pipelines USING (pipeline_id)
    WHERE jobs.type = 'manual'
        AND jobs.build_created_at >= $from_day AND jobs.build_created_at < $to_day
        AND builds.created_at >= $from_day AND builds.created_at < $to_day
        AND (jobs.absent_since IS NULL OR jobs.absent_since = builds.absent_since)
),
periods AS (
    SELECT build_id, began_at, ended_at
    FROM build_active_periods
    WHERE day >= $from_day AND day < $to_day
),
-- What waits or runs still, runs on to when Buildkite last reported the build.
working AS (
    SELECT DISTINCT build_id
    FROM job_runs
    WHERE day >= $from_day AND day < $to_day AND outcome = 'unfinished' AND runnable_at IS NOT NULL
)
SELECT
    job_id,
    blocks.build_id,
    organization_id,
    pipeline_id,
    pipeline_slug,
    created_at::DATE AS day,
    step,
    state,
    is_open,
    unblocked_by_id,
    unblocked_at,
    CASE
        WHEN waited_to IS NULL OR (is_open AND working.build_id IS NOT NULL) THEN NULL
        ELSE least(waited_to, coalesce(periods.ended_at, created_at))
    END AS waited_from,
    epoch(unblocked_at - waited_from) AS blocked_seconds
FROM blocks
ASOF LEFT JOIN periods ON periods.build_id = blocks.build_id AND periods.began_at < waited_to
LEFT JOIN working ON working.build_id = blocks.build_id
