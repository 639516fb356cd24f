/*
One row per deployment: a build brought an application to an environment, or tried to.

What a deployment is, the rules file says: the jobs of a build that a rule fits deploy together, the
first rule that fits a job. A rule fits any name that the job's step ever had, and the job's own
label. Its `pipeline` is matched with the present slug and with the one when the build was created,
so that a rename loses no deployment. For builds that no rule fits, Buildkite's own convention
counts: meta-data `environment`, `<environment>_deployment` or
`<application>:<environment>:deployed`; the whole build is the deployment then. Nothing is guessed
from names.

A deployment succeeds if the last attempts of all its jobs passed. A soft failure is not a success.
Meta-data is often set before anything is deployed, so it does not mean success either: the build
must pass, and none of its jobs may fail, not even softly. Jobs of such a build that never ran do
not count. If only some of its jobs deploy, write a rule.

A build deploys again when someone retries one of these jobs while none of them is at work: that is
a row of its own, with the retried jobs and what the others came to before. Automatic retries, and
retries while other jobs are at work, belong to the deployment that they repair. A row appears when
no job is at work and all of them ended, or one failed; a canceled build or retry adds none.

A commit that Buildkite does not know is never the same as another one. Where the answer depends on
such a commit, `is_redeploy` and `is_rollback` are NULL.

Key: build_id, application, environment, deployment_no
Recomputed: whole

Columns:
  build_id         UUID       The build that deployed.
  application      VARCHAR    What was deployed; by default the pipeline's present slug.
  environment      VARCHAR    Where to.
  deployment_no    BIGINT     1 for the build's first deployment of it, 2 for the next one, …
  organization_id  UUID       The organization.
  pipeline_id      UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug    VARCHAR    The pipeline's present slug, else the one when read.
  number           BIGINT     The build's number.
  commit           VARCHAR    The commit that was deployed; NULL where it is not known.
  version          VARCHAR    The version that the build's meta-data names.
  deployed_at      TIMESTAMP  When the last of its jobs ended; of a whole build, its end.
  is_success       BOOLEAN    Whether all its jobs passed.
  is_redeploy      BOOLEAN    Whether the successful deployment before it had the same commit; false
                              for a failed one.
  is_rollback      BOOLEAN    Whether its commit was deployed with success before, and another one
                              since; false for a failed one.
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
    JOIN slugs
        ON slugs.pipeline_slug = jobs.pipeline_slug
        AND slugs.pipeline_slug_at_creation = jobs.pipeline_slug_at_creation
    WHERE jobs.branch GLOB rule.branch
        AND len(list_filter(
            list_concat([jobs.step, jobs.label], steps.names),
            lambda name: name GLOB rule.step
        )) > 0
    GROUP BY ALL
),
retries AS (
    SELECT
        earlier.job_id AS retried_job_id,
        later.job_id,
        later.created_at,
        earlier.retry_type IS DISTINCT FROM 'automatic' AS is_by_hand
    FROM job_runs AS earlier
    JOIN job_runs AS later ON later.job_id = earlier.retried_in_job_id
    WHERE later.attempt_no > 1
),
-- When each attempt was at work, and when another one took its place.
spans AS NOT MATERIALIZED (
    SELECT
        build_id,
        pipeline_slug,
        step,
        label,
        state,
        outcome,
        job_runs.created_at,
        coalesce(
            retry.created_at, runnable_at, started_at, finished_at, gave_up_at,
            if(outcome = 'unfinished', 'infinity', job_runs.created_at)
        ) AS began_at,
        outcome = 'unfinished' AND isfinite(began_at) AS is_at_work,
        if(outcome = 'unfinished', 'infinity', coalesce(finished_at, gave_up_at, began_at))
            AS ended_at,
        coalesce(next_retry.created_at, if(is_last_attempt, NULL, ended_at)) AS replaced_at,
        coalesce(retry.is_by_hand, false) AS is_retry_by_hand
    FROM job_runs
    LEFT JOIN retries AS retry ON retry.job_id = job_runs.job_id
    LEFT JOIN retries AS next_retry ON next_retry.retried_job_id = job_runs.job_id
),
by_rule AS (
    SELECT
        coalesce(rule.application, spans.pipeline_slug) AS application,
        rule.environment AS environment,
        spans.* EXCLUDE (pipeline_slug, step, label, state)
    FROM spans
    JOIN build_runs USING (build_id)
    JOIN kinds
        ON kinds.organization_id = build_runs.organization_id
        AND kinds.pipeline_slug = build_runs.pipeline_slug
        AND kinds.pipeline_slug_at_creation = build_runs.pipeline_slug_at_creation
        AND kinds.branch = build_runs.branch
        AND kinds.step = spans.step
        AND kinds.label IS NOT DISTINCT FROM spans.label
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
    WHERE regexp_full_match(entry.key, '([^:]+:)?[^:]+:version') AND entry.value IS NOT NULL
),
whole_builds AS (
    SELECT DISTINCT
        coalesce(named.application, nullif(versions.application, ''), pipeline_slug) AS application,
        environment,
        build_id
    FROM named
    JOIN build_runs USING (build_id)
    LEFT JOIN versions USING (build_id, environment)
),
soft_failed_triggers AS (
    SELECT DISTINCT build_id
    FROM jobs
    JOIN builds USING (build_id)
    WHERE jobs.type = 'trigger' AND jobs.soft_failed AND jobs.state != 'passed'
        AND jobs.retried_in_job_id IS NULL
        AND (jobs.absent_since IS NULL OR jobs.absent_since = builds.absent_since)
),
-- A whole build counts as one more job, which ends with the build.
build_ends AS (
    SELECT
        whole_builds.*,
        CASE
            WHEN is_blocked OR build_runs.outcome NOT IN ('passed', 'failed') THEN 'unfinished'
            WHEN soft_failed_triggers.build_id IS NOT NULL THEN 'failed'
            ELSE build_runs.outcome
        END AS result,
        if(result = 'unfinished', 'infinity', finished_at) AS ended_at
    FROM whole_builds
    JOIN build_runs USING (build_id)
    LEFT JOIN soft_failed_triggers USING (build_id)
),
attempts AS (
    SELECT *, NULL::TIMESTAMP AS build_ended_at, 'rule' AS basis
    FROM by_rule
    UNION ALL BY NAME
    SELECT
        application,
        environment,
        spans.* EXCLUDE (pipeline_slug, step, label, state),
        NULL::TIMESTAMP AS build_ended_at,
        'meta-data' AS basis
    FROM build_ends
    JOIN spans USING (build_id)
    WHERE outcome != 'not_run' AND (outcome != 'unfinished' OR result = 'unfinished')
    UNION ALL BY NAME
    -- A job that was left waiting, such as behind a block: the rounds before were not complete.
    SELECT
        application,
        environment,
        build_id,
        'unfinished' AS outcome,
        spans.created_at,
        'infinity'::TIMESTAMP AS began_at,
        false AS is_at_work,
        'infinity'::TIMESTAMP AS ended_at,
        NULL::TIMESTAMP AS replaced_at,
        false AS is_retry_by_hand,
        NULL::TIMESTAMP AS build_ended_at,
        'meta-data' AS basis
    FROM build_ends
    JOIN spans USING (build_id)
    WHERE result = 'failed' AND outcome = 'not_run' AND state NOT IN ('skipped', 'broken')
    UNION ALL BY NAME
    SELECT
        application,
        environment,
        build_id,
        result AS outcome,
        ended_at AS created_at,
        ended_at AS began_at,
        result = 'unfinished' AS is_at_work,
        ended_at,
        NULL::TIMESTAMP AS replaced_at,
        false AS is_retry_by_hand,
        ended_at AS build_ended_at,
        'meta-data' AS basis
    FROM build_ends
),
retried_at_rest AS (
    SELECT DISTINCT build_id, application, environment, began_at
    FROM (FROM attempts WHERE is_retry_by_hand) AS retry
    ANTI JOIN attempts AS other
        ON other.build_id = retry.build_id
        AND other.application = retry.application
        AND other.environment = retry.environment
        AND other.began_at < retry.began_at
        AND other.ended_at > retry.began_at
),
rounds AS (
    SELECT
        *,
        lead(began_at) OVER (
            PARTITION BY build_id, application, environment ORDER BY began_at
        ) AS next_began_at
    FROM (
        SELECT DISTINCT build_id, application, environment, '-infinity'::TIMESTAMP AS began_at
        FROM (
            SELECT build_id, application, environment FROM by_rule
            UNION ALL
            SELECT build_id, application, environment FROM whole_builds
        )
        UNION ALL
        FROM retried_at_rest
    )
),
-- What each job had come to when a round was over: its latest attempt by then.
standing AS (
    SELECT
        attempts.* EXCLUDE (is_at_work),
        rounds.began_at AS round_began_at,
        coalesce(attempts.began_at < next_began_at, isfinite(attempts.began_at)) AS has_begun,
        has_begun AND attempts.began_at >= rounds.began_at AS is_of_round,
        is_at_work AND coalesce(attempts.began_at < next_began_at, true) AS is_at_work
    FROM rounds
    JOIN attempts USING (build_id, application, environment)
    WHERE (next_began_at IS NULL OR attempts.created_at < next_began_at)
        AND coalesce(replaced_at >= next_began_at, replaced_at IS NULL)
),
judged AS (
    SELECT
        build_id,
        application,
        environment,
        basis,
        round_began_at,
        coalesce(max(build_ended_at), max(ended_at) FILTER (is_of_round)) AS deployed_at,
        bool_and(outcome = 'passed' AND has_begun) AS is_success,
        bool_and(outcome != 'unfinished' AND has_begun) AS is_complete,
        coalesce(bool_or(outcome IN ('failed', 'canceled')) FILTER (has_begun), false) AS has_failed
    FROM standing
    GROUP BY ALL
    HAVING bool_or(is_of_round AND outcome IN ('passed', 'failed'))
        AND NOT bool_or(is_at_work)
        AND (is_complete OR has_failed)
        AND isfinite(deployed_at)
),
deployed AS (
    SELECT
        judged.* EXCLUDE (round_began_at, is_complete, has_failed),
        row_number() OVER (
            PARTITION BY judged.build_id, application, environment ORDER BY round_began_at
        ) AS deployment_no,
        build_runs.organization_id,
        build_runs.pipeline_id,
        build_runs.pipeline_slug,
        build_runs.number,
        build_runs.commit,
        (
            SELECT any_value(version)
            FROM versions
            WHERE versions.build_id = judged.build_id AND versions.environment = judged.environment
                AND versions.application IN (judged.application, '')
        ) AS version
    FROM judged
    JOIN build_runs ON build_runs.build_id = judged.build_id
),
-- How many successes there were until each, and how many of them of a known commit.
successes AS (
    SELECT
        build_id,
        application,
        environment,
        deployment_no,
        organization_id,
        commit,
        count(*) OVER in_order AS place,
        count(commit) OVER in_order AS known_place,
        lag(commit) OVER (
            PARTITION BY organization_id, application, environment
            ORDER BY deployed_at, number, build_id, deployment_no
        ) AS commit_before
    FROM deployed
    WHERE is_success
    WINDOW in_order AS (
        PARTITION BY organization_id, application, environment
        ORDER BY deployed_at, number, build_id, deployment_no
        ROWS UNBOUNDED PRECEDING
    )
),
compared AS (
    SELECT
        *,
        lag(place) OVER same_commit AS last_place,
        lag(known_place) OVER same_commit AS last_known_place
    FROM successes
    WINDOW same_commit AS (
        PARTITION BY organization_id, application, environment, commit ORDER BY place
    )
),
told_apart AS (
    SELECT
        build_id,
        application,
        environment,
        deployment_no,
        if(place = 1 AND commit IS NOT NULL, false, commit = commit_before) AS is_redeploy,
        CASE
            WHEN commit IS NULL THEN NULL
            WHEN known_place - last_known_place > 1 THEN true
            -- An unknown commit stands between, or anywhere before one that is new.
            WHEN place - coalesce(last_place, 0) > known_place - coalesce(last_known_place, 0)
                THEN NULL
            ELSE false
        END AS is_rollback
    FROM compared
)
SELECT
    deployed.*,
    if(is_success, is_redeploy, false) AS is_redeploy,
    if(is_success, is_rollback, false) AS is_rollback
FROM deployed
LEFT JOIN told_apart USING (build_id, application, environment, deployment_no)
