/*
The last snapshot of access saw all members and all teams, as only an administrator's does.

What another token does not see is not known to be so: secret teams are missing, and who has left a
list may only be out of sight. The same holds for a long list that changed each time it was read.

Asset: access_syncs
Severity: warn
Blocks: no
Runs: with its asset
Needs: access_syncs
When it fails: sync with the token of an administrator that has `read_organizations` and
  `read_teams`. If it was one, a list changed while it was read: sync again.
*/
WITH last_syncs AS (
    SELECT DISTINCT ON (organization_id) *
    FROM access_syncs
    ORDER BY organization_id, started_at DESC
)

SELECT
    organizations.slug AS organization,
    last_syncs.started_at,
    last_syncs.is_administrator,
    last_syncs.members,
    last_syncs.teams,
    last_syncs.sees_all_members,
    last_syncs.sees_all_teams
FROM last_syncs
LEFT JOIN organizations USING (organization_id)
WHERE NOT (coalesce(sees_all_members, false) AND coalesce(sees_all_teams, false))
ORDER BY organization
