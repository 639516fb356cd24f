/*
One row per thing that can be granted, in Baton's model: a role in a team, a role in an
organization, a level on a pipeline.

Ids are those of ConductorOne's connector, which has the roles in teams. Of the entitlements of one
resource a principal needs one only: the order tells which gives most.

Key: organization_id, external_id
Recomputed: whole

Columns:
  organization_id     UUID       The organization.
  external_id         VARCHAR    `{type}:{resource}:{slug}`.
  resource_type_id    VARCHAR    The resource's type: team, organization or pipeline.
  resource_id         VARCHAR    The resource.
  slug                VARCHAR    member, maintainer, admin, read_only, build_and_read or
                                 manage_build_and_read.
  display_name        VARCHAR    Its name for people.
  description         VARCHAR    What it lets one do.
  purpose             VARCHAR    PURPOSE_VALUE_ASSIGNMENT or PURPOSE_VALUE_PERMISSION.
  grantable_to        VARCHAR[]  The types of resources that it can be granted to.
  exclusion_group_id  VARCHAR    The entitlements that stand for each other.
  exclusion_order     INTEGER    Which of them gives more; 1 is the least.
*/
WITH kinds AS (
    SELECT *
    FROM (
        VALUES
            (
                'team', 'member', 1, 'PURPOSE_VALUE_ASSIGNMENT', ['user'],
                'Has the team''s access to pipelines'
            ),
            (
                'team', 'maintainer', 2, 'PURPOSE_VALUE_ASSIGNMENT', ['user'],
                'Has the team''s access to pipelines, and manages the team'
            ),
            (
                'organization', 'member', 1, 'PURPOSE_VALUE_ASSIGNMENT', ['user'],
                'Is a member of the organization'
            ),
            (
                'organization', 'admin', 2, 'PURPOSE_VALUE_ASSIGNMENT', ['user'],
                'Has full access to the entire organization'
            ),
            (
                'pipeline', 'read_only', 1, 'PURPOSE_VALUE_PERMISSION',
                ['team', 'organization', 'user'], 'Reads the pipeline and its builds'
            ),
            (
                'pipeline', 'build_and_read', 2, 'PURPOSE_VALUE_PERMISSION',
                ['team', 'organization', 'user'], 'Creates builds, and reads'
            ),
            (
                'pipeline', 'manage_build_and_read', 3, 'PURPOSE_VALUE_PERMISSION',
                ['team', 'organization', 'user'], 'Changes the pipeline, creates builds, and reads'
            )
    ) AS kinds (resource_type_id, slug, exclusion_order, purpose, grantable_to, description)
)

SELECT
    resources.organization_id,
    resources.external_id || ':' || kinds.slug AS external_id,
    resources.resource_type_id,
    resources.resource_id,
    kinds.slug,
    resources.display_name || ' ' || replace(kinds.slug, '_', ' ') AS display_name,
    kinds.description,
    kinds.purpose,
    kinds.grantable_to,
    resources.external_id AS exclusion_group_id,
    kinds.exclusion_order
FROM resources
JOIN kinds USING (resource_type_id)
