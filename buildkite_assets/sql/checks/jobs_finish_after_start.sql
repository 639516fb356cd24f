/*
No job ends before it starts.

Its run time would be negative, and with it what it costs.

Asset: jobs
Severity: warn
Blocks: no
Runs: with its asset
Needs: sync_days
When it fails: look at these jobs at Buildkite: the instants are its agents' own.
*/
SELECT web_url, name, state, started_at, finished_at
FROM jobs
WHERE finished_at < started_at
