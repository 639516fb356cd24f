"""The tables of CI health about queues and steps, with links to Buildkite."""

from buildkite_assets.report.listing import LONGEST_LISTING, Listing
from buildkite_assets.warehouse import Connection


def queues(connection: Connection) -> Listing:
    """List every queue: how long its jobs waited, and what waits and runs now."""
    rows = connection.sql("""
        WITH waited AS (
            SELECT
                organization_id,
                queue_id,
                queue_key,
                any_value(queue) AS queue,
                count(queue_seconds) AS waits,
                quantile_cont(queue_seconds, [0.5, 0.9]) AS wait,
                max(queue_seconds) AS wait_longest_seconds
            FROM job_runs
            GROUP BY ALL
        )
        SELECT
            if(
                (SELECT count(DISTINCT organization_id) FROM shown_pipelines) > 1,
                organizations.slug || '/' || waited.queue,
                waited.queue
            ) AS queue,
            wait[1] AS wait_p50_seconds,
            wait[2] AS wait_p90_seconds,
            waits,
            wait_longest_seconds,
            coalesce(waiting_jobs, 0) AS waiting_jobs,
            longest_wait_seconds,
            coalesce(running_jobs, 0) AS running_jobs
        FROM waited
        JOIN organizations USING (organization_id)
        LEFT JOIN queue_backlog AS backlog
            ON backlog.organization_id = waited.organization_id
            AND backlog.queue_id IS NOT DISTINCT FROM waited.queue_id
            AND backlog.queue_key IS NOT DISTINCT FROM waited.queue_key
        ORDER BY waiting_jobs DESC, wait_p90_seconds DESC NULLS LAST, queue
    """).pl()
    return Listing(
        title="Queues",
        caption=(
            "One row per queue that jobs of these days used. Waits are those of the n jobs that an "
            "agent began. Waiting and running are of all pipelines, as of the last sync."
        ),
        headings={
            "queue": "Queue",
            "wait_p50_seconds": "Wait, median",
            "wait_p90_seconds": "… 90th percentile",
            "waits": "n",
            "wait_longest_seconds": "… longest",
            "waiting_jobs": "Waiting now",
            "longest_wait_seconds": "For",
            "running_jobs": "Running now",
        },
        rows=rows,
        if_empty="No job is known.",
    )


def slowest_steps(connection: Connection) -> Listing:
    """List the steps that builds spend most time in on their critical paths."""
    rows = connection.sql(
        """
        WITH slowest AS (
            SELECT
                pipeline,
                step,
                sum(queue_seconds + run_seconds) AS critical_seconds,
                quantile_cont(queue_seconds + run_seconds, 0.5) AS critical_p50_seconds,
                quantile_cont(queue_seconds, 0.5) AS queue_p50_seconds,
                count(*) AS critical_jobs,
                max(queue_seconds + run_seconds) AS longest_seconds,
                arg_max(build_id, (queue_seconds + run_seconds, build_id)) AS build_id
            FROM build_critical_path
            JOIN shown_pipelines USING (organization_id, pipeline_slug)
            GROUP BY ALL
            ORDER BY critical_seconds DESC, pipeline, step
            LIMIT $longest
        )
        SELECT slowest.*, builds.number AS build_number, builds.web_url AS build_url
        FROM slowest
        JOIN builds USING (build_id)
        ORDER BY critical_seconds DESC, pipeline, step
        """,
        params={"longest": LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Slowest steps",
        caption=(
            f"One row per step, the {LONGEST_LISTING} that builds spent most time in. Time is "
            "waiting and running on the critical path: a faster step elsewhere makes no build "
            "faster. Medians are of the n jobs on critical paths."
        ),
        headings={
            "pipeline": "Pipeline",
            "step": "Step",
            "critical_seconds": "Time in all",
            "critical_p50_seconds": "Median",
            "queue_p50_seconds": "Waiting, median",
            "critical_jobs": "n",
            "longest_seconds": "Longest",
            "build_number": "In build",
        },
        rows=rows,
        if_empty="No job ran.",
        links={"build_number": "build_url"},
    )


def failing_steps(connection: Connection) -> Listing:
    """The steps that failed most builds, by the way in which they failed."""
    rows = connection.sql(
        """
        WITH failing AS (
            SELECT
                pipeline,
                pipeline_id,
                step,
                failure_class,
                exit_status,
                sum(failures)::BIGINT AS failures,
                sum(soft_failures)::BIGINT AS soft_failures,
                sum(failed_builds)::BIGINT AS failed_builds,
                sum(retry_success_rate * retried_failures) / nullif(sum(retried_failures), 0)
                    AS retry_success_rate,
                sum(retried_failures)::BIGINT AS retried_failures,
                max(last_build_number) AS last_build_number
            FROM step_failures
            JOIN shown_pipelines USING (organization_id, pipeline_slug)
            GROUP BY ALL
            ORDER BY failed_builds DESC, failures DESC, pipeline, step, failure_class, exit_status
            LIMIT $longest
        )
        SELECT failing.*, builds.web_url AS last_build_url
        FROM failing
        LEFT JOIN builds
            ON builds.pipeline_id = failing.pipeline_id AND builds.number = last_build_number
        ORDER BY failed_builds DESC, failures DESC, pipeline, step, failure_class, exit_status
        """,
        params={"longest": LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Failing steps",
        caption=(
            f"One row per step and way of failing, the {LONGEST_LISTING} that failed most builds, "
            "in the whole ISO weeks that the days touch. Retries that helped: of the n failures "
            "whose retry passed or failed."
        ),
        headings={
            "pipeline": "Pipeline",
            "step": "Step",
            "failure_class": "Cause",
            "exit_status": "Exit status",
            "failed_builds": "Builds failed",
            "failures": "Attempts failed",
            "soft_failures": "Softly",
            "retry_success_rate": "Retry helped",
            "retried_failures": "n",
            "last_build_number": "Last in build",
        },
        rows=rows,
        if_empty="No step failed.",
        links={"last_build_number": "last_build_url"},
    )


def soft_failing_steps(connection: Connection) -> Listing:
    """List the steps that fail without failing their builds, those that always do first."""
    rows = connection.sql(
        """
        SELECT
            pipeline,
            step,
            soft_fail_rate,
            jobs,
            soft_failed_jobs,
            timed_out_jobs,
            agent_minutes * 60 AS wasted_seconds,
            last_passed_at,
            is_always_soft_failed
        FROM soft_failing_steps
        JOIN shown_pipelines USING (organization_id, pipeline_slug)
        ORDER BY is_always_soft_failed DESC, soft_failed_jobs DESC, pipeline, step
        LIMIT $longest
        """,
        params={"longest": LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Soft-failing steps",
        caption=(
            "One row per step that failed without failing its build in the newest 30 days of "
            f"builds, those that always do first; the first {LONGEST_LISTING}. Soft failures are "
            "of the n jobs that passed or failed."
        ),
        headings={
            "pipeline": "Pipeline",
            "step": "Step",
            "soft_fail_rate": "Soft failures",
            "jobs": "n",
            "timed_out_jobs": "Timed out",
            "wasted_seconds": "Agent time of failures",
            "last_passed_at": "Last passed (UTC)",
            "is_always_soft_failed": "Always",
        },
        rows=rows,
        if_empty="No step failed softly in the newest 30 days of builds.",
    )


def flaky_steps(connection: Connection) -> Listing:
    """The steps that fail without a reason, those first that waste most."""
    rows = connection.sql(
        """
        SELECT pipeline, step, flake_rate, jobs, flaky_jobs, retry_coverage AS retry_coverage_rate,
            code_failures, wasted_minutes * 60 AS wasted_seconds, last_flaky_at, is_recovered
        FROM flaky_steps
        JOIN shown_pipelines USING (organization_id, pipeline_slug)
        ORDER BY wasted_minutes DESC, flaky_jobs DESC, pipeline, step
        LIMIT $longest
        """,
        params={"longest": LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Flaky steps",
        caption=(
            "One row per step that was flaky in the newest 30 days of builds, the "
            f"{LONGEST_LISTING} that wasted most. Flaky jobs failed and passed when retried, or "
            "passed in another build of the same commit, of the n that passed or failed. Where few "
            "failures were retried, the rate is a lower bound."
        ),
        headings={
            "pipeline": "Pipeline",
            "step": "Step",
            "flake_rate": "Flaky",
            "jobs": "n",
            "retry_coverage_rate": "Failures retried",
            "code_failures": "n of failures",
            "wasted_seconds": "Agent time wasted",
            "last_flaky_at": "Last flaky (UTC)",
            "is_recovered": "Recovered",
        },
        rows=rows,
        if_empty="No step was flaky in the newest 30 days of builds.",
    )
