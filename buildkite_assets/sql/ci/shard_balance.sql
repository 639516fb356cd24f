/*
One row per build and parallel step of it: how evenly its shards share the work.

Counts last attempts that ran and passed or failed. Where `shards` is less than `shard_total`, the
others were canceled, never ran or have not ended: the figures are those of the shards that did.

Key: build_id, step
Recomputed: whole

Columns:
  build_id              UUID     The build.
  step                  VARCHAR  The step across builds: see `steps`.
  organization_id       UUID     The organization that it belongs to.
  pipeline_id           UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug         VARCHAR  The pipeline's present slug, else the one when read.
  day                   DATE     The UTC day of the build's creation.
  shard_total           INTEGER  How many shards the step has in this build.
  shards                BIGINT   Shards that ran to their end: what the figures stand on.
  longest_shard_index   INTEGER  Which of them ran longest, from 0.
  longest_run_seconds   DOUBLE   How long that one ran.
  median_run_seconds    DOUBLE   How long the median one ran.
  shortest_run_seconds  DOUBLE   How long the shortest one ran.
  imbalance             DOUBLE   The longest run, of the mean: 1 is perfect balance; NULL if none
                                 took any time.
  imbalance_seconds     DOUBLE   The longest run less the mean: how much sooner the last shard
                                 would end if all ran equally long.
*/
WITH shards AS (
    SELECT
        job_runs.build_id,
        coalesce(steps.step, job_runs.step) AS step,
        job_runs.organization_id,
        job_runs.pipeline_id,
        job_runs.pipeline_slug,
        day,
        max(shard_total) AS shard_total,
        count(*) AS shards,
        -- Of equally long ones the first, so that the same jobs always give the same row.
        arg_max(shard_index, {'seconds': run_seconds, 'place': -shard_index})
            AS longest_shard_index,
        max(run_seconds) AS longest_run_seconds,
        median(run_seconds) AS median_run_seconds,
        min(run_seconds) AS shortest_run_seconds,
        least(avg(run_seconds), max(run_seconds)) AS mean_run_seconds
    FROM job_runs
    LEFT JOIN steps
        ON steps.organization_id = job_runs.organization_id
        AND steps.pipeline_id IS NOT DISTINCT FROM job_runs.pipeline_id
        AND steps.pipeline_slug = job_runs.pipeline_slug
        AND steps.name = job_runs.step
    WHERE shard_total > 1
        AND is_last_attempt
        AND outcome IN ('passed', 'failed')
        AND run_seconds IS NOT NULL
    GROUP BY ALL
)
SELECT
    * EXCLUDE (mean_run_seconds),
    longest_run_seconds / nullif(mean_run_seconds, 0) AS imbalance,
    longest_run_seconds - mean_run_seconds AS imbalance_seconds
FROM shards
