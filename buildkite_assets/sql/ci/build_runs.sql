/*
One row per build: what came of it, and where its time went.

`wall_seconds` is what the clock on the wall says, `elapsed_seconds` what Buildkite's own times
say. Neither is how long people wait for machines: a block that nobody lifts over night, or a retry
of last week's build, lies in both. `active_seconds` is without them: the length of
`build_active_periods`. What stood still for a block is `blocked_seconds`.

Jobs are script jobs by their last attempts, counted by the definitions of `job_runs`: passed, soft
failed, failed, canceled, not run and unfinished ones add up to `script_jobs - retried_jobs`. A
build that passed can have failed jobs: those that failed softly.

A build is never final: a retry or an unblock reopens it, and moves its start and its end. Builds
that Buildkite no longer has (retention, a deleted pipeline) stay: they happened.

What is the default branch, and a pipeline's slug then, are as of the build's creation: see
`pipelines_history`. A change counts from the first listing that shows it, and what the first
listing of a pipeline shows counts for all time before.

A verdict is a build that passed or failed. A passed build is none if only jobs ran in it that the
rules call setup, such as the upload of its pipeline, and it triggered nothing: nothing was tested.

Key: build_id
Recomputed: by day

Columns:
  build_id                       UUID       Buildkite's id of the build.
  organization_id                UUID       The organization that it belongs to.
  pipeline_id                    UUID       The pipeline; NULL while no pipeline of its slug is
                                            known.
  pipeline_slug                  VARCHAR    The pipeline's present slug, else the one when read.
  pipeline_slug_at_creation      VARCHAR    The slug that the pipeline had when the build was created,
                                            else the one when read.
  number                         BIGINT     Its number in the pipeline.
  day                            DATE       The UTC day of its creation; the partition.
  branch                         VARCHAR    The branch that was built.
  commit                         VARCHAR    The commit that was built; NULL while Buildkite does not
                                            know it and says `HEAD`.
  source                         VARCHAR    What started it.
  is_default_branch              BOOLEAN    Whether it built the branch that was the pipeline's
                                            default one when it was created, not a pull request or a
                                            merge queue; NULL where the pipeline had no default
                                            branch or is not known.
  is_merge_queue                 BOOLEAN    Whether a merge queue started it.
  state                          VARCHAR    As Buildkite spells it.
  outcome                        VARCHAR    passed, failed, canceled, not_run (skipped too) or
                                            unfinished.
  is_verdict                     BOOLEAN    Whether it passed or failed, and did more than set itself
                                            up.
  is_open                        BOOLEAN    Whether it goes on by itself: its figures will change.
  is_final                       BOOLEAN    Whether it is not open and was last read 30 days after
                                            its UTC day or later, or is gone from Buildkite: only a
                                            retry or an unblock after that would change it. A sync
                                            reads each day again when it is that old.
  is_blocked                     BOOLEAN    Whether it stands at a block: Buildkite says so beside its
                                            state, or its state is `blocked`. `outcome` is then that
                                            of the work so far, and nothing behind the block was
                                            done.
  created_at                     TIMESTAMP  When it was created.
  started_at                     TIMESTAMP  When it started, the last time.
  first_job_started_at           TIMESTAMP  When its first job started, whatever reopened it later.
  finished_at                    TIMESTAMP  When it finished; NULL while open.
  synced_at                      TIMESTAMP  When Buildkite last reported it.
  wall_seconds                   DOUBLE     From creation to end.
  elapsed_seconds                DOUBLE     From its latest start to its end.
  active_seconds                 DOUBLE     During which a job waited for an agent or ran, so far:
                                            what runs counts until Buildkite last reported it. NULL
                                            where none has run.
  blocked_seconds                DOUBLE     During which it stood still for blocks that were
                                            lifted.
  time_to_first_failure_seconds  DOUBLE     Of a failed build: from creation until the end of the
                                            first job that failed hard and for good, so that no
                                            retry replaced it. NULL where no job did.
  time_to_failing_seconds        DOUBLE     From creation until Buildkite first called it failing,
                                            even if a retry passed later; NULL where it never did.
                                            For comparison only.
  agent_seconds                  DOUBLE     That agents ran its jobs, all attempts, so far: what
                                            runs counts until Buildkite last reported it.
  wasted_agent_seconds           DOUBLE     Those of attempts that were retried or canceled, and all
                                            of a canceled build, so far.
  script_jobs                    BIGINT     Attempts of script jobs.
  retried_jobs                   BIGINT     Attempts that were retried.
  passed_jobs                    BIGINT     Jobs that passed.
  soft_failed_jobs               BIGINT     Jobs that failed without failing the build, timeouts
                                            included.
  failed_jobs                    BIGINT     Jobs that failed hard, timed out and expired ones
                                            included.
  timed_out_jobs                 BIGINT     Those of both kinds of failed jobs that timed out.
  canceled_jobs                  BIGINT     Jobs that were canceled.
  not_run_jobs                   BIGINT     Jobs that never ran: skipped, broken, or behind a
                                            failure or a block when the build ended.
  unfinished_jobs                BIGINT     Jobs that may go on: they run, wait, or are held back by
                                            a block that still stands.
  triggered_from_build_id        UUID       The build whose trigger step started it.
  rebuilt_from_build_id          UUID       The build that it repeats.
*/
WITH work AS (
    SELECT
        build_id,
        min(started_at) AS first_job_started_at,
        coalesce(sum(agent_seconds), 0) AS agent_seconds,
        coalesce(sum(wasted_seconds), 0) AS wasted_agent_seconds,
        count(*) AS script_jobs,
        count(*) FILTER (NOT is_last_attempt) AS retried_jobs,
        count(*) FILTER (is_last_attempt AND outcome = 'passed') AS passed_jobs,
        count(*) FILTER (is_last_attempt AND is_soft_failed) AS soft_failed_jobs,
        count(*) FILTER (is_hard_failure) AS failed_jobs,
        count(*) FILTER (is_last_attempt AND failure_class = 'timeout') AS timed_out_jobs,
        count(*) FILTER (is_last_attempt AND outcome = 'canceled') AS canceled_jobs,
        count(*) FILTER (is_last_attempt AND outcome = 'not_run') AS not_run_jobs,
        count(*) FILTER (is_last_attempt AND outcome = 'unfinished') AS unfinished_jobs,
        min(finished_at) FILTER (is_hard_failure) AS first_failed_at,
        bool_and(is_setup) FILTER (started_at IS NOT NULL) AS is_setup
    FROM (
        SELECT
            *,
            is_last_attempt AND outcome = 'failed' AND NOT is_soft_failed AS is_hard_failure
        FROM job_runs
        WHERE day >= $from_day AND day < $to_day
    )
    GROUP BY build_id
),
triggering AS (
    SELECT DISTINCT build_id
    FROM jobs
    WHERE build_created_at >= $from_day AND build_created_at < $to_day
        AND type = 'trigger' AND triggered_build_id IS NOT NULL
),
activity AS (
    SELECT build_id, sum(seconds) AS active_seconds
    FROM build_active_periods
    WHERE day >= $from_day AND day < $to_day
    GROUP BY build_id
),
gaps AS (
    SELECT build_id, waited_from, max(blocked_seconds) AS blocked_seconds
    FROM block_waits
    WHERE day >= $from_day AND day < $to_day
    GROUP BY ALL
),
blocking AS (
    SELECT build_id, sum(blocked_seconds) AS blocked_seconds FROM gaps GROUP BY build_id
),
pipeline_states AS (
    SELECT
        pipeline_id,
        slug,
        default_branch,
        if(
            lag(valid_from) OVER (PARTITION BY pipeline_id ORDER BY valid_from) IS NULL,
            '-infinity'::TIMESTAMP,
            valid_from
        ) AS begins_at
    FROM pipelines_history
)
SELECT
    builds.build_id,
    builds.organization_id,
    builds.pipeline_id,
    coalesce(pipelines.slug, builds.pipeline_slug) AS pipeline_slug,
    coalesce(pipeline_states.slug, builds.pipeline_slug) AS pipeline_slug_at_creation,
    builds.number,
    builds.created_at::DATE AS day,
    builds.branch,
    nullif(nullif(trim(builds.commit), ''), 'HEAD') AS commit,
    builds.source,
    builds.branch = nullif(pipeline_states.default_branch, '')
        AND builds.pull_request_id IS NULL
        AND builds.merge_queue_base_branch IS NULL AS is_default_branch,
    builds.merge_queue_base_branch IS NOT NULL
        OR coalesce(starts_with(builds.branch, 'gh-readonly-queue/'), false) AS is_merge_queue,
    builds.state,
    CASE
        WHEN builds.state IN ('passed', 'failed', 'canceled') THEN builds.state
        WHEN builds.state IN ('skipped', 'not_run') THEN 'not_run'
        WHEN builds.state = 'blocked' AND builds.blocked_state IS DISTINCT FROM 'running'
            THEN if(builds.blocked_state = 'failed' OR work.failed_jobs > 0, 'failed', 'passed')
        ELSE 'unfinished'
    END AS outcome,
    outcome = 'failed'
        OR (
            outcome = 'passed'
            AND (NOT coalesce(work.is_setup, false) OR triggering.build_id IS NOT NULL)
        ) AS is_verdict,
    outcome = 'unfinished' AS is_open,
    builds.absent_since IS NOT NULL
        OR (NOT is_open AND builds.synced_at >= builds.created_at::DATE + INTERVAL 30 DAY)
        AS is_final,
    coalesce(builds.blocked, false) OR builds.state = 'blocked' AS is_blocked,
    builds.created_at,
    builds.started_at,
    work.first_job_started_at,
    builds.finished_at,
    builds.synced_at,
    if(
        builds.finished_at < builds.created_at, 0, epoch(builds.finished_at - builds.created_at)
    ) AS wall_seconds,
    if(
        builds.finished_at < builds.started_at, 0, epoch(builds.finished_at - builds.started_at)
    ) AS elapsed_seconds,
    activity.active_seconds,
    coalesce(blocking.blocked_seconds, 0) AS blocked_seconds,
    CASE
        WHEN outcome != 'failed' THEN NULL
        WHEN work.first_failed_at < builds.created_at THEN 0
        ELSE epoch(work.first_failed_at - builds.created_at)
    END AS time_to_first_failure_seconds,
    if(
        builds.failing_at < builds.created_at, 0, epoch(builds.failing_at - builds.created_at)
    ) AS time_to_failing_seconds,
    coalesce(work.agent_seconds, 0) AS agent_seconds,
    coalesce(work.wasted_agent_seconds, 0) AS wasted_agent_seconds,
    coalesce(work.script_jobs, 0) AS script_jobs,
    coalesce(work.retried_jobs, 0) AS retried_jobs,
    coalesce(work.passed_jobs, 0) AS passed_jobs,
    coalesce(work.soft_failed_jobs, 0) AS soft_failed_jobs,
    coalesce(work.failed_jobs, 0) AS failed_jobs,
    coalesce(work.timed_out_jobs, 0) AS timed_out_jobs,
    coalesce(work.canceled_jobs, 0) AS canceled_jobs,
    coalesce(work.not_run_jobs, 0) AS not_run_jobs,
    coalesce(work.unfinished_jobs, 0) AS unfinished_jobs,
    builds.triggered_from_build_id,
    builds.rebuilt_from_build_id
FROM builds
LEFT JOIN pipelines USING (pipeline_id)
ASOF LEFT JOIN pipeline_states
    ON pipeline_states.pipeline_id = builds.pipeline_id
    AND pipeline_states.begins_at <= builds.created_at
LEFT JOIN work USING (build_id)
LEFT JOIN triggering USING (build_id)
LEFT JOIN activity USING (build_id)
LEFT JOIN blocking USING (build_id)
WHERE builds.created_at >= $from_day AND builds.created_at < $to_day
