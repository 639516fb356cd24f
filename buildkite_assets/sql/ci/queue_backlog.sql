/*
One row per queue, with the jobs that were waiting and running when Buildkite was last asked.

Every queue that a job ever asked for has a row; an idle one has zeros. Jobs of `open_builds` count,
and each wait is measured to the `read_at` of its build.

Key: organization_id, queue_id, queue_key
Recomputed: whole

Columns:
  organization_id       UUID       The organization.
  queue_id              UUID       The queue; NULL for jobs that name it by its key only.
  queue_key             VARCHAR    The queue's key.
  cluster_id            UUID       The queue's cluster; NULL where `queue_id` is.
  cluster_name          VARCHAR    That cluster's present name.
  queue                 VARCHAR    Its name for people: see `job_runs`.
  read_at               TIMESTAMP  The instant up to which the row is true, by Buildkite's clock.
  waiting_jobs          BIGINT     Script jobs that wait for an agent.
  longest_wait_seconds  DOUBLE     How long the first of them has waited; NULL if none waits.
  running_jobs          BIGINT     Script jobs that an agent runs.
*/
WITH reads AS (
    SELECT organization_id, max(read_at) AS read_at
    FROM (
        SELECT organization_id, read_at FROM sync_days
        UNION ALL
        SELECT organization_id, read_point FROM sync_feeds
    )
    GROUP BY organization_id
)
SELECT
    job_runs.organization_id,
    queue_id,
    queue_key,
    any_value(cluster_id) AS cluster_id,
    any_value(cluster_name) AS cluster_name,
    any_value(queue) AS queue,
    greatest(any_value(reads.read_at), max(open_builds.read_at)) AS read_at,
    count(open_builds.build_id) FILTER (started_at IS NULL) AS waiting_jobs,
    max(
        if(open_builds.read_at < runnable_at, 0, epoch(open_builds.read_at - runnable_at))
    ) FILTER (started_at IS NULL) AS longest_wait_seconds,
    count(open_builds.build_id) FILTER (started_at IS NOT NULL) AS running_jobs
FROM job_runs
LEFT JOIN reads USING (organization_id)
LEFT JOIN open_builds
    ON open_builds.build_id = job_runs.build_id
    AND outcome = 'unfinished'
    AND (runnable_at IS NOT NULL OR started_at IS NOT NULL)
GROUP BY job_runs.organization_id, queue_id, queue_key
