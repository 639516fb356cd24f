/*
One row per kind of resource in Baton's model: `user` and `team` as ConductorOne's connector has
them, `organization` and `pipeline` besides.

Key: external_id
Recomputed: whole

Columns:
  external_id   VARCHAR    The kind's id.
  display_name  VARCHAR    Its name for people.
  traits        VARCHAR[]  What Baton takes it for; empty where it is nothing of that.
*/
SELECT *
FROM (
    VALUES
        ('user', 'User', ['TRAIT_USER']),
        ('team', 'Team', ['TRAIT_GROUP']),
        ('organization', 'Organization', []::VARCHAR[]),
        ('pipeline', 'Pipeline', []::VARCHAR[])
) AS kinds (external_id, display_name, traits)
