/*
One row per step of a pipeline and local day on which jobs of it began, or came and never began.

A job counts on the day on which an agent began it, in the rules' time zone; one that never began
counts on the day on which it was created. Rates stand on last attempts, and on logical jobs (all
attempts of one job), not on attempts: a retry is no second job.

Key: organization_id, pipeline_id, pipeline_slug, step, local_day
Recomputed: whole

Columns:
  local_day              DATE     The day, in the rules' time zone.
  organization_id        UUID     The organization.
  pipeline_id            UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug          VARCHAR  The pipeline's present slug, else the one when read.
  step                   VARCHAR  The step across builds: see `steps`.
  attempts               BIGINT   Attempts.
  runs                   BIGINT   Attempts that an agent began.
  verdicts               BIGINT   Last attempts that passed or failed: what the pass rate stands on.
  pass_rate              DOUBLE   Last attempts that passed, of those that passed or failed.
  soft_fail_rate         DOUBLE   Last attempts that failed softly, timeouts included, of the same.
  jobs                   BIGINT   Logical jobs whose first attempt was on this day: what the retry
                                  rate stands on.
  retry_rate             DOUBLE   Logical jobs that were retried, of `jobs`.
  finished_runs          BIGINT   Attempts that passed or failed after they ran: what run time
                                  stands on.
  run_p50_seconds        DOUBLE   How long these ran, median.
  run_p90_seconds        DOUBLE   … 90th percentile.
  waits                  BIGINT   Attempts that waited until they began: what the wait stands on.
  queue_p50_seconds      DOUBLE   How long these waited for an agent, median.
  queue_p90_seconds      DOUBLE   … 90th percentile.
  critical_path_minutes  DOUBLE   Minutes that the step waited and ran on its builds' critical
                                  paths.
*/
WITH timed AS NOT MATERIALIZED (
    SELECT
        *,
        date_trunc('minute', coalesce(started_at, created_at)) AS minute
    FROM job_runs
),
-- Asked once for each minute, since to ask the time zone's rules is dear.
minutes AS (
    SELECT minute, (minute AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day
    FROM (SELECT DISTINCT minute FROM timed)
),
attempts AS (
    SELECT
        timed.* REPLACE (coalesce(steps.step, timed.step) AS step),
        local_day,
        is_last_attempt AND outcome IN ('passed', 'failed') AS is_verdict,
        outcome IN ('passed', 'failed') AND timed.run_seconds IS NOT NULL AS is_finished_run,
        path.queue_seconds + path.run_seconds AS critical_seconds
    FROM timed
    JOIN minutes USING (minute)
    LEFT JOIN build_critical_path AS path USING (job_id)
    LEFT JOIN steps
        ON steps.organization_id = timed.organization_id
        AND steps.pipeline_id IS NOT DISTINCT FROM timed.pipeline_id
        AND steps.pipeline_slug = timed.pipeline_slug
        AND steps.name = timed.step
),
counted AS (
    SELECT
        local_day,
        organization_id,
        pipeline_id,
        pipeline_slug,
        step,
        count(*) AS attempts,
        count(started_at) AS runs,
        count(*) FILTER (is_verdict) AS verdicts,
        count(*) FILTER (is_verdict AND outcome = 'passed') AS passed,
        count(*) FILTER (is_verdict AND is_soft_failed) AS soft_failed,
        count(*) FILTER (attempt_no = 1) AS jobs,
        count(*) FILTER (attempt_no = 1 AND NOT is_last_attempt) AS retried_jobs,
        count(*) FILTER (is_finished_run) AS finished_runs,
        -- Of lists, since with so many groups `quantile_cont` as an aggregate of its own outgrows
        -- a small memory.
        list_aggregate(list(run_seconds) FILTER (is_finished_run), 'quantile_cont', [0.5, 0.9])
            AS run,
        count(queue_seconds) AS waits,
        list_aggregate(
            list(queue_seconds) FILTER (queue_seconds IS NOT NULL), 'quantile_cont', [0.5, 0.9]
        ) AS wait,
        coalesce(sum(critical_seconds), 0) / 60 AS critical_path_minutes
    FROM attempts
    GROUP BY ALL
)
SELECT
    local_day,
    organization_id,
    pipeline_id,
    pipeline_slug,
    step,
    attempts,
    runs,
    verdicts,
    passed / nullif(verdicts, 0) AS pass_rate,
    soft_failed / nullif(verdicts, 0) AS soft_fail_rate,
    jobs,
    retried_jobs / nullif(jobs, 0) AS retry_rate,
    finished_runs,
    run[1] AS run_p50_seconds,
    run[2] AS run_p90_seconds,
    waits,
    wait[1] AS queue_p50_seconds,
    wait[2] AS queue_p90_seconds,
    critical_path_minutes
FROM counted
