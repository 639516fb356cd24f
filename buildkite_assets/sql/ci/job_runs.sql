/*
One row per attempt of a script job: what came of it, what it waited and what it ran.

Only script jobs run on agents, so waiters, blocks and triggers have no row. Attempts of a build
that Buildkite no longer has (retention, a deleted pipeline) stay: they happened. An attempt that
vanished from a build that Buildkite still has is left out, as it is left out there.

The wait for an agent begins when the job becomes runnable: `scheduled_at` and `created_at` lie
before dependencies, blocks and concurrency groups let it. Durations are never negative: where
clocks disagree, they are 0.

A queue is identified by `organization_id, queue_id, queue_key`, since clusters may have queues of
the same key. Jobs that run outside of clusters have no queue id: the key that they ask for, with a
rule `queue=key`, identifies their queue. A rule `queue=` without a key asks for no queue.

`queue` is unique among the queues of an organization. It is the key alone where that says it all,
else `cluster / key`: where several clusters have a queue of this key, and where the queue was never
listed, such as one that was deleted before the first sync. The end of the cluster's id stands for a
name that is not known. Outside of clusters it is `(no cluster) / key` if a cluster has a queue of
this key. Only a queue that was deleted and created again, with another id, shares its name.

A code failure, in every table, is an attempt whose `failure_class` is code or timeout: the same
code may fail or hang, so a timeout can be flaky. An infrastructure failure is one whose class is
infra or expired. A soft failure is any failed attempt, timeouts included, that does not fail its
build; a hard failure is any other.

A build is over when it is canceled or never ran, or when it passed or failed and stands at no
block. A job that never began in a build that is over never ran; before that it is unfinished.

Key: job_id
Recomputed: by day

Columns:
  job_id                    UUID       Buildkite's id of the attempt.
  build_id                  UUID       The build that it belongs to.
  organization_id           UUID       The organization that it belongs to.
  pipeline_id               UUID       The pipeline; NULL while no pipeline of its slug is known.
  pipeline_slug             VARCHAR    The pipeline's present slug, else the one when read.
  day                       DATE       The UTC day of the build's creation; the partition.
  step                      VARCHAR    The step's key, else `step_label`; `steps` says which step
                                       that is across builds. The same for all attempts of a job.
  logical_job_key           VARCHAR    The step with its shard and matrix values: the same in every
                                       build with so many shards, whatever the attempt.
  logical_job_id            UUID       The first known attempt of the same job in this build.
  attempt_no                INTEGER    1 for the first attempt that is known, 2 for its retry, …
  is_last_attempt           BOOLEAN    Whether no other attempt replaced it.
  is_setup                  BOOLEAN    Whether it only sets up its build, such as by uploading the
                                       pipeline: the rules say which jobs do.
  retry_type                VARCHAR    How this attempt was retried: manual or automatic.
  retried_in_job_id         UUID       The attempt that replaced it.
  step_key                  VARCHAR    The step's key; NULL if it has none.
  step_label                VARCHAR    The step's label without the shard's numbers and the matrix
                                       values (see `job_labels`), else its command.
  label                     VARCHAR    The job's own label, as Buildkite shows it.
  shard_index               INTEGER    Which of a parallel step's jobs, from 0; NULL if not parallel.
  shard_total               INTEGER    How many jobs the parallel step has.
  state                     VARCHAR    As Buildkite spells it.
  outcome                   VARCHAR    passed, failed (timed out and expired too), canceled, not_run
                                       or unfinished.
  is_soft_failed            BOOLEAN    Whether it failed without failing its build.
  failure_class             VARCHAR    Why it did not pass: code, infra (the agent was lost, stopped
                                       or refused, or a rule `[[infrastructure]]` says so),
                                       timeout, expired or canceled; else NULL.
  exit_status               INTEGER    The command's exit status; -1 where the agent was lost.
  queue_id                  UUID       The queue that it waited in: its own, else the default queue
                                       of its cluster if it asks for none; NULL if neither is known.
  queue_key                 VARCHAR    That queue's key, else the key it asks for, else `default`.
  cluster_id                UUID       That queue's cluster; NULL without a queue id.
  cluster_name              VARCHAR    Its name; NULL if the cluster is not known.
  queue                     VARCHAR    The queue's name for people: its key, or `cluster / key`.
  agent_id                  UUID       The agent that ran it.
  agent_tags                VARCHAR[]  That agent's tags.
  created_at                TIMESTAMP  When the attempt was created.
  runnable_at               TIMESTAMP  When it began to wait for an agent.
  started_at                TIMESTAMP  When an agent began it.
  finished_at               TIMESTAMP  When it ended or expired.
  ran_until                 TIMESTAMP  When it ended; of one that still runs, when Buildkite last
                                       reported its build. NULL if it never started.
  gave_up_at                TIMESTAMP  Of one that became runnable and never started: when it ended
                                       or expired; while it waits, when Buildkite last reported its
                                       build. NULL where its end is not known.
  queue_seconds             DOUBLE     From runnable to started; NULL if it never started.
  censored_queue_seconds    DOUBLE     From runnable to `gave_up_at`: the wait of one that never
                                       started was at least this long. NULL for one that never
                                       became runnable: it waited for no agent.
  concurrency_wait_seconds  DOUBLE     Held back by a concurrency group before it became runnable; 0
                                       if let through at once, NULL if it has no group.
  run_seconds               DOUBLE     From started to finished.
  agent_seconds             DOUBLE     That an agent ran it so far: from started to `ran_until`.
  wasted_seconds            DOUBLE     Those of `agent_seconds` whose result nobody used: of
                                       attempts that were retried or canceled, and of canceled
                                       builds.
*/
WITH RECURSIVE known_builds AS (
    SELECT
        build_id,
        pipeline_id,
        pipeline_slug,
        cluster_id,
        state,
        synced_at,
        absent_since,
        state IN ('canceled', 'skipped', 'not_run')
        OR (state IN ('passed', 'failed') AND NOT coalesce(blocked, false)) AS is_over
    FROM builds
    WHERE created_at >= $from_day AND created_at < $to_day
),
attempts AS NOT MATERIALIZED (
    SELECT
        jobs.* REPLACE (
            coalesce(jobs.finished_at, if(jobs.state = 'expired', jobs.expired_at, NULL))
                AS finished_at
        ),
        known_builds.pipeline_id,
        known_builds.pipeline_slug AS slug_when_read,
        known_builds.cluster_id AS build_cluster_id,
        known_builds.state AS build_state,
        known_builds.synced_at AS build_synced_at,
        known_builds.is_over AS build_is_over,
        nullif(trim(jobs.name), '') AS shown_label,
        coalesce(job_labels.label, shown_label, nullif(trim(jobs.command), '')) AS step_label
    FROM jobs
    JOIN known_builds USING (build_id)
    LEFT JOIN (
        SELECT job_id, label FROM job_labels WHERE day >= $from_day AND day < $to_day
    ) AS job_labels USING (job_id)
    WHERE jobs.type = 'script'
        AND jobs.build_created_at >= $from_day AND jobs.build_created_at < $to_day
        AND (jobs.absent_since IS NULL OR jobs.absent_since = known_builds.absent_since)
),
retried AS MATERIALIZED (
    SELECT
        earlier.job_id,
        {'key': earlier.step_key, 'label': earlier.step_label} AS step_names,
        later.job_id AS later_job_id
    FROM attempts AS earlier
    JOIN attempts AS later
        ON later.job_id = earlier.retried_in_job_id AND later.build_id = earlier.build_id
    WHERE earlier.retried_in_job_id IS NOT NULL
),
chains AS (
    SELECT job_id, job_id AS logical_job_id, 1 AS attempt_no, step_names
    FROM retried
    WHERE job_id NOT IN (SELECT later_job_id FROM retried)
    UNION ALL
    SELECT
        retried.later_job_id,
        chains.logical_job_id,
        chains.attempt_no + 1,
        chains.step_names
    FROM chains
    JOIN retried USING (job_id)
),
chain_ends AS (
    SELECT
        job_id,
        min_by(logical_job_id, attempt_no) AS logical_job_id,
        min(attempt_no) AS attempt_no,
        min_by(step_names, attempt_no) AS step_names
    FROM chains
    GROUP BY job_id
),
classified AS (
    SELECT
        -- A label can be changed while a step runs: what the first attempt is called counts.
        attempts.* REPLACE (
            if(step_names IS NULL, attempts.step_key, step_names.key) AS step_key,
            if(step_names IS NULL, attempts.step_label, step_names.label) AS step_label
        ),
        coalesce(chain_ends.logical_job_id, attempts.job_id) AS logical_job_id,
        coalesce(chain_ends.attempt_no, 1) AS attempt_no,
        retried_in_job_id IS NULL AND NOT coalesce(retried, false) AS is_last_attempt,
        CASE
            WHEN state = 'passed' THEN 'passed'
            WHEN state IN ('failed', 'timed_out', 'expired') THEN 'failed'
            WHEN state = 'canceled' THEN 'canceled'
            WHEN state IN ('skipped', 'broken', 'waiting_failed', 'blocked_failed', 'unblocked_failed')
                THEN 'not_run'
            WHEN build_is_over AND started_at IS NULL THEN 'not_run'
            ELSE 'unfinished'
        END AS outcome,
        CASE
            WHEN state = 'canceled' THEN 'canceled'
            WHEN state = 'expired' THEN 'expired'
            WHEN state = 'timed_out' THEN 'timeout'
            WHEN state = 'failed' AND (
                exit_status = -1
                OR signal_reason IN (
                    'agent_stop', 'agent_refused', 'agent_incompatible', 'process_run_error',
                    'stack_error', 'signature_rejected'
                )
            ) THEN 'infra'
            WHEN state = 'failed' THEN 'code'
        END AS failure_class,
        -- The end of what goes on, as far as Buildkite has told. In a build that is over nothing
        -- goes on: where an end is missing, it is not known.
        coalesce(
            finished_at, if(outcome = 'unfinished' AND NOT build_is_over, build_synced_at, NULL)
        ) AS known_until
    FROM attempts
    LEFT JOIN chain_ends USING (job_id)
),
ended AS (
    SELECT
        *,
        if(started_at IS NOT NULL, known_until, NULL) AS ran_until,
        if(started_at IS NULL AND runnable_at IS NOT NULL, known_until, NULL) AS gave_up_at
    FROM classified
),
timed AS (
    SELECT
        *,
        if(started_at < runnable_at, 0, epoch(started_at - runnable_at)) AS queue_seconds,
        if(gave_up_at < runnable_at, 0, epoch(gave_up_at - runnable_at)) AS censored_queue_seconds,
        if(finished_at < started_at, 0, epoch(finished_at - started_at)) AS run_seconds,
        if(ran_until < started_at, 0, epoch(ran_until - started_at)) AS agent_seconds,
        NOT is_last_attempt OR state = 'canceled' OR build_state = 'canceled' AS is_wasted
    FROM ended
),
cluster_states AS (
    SELECT
        cluster_id,
        default_queue_id,
        if(
            lag(valid_from) OVER (PARTITION BY cluster_id ORDER BY valid_from) IS NULL,
            '-infinity'::TIMESTAMP,
            valid_from
        ) AS begins_at
    FROM clusters_history
),
asking AS (
    SELECT
        timed.*,
        coalesce(timed.cluster_id, build_cluster_id) AS job_cluster_id,
        list_filter(agent_query_rules, lambda rule: rule LIKE 'queue=_%')[1][7:] AS asked_key
    FROM timed
),
waiting AS (
    SELECT
        asking.*,
        coalesce(asking.queue_id, if(asked_key IS NULL, default_queue_id, NULL)) AS own_queue_id
    FROM asking
    ASOF LEFT JOIN cluster_states
        ON cluster_states.cluster_id = job_cluster_id
        AND cluster_states.begins_at <= asking.created_at
),
listed_queues AS (
    SELECT
        queue_id,
        key,
        cluster_id,
        count(DISTINCT cluster_id) OVER (PARTITION BY organization_id, key) <= 1 AS is_named_by_key
    FROM queues
),
queued AS (
    SELECT
        waiting.*,
        coalesce(listed_queues.key, asked_key, 'default') AS queue_key,
        if(own_queue_id IS NULL, NULL, coalesce(listed_queues.cluster_id, job_cluster_id))
            AS queue_cluster_id,
        coalesce(
            is_named_by_key,
            own_queue_id IS NULL
                AND (organization_id, queue_key) NOT IN (SELECT organization_id, key FROM queues)
        ) AS is_named_by_key
    FROM waiting
    LEFT JOIN listed_queues ON listed_queues.queue_id = own_queue_id
)
SELECT
    job_id,
    build_id,
    queued.organization_id,
    queued.pipeline_id,
    coalesce(pipelines.slug, slug_when_read) AS pipeline_slug,
    build_created_at::DATE AS day,
    coalesce(step_key, step_label, '(unnamed)') AS step,
    concat_ws(
        ' · ', step, parallel_group_index + 1 || coalesce(' of ' || parallel_group_total, ''), matrix
    ) AS logical_job_key,
    logical_job_id,
    attempt_no,
    is_last_attempt,
    len(list_filter($setup_steps::VARCHAR[], lambda pattern: step GLOB pattern)) > 0
        OR len(
            list_filter(
                $setup_commands::VARCHAR[],
                lambda pattern: split_part(trim(command, E' \n'), E'\n', -1) GLOB pattern
            )
        ) > 0 AS is_setup,
    retry_type,
    retried_in_job_id,
    step_key,
    step_label,
    shown_label AS label,
    parallel_group_index AS shard_index,
    parallel_group_total AS shard_total,
    state,
    outcome,
    outcome = 'failed' AND coalesce(soft_failed, false) AS is_soft_failed,
    exit_status,
    CASE
        WHEN queued.failure_class IS DISTINCT FROM 'code' THEN queued.failure_class
        WHEN len(list_filter(
            $infrastructure::STRUCT(exit_statuses INTEGER[], queue VARCHAR, step VARCHAR)[],
            lambda rule: list_contains(rule.exit_statuses, exit_status)
            AND queue_key GLOB rule.queue
            AND step GLOB rule.step
        )) > 0 THEN 'infra'
        ELSE 'code'
    END AS failure_class,
    own_queue_id AS queue_id,
    queue_key,
    queue_cluster_id AS cluster_id,
    clusters.name AS cluster_name,
    if(
        is_named_by_key,
        queue_key,
        concat(
            coalesce(clusters.name, right(queue_cluster_id::VARCHAR, 12), '(no cluster)'),
            ' / ',
            queue_key
        )
    ) AS queue,
    agent_id,
    agent_meta_data AS agent_tags,
    queued.created_at,
    runnable_at,
    started_at,
    finished_at,
    ran_until,
    gave_up_at,
    queue_seconds,
    censored_queue_seconds,
    concurrency_wait_time_ms / 1000 AS concurrency_wait_seconds,
    run_seconds,
    agent_seconds,
    if(is_wasted, 1, 0) * agent_seconds AS wasted_seconds
FROM queued
LEFT JOIN pipelines USING (pipeline_id)
LEFT JOIN clusters ON clusters.cluster_id = queue_cluster_id
