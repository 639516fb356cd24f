/*
Every retry leads to an attempt of the same build, in both directions.

Chains of retries tell which failures were flaky; a torn chain is counted as a failure for good.

Asset: jobs
Severity: warn
Blocks: no
Runs: with its asset
Needs: sync_days
When it fails: read these days again with `buildkite-assets sync --full`; if it stays, Buildkite
  itself no longer has these attempts.
*/
WITH links AS (
    SELECT
        job_id, build_id, build_created_at, 'retried_in_job_id' AS link,
        retried_in_job_id AS other_id
    FROM jobs
    WHERE retried_in_job_id IS NOT NULL
    UNION ALL
    SELECT job_id, build_id, build_created_at, 'retry_source_job_id', retry_source_job_id
    FROM jobs
    WHERE retry_source_job_id IS NOT NULL
)

SELECT links.job_id, links.build_id, links.build_created_at, links.link, links.other_id
FROM links
ANTI JOIN jobs ON links.other_id = jobs.job_id AND links.build_id = jobs.build_id
