/*
One row per time that a pipeline's default branch was red: from the break to the recovery.

Builds of the default branch follow one another by creation; those that neither passed nor failed
do not count. A break is the first failed build after a passed one, and lasts from its end to the
end of the next build that passed. A failed build whose jobs were retried until it passed is a
passed build: it leaves no trace here. The first build that is known may already be red since long.
The default branch is the one when a build was created: where another branch becomes it, what is red
stays so until a build of that branch passes.

Key: breaking_build_id
Recomputed: whole

Columns:
  organization_id    UUID       The organization.
  pipeline_id        UUID       The pipeline.
  pipeline_slug      VARCHAR    The pipeline's present slug.
  branch             VARCHAR    Its default branch when it broke.
  red_at             TIMESTAMP  When the breaking build finished.
  green_at           TIMESTAMP  When the fixing build finished; NULL while it is red.
  is_open            BOOLEAN    Whether it is still red: leave it out of averages, show its age.
  is_begin_known     BOOLEAN    Whether a passed build stands before it.
  red_seconds        DOUBLE     From red to green; while it is red, until Buildkite last told of
                                any build of the organization.
  working_seconds    DOUBLE     Those of them within the rules' working hours.
  red_builds         BIGINT     Failed builds of it.
  breaking_build_id  UUID       The build that broke it.
  breaking_number    BIGINT     Its number.
  breaking_commit    VARCHAR    Its commit.
  fixing_build_id    UUID       The build that passed again; NULL while it is red.
  fixing_number      BIGINT     Its number.
  fixing_commit      VARCHAR    Its commit.
  is_same_commit     BOOLEAN    Whether the commit that passed is one that had failed: a repeat, not
                                a fix; NULL while it is red.
*/
WITH verdicts AS (
    SELECT
        *,
        lag(outcome) OVER in_order AS outcome_before
    FROM build_runs
    WHERE is_default_branch AND outcome IN ('passed', 'failed')
    WINDOW in_order AS (PARTITION BY pipeline_id ORDER BY created_at, number)
),
numbered AS (
    SELECT
        *,
        count(*) FILTER (outcome = 'failed' AND coalesce(outcome_before, 'passed') = 'passed') OVER (
            PARTITION BY pipeline_id ORDER BY created_at, number ROWS UNBOUNDED PRECEDING
        ) AS incident_no
    FROM verdicts
    -- Of the passed builds only the first after a failed one matters.
    WHERE outcome = 'failed' OR outcome_before = 'failed'
),
incidents AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        incident_no,
        min_by(branch, created_at) AS branch,
        arg_min(struct_pack(build_id, number, commit, finished_at, outcome_before), (created_at, number))
            FILTER (outcome = 'failed') AS breaking,
        arg_min(struct_pack(build_id, number, commit, finished_at), (created_at, number))
            FILTER (outcome = 'passed') AS fixing,
        count(*) FILTER (outcome = 'failed') AS red_builds,
        list(commit) FILTER (outcome = 'failed') AS red_commits
    FROM numbered
    GROUP BY ALL
),
told AS (
    SELECT organization_id, max(synced_at) AS told_at FROM build_runs GROUP BY organization_id
),
timed AS (
    SELECT
        *,
        breaking.finished_at AS red_at,
        fixing.finished_at AS green_at,
        -- A newer build may pass before the older one that broke it has ended.
        greatest(coalesce(fixing.finished_at, told_at), breaking.finished_at) AS red_until
    FROM incidents
    JOIN told USING (organization_id)
),
-- One row for each local day that an incident touches.
days AS (
    SELECT
        breaking.build_id AS breaking_build_id,
        red_at,
        red_until,
        unnest(
            generate_series(
                date_trunc('day', red_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone),
                red_until AT TIME ZONE 'UTC' AT TIME ZONE $time_zone,
                INTERVAL 1 DAY
            )
        )::DATE AS local_day
    FROM timed
),
working_days AS (
    SELECT
        breaking_build_id,
        greatest(
            red_at,
            (local_day + $work_begins::TIME) AT TIME ZONE $time_zone AT TIME ZONE 'UTC'
        ) AS work_begins_at,
        least(
            red_until,
            (local_day + $work_ends::TIME) AT TIME ZONE $time_zone AT TIME ZONE 'UTC'
        ) AS work_ends_at
    FROM days
    WHERE isodow(local_day) IN (SELECT unnest($working_days::BIGINT[]))
        AND local_day NOT IN (SELECT unnest($holidays::DATE[]))
),
working AS (
    SELECT breaking_build_id, sum(epoch(work_ends_at - work_begins_at)) AS working_seconds
    FROM working_days
    WHERE work_ends_at > work_begins_at
    GROUP BY ALL
)
SELECT
    organization_id,
    pipeline_id,
    pipeline_slug,
    branch,
    red_at,
    green_at,
    fixing IS NULL AS is_open,
    breaking.outcome_before IS NOT NULL AS is_begin_known,
    epoch(red_until - red_at) AS red_seconds,
    coalesce(working_seconds, 0) AS working_seconds,
    red_builds,
    breaking.build_id AS breaking_build_id,
    breaking.number AS breaking_number,
    breaking.commit AS breaking_commit,
    fixing.build_id AS fixing_build_id,
    fixing.number AS fixing_number,
    fixing.commit AS fixing_commit,
    CASE
        WHEN fixing IS NOT NULL
            THEN coalesce(
                fixing.commit != 'HEAD' AND list_contains(red_commits, fixing.commit), false
            )
    END AS is_same_commit
FROM timed
LEFT JOIN working ON working.breaking_build_id = breaking.build_id
