/*
One row per entitlement and who holds it, in Baton's model.

Ids are those of ConductorOne's connector, which has the roles in teams: a maintainer has that grant
alone. A grant to a team or to an organization is expandable, and what follows from it for users is
there too, marked as derived; a user may hold several levels of one pipeline, the highest of which
counts (see effective_pipeline_access). Administrators hold the highest level of every pipeline
through a grant to the organization. Where Teams is disabled or unknown, no more is granted than is
known. A level or a role that is not known has no entitlement, and no grant.

Key: organization_id, external_id
Recomputed: whole

Columns:
  organization_id             UUID       The organization.
  external_id                 VARCHAR    `{entitlement}:{principal type}:{principal}`.
  resource_type_id            VARCHAR    The type of the entitlement's resource.
  resource_id                 VARCHAR    The entitlement's resource, as in Baton.
  entitlement_id              VARCHAR    What is granted.
  principal_resource_type_id  VARCHAR    user, team or organization.
  principal_resource_id       VARCHAR    Who holds it.
  expands                     VARCHAR[]  The entitlements whose holders have it too; NULL if none.
  sources                     VARCHAR[]  The entitlements that it follows from; NULL if granted as is.
  is_derived                  BOOLEAN    Whether it follows from another grant.
  granted_at                  TIMESTAMP  When it was granted, where Buildkite tells.
*/
WITH memberships AS (
    SELECT
        organization_id, team_id, user_id, lower(role) AS slug,
        'team:' || team_id || ':' || lower(role) AS entitlement_id, created_at
    FROM team_members
    WHERE role IN ('MEMBER', 'MAINTAINER')
),

levels AS (
    SELECT
        organization_id, team_id, pipeline_id, access_rank,
        'pipeline:' || pipeline_id || ':' || lower(access_level) AS entitlement_id, created_at
    FROM team_pipelines
    WHERE access_rank IS NOT NULL
),

roles AS (
    SELECT
        organization_id, user_id,
        'organization:' || organization_id || ':' || lower(role) AS entitlement_id, role
    FROM organization_members
    WHERE role IN ('ADMIN', 'MEMBER')
),

administered AS (
    SELECT organization_id, resource_id::UUID AS pipeline_id, external_id
    FROM resources
    WHERE resource_type_id = 'pipeline'
),

derived AS (
    SELECT organization_id, pipeline_id, access_rank, user_id, list_sort(list(source)) AS sources
    FROM (
        SELECT
            levels.organization_id, levels.pipeline_id, levels.access_rank, memberships.user_id,
            memberships.entitlement_id AS source
        FROM levels
        JOIN memberships USING (organization_id, team_id)
        UNION ALL
        SELECT
            administered.organization_id, administered.pipeline_id, 3, roles.user_id,
            roles.entitlement_id
        FROM administered
        JOIN roles USING (organization_id)
        WHERE roles.role = 'ADMIN'
    )
    GROUP BY organization_id, pipeline_id, access_rank, user_id
),

grants AS (
    SELECT
        organization_id, 'team' AS resource_type_id, team_id AS resource_id, entitlement_id,
        'user' AS principal_resource_type_id, user_id AS principal_resource_id,
        NULL::VARCHAR[] AS expands, NULL::VARCHAR[] AS sources, created_at AS granted_at
    FROM memberships
    UNION ALL
    SELECT
        organization_id, 'organization', organization_id, entitlement_id, 'user', user_id,
        NULL, NULL, NULL
    FROM roles
    UNION ALL
    SELECT
        organization_id, 'pipeline', pipeline_id, entitlement_id, 'team', team_id,
        ['team:' || team_id || ':member', 'team:' || team_id || ':maintainer'], NULL, created_at
    FROM levels
    UNION ALL
    SELECT
        organization_id, 'pipeline', pipeline_id, external_id || ':manage_build_and_read',
        'organization', organization_id, ['organization:' || organization_id || ':admin'], NULL,
        NULL
    FROM administered
    UNION ALL
    SELECT
        organization_id, 'pipeline', pipeline_id,
        'pipeline:' || pipeline_id
        || [':read_only', ':build_and_read', ':manage_build_and_read'][access_rank],
        'user', user_id, NULL, sources, NULL
    FROM derived
)

SELECT
    organization_id,
    entitlement_id || ':' || principal_resource_type_id || ':' || principal_resource_id
        AS external_id,
    resource_type_id,
    resource_id::VARCHAR AS resource_id,
    entitlement_id,
    principal_resource_type_id,
    principal_resource_id::VARCHAR AS principal_resource_id,
    expands,
    sources,
    sources IS NOT NULL AS is_derived,
    granted_at
FROM grants
