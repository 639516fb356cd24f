/*
Every build could be read.

What could not be read is set aside in `rejected_builds` with the place and the kind of its fault,
and costs no other build.

Asset: builds
Severity: warn
Blocks: no
Runs: with its asset
Needs: sync_days
When it fails: please report the place and the fault; an upgrade that can read them, and a sync with
  `--full` of their days, brings these builds.
*/
SELECT created_day, url, path, error, seen_at
FROM rejected_builds
ORDER BY seen_at DESC
