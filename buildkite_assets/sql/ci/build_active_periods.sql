/*
One row per stretch of a build during which a job of it was waiting for an agent or running.

The union of the spans from runnable to finished of the build's script jobs, all attempts that
ran: what overlaps or touches is one stretch. The gaps between them are blocks, the time before a
late retry, and what has no agent, such as a triggered build.

Key: build_id, period_no
Recomputed: by day

Columns:
  build_id   UUID       The build.
  period_no  INTEGER    1 for the first stretch.
  day        DATE       The UTC day of the build's creation; the partition.
  began_at   TIMESTAMP  When its first job became runnable.
  ended_at   TIMESTAMP  When its last job finished.
  seconds    DOUBLE     Its length.
*/
WITH spans AS (
    SELECT
        build_id,
        day,
        coalesce(runnable_at, started_at) AS began_at,
        greatest(finished_at, coalesce(runnable_at, started_at)) AS ended_at
    FROM job_runs
    WHERE day >= $from_day AND day < $to_day AND started_at IS NOT NULL AND finished_at IS NOT NULL
),
reaches AS (
    SELECT
        *,
        max(ended_at) OVER (
            PARTITION BY build_id ORDER BY began_at, ended_at
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS reached_at
    FROM spans
),
numbered AS (
    SELECT
        *,
        sum(if(reached_at IS NULL OR began_at > reached_at, 1, 0)) OVER (
            PARTITION BY build_id ORDER BY began_at, ended_at ROWS UNBOUNDED PRECEDING
        ) AS period_no
    FROM reaches
)
SELECT
    build_id,
    period_no::INTEGER AS period_no,
    day,
    min(began_at) AS began_at,
    max(ended_at) AS ended_at,
    epoch(max(ended_at) - min(began_at)) AS seconds
FROM numbered
GROUP BY ALL
