/*
One row per pipeline and local day on which builds of it were created.

Days are those of the rules' time zone. Percentiles come from the builds themselves; each has the
number that it stands on. How long until green counts verdicts that passed, how long until people
know counts all verdicts: see `build_runs` for what is one. Canceled builds and those that never ran
are no failures.

Key: organization_id, pipeline_id, pipeline_slug, local_day
Recomputed: whole

Columns:
  local_day                  DATE     The day of the builds' creation, in the rules' time zone.
  organization_id            UUID     The organization.
  pipeline_id                UUID     The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug              VARCHAR  The pipeline's present slug, else the one when read.
  builds                     BIGINT   Builds created.
  passed_builds              BIGINT   Those that passed.
  failed_builds              BIGINT   Those that failed.
  canceled_builds            BIGINT   Those that were canceled.
  not_run_builds             BIGINT   Those that never ran: skipped, or filtered out.
  open_builds                BIGINT   Those that still go on: the day's figures will change.
  blocked_builds             BIGINT   Those that stand at a block, whatever their outcome so far.
  is_final                   BOOLEAN  Whether all its builds are final: see `build_runs`.
  verdicts                   BIGINT   Builds that are verdicts: what `success_rate` stands on.
  success_rate               DOUBLE   Passed, of the verdicts.
  ended_builds               BIGINT   Builds that passed, failed or were canceled: what
                                      `canceled_rate` stands on.
  canceled_rate              DOUBLE   Canceled, of those that passed, failed or were canceled.
  green_builds               BIGINT   Verdicts that passed and had jobs: what time to green stands on.
  green_p50_seconds          DOUBLE   Active time of these, median.
  green_p75_seconds          DOUBLE   … 75th percentile.
  green_p90_seconds          DOUBLE   … 90th percentile.
  green_p95_seconds          DOUBLE   … 95th percentile.
  signal_builds              BIGINT   Verdicts that told when they ended: what time to signal stands
                                      on.
  signal_p50_seconds         DOUBLE   Wall time of these, blocks included, median.
  signal_p90_seconds         DOUBLE   … 90th percentile.
  first_failures             BIGINT   Failed builds with a job that failed hard and for good: what
                                      time to first failure stands on.
  first_failure_p50_seconds  DOUBLE   From creation until the first such job ended, median of these.
  jobs                       BIGINT   Jobs of all these builds, by their last attempts: the sum of
                                      the next ones, timed out ones left out.
  passed_jobs                BIGINT   Those that passed; see `build_runs` for this and the next.
  soft_failed_jobs           BIGINT   Those that failed without failing their build.
  failed_jobs                BIGINT   Those that failed hard.
  canceled_jobs              BIGINT   Those that were canceled.
  not_run_jobs               BIGINT   Those that never ran.
  unfinished_jobs            BIGINT   Those that may go on.
  timed_out_jobs             BIGINT   Failed jobs, soft or hard, that timed out.
  agent_hours                DOUBLE   That agents ran the builds' jobs, so far.
  wasted_share               DOUBLE   The share of it whose result nobody used; NULL if none ran.
*/
WITH dated AS (
    SELECT
        *,
        (created_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day,
        is_verdict AND outcome = 'passed' AS is_green
    FROM build_runs
),
counted AS (
    SELECT
        local_day,
        organization_id,
        pipeline_id,
        pipeline_slug,
        count(*) AS builds,
        count(*) FILTER (outcome = 'passed') AS passed_builds,
        count(*) FILTER (is_green) AS passed_verdicts,
        count(*) FILTER (is_verdict) AS verdicts,
        count(*) FILTER (outcome = 'failed') AS failed_builds,
        count(*) FILTER (outcome = 'canceled') AS canceled_builds,
        count(*) FILTER (outcome = 'not_run') AS not_run_builds,
        count(*) FILTER (is_open) AS open_builds,
        count(*) FILTER (is_blocked) AS blocked_builds,
        bool_and(is_final) AS is_final,
        count(active_seconds) FILTER (is_green) AS green_builds,
        quantile_cont(active_seconds, [0.5, 0.75, 0.9, 0.95]) FILTER (is_green) AS green,
        count(wall_seconds) FILTER (is_verdict) AS signal_builds,
        quantile_cont(wall_seconds, [0.5, 0.9]) FILTER (is_verdict) AS signal,
        count(time_to_first_failure_seconds) AS first_failures,
        quantile_cont(time_to_first_failure_seconds, 0.5) AS first_failure_p50_seconds,
        sum(script_jobs - retried_jobs)::BIGINT AS jobs,
        sum(passed_jobs)::BIGINT AS passed_jobs,
        sum(soft_failed_jobs)::BIGINT AS soft_failed_jobs,
        sum(failed_jobs)::BIGINT AS failed_jobs,
        sum(canceled_jobs)::BIGINT AS canceled_jobs,
        sum(not_run_jobs)::BIGINT AS not_run_jobs,
        sum(unfinished_jobs)::BIGINT AS unfinished_jobs,
        sum(timed_out_jobs)::BIGINT AS timed_out_jobs,
        sum(agent_seconds) AS agent_seconds,
        sum(wasted_agent_seconds) AS wasted_agent_seconds
    FROM dated
    GROUP BY ALL
)
SELECT
    local_day,
    organization_id,
    pipeline_id,
    pipeline_slug,
    builds,
    passed_builds,
    failed_builds,
    canceled_builds,
    not_run_builds,
    open_builds,
    blocked_builds,
    is_final,
    verdicts,
    passed_verdicts / nullif(verdicts, 0) AS success_rate,
    passed_builds + failed_builds + canceled_builds AS ended_builds,
    canceled_builds / nullif(ended_builds, 0) AS canceled_rate,
    green_builds,
    green[1] AS green_p50_seconds,
    green[2] AS green_p75_seconds,
    green[3] AS green_p90_seconds,
    green[4] AS green_p95_seconds,
    signal_builds,
    signal[1] AS signal_p50_seconds,
    signal[2] AS signal_p90_seconds,
    first_failures,
    first_failure_p50_seconds,
    jobs,
    passed_jobs,
    soft_failed_jobs,
    failed_jobs,
    canceled_jobs,
    not_run_jobs,
    unfinished_jobs,
    timed_out_jobs,
    agent_seconds / 3600 AS agent_hours,
    wasted_agent_seconds / nullif(agent_seconds, 0) AS wasted_share
FROM counted
