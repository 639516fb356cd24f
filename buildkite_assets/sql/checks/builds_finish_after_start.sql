/*
No finished build ends before it starts.

Its durations would be negative. A build that runs again may still tell of its earlier end.

Asset: builds
Severity: warn
Blocks: no
Runs: with its asset
Needs: sync_days
When it fails: look at these builds at Buildkite: the instants are its own.
*/
SELECT web_url, state, created_at, started_at, finished_at
FROM builds
WHERE finished_at < started_at
    AND state NOT IN ('creating', 'scheduled', 'running', 'failing', 'canceling')
