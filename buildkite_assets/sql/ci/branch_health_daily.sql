/*
One row per pipeline and local day on which it is known whether its default branch was green or red.

At each instant the branch is what its newest build with a verdict says: passed is green, failed is
red, from the build's end on. Newest is by creation, so that an older build that ends later changes
nothing. Builds that neither passed nor failed do not count, nor do pull requests and merge queues.
Before the first verdict nothing is known; on days without builds the state stays, and a quiet red
weekend is red. The last day ends where Buildkite last told of any build of the organization. While
a pipeline is archived or gone nothing is known, until a build that is created later has a verdict.
The default branch is the one when a build was created: where another branch becomes it, the state
goes on until that branch's first verdict. Days are those of the rules' time zone: where clocks
change they have 23 or 25 hours.

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
  passed_builds     BIGINT   Builds of the branch that passed and ended on this day.
  failed_builds     BIGINT   Those that failed.
  verdicts          BIGINT   Both: what `red_builds_share` stands on.
  red_builds_share  DOUBLE   Failed, of those that passed or failed.
  is_final          BOOLEAN  Whether the day is over, and the builds that it stands on are final: see
                             `build_runs`.
*/
WITH told AS (
    SELECT organization_id, max(synced_at) AS told_at FROM build_runs GROUP BY organization_id
),
verdicts AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        branch,
        created_at,
        number,
        finished_at,
        is_final,
        if(outcome = 'passed', 'green', 'red') AS state,
        finished_at < coalesce(
            min(finished_at) OVER (
                PARTITION BY pipeline_id ORDER BY created_at, number
                ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
            ),
            'infinity'::TIMESTAMP
        ) AS is_newest
    FROM build_runs
    WHERE is_default_branch AND outcome IN ('passed', 'failed') AND finished_at IS NOT NULL
),
ends AS (
    SELECT
        pipeline_id,
        any_value(told_at) AS told_at,
        greatest(any_value(told_at), max(finished_at)) AS known_to
    FROM verdicts
    JOIN told USING (organization_id)
    GROUP BY pipeline_id
),
-- When a pipeline was archived, or was first missing from a list.
stops AS (
    SELECT pipeline_id, archived_at AS stopped_at
    FROM pipelines_history
    WHERE archived_at IS NOT NULL
    UNION
    SELECT ended.pipeline_id, ended.valid_to
    FROM pipelines_history AS ended
    ANTI JOIN pipelines_history AS next
        ON next.pipeline_id = ended.pipeline_id AND next.valid_from = ended.valid_to
    WHERE ended.valid_to IS NOT NULL
),
states AS (
    SELECT
        verdicts.*,
        told_at,
        finished_at AS begins_at,
        greatest(
            finished_at,
            least(lead(finished_at, 1, known_to) OVER in_order, stopped_at)
        ) AS ends_at,
        lag(state) OVER in_order AS state_before
    FROM verdicts
    JOIN ends USING (pipeline_id)
    ASOF LEFT JOIN stops
        ON stops.pipeline_id = verdicts.pipeline_id AND stops.stopped_at >= verdicts.created_at
    WHERE is_newest
    WINDOW in_order AS (PARTITION BY verdicts.pipeline_id ORDER BY finished_at)
),
-- One row for each local day that a state touches.
pieces AS (
    SELECT
        *,
        unnest(
            generate_series(
                date_trunc('day', begins_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone),
                ends_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone,
                INTERVAL 1 DAY
            )
        ) AS midnight,
        midnight AT TIME ZONE $time_zone AT TIME ZONE 'UTC' AS day_begins_at,
        (midnight + INTERVAL 1 DAY) AT TIME ZONE $time_zone AT TIME ZONE 'UTC' AS day_ends_at,
        greatest(
            epoch(least(ends_at, day_ends_at) - greatest(begins_at, day_begins_at)), 0
        ) AS seconds,
        begins_at >= day_begins_at AND state != state_before AS is_turn
    FROM states
),
days AS (
    SELECT
        midnight::DATE AS local_day,
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
        bool_and(is_final AND day_ends_at <= told_at) AS is_final
    FROM pieces
    GROUP BY ALL
),
counted AS (
    SELECT
        pipeline_id,
        (finished_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day,
        count(*) FILTER (state = 'green') AS passed_builds,
        count(*) FILTER (state = 'red') AS failed_builds,
        bool_and(is_final) AS is_final
    FROM verdicts
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
    days.is_final AND coalesce(counted.is_final, true) AS is_final
FROM days
LEFT JOIN counted USING (pipeline_id, local_day)
