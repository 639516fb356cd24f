/*
One row per job on a build's critical path: the chain of jobs that its length came from.

The path ends with the job that finished last; a job that still runs has ended so far when Buildkite
last reported its build. Before each job comes the one that finished last before it became runnable,
with a second's tolerance. The API does not tell what a step depends
on, so this is the path that was observed, not the one declared.

Key: build_id, position
Recomputed: by day

Columns:
  build_id            UUID     The build.
  position            INTEGER  1 for the first job of the path.
  day                 DATE     The UTC day of the build's creation; the partition.
  job_id              UUID     The attempt.
  organization_id     UUID     The organization that it belongs to.
  pipeline_id         UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug       VARCHAR  The pipeline's present slug, else the one when read.
  step                VARCHAR  The step, as in `job_runs`.
  gap_before_seconds  DOUBLE   From the end of the job before it (from the build's creation) until
                               it became runnable: blocks, triggered builds, late retries.
  queue_seconds       DOUBLE   That it waited for an agent.
  run_seconds         DOUBLE   That it ran, so far.
  share_of_path       DOUBLE   Its waiting and running, of that of the whole path; NULL where that
                               is 0.
*/
WITH RECURSIVE ended AS (
    SELECT
        build_id,
        list_reverse_sort(list({
            'ended_at': ran_until,
            'job_id': job_id,
            -- Strictly before its own end, so that a job of no length never comes before itself.
            'before_until': least(
                coalesce(runnable_at, started_at) + INTERVAL 1 SECOND,
                ran_until - INTERVAL 1 MICROSECOND
            ),
            'seconds': coalesce(queue_seconds, 0) + agent_seconds
        })) AS jobs
    FROM job_runs
    WHERE day >= $from_day AND day < $to_day AND ran_until IS NOT NULL
    GROUP BY build_id
),
-- From the last to the first: of the jobs that are left, those that may come before the last one.
path AS (
    SELECT build_id, jobs[1] AS job, jobs[2:] AS others, 1 AS from_end
    FROM ended
    UNION ALL
    SELECT build_id, jobs_before[1], jobs_before[2:], from_end + 1
    FROM (
        SELECT
            build_id,
            from_end,
            list_filter(others, lambda other: other.ended_at <= job.before_until) AS jobs_before
        FROM path
    )
    WHERE len(jobs_before) > 0
),
placed AS (
    SELECT
        build_id,
        job.job_id AS job_id,
        (row_number() OVER from_begin)::INTEGER AS position,
        lag(job.ended_at) OVER from_begin AS before_ended_at,
        job.seconds / nullif(sum(job.seconds) OVER (PARTITION BY build_id), 0) AS share_of_path
    FROM path
    WINDOW from_begin AS (PARTITION BY build_id ORDER BY from_end DESC)
)
SELECT
    placed.build_id,
    position,
    day,
    job_id,
    job_runs.organization_id,
    job_runs.pipeline_id,
    job_runs.pipeline_slug,
    step,
    greatest(
        epoch(
            coalesce(job_runs.runnable_at, job_runs.started_at)
            - coalesce(before_ended_at, builds.created_at)
        ),
        0.0
    ) AS gap_before_seconds,
    coalesce(queue_seconds, 0) AS queue_seconds,
    agent_seconds AS run_seconds,
    share_of_path
FROM placed
JOIN job_runs USING (job_id)
JOIN builds ON builds.build_id = placed.build_id
WHERE day >= $from_day AND day < $to_day
