/*
One row per organization, user, team and pipeline, as a resource in Baton's model.

Ids are those of ConductorOne's connector. Whoever is in a team but not in the list of members, such
as someone who left between two requests, has a row too: no grant may lack its principal.

Key: organization_id, external_id
Recomputed: whole
Personal: display_name

Columns:
  organization_id   UUID       The organization; in Baton's terms each is a sync of its own.
  external_id       VARCHAR    `{type}:{id}`.
  resource_type_id  VARCHAR    user, team, organization or pipeline.
  resource_id       VARCHAR    Buildkite's id of it.
  display_name      VARCHAR    Its name; the id where no name is known.
  created_at        TIMESTAMP  When it was created; not told of users.
  is_placeholder    BOOLEAN    Whether something refers to it that no list has.
*/
WITH known AS (
    SELECT organization_id, 'user' AS resource_type_id, user_id AS id, name, NULL AS created_at
    FROM organization_members
    UNION ALL
    SELECT organization_id, 'team', team_id, name, created_at FROM teams
    UNION ALL
    SELECT organization_id, 'pipeline', pipeline_id, name, created_at
    FROM pipelines
    WHERE absent_since IS NULL
        AND organization_id IN (SELECT organization_id FROM access_syncs)
    UNION ALL
    SELECT organization_id, 'organization', organization_id, name, created_at
    FROM organizations
    WHERE organization_id IN (SELECT organization_id FROM access_syncs)
),

referred AS (
    SELECT organization_id, 'user' AS resource_type_id, user_id AS id FROM team_members
    UNION
    SELECT organization_id, 'pipeline', pipeline_id FROM team_pipelines
    UNION
    SELECT organization_id, 'organization', organization_id FROM access_syncs
),

everything AS (
    SELECT *, false AS is_placeholder FROM known
    UNION ALL
    SELECT *, NULL, NULL, true
    FROM referred
    ANTI JOIN known USING (organization_id, resource_type_id, id)
)

SELECT
    organization_id,
    resource_type_id || ':' || id AS external_id,
    resource_type_id,
    id::VARCHAR AS resource_id,
    coalesce(name, id::VARCHAR) AS display_name,
    created_at,
    is_placeholder
FROM everything
