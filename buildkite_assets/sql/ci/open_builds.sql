/*
One row per build that was running, waiting or blocked when Buildkite was last asked.

A row is true up to `read_at`. For an unfinished build that is its `synced_at`, which every change
feed renews. A blocked build stays blocked until somebody acts on it, which a feed would list: its
`read_at` is the read point of the organization's last feed. Builds that Buildkite no longer has are
left out, as are builds of pipelines that are deleted or out of sight.

Key: build_id
Recomputed: whole

Columns:
  build_id              UUID       Buildkite's id of the build.
  organization_id       UUID       The organization that it belongs to.
  pipeline_id           UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug         VARCHAR    The pipeline's present slug, else the one when read.
  number                BIGINT     Its number in the pipeline.
  branch                VARCHAR    The branch that is built.
  state                 VARCHAR    As Buildkite spells it.
  is_blocked            BOOLEAN    Whether it stands at a block.
  created_at            TIMESTAMP  When it was created.
  read_at               TIMESTAMP  The instant up to which the row is true, by Buildkite's clock.
  age_seconds           DOUBLE     From its creation to `read_at`.
  running_jobs          BIGINT     Script jobs that an agent runs.
  waiting_jobs          BIGINT     Script jobs that wait for an agent.
  longest_wait_seconds  DOUBLE     How long the first of them has waited; NULL if none waits.
  blocked_seconds       DOUBLE     How long it has stood still at a block; NULL if it is not
                                   blocked, or if other jobs of it still wait or run.
  web_url               VARCHAR    Its page at Buildkite.
*/
WITH feeds AS (
    SELECT organization_id, arg_max(read_point, started_at) AS read_point
    FROM sync_feeds
    GROUP BY organization_id
),
unfinished AS (
    SELECT
        build_runs.*,
        builds.web_url,
        greatest(
            build_runs.synced_at,
            build_runs.created_at,
            if(build_runs.is_blocked, feeds.read_point, NULL)
        ) AS read_at
    FROM build_runs
    JOIN builds USING (build_id)
    LEFT JOIN pipelines ON pipelines.pipeline_id = build_runs.pipeline_id
    LEFT JOIN feeds ON feeds.organization_id = build_runs.organization_id
    WHERE (build_runs.is_open OR build_runs.is_blocked)
        AND builds.absent_since IS NULL
        AND pipelines.absent_since IS NULL
),
work AS (
    SELECT
        build_id,
        count(*) FILTER (started_at IS NOT NULL) AS running_jobs,
        count(*) FILTER (started_at IS NULL) AS waiting_jobs,
        min(runnable_at) FILTER (started_at IS NULL) AS waiting_from
    FROM job_runs
    SEMI JOIN unfinished USING (build_id)
    WHERE outcome = 'unfinished' AND (started_at IS NOT NULL OR runnable_at IS NOT NULL)
    GROUP BY build_id
),
blocks AS (
    SELECT build_id, min(waited_from) AS waited_from
    FROM block_waits
    WHERE is_open
    GROUP BY build_id
)
SELECT
    build_id,
    organization_id,
    pipeline_id,
    pipeline_slug,
    number,
    branch,
    state,
    is_blocked,
    created_at,
    read_at,
    epoch(read_at - created_at) AS age_seconds,
    coalesce(running_jobs, 0) AS running_jobs,
    coalesce(waiting_jobs, 0) AS waiting_jobs,
    if(read_at < waiting_from, 0, epoch(read_at - waiting_from)) AS longest_wait_seconds,
    if(read_at < waited_from, 0, epoch(read_at - waited_from)) AS blocked_seconds,
    web_url
FROM unfinished
LEFT JOIN work USING (build_id)
LEFT JOIN blocks USING (build_id)
