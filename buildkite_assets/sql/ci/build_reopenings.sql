/*
One row per time that a finished build went on, because of a retry by hand or a lifted block.

Buildkite keeps only the latest end of a build. Its jobs keep all their attempts, which tell how the
build had ended before. A retry or a lifted block reopens a build if no job of it waited for an
agent, ran, or was held back by a concurrency group at that instant. The last attempts so far decide
what the build had ended with. An automatic retry reopens nothing: it comes before the build's end.
A block is taken to leave its build passed, which is Buildkite's default (`blocked_state`).

Key: build_id, ended_at
Recomputed: by day

Columns:
  build_id     UUID       The build.
  ended_at     TIMESTAMP  When the last of its jobs so far ended, and the build with it.
  day          DATE       The UTC day of the build's creation; the partition.
  reopened_at  TIMESTAMP  When the retry was created or the block lifted.
  outcome      VARCHAR    What it had ended with: `failed` if a job had failed hard, `passed` if none
                          had; NULL if none had failed but some were canceled.
  is_verdict   BOOLEAN    Whether that was a verdict: see `build_runs`.
*/
WITH reopened AS (
    SELECT earlier.build_id, later.created_at AS reopened_at
    FROM job_runs AS earlier
    JOIN job_runs AS later
        ON later.job_id = earlier.retried_in_job_id AND later.build_id = earlier.build_id
    WHERE earlier.retry_type = 'manual'
        AND earlier.day >= $from_day AND earlier.day < $to_day
        AND later.day >= $from_day AND later.day < $to_day
    UNION
    SELECT build_id, unblocked_at
    FROM jobs
    WHERE build_created_at >= $from_day AND build_created_at < $to_day
        AND type = 'manual' AND unblocked_at IS NOT NULL AND absent_since IS NULL
),
attempts AS (
    SELECT
        build_id,
        job_id,
        retried_in_job_id,
        created_at,
        coalesce(runnable_at, started_at)
            - to_milliseconds(coalesce(concurrency_wait_seconds, 0) * 1000) AS began_at,
        if(
            outcome = 'unfinished',
            'infinity'::TIMESTAMP,
            greatest(coalesce(finished_at, gave_up_at), runnable_at)
        ) AS ended_at,
        outcome = 'failed' AND NOT is_soft_failed AS is_failed,
        outcome = 'canceled' AS is_canceled,
        started_at IS NOT NULL AND NOT is_setup AS is_work
    FROM job_runs
    SEMI JOIN reopened USING (build_id)
    WHERE day >= $from_day AND day < $to_day
    UNION ALL
    SELECT
        build_id,
        job_id,
        retried_in_job_id,
        created_at,
        coalesce(runnable_at, started_at) AS began_at,
        if(state = 'running', 'infinity'::TIMESTAMP, coalesce(finished_at, began_at)),
        state = 'failed' AND NOT coalesce(soft_failed, false),
        state = 'canceled',
        true
    FROM jobs
    SEMI JOIN reopened USING (build_id)
    WHERE build_created_at >= $from_day AND build_created_at < $to_day
        AND type = 'trigger' AND triggered_build_id IS NOT NULL AND absent_since IS NULL
),
done AS (
    SELECT
        reopened.build_id,
        reopened.reopened_at,
        attempts.ended_at,
        attempts.is_work,
        attempts.is_failed,
        attempts.is_canceled,
        retries.created_at IS NULL OR retries.created_at >= reopened.reopened_at AS is_last
    FROM reopened
    JOIN attempts
        ON attempts.build_id = reopened.build_id
        AND attempts.created_at < reopened.reopened_at
        AND attempts.began_at < reopened.reopened_at
    LEFT JOIN attempts AS retries
        ON retries.job_id = attempts.retried_in_job_id AND retries.build_id = attempts.build_id
),
ends AS (
    SELECT
        build_id,
        reopened_at,
        max(ended_at) AS ended_at,
        CASE
            WHEN bool_or(is_failed AND is_last) THEN 'failed'
            WHEN NOT bool_or(is_canceled AND is_last) THEN 'passed'
        END AS outcome,
        outcome IS NOT NULL AND (outcome = 'failed' OR bool_or(is_work)) AS is_verdict
    FROM done
    GROUP BY build_id, reopened_at
    HAVING max(ended_at) <= reopened_at
)
-- Of several jobs that were retried together, the first attempt reopened the build.
SELECT DISTINCT ON (build_id, ended_at)
    build_id,
    ended_at,
    builds.created_at::DATE AS day,
    reopened_at,
    outcome,
    is_verdict
FROM ends
JOIN builds USING (build_id)
WHERE builds.created_at >= $from_day AND builds.created_at < $to_day
ORDER BY build_id, ended_at, reopened_at
