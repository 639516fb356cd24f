/*
Every build's pipeline is there, marked as absent where Buildkite has deleted it.

Without its pipeline a build counts for no default branch. A build that Buildkite no longer has
itself is left out: its pipeline may have gone with it before it was ever listed.

Asset: builds
Severity: warn
Blocks: no
Runs: with its asset
Needs: pipelines, sync_days
When it fails: have the pipelines listed by a token that sees them all, then read these days again
  with `buildkite-assets sync --full`.
*/
SELECT
    builds.web_url,
    builds.created_at,
    builds.pipeline_slug,
    builds.pipeline_id,
    if(
        builds.pipeline_id IS NULL,
        'no pipeline of this slug was known',
        'its pipeline is not stored'
    ) AS fault
FROM builds
ANTI JOIN pipelines USING (pipeline_id)
WHERE builds.absent_since IS NULL
