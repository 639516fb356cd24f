/*
One row per time that a pipeline's default branch was red: from the break to the recovery.

An incident is a run of red states in `branch_states`: from the end of a build that failed to the
end of one that passed, where older builds that end later do not count. A failed build that is
retried by hand until it passes was red from its first end until the retry passed. The branch may
have been red for long when the first known build ended.
The default branch is the one when a build was created: where another branch becomes it, what is red
stays so until a build of that branch passes.

Key: pipeline_id, red_at
Recomputed: whole

Columns:
  organization_id    UUID       The organization.
  pipeline_id        UUID       The pipeline.
  pipeline_slug      VARCHAR    The pipeline's present slug.
  branch             VARCHAR    Its default branch when it broke.
  red_at             TIMESTAMP  When the breaking build finished.
  green_at           TIMESTAMP  When the branch passed again; NULL while it has not.
  red_until          TIMESTAMP  Until when it was red: `green_at`, or the latest instant up to which
                                the organization was read, or when the pipeline was archived or
                                gone.
  is_open            BOOLEAN    Whether it is still red: leave it out of averages, show its age.
  is_begin_known     BOOLEAN    Whether a passed build stands before it.
  ended_by           VARCHAR    `build` where another build passed, `retry` where a failed build of
                                the incident went on and passed, `archive` where the pipeline was
                                archived or gone while it was red; NULL while it is red.
  red_seconds        DOUBLE     From red to `red_until`.
  working_seconds    DOUBLE     Those of them within the rules' working hours.
  red_builds         BIGINT     Failed builds of it that were the newest verdict when they ended.
  breaking_build_id  UUID       The build that broke it.
  breaking_number    BIGINT     Its number.
  breaking_commit    VARCHAR    Its commit.
  fixing_build_id    UUID       The build that passed again; NULL where none has.
  fixing_number      BIGINT     Its number.
  fixing_commit      VARCHAR    Its commit.
  is_same_commit     BOOLEAN    Whether the commit that passed is one that had failed: a repeat, not
                                a fix; NULL where none passed, or a commit is not known.
*/
WITH states AS (
    SELECT
        *,
        lag(state) OVER in_order AS state_before,
        lead(struct_pack(state, begins_at, build_id, number, commit)) OVER in_order AS next
    FROM branch_states
    WINDOW in_order AS (PARTITION BY pipeline_id ORDER BY begins_at)
),
numbered AS (
    SELECT
        *,
        count(*) FILTER (state_before IS DISTINCT FROM 'red') OVER (
            PARTITION BY pipeline_id ORDER BY begins_at ROWS UNBOUNDED PRECEDING
        ) AS incident_no
    FROM states
    WHERE state = 'red'
),
incidents AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        incident_no,
        arg_min(branch, begins_at) AS branch,
        min(begins_at) AS red_at,
        max(ends_at) AS red_until,
        bool_or(is_open) AS is_open,
        bool_or(state_before IS NOT NULL) AS is_begin_known,
        sum(epoch(ends_at - begins_at)) AS red_seconds,
        count(DISTINCT build_id) AS red_builds,
        arg_min(struct_pack(build_id, number, commit), begins_at) AS breaking,
        any_value(next) FILTER (next.state = 'green') AS fixing,
        list(build_id) AS red_build_ids,
        list(commit) AS red_commits
    FROM numbered
    GROUP BY ALL
),
work AS (
    SELECT
        greatest(
            begins_at, local_day + $work_begins::TIME - to_seconds(utc_offset_seconds)
        ) AS work_begins_at,
        least(
            ends_at, local_day + $work_ends::TIME - to_seconds(utc_offset_seconds)
        ) AS work_ends_at
    FROM local_days
    WHERE isodow(local_day) IN (SELECT unnest($working_days::BIGINT[]))
        AND local_day NOT IN (SELECT unnest($holidays::DATE[]))
        AND work_ends_at > work_begins_at
),
working AS (
    SELECT
        pipeline_id,
        incident_no,
        sum(epoch(least(ends_at, work_ends_at) - greatest(begins_at, work_begins_at)))
            AS working_seconds
    FROM numbered
    JOIN work ON begins_at < work_ends_at AND ends_at > work_begins_at
    GROUP BY ALL
)
SELECT
    organization_id,
    pipeline_id,
    pipeline_slug,
    branch,
    red_at,
    fixing.begins_at AS green_at,
    red_until,
    is_open,
    is_begin_known,
    CASE
        WHEN list_contains(red_build_ids, fixing.build_id) THEN 'retry'
        WHEN fixing IS NOT NULL THEN 'build'
        WHEN NOT is_open THEN 'archive'
    END AS ended_by,
    red_seconds,
    coalesce(working_seconds, 0) AS working_seconds,
    red_builds,
    breaking.build_id AS breaking_build_id,
    breaking.number AS breaking_number,
    breaking.commit AS breaking_commit,
    fixing.build_id AS fixing_build_id,
    fixing.number AS fixing_number,
    fixing.commit AS fixing_commit,
    CASE
        WHEN ended_by = 'retry' THEN true
        WHEN fixing IS NULL OR fixing.commit IS NULL THEN NULL
        WHEN list_contains(red_commits, fixing.commit) THEN true
        WHEN len(red_commits) > list_count(red_commits) THEN NULL
        ELSE false
    END AS is_same_commit
FROM incidents
LEFT JOIN working USING (pipeline_id, incident_no)
