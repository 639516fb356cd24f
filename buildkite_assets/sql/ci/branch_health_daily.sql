/*
One row per pipeline and local day on which it is known whether its default branch was green or red.

The states are those of `branch_states`, cut by the days of `local_days`. Before the first verdict
nothing is known. On days without builds the state stays, and a quiet red weekend is red: the last
day ends at the latest instant up to which the organization was read. While a pipeline is archived or
gone nothing is known, until a build that is created later has a verdict.

Key: pipeline_id, local_day
Recomputed: whole

Columns:
  local_day         DATE     The day, in the rules' time zone.
  organization_id   UUID     The organization.
  pipeline_id       UUID     The pipeline.
  pipeline_slug     VARCHAR  The pipeline's present slug.
  branch            VARCHAR  Its default branch: the one whose build says the state at the day's end.
  known_seconds     DOUBLE   Of the day, during which the state is known: what `green_time_share`
                             stands on.
  green_seconds     DOUBLE   Those of them during which it was green.
  red_seconds       DOUBLE   Those during which it was red.
  green_time_share  DOUBLE   Green, of the time during which the state is known.
  last_state        VARCHAR  `green` or `red`, at the day's end.
  turned_red        BIGINT   How often it turned from green to red.
  turned_green      BIGINT   How often it turned from red to green.
  passed_builds     BIGINT   Verdicts that passed and ended on this day, as they stand now.
  failed_builds     BIGINT   Those that failed.
  verdicts          BIGINT   Both: what `red_builds_share` stands on.
  red_builds_share  DOUBLE   Failed, of those that passed or failed.
  is_final          BOOLEAN  Whether the day is over, and the builds that it stands on are final: see
                             `build_runs`.
*/
WITH days AS (
    SELECT local_day, min(begins_at) AS day_begins_at, max(ends_at) AS day_ends_at
    FROM local_days
    GROUP BY local_day
),
states AS (
    SELECT *, lag(state) OVER (PARTITION BY pipeline_id ORDER BY begins_at) AS state_before
    FROM branch_states
),
-- One row for each local day that a state touches.
pieces AS (
    SELECT
        *,
        greatest(
            epoch(least(ends_at, day_ends_at) - greatest(begins_at, day_begins_at)), 0
        ) AS seconds,
        begins_at >= day_begins_at AND state != state_before AS is_turn
    FROM states
    JOIN days ON begins_at < day_ends_at AND ends_at >= day_begins_at
),
measured AS (
    SELECT
        local_day,
        organization_id,
        pipeline_id,
        pipeline_slug,
        arg_max(branch, begins_at) AS branch,
        sum(seconds) AS known_seconds,
        coalesce(sum(seconds) FILTER (state = 'green'), 0) AS green_seconds,
        coalesce(sum(seconds) FILTER (state = 'red'), 0) AS red_seconds,
        arg_max(state, begins_at) AS last_state,
        count(*) FILTER (is_turn AND state = 'red') AS turned_red,
        count(*) FILTER (is_turn AND state = 'green') AS turned_green,
        bool_and(is_final AND day_ends_at <= read_at) AS is_final
    FROM pieces
    GROUP BY ALL
),
counted AS (
    SELECT
        pipeline_id,
        (finished_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day,
        count(*) FILTER (outcome = 'passed') AS passed_builds,
        count(*) FILTER (outcome = 'failed') AS failed_builds,
        bool_and(is_final) AS is_final
    FROM build_runs
    WHERE is_default_branch AND is_verdict AND finished_at IS NOT NULL
        AND NOT list_contains($ignored_sources::VARCHAR[], coalesce(source, ''))
    GROUP BY ALL
)
SELECT
    local_day,
    organization_id,
    pipeline_id,
    pipeline_slug,
    branch,
    known_seconds,
    green_seconds,
    red_seconds,
    green_seconds / nullif(known_seconds, 0) AS green_time_share,
    last_state,
    turned_red,
    turned_green,
    coalesce(passed_builds, 0) AS passed_builds,
    coalesce(failed_builds, 0) AS failed_builds,
    coalesce(passed_builds + failed_builds, 0) AS verdicts,
    failed_builds / nullif(passed_builds + failed_builds, 0) AS red_builds_share,
    measured.is_final AND coalesce(counted.is_final, true) AS is_final
FROM measured
LEFT JOIN counted USING (pipeline_id, local_day)
