/*
One row per queue, pipeline, owning team and local day on which agents began jobs: their minutes
and the price of them.

A job's whole run counts on the day on which it began, in the rules' time zone; a job that still
runs counts so far. The first price of the rules file that fits a job's queue, its cluster or one of
its agent's tags counts; the run is rounded up as that rule says. Minutes without a price are
unpriced, not free.

Teams are those that owned the pipeline when the run began: see `pipeline_owners`. A pipeline that
several own has a row for each, and all its figures are that team's equal part: any sum over rows,
by team or not, counts nothing twice and loses nothing.

Key: organization_id, queue_id, queue_key, pipeline_id, pipeline_slug, team_id, attribution, local_day
Recomputed: whole

Columns:
  local_day         DATE     The day, in the rules' time zone.
  organization_id   UUID     The organization.
  queue_id          UUID     The queue; NULL for jobs of which only a key is known.
  queue_key         VARCHAR  Its key.
  cluster_id        UUID     Its cluster.
  cluster_name      VARCHAR  The cluster's name.
  queue             VARCHAR  The queue's name for people, as in `job_runs`.
  pipeline_id       UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug     VARCHAR  The pipeline's present slug, else the one when read.
  team_id           UUID     A team that owned it; NULL where none did, or none is known.
  team_slug         VARCHAR  That team's present slug, else its last one.
  attribution       VARCHAR  `sole` where one team owned it, `shared` where several did, `none`, or
                             `not_evaluated` where no teams or no such pipeline were ever seen.
  runs              DOUBLE   Attempts that ran, or still run.
  agent_minutes     DOUBLE   How long they ran.
  priced_minutes    DOUBLE   Those of them that a price fits, before rounding.
  unpriced_minutes  DOUBLE   Those that no price fits.
  cost              DOUBLE   Price of the priced minutes; NULL if no run has a price.
  wasted_minutes    DOUBLE   Minutes whose result nobody used.
  wasted_cost       DOUBLE   Their price; NULL if no run has a price.
  currency          VARCHAR  Of the prices.
*/
WITH rules AS (
    SELECT
        $prices::STRUCT(
            per_minute DOUBLE, queue VARCHAR, cluster VARCHAR, tag VARCHAR, billed_seconds BIGINT
        )[] AS prices
),
prices AS (
    SELECT unnest(range(len(prices))) AS place, unnest(prices) AS price FROM rules
),
kinds AS (
    SELECT DISTINCT queue_key, cluster_name, agent_tags
    FROM job_runs
    WHERE agent_seconds IS NOT NULL
),
priced_kinds AS (
    SELECT queue_key, cluster_name, agent_tags, min_by(price, place) AS price
    FROM kinds
    JOIN prices
        ON list_contains(agent_tags, price.tag)
        OR (
            price.tag IS NULL
            AND (price.queue IS NULL OR price.queue = queue_key)
            AND (price.cluster IS NULL OR price.cluster = cluster_name)
        )
    GROUP BY ALL
),
teams AS (
    SELECT
        pipeline_id,
        team_id,
        team_slug,
        attribution,
        greatest(owners, 1) AS parts,
        coalesce(owned_from, '-infinity'::TIMESTAMP) AS begins_at,
        coalesce(owned_to, 'infinity'::TIMESTAMP) AS ends_at
    FROM pipeline_owners
),
spans AS (
    SELECT DISTINCT pipeline_id, begins_at, ends_at FROM teams
),
runs AS (
    SELECT
        (started_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day,
        organization_id,
        queue_id,
        job_runs.queue_key,
        cluster_id,
        job_runs.cluster_name,
        queue,
        job_runs.pipeline_id,
        pipeline_slug,
        begins_at,
        agent_seconds,
        wasted_seconds,
        price IS NOT NULL AS is_priced,
        ceil(agent_seconds / price.billed_seconds) * price.billed_seconds / 60 * price.per_minute
            AS cost
    FROM job_runs
    LEFT JOIN priced_kinds
        ON priced_kinds.queue_key = job_runs.queue_key
        AND priced_kinds.cluster_name IS NOT DISTINCT FROM job_runs.cluster_name
        AND priced_kinds.agent_tags IS NOT DISTINCT FROM job_runs.agent_tags
    LEFT JOIN spans
        ON spans.pipeline_id = job_runs.pipeline_id
        AND started_at >= begins_at
        AND started_at < ends_at
    WHERE agent_seconds IS NOT NULL
),
by_pipeline AS (
    SELECT
        local_day,
        organization_id,
        queue_id,
        queue_key,
        cluster_id,
        cluster_name,
        queue,
        pipeline_id,
        pipeline_slug,
        begins_at,
        count(*) AS runs,
        sum(agent_seconds) AS agent_seconds,
        coalesce(sum(agent_seconds) FILTER (is_priced), 0) AS priced_seconds,
        coalesce(sum(agent_seconds) FILTER (NOT is_priced), 0) AS unpriced_seconds,
        sum(cost) AS cost,
        sum(wasted_seconds) AS wasted_seconds,
        if(count(cost) = 0, NULL, coalesce(sum(cost) FILTER (wasted_seconds > 0), 0))
            AS wasted_cost
    FROM runs
    GROUP BY ALL
)
SELECT
    local_day,
    organization_id,
    queue_id,
    queue_key,
    any_value(cluster_id) AS cluster_id,
    any_value(cluster_name) AS cluster_name,
    any_value(queue) AS queue,
    pipeline_id,
    pipeline_slug,
    team_id,
    team_slug,
    coalesce(attribution, 'not_evaluated') AS attribution,
    sum(runs / coalesce(parts, 1)) AS runs,
    sum(agent_seconds / coalesce(parts, 1)) / 60 AS agent_minutes,
    sum(priced_seconds / coalesce(parts, 1)) / 60 AS priced_minutes,
    sum(unpriced_seconds / coalesce(parts, 1)) / 60 AS unpriced_minutes,
    sum(cost / coalesce(parts, 1)) AS cost,
    sum(wasted_seconds / coalesce(parts, 1)) / 60 AS wasted_minutes,
    sum(wasted_cost / coalesce(parts, 1)) AS wasted_cost,
    $currency::VARCHAR AS currency
FROM by_pipeline
LEFT JOIN teams USING (pipeline_id, begins_at)
GROUP BY ALL
