/*
In the last 30 days no full read found a change that the change feed had missed.

Older rows stay in `late_changes` and are not told again. The values before and after may hold a
person's name, so they are to be looked up there.

Asset: late_changes
Severity: error
Blocks: no
Runs: with its asset
Needs: sync_feeds
When it fails: please report it. The rows are true by now: the full read that found the difference
  has merged it.
*/
SELECT day, build_id, job_id, field, changed_at, noticed_at
FROM late_changes
WHERE noticed_at >= $now - INTERVAL 30 DAYS
ORDER BY noticed_at DESC
