/*
Every day between the first and the last known one is known.

A day is known once it was read in full; one that began after the first change feed is known through
the feeds. The last known day is that of the last feed, or the last one read.

Asset: builds
Severity: warn
Blocks: no
Runs: by the hour
Needs: sync_days
When it fails: `buildkite-assets sync --from` the first of these days `--to` the last, or
  materialize these partitions of builds.
*/
WITH feeds AS (
    SELECT organization_id, min(started_at) AS first_at, max(started_at)::DATE AS last_day
    FROM sync_feeds
    GROUP BY organization_id
),

spans AS (
    SELECT
        sync_days.organization_id, min(sync_days.day) AS first_day,
        greatest(max(sync_days.day), max(feeds.last_day)) AS last_day,
        any_value(feeds.first_at) AS followed_from
    FROM sync_days
    LEFT JOIN feeds USING (organization_id)
    GROUP BY sync_days.organization_id
),

days AS (
    SELECT
        organization_id, followed_from,
        unnest(generate_series(first_day, last_day, INTERVAL 1 DAY))::DATE AS day
    FROM spans
)

SELECT organizations.slug AS organization, days.day
FROM days
ANTI JOIN sync_days USING (organization_id, day)
LEFT JOIN organizations USING (organization_id)
WHERE days.followed_from IS NULL OR days.day < days.followed_from
ORDER BY organization, days.day
