/*
One row per step, way of failing and ISO week: attempts that failed, and whether a retry helped.

Canceled attempts are no failures; timeouts and expired jobs are. Classes and soft failures are
those of `job_runs`. Weeks are those of the builds' creation, from Monday, in the rules' time zone.

Key: organization_id, pipeline_id, pipeline_slug, step, failure_class, exit_status, week
Recomputed: whole

Columns:
  week                DATE     The week's Monday, in the rules' time zone.
  organization_id     UUID     The organization.
  pipeline_id         UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug       VARCHAR  The pipeline's present slug, else the one when read.
  step                VARCHAR  The step across builds: see `steps`.
  failure_class       VARCHAR  code, infra, timeout or expired.
  exit_status         INTEGER  The command's exit status; NULL where there is none.
  failures            BIGINT   Attempts that failed so.
  soft_failures       BIGINT   Those that failed softly.
  failed_builds       BIGINT   Of the builds whose outcome is failed: those in which a last attempt
                               of the step failed so, and hard.
  retried_failures    BIGINT   Attempts whose retry passed or failed: what the rate stands on.
  retry_success_rate  DOUBLE   Of these, those whose retry passed.
  first_build_number  BIGINT   The first build of the week with such a failure.
  last_build_number   BIGINT   The last one.
*/
WITH failures AS (
    SELECT
        date_trunc('week', builds.created_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE
            AS week,
        failed.organization_id,
        failed.pipeline_id,
        failed.pipeline_slug,
        coalesce(steps.step, failed.step) AS step,
        failed.failure_class,
        failed.exit_status,
        failed.is_soft_failed,
        builds.number,
        if(
            builds.outcome = 'failed' AND failed.is_last_attempt AND NOT failed.is_soft_failed,
            builds.build_id,
            NULL
        ) AS failed_build_id,
        later.outcome AS retry_outcome
    FROM job_runs AS failed
    JOIN build_runs AS builds USING (build_id)
    LEFT JOIN job_runs AS later ON later.job_id = failed.retried_in_job_id
    LEFT JOIN steps
        ON steps.organization_id = failed.organization_id
        AND steps.pipeline_id IS NOT DISTINCT FROM failed.pipeline_id
        AND steps.pipeline_slug = failed.pipeline_slug
        AND steps.name = failed.step
    WHERE failed.outcome = 'failed'
),
counted AS (
    SELECT
        week,
        organization_id,
        pipeline_id,
        pipeline_slug,
        step,
        failure_class,
        exit_status,
        count(*) AS failures,
        count(*) FILTER (is_soft_failed) AS soft_failures,
        count(DISTINCT failed_build_id) AS failed_builds,
        count(*) FILTER (retry_outcome IN ('passed', 'failed')) AS retried_failures,
        count(*) FILTER (retry_outcome = 'passed') AS passed_when_retried,
        min(number) AS first_build_number,
        max(number) AS last_build_number
    FROM failures
    GROUP BY ALL
)
SELECT
    * EXCLUDE (passed_when_retried),
    passed_when_retried / nullif(retried_failures, 0) AS retry_success_rate
FROM counted
