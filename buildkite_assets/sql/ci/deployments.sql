/*
One row per deployment: a build that brought an application to an environment.

What a deployment is, the rules file says: the build's last attempts of the jobs that a rule fits,
the first rule that fits a job. A rule fits any name that the job's step ever had, and the job's own
label. Its `pipeline` is matched with the present slug and with the one when the build was created,
so that a rename loses no deployment. For builds that no rule fits, Buildkite's own convention
counts: meta-data `environment`, `<environment>_deployment` or
`<application>:<environment>:deployed`; the whole build is the deployment then. Nothing is guessed
from names. Meta-data is often set before anything is deployed, so its presence is no success: the
jobs' outcome is.

Key: build_id, application, environment
Recomputed: whole

Columns:
  build_id         UUID       The build that deployed.
  application      VARCHAR    What was deployed; by default the pipeline's present slug.
  environment      VARCHAR    Where to.
  organization_id  UUID       The organization.
  pipeline_id      UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug    VARCHAR    The pipeline's present slug, else the one when read.
  number           BIGINT     The build's number.
  commit           VARCHAR    The commit that was deployed.
  version          VARCHAR    The version that the build's meta-data names.
  deployed_at      TIMESTAMP  When the last of its jobs ended; of a build by meta-data, its end.
  is_success       BOOLEAN    Whether all its jobs passed.
  is_redeploy      BOOLEAN    Whether the successful deployment before it had the same commit.
  is_rollback      BOOLEAN    Whether its commit was deployed with success before, and then another.
  basis            VARCHAR    `rule` or `meta-data`.
*/
WITH rules AS (
    SELECT
        unnest(range(len($deployments::STRUCT(
            environment VARCHAR, pipeline VARCHAR, application VARCHAR, step VARCHAR, branch VARCHAR
        )[]))) AS place,
        unnest($deployments::STRUCT(
            environment VARCHAR, pipeline VARCHAR, application VARCHAR, step VARCHAR, branch VARCHAR
        )[]) AS rule
),
-- The slugs of each pipeline that deploys: its present one, and the one of a build.
slugs AS (
    SELECT pipeline_slug, pipeline_slug_at_creation, place, rule
    FROM (SELECT DISTINCT pipeline_slug, pipeline_slug_at_creation FROM build_runs)
    JOIN rules
        ON pipeline_slug GLOB rule.pipeline OR pipeline_slug_at_creation GLOB rule.pipeline
),
kinds AS (
    SELECT
        jobs.organization_id,
        jobs.pipeline_slug,
        jobs.pipeline_slug_at_creation,
        jobs.branch,
        jobs.step,
        jobs.label,
        min_by(rule, place) AS rule
    FROM (
        SELECT DISTINCT
            job_runs.organization_id,
            job_runs.pipeline_id,
            job_runs.pipeline_slug,
            pipeline_slug_at_creation,
            branch,
            step,
            label
        FROM job_runs
        JOIN build_runs USING (build_id, pipeline_slug)
        SEMI JOIN slugs USING (pipeline_slug, pipeline_slug_at_creation)
    ) AS jobs
    LEFT JOIN steps
        ON steps.organization_id = jobs.organization_id
        AND steps.pipeline_id IS NOT DISTINCT FROM jobs.pipeline_id
        AND steps.pipeline_slug = jobs.pipeline_slug
        AND steps.name = jobs.step
    JOIN slugs USING (pipeline_slug, pipeline_slug_at_creation)
    WHERE jobs.branch GLOB rule.branch
        AND len(list_filter(
            list_concat([jobs.step, jobs.label], steps.names),
            lambda name: name GLOB rule.step
        )) > 0
    GROUP BY ALL
),
by_rule AS (
    SELECT
        build_id,
        coalesce(rule.application, job_runs.pipeline_slug) AS application,
        rule.environment AS environment,
        max(job_runs.finished_at) AS deployed_at,
        bool_and(job_runs.outcome = 'passed') AS is_success,
        bool_or(job_runs.outcome IN ('passed', 'failed')) AS has_verdict,
        bool_or(job_runs.outcome = 'unfinished') AS is_open,
        'rule' AS basis
    FROM job_runs
    JOIN build_runs USING (build_id)
    JOIN kinds
        ON kinds.organization_id = job_runs.organization_id
        AND kinds.pipeline_slug = build_runs.pipeline_slug
        AND kinds.pipeline_slug_at_creation = build_runs.pipeline_slug_at_creation
        AND kinds.branch = build_runs.branch
        AND kinds.step = job_runs.step
        AND kinds.label IS NOT DISTINCT FROM job_runs.label
    WHERE is_last_attempt
    GROUP BY ALL
),
told AS (
    SELECT build_id, unnest(map_entries(meta_data)) AS entry
    FROM builds
    WHERE meta_data IS NOT NULL AND build_id NOT IN (SELECT build_id FROM by_rule)
),
named AS (
    SELECT build_id, NULL AS application, entry.value AS environment
    FROM told
    WHERE entry.key = 'environment' AND entry.value != ''
    UNION
    SELECT build_id, NULL, regexp_extract(entry.key, '^([^:]+)_deployment$', 1)
    FROM told
    WHERE regexp_full_match(entry.key, '[^:]+_deployment') AND lower(entry.value) = 'true'
    UNION
    SELECT build_id, split_part(entry.key, ':', 1), split_part(entry.key, ':', 2)
    FROM told
    WHERE regexp_full_match(entry.key, '[^:]+:[^:]+:deployed') AND lower(entry.value) = 'true'
),
-- An application that the build names counts in place of the pipeline's slug.
versions AS (
    SELECT
        build_id,
        regexp_extract(entry.key, '^(?:([^:]+):)?([^:]+):version$', 1) AS application,
        regexp_extract(entry.key, '^(?:([^:]+):)?([^:]+):version$', 2) AS environment,
        entry.value AS version
    FROM (SELECT build_id, unnest(map_entries(meta_data)) AS entry FROM builds)
    WHERE regexp_full_match(entry.key, '([^:]+:)?[^:]+:version')
),
by_meta_data AS (
    SELECT DISTINCT
        build_id,
        coalesce(named.application, nullif(versions.application, ''), pipeline_slug) AS application,
        environment,
        build_runs.finished_at AS deployed_at,
        outcome = 'passed' AND NOT is_blocked AS is_success,
        outcome IN ('passed', 'failed') AND NOT is_blocked AS has_verdict,
        is_open,
        'meta-data' AS basis
    FROM named
    JOIN build_runs USING (build_id)
    LEFT JOIN versions USING (build_id, environment)
),
deployed AS (
    SELECT
        found.* EXCLUDE (has_verdict, is_open),
        build_runs.organization_id,
        build_runs.pipeline_id,
        build_runs.pipeline_slug,
        build_runs.number,
        build_runs.commit,
        (
            SELECT any_value(version)
            FROM versions
            WHERE versions.build_id = found.build_id AND versions.environment = found.environment
                AND versions.application IN (found.application, '')
        ) AS version
    FROM (FROM by_rule UNION ALL FROM by_meta_data) AS found
    JOIN build_runs ON build_runs.build_id = found.build_id
    WHERE has_verdict AND NOT found.is_open AND deployed_at IS NOT NULL
),
successes AS (
    SELECT
        build_id,
        application,
        environment,
        lag(commit) OVER (
            PARTITION BY organization_id, application, environment
            ORDER BY deployed_at, number, build_id
        ) AS commit_before,
        row_number() OVER (
            PARTITION BY organization_id, application, environment, commit
            ORDER BY deployed_at, number, build_id
        ) > 1 AS is_known
    FROM deployed
    WHERE is_success
)
SELECT
    deployed.*,
    coalesce(commit = commit_before, false) AS is_redeploy,
    coalesce(commit != commit_before AND is_known, false) AS is_rollback
FROM deployed
LEFT JOIN successes USING (build_id, application, environment)
