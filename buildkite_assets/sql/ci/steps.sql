/*
One row per name that jobs of a pipeline go by, and the step that it means.

`job_runs` calls a job by its step's key, else by its label, else by its command: what one build
tells. A step that gains a key would be two steps then. So a label without a key means the step
with that key, where the pipeline's jobs of the label have no other key in any build, and no build
has jobs of the label both with the key and without it. A label that several keys share means none
of them: it is a step of its own where it has no key. A label changes and a key stays: what has a
key is one step, whatever its labels. Steps without a key are one where they have the same label.

Tables recomputed whole go by `step`. To do the same with one that is recomputed by day, join its
`step` to `name` within the pipeline.

Key: organization_id, pipeline_id, pipeline_slug, name
Recomputed: whole

Columns:
  organization_id  UUID       The organization.
  pipeline_id      UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug    VARCHAR    The pipeline's present slug, else the one when read.
  name             VARCHAR    The name, as `step` in tables recomputed by day.
  step             VARCHAR    The step's one name across builds: its key, if it ever had one.
  names            VARCHAR[]  All keys, labels and commands that jobs of the step go by.
  attempts         BIGINT     Attempts of jobs by this name.
  first_day        DATE       The UTC day of the first build with the name.
  last_day         DATE       … of the last one.
*/
WITH seen AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        step AS name,
        step_key,
        step_label,
        count(*) AS attempts,
        min(day) AS first_day,
        max(day) AS last_day
    FROM job_runs
    GROUP BY ALL
),
gained AS (
    SELECT
        organization_id, pipeline_id, pipeline_slug, step_label, any_value(step_key) AS step_key
    FROM seen
    WHERE step_label IS NOT NULL
    GROUP BY ALL
    HAVING count(DISTINCT step_key) = 1 AND bool_or(step_key IS NULL)
),
-- Few labels are in question: their jobs are looked at build by build.
side_by_side AS (
    SELECT DISTINCT organization_id, pipeline_id, pipeline_slug, step_label
    FROM (
        SELECT build_id, organization_id, pipeline_id, pipeline_slug, step_label
        FROM job_runs
        SEMI JOIN gained
            ON gained.organization_id = job_runs.organization_id
            AND gained.pipeline_id IS NOT DISTINCT FROM job_runs.pipeline_id
            AND gained.pipeline_slug = job_runs.pipeline_slug
            AND gained.step_label = job_runs.step_label
        GROUP BY ALL
        HAVING bool_or(step_key IS NULL) AND bool_or(step_key IS NOT NULL)
    )
),
-- A label that is the key of another step means that step by its name already.
ties AS (
    SELECT gained.*
    FROM gained
    ANTI JOIN side_by_side
        ON side_by_side.organization_id = gained.organization_id
        AND side_by_side.pipeline_id IS NOT DISTINCT FROM gained.pipeline_id
        AND side_by_side.pipeline_slug = gained.pipeline_slug
        AND side_by_side.step_label = gained.step_label
    ANTI JOIN (FROM seen WHERE step_key IS NOT NULL) AS keyed
        ON keyed.organization_id = gained.organization_id
        AND keyed.pipeline_id IS NOT DISTINCT FROM gained.pipeline_id
        AND keyed.pipeline_slug = gained.pipeline_slug
        AND keyed.step_key = gained.step_label
),
named AS (
    SELECT seen.*, coalesce(ties.step_key, name) AS step
    FROM seen
    LEFT JOIN ties
        ON seen.step_key IS NULL
        AND ties.organization_id = seen.organization_id
        AND ties.pipeline_id IS NOT DISTINCT FROM seen.pipeline_id
        AND ties.pipeline_slug = seen.pipeline_slug
        AND ties.step_label = seen.step_label
),
names AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        step,
        list_sort(list_distinct(list_concat(list(name), list(step_label)))) AS names
    FROM named
    GROUP BY ALL
)
SELECT
    named.organization_id,
    named.pipeline_id,
    named.pipeline_slug,
    named.name,
    named.step,
    any_value(names.names) AS names,
    sum(named.attempts)::BIGINT AS attempts,
    min(named.first_day) AS first_day,
    max(named.last_day) AS last_day
FROM named
JOIN names
    ON names.organization_id = named.organization_id
    AND names.pipeline_id IS NOT DISTINCT FROM named.pipeline_id
    AND names.pipeline_slug = named.pipeline_slug
    AND names.step = named.step
GROUP BY ALL
