/*
One row per step that was flaky within the last 30 days of builds.

Two signals: an attempt was a code failure, timeouts included, and passed when it was retried in the
same build; or a job ended with a code failure in one build and passed in another of the same
commit, where it is known. Infrastructure failures count for neither (see `job_runs` for both
kinds), nor do builds most of whose jobs failed. Only retried jobs can show the first signal: where
`retry_coverage` is low, the rate is a lower bound.

Key: organization_id, pipeline_id, pipeline_slug, step
Recomputed: whole

Columns:
  organization_id         UUID       The organization.
  pipeline_id             UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug           VARCHAR    The pipeline's present slug, else the one when read.
  step                    VARCHAR    The step across builds: see `steps`.
  window_from             DATE       The first UTC day of builds that counts.
  window_to               DATE       The last one: the organization's newest build's.
  jobs                    BIGINT     Logical jobs that ended passed or failed: what the rate stands
                                     on.
  flaky_jobs              BIGINT     Those of them that show a signal.
  flake_rate              DOUBLE     Flaky jobs, of all that ended passed or failed.
  retry_flaky_jobs        BIGINT     Jobs of which a code failure passed when retried.
  same_commit_flaky_jobs  BIGINT     Jobs that failed while another build of the commit passed.
  code_failures           BIGINT     Jobs whose first attempt was a code failure: what the coverage
                                     stands on.
  retry_coverage          DOUBLE     Those of them that were retried.
  first_flaky_at          TIMESTAMP  When a flaky job first ended.
  last_flaky_at           TIMESTAMP  When a flaky job last ended.
  is_recovered            BOOLEAN    Whether no flaky job was built on the last 7 days, though the
                                     step ran on them.
  wasted_minutes          DOUBLE     What its flaky failures took of agents.
*/
WITH newest AS (
    SELECT organization_id, max(day) AS window_to FROM build_runs GROUP BY organization_id
),
chains AS NOT MATERIALIZED (
    SELECT
        job_retry_chains.* REPLACE (
            coalesce(steps.step, job_retry_chains.step) AS step,
            -- The same with the step's name across builds before the shard and matrix values.
            coalesce(steps.step, job_retry_chains.step)
                || logical_job_key[len(job_retry_chains.step) + 1 :] AS logical_job_key
        ),
        build_runs.commit,
        window_to,
        job_retry_chains.day > window_to - 7 AS is_recent
    FROM job_retry_chains
    JOIN build_runs USING (build_id)
    JOIN newest ON newest.organization_id = job_retry_chains.organization_id
    LEFT JOIN steps
        ON steps.organization_id = job_retry_chains.organization_id
        AND steps.pipeline_id IS NOT DISTINCT FROM job_retry_chains.pipeline_id
        AND steps.pipeline_slug = job_retry_chains.pipeline_slug
        AND steps.name = job_retry_chains.step
    WHERE job_retry_chains.day > window_to - 30 AND last_outcome IN ('passed', 'failed')
),
-- Few jobs fail: looking for each of them costs less than knowing all that passed.
same_commit AS (
    SELECT logical_job_id
    FROM chains AS failed
    SEMI JOIN (FROM chains WHERE last_outcome = 'passed') AS passed
        ON passed.pipeline_id IS NOT DISTINCT FROM failed.pipeline_id
        AND passed.pipeline_slug = failed.pipeline_slug
        AND passed.logical_job_key = failed.logical_job_key
        AND passed.commit = failed.commit
    WHERE failure_class IN ('code', 'timeout') AND NOT is_mass_failure
),
signals AS (
    SELECT
        chains.*,
        same_commit.logical_job_id IS NOT NULL AS is_same_commit_flaky,
        is_flaky OR is_same_commit_flaky AS shows_signal,
        coalesce(first_failure_class IN ('code', 'timeout'), false) AS failed_first
    FROM chains
    LEFT JOIN same_commit USING (logical_job_id)
),
counted AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        step,
        window_to,
        count(*) AS jobs,
        count(*) FILTER (shows_signal) AS flaky_jobs,
        count(*) FILTER (is_flaky) AS retry_flaky_jobs,
        count(*) FILTER (is_same_commit_flaky) AS same_commit_flaky_jobs,
        count(*) FILTER (failed_first) AS code_failures,
        count(*) FILTER (failed_first AND is_retried) AS covered,
        min(last_finished_at) FILTER (shows_signal) AS first_flaky_at,
        max(last_finished_at) FILTER (shows_signal) AS last_flaky_at,
        bool_or(is_recent) AND NOT bool_or(is_recent AND shows_signal) AS is_recovered,
        sum(if(is_same_commit_flaky, agent_seconds, flaky_seconds)) AS wasted_seconds
    FROM signals
    GROUP BY ALL
    HAVING bool_or(shows_signal)
)
SELECT
    organization_id,
    pipeline_id,
    pipeline_slug,
    step,
    window_to - 29 AS window_from,
    window_to,
    jobs,
    flaky_jobs,
    flaky_jobs / jobs AS flake_rate,
    retry_flaky_jobs,
    same_commit_flaky_jobs,
    code_failures,
    covered / nullif(code_failures, 0) AS retry_coverage,
    first_flaky_at,
    last_flaky_at,
    is_recovered,
    wasted_seconds / 60 AS wasted_minutes
FROM counted
