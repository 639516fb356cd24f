/*
One row per logical job of a build: a step's job with all its attempts.

Flaky is a job of which an attempt was a code failure, timeouts included, and the retry of that
attempt passed. Infrastructure failures do not count (see `job_runs` for both kinds), nor does a
build most of whose jobs failed at first: something else was wrong then. A job that is never
retried cannot show that it is flaky: see `retry_coverage` in `flaky_steps`.

Key: logical_job_id
Recomputed: by day

Columns:
  logical_job_id       UUID       The first known attempt.
  build_id             UUID       The build that it belongs to.
  organization_id      UUID       The organization that it belongs to.
  pipeline_id          UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug        VARCHAR    The pipeline's present slug, else the one when read.
  day                  DATE       The UTC day of the build's creation; the partition.
  step                 VARCHAR    The step, as in `job_runs`.
  logical_job_key      VARCHAR    The step with its shard and matrix values.
  attempts             BIGINT     How many attempts are known.
  first_outcome        VARCHAR    What came of the first attempt.
  last_outcome         VARCHAR    What came of the last attempt.
  first_failure_class  VARCHAR    Why the first attempt did not pass; NULL if it did.
  failure_class        VARCHAR    Why the last attempt did not pass; NULL if it did.
  is_soft_failed       BOOLEAN    Whether the last attempt failed without failing the build.
  retry_type           VARCHAR    How it was retried: manual, automatic or both; NULL if it was not.
  is_retried           BOOLEAN    Whether it was retried.
  is_flaky             BOOLEAN    Whether an attempt was a code failure and the retry of it passed.
  is_infra             BOOLEAN    Whether any attempt was an infrastructure failure.
  is_mass_failure      BOOLEAN    Whether at least 80 % of its build's jobs, of 5 or more, failed at
                                 their first attempt.
  last_finished_at     TIMESTAMP  When its last attempt ended.
  agent_seconds        DOUBLE     That agents ran it, all attempts, so far.
  wasted_seconds       DOUBLE     Those whose result nobody used.
  flaky_seconds        DOUBLE     Those of attempts that were code failures and whose retry passed.
*/
WITH attempts AS NOT MATERIALIZED (
    FROM job_runs
    WHERE day >= $from_day AND day < $to_day
),
-- Most jobs have one attempt: only the others need to be put together.
several AS (
    SELECT
        *,
        coalesce(
            failure_class IN ('code', 'timeout')
            AND lead(outcome) OVER (PARTITION BY logical_job_id ORDER BY attempt_no) = 'passed',
            false
        ) AS passed_when_retried
    FROM attempts
    WHERE logical_job_id IN (SELECT logical_job_id FROM attempts WHERE attempt_no > 1)
),
chains AS (
    SELECT
        logical_job_id,
        count(*) AS attempts,
        arg_max_null(outcome, attempt_no) AS last_outcome,
        arg_max_null(failure_class, attempt_no) AS failure_class,
        arg_max_null(is_soft_failed, attempt_no) AS is_soft_failed,
        CASE count(DISTINCT retry_type)
            WHEN 1 THEN any_value(retry_type)
            WHEN 2 THEN 'both'
        END AS retry_type,
        bool_or(passed_when_retried) AS passed_when_retried,
        bool_or(coalesce(failure_class IN ('infra', 'expired'), false)) AS is_infra,
        arg_max_null(finished_at, attempt_no) AS last_finished_at,
        coalesce(sum(agent_seconds), 0) AS agent_seconds,
        coalesce(sum(wasted_seconds), 0) AS wasted_seconds,
        coalesce(sum(agent_seconds) FILTER (passed_when_retried), 0) AS flaky_seconds
    FROM several
    GROUP BY logical_job_id
),
builds_at_first AS (
    SELECT build_id
    FROM attempts
    WHERE attempt_no = 1 AND outcome IN ('passed', 'failed')
    GROUP BY build_id
    HAVING count(*) >= 5 AND count(*) FILTER (outcome = 'failed') >= 0.8 * count(*)
)
SELECT
    first.logical_job_id,
    first.build_id,
    first.organization_id,
    first.pipeline_id,
    first.pipeline_slug,
    first.day,
    first.step,
    first.logical_job_key,
    coalesce(chains.attempts, 1) AS attempts,
    first.outcome AS first_outcome,
    coalesce(chains.last_outcome, first.outcome) AS last_outcome,
    first.failure_class AS first_failure_class,
    if(chains.attempts IS NULL, first.failure_class, chains.failure_class) AS failure_class,
    coalesce(chains.is_soft_failed, first.is_soft_failed) AS is_soft_failed,
    coalesce(chains.retry_type, first.retry_type) AS retry_type,
    NOT first.is_last_attempt AS is_retried,
    builds_at_first.build_id IS NOT NULL AS is_mass_failure,
    coalesce(chains.passed_when_retried, false) AND NOT is_mass_failure AS is_flaky,
    coalesce(chains.is_infra, first.failure_class IN ('infra', 'expired'), false) AS is_infra,
    if(chains.attempts IS NULL, first.finished_at, chains.last_finished_at) AS last_finished_at,
    coalesce(chains.agent_seconds, first.agent_seconds, 0) AS agent_seconds,
    coalesce(chains.wasted_seconds, first.wasted_seconds, 0) AS wasted_seconds,
    if(is_flaky, chains.flaky_seconds, 0) AS flaky_seconds
FROM attempts AS first
LEFT JOIN chains USING (logical_job_id)
LEFT JOIN builds_at_first ON builds_at_first.build_id = first.build_id
WHERE first.attempt_no = 1
