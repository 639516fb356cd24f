/*
One row per logical job of a build: a step's job with all its attempts.

Flaky is a job of which an attempt failed whose own retry passed, with the same code. Failures of
the infrastructure do not count (the agent was lost, stopped or refused, or none came in time), nor
does a build most of whose jobs failed at first: something else was wrong then. A job that is never
retried cannot show that it is flaky: see `retry_coverage` in `flaky_steps`.

Key: logical_job_id
Recomputed: by day

Columns:
  logical_job_id    UUID       The first known attempt.
  build_id          UUID       The build that it belongs to.
  organization_id   UUID       The organization that it belongs to.
  pipeline_id       UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug     VARCHAR    The pipeline's present slug, else the one when read.
  day               DATE       The UTC day of the build's creation; the partition.
  step              VARCHAR    The step's key, else its label, else its command.
  logical_job_key   VARCHAR    The step with its parallel index and matrix values.
  attempts          BIGINT     How many attempts are known.
  first_outcome     VARCHAR    What came of the first attempt.
  last_outcome      VARCHAR    What came of the last attempt.
  failure_class     VARCHAR    Why the last attempt did not pass; NULL if it did.
  is_soft_failed    BOOLEAN    Whether the last attempt failed without failing the build.
  retry_type        VARCHAR    How it was retried: manual, automatic or both; NULL if it was not.
  is_retried        BOOLEAN    Whether it was retried.
  is_flaky          BOOLEAN    Whether an attempt failed by its code and the retry of it passed.
  is_infra          BOOLEAN    Whether the infrastructure failed an attempt.
  is_mass_failure   BOOLEAN    Whether at least 80 % of its build's jobs, of 5 or more, failed at
                               their first attempt.
  last_finished_at  TIMESTAMP  When its last attempt ended.
  agent_seconds     DOUBLE     That agents ran it, all attempts.
  wasted_seconds    DOUBLE     Those whose result nobody used.
  flaky_seconds     DOUBLE     Those of attempts that failed by their code and whose retry passed.
*/
WITH attempts AS (
    SELECT
        *,
        outcome = 'failed' AND failure_class IN ('code', 'timeout')
        AND coalesce(
            lead(outcome) OVER (PARTITION BY logical_job_id ORDER BY attempt_no) = 'passed', false
        ) AS passed_when_retried
    FROM job_runs
    WHERE day >= $from_day AND day < $to_day
),
chains AS (
    SELECT
        logical_job_id,
        any_value(build_id) AS build_id,
        any_value(organization_id) AS organization_id,
        any_value(pipeline_id) AS pipeline_id,
        any_value(pipeline_slug) AS pipeline_slug,
        any_value(day) AS day,
        min_by(step, attempt_no) AS step,
        min_by(logical_job_key, attempt_no) AS logical_job_key,
        count(*) AS attempts,
        min_by(outcome, attempt_no) AS first_outcome,
        max_by(outcome, attempt_no) AS last_outcome,
        arg_max_null(failure_class, attempt_no) AS failure_class,
        max_by(is_soft_failed, attempt_no) AS is_soft_failed,
        CASE count(DISTINCT retry_type)
            WHEN 1 THEN any_value(retry_type)
            WHEN 2 THEN 'both'
        END AS retry_type,
        bool_or(NOT is_last_attempt) AS is_retried,
        bool_or(passed_when_retried) AS passed_when_retried,
        bool_or(coalesce(failure_class IN ('infra', 'expired'), false)) AS is_infra,
        arg_max_null(finished_at, attempt_no) AS last_finished_at,
        coalesce(sum(run_seconds), 0) AS agent_seconds,
        coalesce(sum(wasted_seconds), 0) AS wasted_seconds,
        coalesce(sum(run_seconds) FILTER (passed_when_retried), 0) AS flaky_seconds
    FROM attempts
    GROUP BY logical_job_id
),
builds_at_first AS (
    SELECT
        build_id,
        count(*) >= 5
        AND count(*) FILTER (first_outcome = 'failed') >= 0.8 * count(*) AS is_mass_failure
    FROM chains
    WHERE first_outcome IN ('passed', 'failed')
    GROUP BY build_id
)
SELECT
    chains.* EXCLUDE (passed_when_retried, flaky_seconds),
    coalesce(is_mass_failure, false) AS is_mass_failure,
    passed_when_retried AND NOT coalesce(is_mass_failure, false) AS is_flaky,
    if(is_flaky, flaky_seconds, 0) AS flaky_seconds
FROM chains
LEFT JOIN builds_at_first USING (build_id)
