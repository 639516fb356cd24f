/*
No day is left unfinished long after its end.

Two days after its end a day was read to its end, by all columns of the present version; seven days
after it none of its builds is open, unless Buildkite no longer has it, or its pipeline.

Asset: builds
Severity: warn
Blocks: no
Runs: by the hour
Needs: sync_days
When it fails: run `buildkite-assets sync`. Builds that stay open are open at Buildkite too, or the
  token no longer sees their pipeline: cancel them there, or list with a token that sees it.
*/
WITH feeds AS (
    SELECT organization_id, max(started_at) AS last_at
    FROM sync_feeds
    GROUP BY organization_id
),

unread AS (
    SELECT
        sync_days.organization_id, sync_days.day,
        if(
            sync_days.is_to_read_again,
            'read by an older version, or under a wrong date',
            'read before it ended, and no feed since'
        ) AS fault,
        NULL AS open_builds
    FROM sync_days
    LEFT JOIN feeds USING (organization_id)
    WHERE sync_days.day + INTERVAL 3 DAY < $now::TIMESTAMP
        AND (
            sync_days.is_to_read_again
            OR (
                sync_days.read_at < sync_days.day + INTERVAL 1 DAY
                AND NOT coalesce(feeds.last_at > sync_days.read_at, false)
            )
        )
),

unfinished AS (
    SELECT
        builds.organization_id, builds.created_at::DATE AS day, 'has open builds' AS fault,
        count(*) AS open_builds
    FROM builds
    LEFT JOIN pipelines USING (pipeline_id)
    WHERE builds.created_at < $now::TIMESTAMP - INTERVAL 8 DAY
        AND (
            builds.state IN ('creating', 'scheduled', 'running', 'failing', 'canceling')
            OR (
                builds.finished_at IS NULL
                AND builds.state NOT IN (
                    'passed', 'failed', 'canceled', 'blocked', 'skipped', 'not_run'
                )
            )
        )
        AND builds.absent_since IS NULL
        AND pipelines.absent_since IS NULL
    GROUP BY ALL
)

SELECT organizations.slug AS organization, day, fault, open_builds
FROM (FROM unread UNION ALL FROM unfinished)
LEFT JOIN organizations USING (organization_id)
ORDER BY day, organization, fault
