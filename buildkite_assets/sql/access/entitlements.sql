/*
One row per thing that can be granted, in Baton's model: a role in a team, a role in an
organization, a level on a pipeline.

Ids and names of the roles in teams are those of ConductorOne's connector. Of the entitlements of
one resource a principal needs one only: the order tells which gives most.

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
            ('team', 'member', 1, 'Member', 'Member of {} team in Buildkite'),
            ('team', 'maintainer', 2, 'Maintainer', 'Maintainer of {} team in Buildkite'),
            ('organization', 'member', 1, 'Member', 'Member of {} in Buildkite'),
            ('organization', 'admin', 2, 'Administrator', 'Has full access to all of {}'),
            ('pipeline', 'read_only', 1, 'Read Only', 'Reads {} and its builds'),
            ('pipeline', 'build_and_read', 2, 'Build & Read', 'Creates builds of {}, and reads'),
            (
                'pipeline', 'manage_build_and_read', 3, 'Full Access',
                'Changes {}, creates builds of it, and reads'
            )
    ) AS kinds (resource_type_id, slug, exclusion_order, display_name, description)
)

SELECT
    resources.organization_id,
    resources.external_id || ':' || kinds.slug AS external_id,
    resources.resource_type_id,
    resources.resource_id,
    kinds.slug,
    kinds.display_name,
    replace(kinds.description, '{}', resources.display_name) AS description,
    if(resource_type_id = 'pipeline', 'PURPOSE_VALUE_PERMISSION', 'PURPOSE_VALUE_ASSIGNMENT')
        AS purpose,
    if(resource_type_id = 'pipeline', ['team', 'organization', 'user'], ['user']) AS grantable_to,
    resources.external_id AS exclusion_group_id,
    kinds.exclusion_order
FROM resources
JOIN kinds USING (resource_type_id)
