/*
Every grant is of an entitlement, on a resource, to a principal that are all there.

Asset: grants
Severity: error
Blocks: no
Runs: with its asset
Needs: access_syncs, resources
When it fails: do not export an access review of it. Take a new snapshot with
  `buildkite-assets sync`; if it stays, please report it.
*/
WITH parts AS (
    SELECT
        organization_id, external_id, 'resource' AS part,
        resource_type_id || ':' || resource_id AS missing
    FROM grants
    UNION ALL
    SELECT
        organization_id, external_id, 'principal',
        principal_resource_type_id || ':' || principal_resource_id
    FROM grants
)

SELECT grants.external_id AS "grant", 'entitlement' AS part, grants.entitlement_id AS missing
FROM grants
ANTI JOIN entitlements
    ON grants.organization_id = entitlements.organization_id
    AND grants.entitlement_id = entitlements.external_id
UNION ALL
SELECT parts.external_id, parts.part, parts.missing
FROM parts
ANTI JOIN resources
    ON parts.organization_id = resources.organization_id
    AND parts.missing = resources.external_id
