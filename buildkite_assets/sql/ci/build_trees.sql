/*
One row per build that no known build triggered, with all builds that it triggered in turn.

Each build belongs to one tree, so that agent time counts once: the time that a trigger step waits
for its build is no agent time. Builds that trigger one another in a circle are wrong data; they
stay as one tree, whose root is the oldest of the circle.

Key: root_build_id
Recomputed: whole

Columns:
  root_build_id         UUID       The build that began it.
  organization_id       UUID       The organization.
  pipeline_id           UUID       That build's pipeline; NULL while no pipeline of its slug is
                                   known.
  pipeline_slug         VARCHAR    That pipeline's present slug, else the one when read.
  number                BIGINT     That build's number.
  created_at            TIMESTAMP  When it was created.
  builds                BIGINT     Builds of the tree, the root included.
  depth                 INTEGER    How many triggers lie on the longest way down; 0 for the root
                                   alone.
  is_cycle              BOOLEAN    Whether a build of the tree triggered the root.
  open_builds           BIGINT     Those that still go on.
  failed_builds         BIGINT     Those that failed.
  finished_at           TIMESTAMP  When the last one finished; NULL while one is open.
  wall_seconds          DOUBLE     From the root's creation until then.
  own_agent_seconds     DOUBLE     That agents ran the root's jobs.
  agent_seconds         DOUBLE     That agents ran all builds' jobs.
  wasted_agent_seconds  DOUBLE     Those whose result nobody used.
*/
WITH RECURSIVE children AS MATERIALIZED (
    SELECT
        child.build_id,
        parent.build_id AS parent_build_id,
        (child.created_at, child.build_id) AS age,
        (parent.created_at, parent.build_id) AS parent_age
    FROM build_runs AS child
    JOIN build_runs AS parent ON parent.build_id = child.triggered_from_build_id
),
-- Up from each build that is no newer than its parent, as long as the way leads over newer builds.
climbs AS (
    SELECT build_id AS oldest_build_id, age AS oldest_age, parent_build_id AS build_id
    FROM children
    WHERE parent_age >= age
    UNION
    SELECT oldest_build_id, oldest_age, children.parent_build_id
    FROM climbs
    JOIN children USING (build_id)
    WHERE children.build_id != oldest_build_id AND parent_age >= oldest_age
),
cycles AS (
    SELECT build_id FROM climbs WHERE build_id = oldest_build_id
),
members AS (
    SELECT build_id AS root_build_id, build_id, 0 AS depth
    FROM build_runs
    WHERE build_id NOT IN (SELECT build_id FROM children) OR build_id IN (SELECT build_id FROM cycles)
    UNION ALL
    SELECT members.root_build_id, children.build_id, members.depth + 1
    FROM members
    JOIN children ON children.parent_build_id = members.build_id
    WHERE children.build_id != members.root_build_id
),
trees AS (
    SELECT
        root_build_id,
        count(*) AS builds,
        max(depth) AS depth,
        count(*) FILTER (is_open) AS open_builds,
        count(*) FILTER (outcome = 'failed') AS failed_builds,
        if(count(*) FILTER (is_open) = 0, max(finished_at), NULL) AS finished_at,
        sum(agent_seconds) AS agent_seconds,
        sum(wasted_agent_seconds) AS wasted_agent_seconds
    FROM members
    JOIN build_runs USING (build_id)
    GROUP BY root_build_id
)
SELECT
    root_build_id,
    root.organization_id,
    root.pipeline_id,
    root.pipeline_slug,
    root.number,
    root.created_at,
    trees.builds,
    trees.depth,
    root_build_id IN (SELECT build_id FROM cycles) AS is_cycle,
    trees.open_builds,
    trees.failed_builds,
    trees.finished_at,
    if(
        trees.finished_at < root.created_at, 0, epoch(trees.finished_at - root.created_at)
    ) AS wall_seconds,
    root.agent_seconds AS own_agent_seconds,
    trees.agent_seconds,
    trees.wasted_agent_seconds
FROM trees
JOIN build_runs AS root ON root.build_id = root_build_id
