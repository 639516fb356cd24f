/*
One row per step that failed softly within the last 30 days of builds.

A soft failure does not fail its build, so a step that always fails softly can go unnoticed. Jobs
are counted by their last attempts; see `job_runs` for what is a soft failure.

Key: organization_id, pipeline_id, pipeline_slug, step
Recomputed: whole

Columns:
  organization_id        UUID       The organization.
  pipeline_id            UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug          VARCHAR    The pipeline's present slug, else the one when read.
  step                   VARCHAR    The step across builds: see `steps`.
  window_from            DATE       The first UTC day of builds that counts.
  window_to              DATE       The last one: the organization's newest build's.
  jobs                   BIGINT     Jobs that passed or failed: what the rate stands on.
  soft_failed_jobs       BIGINT     Those of them that failed softly.
  timed_out_jobs         BIGINT     Those of the soft failures that timed out.
  soft_fail_rate         DOUBLE     Soft failures, of all jobs that passed or failed.
  is_always_soft_failed  BOOLEAN    Whether each of these jobs failed softly.
  last_soft_failed_at    TIMESTAMP  When a job of it last failed softly.
  last_passed_at         TIMESTAMP  When a job of it last passed; NULL if none did.
  agent_minutes          DOUBLE     That agents ran the jobs that failed softly.
*/
WITH newest AS (
    SELECT organization_id, max(day) AS window_to FROM build_runs GROUP BY organization_id
),
named AS NOT MATERIALIZED (
    SELECT job_runs.* REPLACE (coalesce(steps.step, job_runs.step) AS step)
    FROM job_runs
    LEFT JOIN steps
        ON steps.organization_id = job_runs.organization_id
        AND steps.pipeline_id IS NOT DISTINCT FROM job_runs.pipeline_id
        AND steps.pipeline_slug = job_runs.pipeline_slug
        AND steps.name = job_runs.step
),
counted AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        step,
        window_to,
        count(*) AS jobs,
        count(*) FILTER (is_soft_failed) AS soft_failed_jobs,
        count(*) FILTER (is_soft_failed AND failure_class = 'timeout') AS timed_out_jobs,
        max(finished_at) FILTER (is_soft_failed) AS last_soft_failed_at,
        max(finished_at) FILTER (outcome = 'passed') AS last_passed_at,
        coalesce(sum(run_seconds) FILTER (is_soft_failed), 0) AS soft_failed_seconds
    FROM named
    JOIN newest USING (organization_id)
    WHERE day > window_to - 30 AND is_last_attempt AND outcome IN ('passed', 'failed')
    GROUP BY ALL
    HAVING bool_or(is_soft_failed)
)
SELECT
    organization_id,
    pipeline_id,
    pipeline_slug,
    step,
    window_to - 29 AS window_from,
    window_to,
    jobs,
    soft_failed_jobs,
    timed_out_jobs,
    soft_failed_jobs / jobs AS soft_fail_rate,
    soft_failed_jobs = jobs AS is_always_soft_failed,
    last_soft_failed_at,
    last_passed_at,
    soft_failed_seconds / 60 AS agent_minutes
FROM counted
