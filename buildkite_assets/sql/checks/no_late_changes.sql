/*
The change feed missed nothing that a full read found later.

Asset: late_changes
Severity: error
Blocks: no
Runs: with its asset
Needs: sync_feeds
When it fails: please report it. The rows are true by now: the full read that found the difference
  has merged it.
*/
SELECT day, build_id, job_id, field, old, new, changed_at, noticed_at
FROM late_changes
ORDER BY noticed_at DESC
