/*
One row per pipeline and ISO week in which builds of it were created.

Weeks begin on Monday in the rules' time zone. Everything is computed from the builds, since the
median of a week is no average of its days' medians; definitions are those of `pipeline_daily`.

Key: organization_id, pipeline_id, pipeline_slug, week
Recomputed: whole

Columns:
  week                      DATE     The week's Monday, in the rules' time zone.
  iso_week                  VARCHAR  The week's ISO name, such as 2026-W53.
  organization_id           UUID     The organization.
  pipeline_id               UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug             VARCHAR  The pipeline's present slug, else the one when read.
  builds                    BIGINT   Builds created.
  open_builds               BIGINT   Those that still go on: the week's figures will change.
  is_final                  BOOLEAN  Whether all its builds are final: see `build_runs`.
  verdicts                  BIGINT   Builds that are verdicts: what `success_rate` stands on.
  success_rate              DOUBLE   Passed, of the verdicts.
  success_rate_change       DOUBLE   Against the week before; NULL where that has no verdicts.
  ended_builds              BIGINT   Builds that passed, failed or were canceled: what
                                     `canceled_rate` stands on.
  canceled_rate             DOUBLE   Canceled, of those that passed, failed or were canceled.
  green_builds              BIGINT   Verdicts that passed and had jobs: what time to green stands on.
  green_p50_seconds         DOUBLE   Active time of these, median.
  green_p90_seconds         DOUBLE   … 90th percentile.
  green_p50_change_seconds  DOUBLE   Of the median, against the week before; NULL where that has
                                     none.
  agent_hours               DOUBLE   That agents ran the builds' jobs.
  wasted_share              DOUBLE   The share of it whose result nobody used; NULL if none ran.
*/
WITH dated AS (
    SELECT
        *,
        is_verdict AND outcome = 'passed' AS is_green,
        date_trunc('week', created_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS week
    FROM build_runs
),
counted AS (
    SELECT
        week,
        organization_id,
        pipeline_id,
        pipeline_slug,
        count(*) AS builds,
        count(*) FILTER (is_open) AS open_builds,
        bool_and(is_final) AS is_final,
        count(*) FILTER (is_green) AS passed_verdicts,
        count(*) FILTER (is_verdict) AS verdicts,
        count(*) FILTER (outcome IN ('passed', 'failed', 'canceled')) AS ended_builds,
        count(*) FILTER (outcome = 'canceled') AS canceled_builds,
        count(active_seconds) FILTER (is_green) AS green_builds,
        quantile_cont(active_seconds, [0.5, 0.9]) FILTER (is_green) AS green,
        sum(agent_seconds) AS agent_seconds,
        sum(wasted_agent_seconds) AS wasted_agent_seconds
    FROM dated
    GROUP BY ALL
),
rated AS (
    SELECT
        *,
        passed_verdicts / nullif(verdicts, 0) AS success_rate,
        canceled_builds / nullif(ended_builds, 0) AS canceled_rate,
        green[1] AS green_p50_seconds,
        green[2] AS green_p90_seconds
    FROM counted
)
SELECT
    rated.week,
    strftime(rated.week, '%G-W%V') AS iso_week,
    rated.organization_id,
    rated.pipeline_id,
    rated.pipeline_slug,
    rated.builds,
    rated.open_builds,
    rated.is_final,
    rated.verdicts,
    rated.success_rate,
    rated.success_rate - before.success_rate AS success_rate_change,
    rated.ended_builds,
    rated.canceled_rate,
    rated.green_builds,
    rated.green_p50_seconds,
    rated.green_p90_seconds,
    rated.green_p50_seconds - before.green_p50_seconds AS green_p50_change_seconds,
    rated.agent_seconds / 3600 AS agent_hours,
    rated.wasted_agent_seconds / nullif(rated.agent_seconds, 0) AS wasted_share
FROM rated
LEFT JOIN rated AS before
    ON before.organization_id = rated.organization_id
    AND before.pipeline_id IS NOT DISTINCT FROM rated.pipeline_id
    AND before.pipeline_slug = rated.pipeline_slug
    AND before.week = rated.week - 7
