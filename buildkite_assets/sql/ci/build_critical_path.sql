/*
One row per job on a build's critical path: the chain of jobs that its length came from.

The path ends with the job that finished last. Before each job comes the one that finished last
before it became runnable, with a second's tolerance. The API does not tell what a step depends
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
  step                VARCHAR  The step's key, else its label, else its command.
  gap_before_seconds  DOUBLE   From the end of the job before it (from the build's creation) until
                               it became runnable: blocks, triggered builds, late retries.
  queue_seconds       DOUBLE   That it waited for an agent.
  run_seconds         DOUBLE   That it ran.
  share_of_path       DOUBLE   Its waiting and running, of that of the whole path; NULL where that
                               is 0.
*/
WITH RECURSIVE ran AS MATERIALIZED (
    SELECT
        job_id,
        build_id,
        coalesce(runnable_at, started_at) AS began_at,
        finished_at,
        coalesce(queue_seconds, 0) AS queue_seconds,
        run_seconds
    FROM job_runs
    WHERE day >= $from_day AND day < $to_day AND started_at IS NOT NULL AND finished_at IS NOT NULL
),
ends AS MATERIALIZED (
    SELECT build_id, finished_at, max(job_id) AS job_id FROM ran GROUP BY ALL
),
linked AS MATERIALIZED (
    SELECT ran.job_id, ends.job_id AS job_before_id, ends.finished_at AS before_finished_at
    FROM ran
    ASOF JOIN ends
        ON ends.build_id = ran.build_id
        -- Strictly before its own end, so that a job of no length never comes before itself.
        AND ends.finished_at
            <= least(ran.began_at + INTERVAL 1 SECOND, ran.finished_at - INTERVAL 1 MICROSECOND)
),
path AS (
    SELECT build_id, max_by(job_id, finished_at) AS job_id, 1 AS from_end
    FROM ends
    GROUP BY build_id
    UNION ALL
    SELECT path.build_id, linked.job_before_id, path.from_end + 1
    FROM path
    JOIN linked USING (job_id)
)
SELECT
    build_id,
    (row_number() OVER (PARTITION BY build_id ORDER BY from_end DESC))::INTEGER AS position,
    job_runs.day,
    job_id,
    job_runs.organization_id,
    job_runs.pipeline_id,
    job_runs.pipeline_slug,
    job_runs.step,
    greatest(epoch(ran.began_at - coalesce(before_finished_at, builds.created_at)), 0.0)
        AS gap_before_seconds,
    ran.queue_seconds,
    ran.run_seconds,
    (ran.queue_seconds + ran.run_seconds)
    / nullif(sum(ran.queue_seconds + ran.run_seconds) OVER (PARTITION BY build_id), 0)
        AS share_of_path
FROM path
JOIN ran USING (job_id, build_id)
JOIN job_runs USING (job_id, build_id)
JOIN builds USING (build_id)
LEFT JOIN linked USING (job_id)
WHERE job_runs.day >= $from_day AND job_runs.day < $to_day
