/*
Every job's build is there, and lies in the day that the job says.

Derived tables join jobs with their builds, day by day: such a job would be left out of all of them.

Asset: jobs
Severity: error
Blocks: yes
Runs: with its asset
Needs: sync_days
When it fails: read these days again with `buildkite-assets sync --full`; if it stays, please
  report it.
*/
SELECT
    jobs.job_id,
    jobs.build_id,
    jobs.build_created_at,
    builds.created_at AS created_at_of_build
FROM jobs
LEFT JOIN builds USING (build_id)
WHERE builds.created_at IS DISTINCT FROM jobs.build_created_at
