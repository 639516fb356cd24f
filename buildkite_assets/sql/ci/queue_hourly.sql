/*
One row per queue and hour in which jobs came, waited or ran.

Hours are UTC, so that none stands twice when clocks change; the local ones beside them are of the
rules' time zone. Waits count in the hour in which the job became runnable, so that a job that came
at noon and began at two is noon's. Jobs that never began have no wait: their number stands beside
the percentiles, which they would lengthen. How many ran and how many waited is followed from one
change to the next, not sampled; what still waits or runs does so until Buildkite last told of it.

Key: organization_id, queue_key, hour
Recomputed: whole

Columns:
  hour                TIMESTAMP  The hour's begin, UTC.
  local_day           DATE       The day it begins on, in the rules' time zone.
  local_hour          INTEGER    Its hour of that day, 0 to 23.
  organization_id     UUID       The organization.
  queue_key           VARCHAR    The queue.
  arrivals            BIGINT     Attempts that became runnable.
  starts              BIGINT     Attempts that an agent began.
  waits               BIGINT     Arrivals that were begun, then or later: what the wait stands on.
  never_started       BIGINT     Arrivals that never began: canceled, expired or still waiting.
  wait_p50_seconds    DOUBLE     How long arrivals waited for an agent, median.
  wait_p90_seconds    DOUBLE     … 90th percentile.
  wait_p95_seconds    DOUBLE     … 95th percentile.
  mean_running        DOUBLE     Jobs running, on average over the hour.
  peak_running        BIGINT     Most jobs running at once.
  mean_waiting        DOUBLE     Jobs waiting, on average over the hour: the backlog.
  peak_waiting        BIGINT     Most jobs waiting at once.
  distinct_agents     BIGINT     Agents that began a job.
*/
WITH seen AS (
    SELECT build_id, synced_at FROM build_runs
),
lines AS MATERIALIZED (
    SELECT
        organization_id,
        queue_key,
        row_number() OVER (ORDER BY organization_id, queue_key) AS line
    FROM (SELECT DISTINCT organization_id, queue_key FROM job_runs)
),
attempts AS (
    SELECT
        line,
        agent_id,
        queue_seconds,
        if(started_at < runnable_at, started_at, runnable_at) AS runnable_at,
        started_at,
        gave_up_at,
        greatest(coalesce(finished_at, synced_at), started_at) AS ran_to
    FROM job_runs
    JOIN lines USING (organization_id, queue_key)
    JOIN seen USING (build_id)
    WHERE runnable_at IS NOT NULL OR started_at IS NOT NULL
),
changes AS (
    SELECT line, runnable_at AS changed_at, 1 AS waiting, 0 AS running
    FROM attempts
    WHERE runnable_at IS NOT NULL
    UNION ALL
    SELECT line, started_at, if(runnable_at IS NULL, 0, -1), 1
    FROM attempts
    WHERE started_at IS NOT NULL
    UNION ALL
    SELECT line, greatest(gave_up_at, runnable_at), -1, 0 FROM attempts WHERE started_at IS NULL
    UNION ALL
    SELECT line, ran_to, 0, -1 FROM attempts WHERE started_at IS NOT NULL
),
by_hour AS MATERIALIZED (
    SELECT
        line,
        date_trunc('hour', changed_at) AS hour,
        sum(waiting)::INTEGER AS waiting,
        sum(running)::INTEGER AS running
    FROM changes
    GROUP BY ALL
),
spans AS (
    SELECT line, min(hour) AS first_hour, max(hour) AS last_hour FROM by_hour GROUP BY line
),
hours AS (
    SELECT line, unnest(generate_series(first_hour, last_hour, INTERVAL 1 HOUR)) AS hour FROM spans
),
-- How many waited and ran when the hour began: all changes of the hours before.
at_begin AS (
    SELECT
        line,
        hour,
        coalesce(sum(waiting) OVER earlier, 0)::INTEGER AS waiting,
        coalesce(sum(running) OVER earlier, 0)::INTEGER AS running
    FROM hours
    LEFT JOIN by_hour USING (line, hour)
    WINDOW earlier AS (
        PARTITION BY line ORDER BY hour ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),
-- What happens at one instant is one change (a job that ends makes room for the one that begins):
-- all but its last row have no length, and each row knows the level after all of them. Numbers
-- stand for queue, hour and instant, since this is the one sort of all changes.
levels AS (
    SELECT
        slot,
        sum(waiting) OVER until_now AS waiting,
        sum(running) OVER until_now AS running,
        (coalesce(lead(microsecond) OVER in_hour, 3600000000) - microsecond) / 1e6 AS seconds
    FROM (
        SELECT
            line * 10000000 + (epoch_us(changed_at) // 3600000000) AS slot,
            epoch_us(changed_at) % 3600000000 AS microsecond,
            waiting,
            running
        FROM changes
        UNION ALL
        SELECT line * 10000000 + (epoch_us(hour) // 3600000000), 0, waiting, running FROM at_begin
    )
    WINDOW
        in_hour AS (PARTITION BY slot ORDER BY microsecond),
        until_now AS (
            PARTITION BY slot ORDER BY microsecond
            RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
),
load AS (
    SELECT
        slot // 10000000 AS line,
        make_timestamp(slot % 10000000 * 3600000000) AS hour,
        sum(running * seconds) / 3600 AS mean_running,
        max(running) FILTER (seconds > 0) AS peak_running,
        sum(waiting * seconds) / 3600 AS mean_waiting,
        max(waiting) FILTER (seconds > 0) AS peak_waiting
    FROM levels
    GROUP BY slot
),
arriving AS (
    SELECT
        line,
        date_trunc('hour', runnable_at) AS hour,
        count(*) AS arrivals,
        count(queue_seconds) AS waits,
        quantile_cont(queue_seconds, [0.5, 0.9, 0.95]) AS wait
    FROM attempts
    WHERE runnable_at IS NOT NULL
    GROUP BY ALL
),
starting AS (
    SELECT
        line,
        date_trunc('hour', started_at) AS hour,
        count(*) AS starts,
        count(DISTINCT agent_id) AS distinct_agents
    FROM attempts
    WHERE started_at IS NOT NULL
    GROUP BY ALL
)
SELECT
    hour,
    (hour AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day,
    hour(hour AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::INTEGER AS local_hour,
    organization_id,
    queue_key,
    coalesce(arrivals, 0) AS arrivals,
    coalesce(starts, 0) AS starts,
    coalesce(waits, 0) AS waits,
    coalesce(arrivals - waits, 0) AS never_started,
    wait[1] AS wait_p50_seconds,
    wait[2] AS wait_p90_seconds,
    wait[3] AS wait_p95_seconds,
    mean_running,
    peak_running::BIGINT AS peak_running,
    mean_waiting,
    peak_waiting::BIGINT AS peak_waiting,
    coalesce(distinct_agents, 0) AS distinct_agents
FROM load
JOIN lines USING (line)
LEFT JOIN arriving USING (line, hour)
LEFT JOIN starting USING (line, hour)
WHERE arrivals > 0 OR starts > 0 OR peak_running > 0 OR peak_waiting > 0
