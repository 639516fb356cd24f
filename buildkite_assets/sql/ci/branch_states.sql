/*
One row per time during which a pipeline's default branch was green or red because of one build.

At each instant the branch is what its newest build with a verdict says: green if the build passed,
red if it failed, from the build's end on. Newest is by creation, so that an older build that ends
later changes nothing. Builds that neither passed nor failed do not count, nor do pull requests,
merge queues, and builds from sources that the rules ignore. Before the first verdict nothing is
known; without new builds the state goes on.

A build that is reopened, by a retry by hand or a lifted block, ends more than once, and each of its
ends counts from then on: main stays red while a failed job is retried, and turns green when the
retry has passed. Earlier ends are known from the build's jobs (`build_reopenings`) and from the
changes that feeds have seen (`build_changes`); where both know one, the feed's counts. A failed
build that passes after a retry counts as passed, even if it did no more than set itself up.

The last state goes on until the latest instant up to which the organization was read. A state ends
when the pipeline is archived or gone, and nothing is known until a build that is created later has a
verdict. The default branch is the one when a build was created: where another branch becomes it, the
state goes on until that branch's first verdict.

Key: pipeline_id, begins_at
Recomputed: whole

Columns:
  pipeline_id      UUID       The pipeline.
  begins_at        TIMESTAMP  When the build ended.
  ends_at          TIMESTAMP  When a newer build with a verdict ended, this one ended again, or the
                              pipeline was archived or gone.
  organization_id  UUID       The organization.
  pipeline_slug    VARCHAR    The pipeline's present slug.
  branch           VARCHAR    The default branch that the build built.
  state            VARCHAR    `green` or `red`.
  is_open          BOOLEAN    Whether it still is, as of `read_at`.
  read_at          TIMESTAMP  The latest instant up to which the organization was read, or the
                              branch's last end if that is later.
  build_id         UUID       The build.
  number           BIGINT     Its number.
  commit           VARCHAR    Its commit.
  is_final         BOOLEAN    Whether that build is final: see `build_runs`.
*/
WITH branch_builds AS (
    SELECT *
    FROM build_runs
    WHERE is_default_branch
        AND NOT list_contains($ignored_sources::VARCHAR[], coalesce(source, ''))
),
-- The read of a day covers builds created on that day, and says nothing of later ones.
reads AS (
    SELECT organization_id, max(read_at) AS read_at
    FROM (
        SELECT organization_id, arg_max(read_point, started_at) AS read_at
        FROM sync_feeds
        GROUP BY organization_id
        UNION ALL
        SELECT organization_id, least(read_at, day + INTERVAL 1 DAY)
        FROM sync_days
    )
    GROUP BY organization_id
),
seen_states AS (
    SELECT build_id, noticed_at, old
    FROM build_changes
    WHERE field = 'state' AND job_id IS NULL
),
-- The state that went with an end is the one before the next change of the state.
seen_ends AS (
    SELECT
        ends.build_id,
        ends.old::TIMESTAMP AS ended_at,
        coalesce(seen_states.old, state) AS outcome,
        is_verdict OR outcome != 'passed' AS is_verdict
    FROM build_changes AS ends
    JOIN branch_builds ON branch_builds.build_id = ends.build_id
    ASOF LEFT JOIN seen_states
        ON seen_states.build_id = ends.build_id AND seen_states.noticed_at >= ends.noticed_at
    WHERE field = 'finished_at' AND job_id IS NULL AND ends.old IS NOT NULL
),
earlier AS (
    SELECT
        coalesce(seen.build_id, told.build_id) AS build_id,
        coalesce(seen.ended_at, told.ended_at) AS ended_at,
        coalesce(seen.outcome, told.outcome) AS verdict
    FROM seen_ends AS seen
    FULL JOIN (FROM build_reopenings SEMI JOIN branch_builds USING (build_id)) AS told
        ON told.build_id = seen.build_id
        AND seen.ended_at BETWEEN told.ended_at AND told.reopened_at
    WHERE verdict = 'failed'
        OR (verdict = 'passed' AND coalesce(told.is_verdict, seen.is_verdict))
),
ends AS (
    SELECT build_id, ended_at, any_value(verdict) AS verdict
    FROM earlier
    JOIN branch_builds USING (build_id)
    WHERE ended_at < coalesce(finished_at, 'infinity'::TIMESTAMP)
    GROUP BY ALL
    UNION ALL
    SELECT build_id, finished_at, outcome
    FROM branch_builds
    WHERE finished_at IS NOT NULL
        AND (
            is_verdict
            OR (
                outcome = 'passed'
                AND build_id IN (SELECT build_id FROM earlier WHERE verdict = 'failed')
            )
        )
),
verdicts AS (
    SELECT
        organization_id,
        pipeline_id,
        pipeline_slug,
        branch,
        build_id,
        number,
        commit,
        created_at,
        is_final,
        ended_at,
        if(verdict = 'passed', 'green', 'red') AS state,
        ended_at < coalesce(
            min(ended_at) OVER (
                PARTITION BY pipeline_id ORDER BY created_at, number, ended_at
                ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
            ),
            'infinity'::TIMESTAMP
        ) AS is_newest
    FROM ends
    JOIN branch_builds USING (build_id)
),
known AS (
    SELECT
        pipeline_id,
        greatest(any_value(read_at), max(ended_at)) AS read_at
    FROM verdicts
    LEFT JOIN reads ON reads.organization_id = verdicts.organization_id
    GROUP BY pipeline_id
),
-- When a pipeline was archived, or was first missing from a list.
stops AS (
    SELECT pipeline_id, archived_at AS stopped_at
    FROM pipelines_history
    WHERE archived_at IS NOT NULL
    UNION
    SELECT ended.pipeline_id, ended.valid_to
    FROM pipelines_history AS ended
    ANTI JOIN pipelines_history AS next
        ON next.pipeline_id = ended.pipeline_id AND next.valid_from = ended.valid_to
    WHERE ended.valid_to IS NOT NULL
)
SELECT
    verdicts.pipeline_id,
    ended_at AS begins_at,
    greatest(ended_at, least(lead(ended_at, 1, read_at) OVER in_order, stopped_at)) AS ends_at,
    organization_id,
    pipeline_slug,
    branch,
    state,
    stopped_at IS NULL AND lead(ended_at) OVER in_order IS NULL AS is_open,
    read_at,
    build_id,
    number,
    commit,
    is_final
FROM verdicts
JOIN known USING (pipeline_id)
ASOF LEFT JOIN stops
    ON stops.pipeline_id = verdicts.pipeline_id AND stops.stopped_at >= verdicts.created_at
WHERE is_newest
WINDOW in_order AS (PARTITION BY verdicts.pipeline_id ORDER BY ended_at)
