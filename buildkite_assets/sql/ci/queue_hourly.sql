/*
One row per queue and hour in which jobs came, waited or ran.

Hours are UTC, so that none stands twice when clocks change. The local day and hour beside them are
those in which the UTC hour begins, in the rules' time zone. In a zone that is off by half an hour,
such as Asia/Kolkata, a row covers the second half of its local hour and the first half of the next:
the row that begins at 23:30 counts for the day that ends. For exact local hours, group `job_runs`
by its instants.

Queues of different clusters have different rows, whatever their keys. Jobs without a queue id
count in the row of the key that they ask for.

Waits count in the hour in which the job became runnable, so that a job that came at noon and began
at two is noon's. Jobs that never began have no wait: their number stands beside the percentiles,
which they would lengthen. How many ran and how many waited is followed from one change to the next,
not sampled; what still waits or runs does so until Buildkite last reported it.

Counts add up over hours, and so do the means, to job hours. Percentiles do not: neither the mean
nor the maximum of those of 24 hours is that of the day. For waits over any other range, compute
`quantile_cont(queue_seconds, 0.9)` and `count(queue_seconds)` from `job_runs`, grouped by
`organization_id, queue_id, queue_key` and filtered by `runnable_at`.

Key: organization_id, queue_id, queue_key, hour
Recomputed: whole

Columns:
  hour                TIMESTAMP  The hour's begin, UTC.
  local_day           DATE       The day it begins on, in the rules' time zone.
  local_hour          INTEGER    Its hour of that day, 0 to 23.
  organization_id     UUID       The organization.
  queue_id            UUID       The queue; NULL for jobs of which only a key is known.
  queue_key           VARCHAR    Its key.
  cluster_id          UUID       Its cluster.
  cluster_name        VARCHAR    The cluster's name.
  queue               VARCHAR    The queue's name for people, as in `job_runs`.
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
WITH names AS MATERIALIZED (
    SELECT
        organization_id,
        queue_id,
        queue_key,
        any_value(cluster_id) AS cluster_id,
        any_value(cluster_name) AS cluster_name,
        any_value(queue) AS queue,
        (row_number() OVER (ORDER BY organization_id, queue_id, queue_key))::INTEGER AS line
    FROM (
        SELECT DISTINCT organization_id, queue_id, queue_key, cluster_id, cluster_name, queue
        FROM job_runs
    )
    GROUP BY organization_id, queue_id, queue_key
),
-- Without the names, which would make joins with all attempts slow.
lines AS MATERIALIZED (
    SELECT organization_id, queue_id, queue_key, line FROM names
),
attempts AS NOT MATERIALIZED (
    SELECT
        line,
        build_id,
        agent_id,
        queue_seconds,
        if(started_at < runnable_at, started_at, runnable_at) AS runnable_at,
        started_at,
        gave_up_at,
        finished_at
    FROM job_runs
    JOIN lines
        ON lines.organization_id = job_runs.organization_id
        AND lines.queue_id IS NOT DISTINCT FROM job_runs.queue_id
        AND lines.queue_key = job_runs.queue_key
),
-- Whatever makes one more or one less wait or run.
changes AS NOT MATERIALIZED (
    SELECT line, false AS is_running, runnable_at AS changed_at, 1 AS difference
    FROM attempts
    WHERE runnable_at IS NOT NULL
    UNION ALL
    SELECT line, false, coalesce(started_at, greatest(gave_up_at, runnable_at)), -1
    FROM attempts
    WHERE runnable_at IS NOT NULL
    UNION ALL
    SELECT line, true, started_at, 1 FROM attempts WHERE started_at IS NOT NULL
    UNION ALL
    SELECT line, true, greatest(coalesce(finished_at, synced_at), started_at), -1
    FROM attempts
    JOIN (SELECT build_id, synced_at FROM build_runs) USING (build_id)
    WHERE started_at IS NOT NULL
),
-- What happens on an hour's first microsecond is its begin. What happens later is followed in
-- order, each change as one number: twice its microsecond, and 1 more for a rise. So at one instant
-- falls come first (a job that ends makes room for the one that begins), and no level is reached
-- that has no length. This is the one sort of all changes.
by_hour AS MATERIALIZED (
    SELECT
        line,
        is_running,
        hour,
        sum(difference)::BIGINT AS difference,
        coalesce(sum(difference) FILTER (microsecond = 0), 0)::BIGINT AS difference_at_begin,
        sum(difference * (3600000000 - microsecond))::BIGINT AS level_microseconds,
        list_reduce(
            list_transform(
                coalesce(
                    list_sort(
                        list(2 * microsecond + (difference > 0)::BIGINT) FILTER (microsecond > 0)
                    ),
                    []
                ),
                lambda number: {'level': number % 2 * 2 - 1, 'peak': 0::BIGINT}
            ),
            lambda so_far, next: {
                'level': so_far.level + next.level,
                'peak': greatest(so_far.peak, so_far.level + next.level)
            },
            {'level': 0::BIGINT, 'peak': 0::BIGINT}
        ).peak AS rise_after_begin
    FROM (
        SELECT
            line,
            is_running,
            difference,
            date_trunc('hour', changed_at) AS hour,
            epoch_us(changed_at) % 3600000000 AS microsecond
        FROM changes
    )
    GROUP BY ALL
),
spans AS (
    SELECT line, min(hour) AS first_hour, max(hour) AS last_hour FROM by_hour GROUP BY line
),
hours AS (
    SELECT
        line,
        is_running,
        unnest(generate_series(first_hour, last_hour, INTERVAL 1 HOUR)) AS hour
    FROM spans
    CROSS JOIN (VALUES (false), (true)) AS levels (is_running)
),
-- On top of how many waited or ran before the hour: all changes of the hours before it.
load AS (
    SELECT
        line,
        is_running,
        hour,
        coalesce(sum(difference) OVER earlier, 0)::BIGINT AS level_before,
        level_before + coalesce(level_microseconds, 0) / 3600000000 AS mean,
        level_before + coalesce(difference_at_begin + rise_after_begin, 0) AS peak
    FROM hours
    LEFT JOIN by_hour USING (line, is_running, hour)
    WINDOW earlier AS (
        PARTITION BY line, is_running ORDER BY hour
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
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
    queue_id,
    queue_key,
    cluster_id,
    cluster_name,
    queue,
    coalesce(arrivals, 0) AS arrivals,
    coalesce(starts, 0) AS starts,
    coalesce(waits, 0) AS waits,
    coalesce(arrivals - waits, 0) AS never_started,
    wait[1] AS wait_p50_seconds,
    wait[2] AS wait_p90_seconds,
    wait[3] AS wait_p95_seconds,
    running.mean AS mean_running,
    running.peak AS peak_running,
    waiting.mean AS mean_waiting,
    waiting.peak AS peak_waiting,
    coalesce(distinct_agents, 0) AS distinct_agents
FROM (FROM load WHERE is_running) AS running
JOIN (FROM load WHERE NOT is_running) AS waiting USING (line, hour)
JOIN names USING (line)
LEFT JOIN arriving USING (line, hour)
LEFT JOIN starting USING (line, hour)
WHERE arrivals > 0 OR starts > 0 OR running.peak > 0 OR waiting.peak > 0
