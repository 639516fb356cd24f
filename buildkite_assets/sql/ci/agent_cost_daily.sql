/*
One row per queue, pipeline and local day on which agents began jobs: the minutes and their price.

A job's whole run counts on the day on which it began, in the rules' time zone. The first price of
the rules file that fits a job's queue or one of its agent's tags counts; the run is rounded up as
that rule says. Minutes without a price are unpriced, not free.

Key: organization_id, queue_key, pipeline_id, pipeline_slug, local_day
Recomputed: whole

Columns:
  local_day         DATE     The day, in the rules' time zone.
  organization_id   UUID     The organization.
  queue_key         VARCHAR  The queue.
  pipeline_id       UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug     VARCHAR  The pipeline's present slug, else the one when read.
  runs              BIGINT   Attempts that ran to their end.
  agent_minutes     DOUBLE   How long they ran.
  priced_minutes    DOUBLE   Those of them that a price fits, before rounding.
  unpriced_minutes  DOUBLE   Those that no price fits.
  cost              DOUBLE   Price of the priced minutes; NULL if no run has a price.
  wasted_minutes    DOUBLE   Minutes whose result nobody used.
  wasted_cost       DOUBLE   Their price; NULL if no run has a price.
  currency          VARCHAR  Of the prices.
*/
WITH prices AS (
    SELECT
        unnest(range(len($prices::STRUCT(
            per_minute DOUBLE, queue VARCHAR, tag VARCHAR, billed_seconds BIGINT
        )[]))) AS place,
        unnest($prices::STRUCT(
            per_minute DOUBLE, queue VARCHAR, tag VARCHAR, billed_seconds BIGINT
        )[]) AS price
),
kinds AS (
    SELECT DISTINCT queue_key, agent_tags FROM job_runs WHERE run_seconds IS NOT NULL
),
priced_kinds AS (
    SELECT queue_key, agent_tags, min_by(price, place) AS price
    FROM kinds
    JOIN prices ON price.queue = queue_key OR list_contains(agent_tags, price.tag)
    GROUP BY ALL
),
runs AS (
    SELECT
        (started_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day,
        organization_id,
        job_runs.queue_key,
        pipeline_id,
        pipeline_slug,
        run_seconds,
        wasted_seconds,
        price IS NOT NULL AS is_priced,
        ceil(run_seconds / price.billed_seconds) * price.billed_seconds / 60 * price.per_minute
            AS cost
    FROM job_runs
    LEFT JOIN priced_kinds
        ON priced_kinds.queue_key = job_runs.queue_key
        AND priced_kinds.agent_tags IS NOT DISTINCT FROM job_runs.agent_tags
    WHERE run_seconds IS NOT NULL
)
SELECT
    local_day,
    organization_id,
    queue_key,
    pipeline_id,
    pipeline_slug,
    count(*) AS runs,
    sum(run_seconds) / 60 AS agent_minutes,
    coalesce(sum(run_seconds) FILTER (is_priced), 0) / 60 AS priced_minutes,
    coalesce(sum(run_seconds) FILTER (NOT is_priced), 0) / 60 AS unpriced_minutes,
    sum(cost) AS cost,
    sum(wasted_seconds) / 60 AS wasted_minutes,
    if(count(cost) = 0, NULL, coalesce(sum(cost) FILTER (wasted_seconds > 0), 0)) AS wasted_cost,
    $currency::VARCHAR AS currency
FROM runs
GROUP BY ALL
