/*
One row per stretch of a local day during which the clock keeps its distance from UTC.

Most days have one stretch. A day on which the clock changes has two, together 23 or 25 hours long.
Tables that cut by local days use these instants: the instant of a local midnight cannot be asked
for where the clock shows midnight twice or never. The days are those on which the state of a
default branch is known. Clocks are followed in steps of 15 minutes.

Key: begins_at
Recomputed: whole

Columns:
  begins_at           TIMESTAMP  When it begins, UTC.
  ends_at             TIMESTAMP  When it ends, UTC.
  local_day           DATE       The day, in the rules' time zone.
  utc_offset_seconds  DOUBLE     How far the local clock is ahead of UTC.
*/
WITH span AS (
    SELECT min(begins_at)::DATE AS first_day, max(ends_at)::DATE AS last_day
    FROM branch_states
),
-- With a day to spare on both sides, so that the first and the last day are whole.
quarters AS (
    SELECT
        first_day,
        last_day,
        unnest(
            generate_series(
                first_day - INTERVAL 2 DAY, last_day + INTERVAL 3 DAY, INTERVAL 15 MINUTE
            )
        ) AS quarter,
        quarter AT TIME ZONE 'UTC' AT TIME ZONE $time_zone AS local_quarter
    FROM span
)
SELECT
    min(quarter) AS begins_at,
    max(quarter) + INTERVAL 15 MINUTE AS ends_at,
    local_quarter::DATE AS local_day,
    epoch(local_quarter - quarter) AS utc_offset_seconds
FROM quarters
WHERE local_quarter::DATE BETWEEN first_day - 1 AND last_day + 1
GROUP BY local_day, utc_offset_seconds
