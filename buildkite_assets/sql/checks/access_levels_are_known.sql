/*
Every access level that Buildkite sent is one that is known.

A level that is not known has no rank: it counts for nothing in effective access, so that someone
may have more access than the tables say.

Asset: team_pipelines
Severity: warn
Blocks: no
Runs: with its asset
Needs: access_syncs
When it fails: do not rely on effective access to these pipelines. Upgrade buildkite-assets; if it
  stays, please report the level.
*/
SELECT
    team_pipelines.access_level,
    teams.slug AS team,
    pipelines.slug AS pipeline,
    team_pipelines.team_id,
    team_pipelines.pipeline_id
FROM team_pipelines
LEFT JOIN teams USING (organization_id, team_id)
LEFT JOIN pipelines USING (organization_id, pipeline_id)
WHERE team_pipelines.access_rank IS NULL
ORDER BY ALL
