/*
One row per team, attribution and ISO week in which builds of pipelines that it owned were created.

All builds of these pipelines are taken together, and everything is computed from them as in
`pipeline_weekly`. Owners are those when the build was created: see `pipeline_owners`. What a team
owns alone and what it owns with others are rows of their own. A build of a shared pipeline counts
in full for each of its owners: over teams, sum only the columns that end in `_part`, in which each
build is divided among them. Builds whose pipeline nobody owns, or whose owners are not known, have
rows without a team.

Key: organization_id, team_id, attribution, week
Recomputed: whole

Columns:
  week                      DATE     The week's Monday, in the rules' time zone.
  iso_week                  VARCHAR  The week's ISO name, such as 2026-W53.
  organization_id           UUID     The organization.
  team_id                   UUID     The team; NULL where nobody owns the pipelines, or none is known.
  team_slug                 VARCHAR  Its present slug, else its last one.
  attribution               VARCHAR  `sole` for what the team alone owned, `shared` for what it owned
                                     with others, `none` for what nobody owned, `not_evaluated`
                                     where no teams or no such pipeline were ever seen.
  pipelines                 BIGINT   Pipelines that were built.
  builds                    BIGINT   Builds created.
  builds_part               DOUBLE   The same, each divided by the number of its owners.
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
  agent_hours_part          DOUBLE   The same, each build's divided by the number of its owners.
  wasted_share              DOUBLE   The share of it whose result nobody used; NULL if none ran.
*/
WITH owned AS (
    SELECT
        build_runs.*,
        team_id,
        team_slug,
        coalesce(attribution, 'not_evaluated') AS attribution,
        greatest(owners, 1) AS parts,
        is_verdict AND outcome = 'passed' AS is_green,
        date_trunc('week', created_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS week
    FROM build_runs
    LEFT JOIN pipeline_owners
        ON pipeline_owners.pipeline_id = build_runs.pipeline_id
        AND created_at >= coalesce(owned_from, '-infinity'::TIMESTAMP)
        AND created_at < coalesce(owned_to, 'infinity'::TIMESTAMP)
),
counted AS (
    SELECT
        week,
        organization_id,
        team_id,
        team_slug,
        attribution,
        count(DISTINCT coalesce(pipeline_id::VARCHAR, pipeline_slug)) AS pipelines,
        count(*) AS builds,
        sum(1 / parts) AS builds_part,
        count(*) FILTER (is_open) AS open_builds,
        bool_and(is_final) AS is_final,
        count(*) FILTER (is_green) AS passed_verdicts,
        count(*) FILTER (is_verdict) AS verdicts,
        count(*) FILTER (outcome IN ('passed', 'failed', 'canceled')) AS ended_builds,
        count(*) FILTER (outcome = 'canceled') AS canceled_builds,
        count(active_seconds) FILTER (is_green) AS green_builds,
        quantile_cont(active_seconds, [0.5, 0.9]) FILTER (is_green) AS green,
        sum(agent_seconds) AS agent_seconds,
        sum(agent_seconds / parts) AS agent_seconds_part,
        sum(wasted_agent_seconds) AS wasted_agent_seconds
    FROM owned
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
    rated.team_id,
    rated.team_slug,
    rated.attribution,
    rated.pipelines,
    rated.builds,
    rated.builds_part,
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
    rated.agent_seconds_part / 3600 AS agent_hours_part,
    rated.wasted_agent_seconds / nullif(rated.agent_seconds, 0) AS wasted_share
FROM rated
LEFT JOIN rated AS before
    ON before.organization_id = rated.organization_id
    AND before.team_id IS NOT DISTINCT FROM rated.team_id
    AND before.attribution = rated.attribution
    AND before.week = rated.week - 7
