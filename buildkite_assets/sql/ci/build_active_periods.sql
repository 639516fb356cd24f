/*
One row per stretch of a build during which a job of it was waiting for an agent or running.

The union of the spans from runnable to finished of the build's script jobs, all attempts that
ran: what overlaps or touches is one stretch. A job that still runs counts until Buildkite last told
of its build; one that waits counts as soon as it starts. The gaps between stretches are blocks, the
time before a late retry, and what has no agent, such as a triggered build.

Key: build_id, period_no
Recomputed: by day

Columns:
  build_id   UUID       The build.
  period_no  INTEGER    1 for the first stretch.
  day        DATE       The UTC day of the build's creation; the partition.
  began_at   TIMESTAMP  When its first job became runnable.
  ended_at   TIMESTAMP  When its last job finished; so far, if one still runs.
  seconds    DOUBLE     Its length.
*/
WITH spans AS (
    SELECT
        build_id,
        day,
        coalesce(runnable_at, started_at) AS began_at,
        greatest(ran_until, coalesce(runnable_at, started_at)) AS ended_at
    FROM job_runs
    WHERE day >= $from_day AND day < $to_day AND ran_until IS NOT NULL
),
reaches AS (
    SELECT
        build_id,
        day,
        began_at,
        max(ended_at) OVER (
            PARTITION BY build_id ORDER BY began_at, ended_at
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS reached_at,
        max(ended_at) OVER (PARTITION BY build_id) AS last_ended_at
    FROM spans
),
-- A stretch begins with a span that nothing before it reaches, and ends with what had been reached
-- when the next one begins.
stretches AS (
    SELECT
        build_id,
        (row_number() OVER in_order)::INTEGER AS period_no,
        day,
        began_at,
        coalesce(lead(reached_at) OVER in_order, last_ended_at) AS ended_at
    FROM reaches
    WHERE reached_at IS NULL OR began_at > reached_at
    WINDOW in_order AS (PARTITION BY build_id ORDER BY began_at)
)
SELECT *, epoch(ended_at - began_at) AS seconds
FROM stretches
