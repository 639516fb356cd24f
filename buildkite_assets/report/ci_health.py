"""CI health: the figures and tables that the notebook and the HTML page have in common.

Each function takes a connection that `narrow` has narrowed to a scope, and asks the derived tables;
what a figure means is defined there. Percentiles come from builds and jobs themselves, never from
those of single days.
"""

from buildkite_assets.figures import (
    Figure,
    active_durations,
    build_outcomes,
    cost_by_team,
    main_strip,
    queue_wait_heatmap,
    time_decomposition,
)
from buildkite_assets.report.listing import Headline, Listing
from buildkite_assets.report.scope import Scope
from buildkite_assets.report.wording import UNKNOWN, count, duration, money, percent
from buildkite_assets.warehouse import Connection

_LONGEST_LISTING = 15


def headlines(connection: Connection) -> list[Headline]:
    """The figures to look at first, each with what it stands on."""
    return [
        _main_success(connection),
        *_time_to_green(connection),
        _queue_wait(connection),
        _main_red(connection),
        _cost(connection),
        _flaky(connection),
    ]


def figures(connection: Connection, scope: Scope) -> list[Figure]:
    """The plots, in the order in which people ask."""
    return [
        main_strip(connection, days=scope.days),
        build_outcomes(connection, days=scope.days),
        active_durations(connection, days=scope.days),
        time_decomposition(connection, days=scope.days),
        queue_wait_heatmap(connection, days=scope.days),
        cost_by_team(connection, days=scope.days),
    ]


def listings(connection: Connection) -> list[Listing]:
    """The tables, in the order in which people ask."""
    return [
        pipelines(connection),
        incidents(connection),
        failing_steps(connection),
        flaky_steps(connection),
        dora(connection),
    ]


def pipelines(connection: Connection) -> Listing:
    """How each pipeline does."""
    rows = connection.sql("""
        WITH built AS (
            SELECT
                organization_id,
                pipeline_slug,
                count(*) AS builds,
                count(*) FILTER (is_default_branch AND outcome IN ('passed', 'failed')) AS verdicts,
                count(*) FILTER (is_default_branch AND outcome = 'passed') / nullif(verdicts, 0)
                    AS success_rate,
                count(active_seconds) FILTER (outcome = 'passed') AS green_builds,
                quantile_cont(active_seconds, [0.5, 0.9]) FILTER (outcome = 'passed') AS green,
                sum(agent_seconds) / 3600 AS agent_hours
            FROM build_runs
            GROUP BY ALL
        ),
        broken AS (
            SELECT organization_id, pipeline_slug, count(*) AS incidents, bool_or(is_open) AS is_red
            FROM branch_incidents
            GROUP BY ALL
        )
        SELECT
            pipeline,
            coalesce(builds, 0) AS builds,
            success_rate,
            coalesce(verdicts, 0) AS verdicts,
            green[1] AS green_p50_seconds,
            green[2] AS green_p90_seconds,
            coalesce(green_builds, 0) AS green_builds,
            if(verdicts > 0 OR incidents > 0, coalesce(incidents, 0), NULL) AS incidents,
            if(verdicts > 0 OR incidents > 0, coalesce(is_red, false), NULL) AS is_red,
            coalesce(agent_hours, 0) AS agent_hours
        FROM shown_pipelines
        LEFT JOIN built USING (organization_id, pipeline_slug)
        LEFT JOIN broken USING (organization_id, pipeline_slug)
        ORDER BY agent_hours DESC, pipeline
    """).pl()
    return Listing(
        title="Pipelines",
        caption=(
            "One row per pipeline. Success rate: builds of the default branch that passed, of the "
            "n that passed or failed. Time to green: active time of the n passed builds."
        ),
        headings={
            "pipeline": "Pipeline",
            "builds": "Builds",
            "success_rate": "Success rate of main",
            "verdicts": "n",
            "green_p50_seconds": "Time to green, median",
            "green_p90_seconds": "… 90th percentile",
            "green_builds": "n of passed",
            "incidents": "Times red",
            "is_red": "Red now",
            "agent_hours": "Agent hours",
        },
        rows=rows,
        if_empty="No builds are known.",
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
        params={"longest": _LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Flaky steps",
        caption=(
            "One row per step that was flaky in the newest 30 days of builds, the "
            f"{_LONGEST_LISTING} that wasted most. Flaky jobs failed and passed when retried, or "
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


def failing_steps(connection: Connection) -> Listing:
    """The steps that failed most builds, by the way in which they failed."""
    rows = connection.sql(
        """
        SELECT
            pipeline,
            step,
            failure_class,
            exit_status,
            sum(failures)::BIGINT AS failures,
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
        """,
        params={"longest": _LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Failing steps",
        caption=(
            f"One row per step and way of failing, the {_LONGEST_LISTING} that failed most builds, "
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
            "retry_success_rate": "Retry helped",
            "retried_failures": "n",
            "last_build_number": "Last in build",
        },
        rows=rows,
        if_empty="No step failed.",
    )


def incidents(connection: Connection) -> Listing:
    """When default branches were red, the newest first."""
    rows = connection.sql(
        """
        SELECT pipeline, branch, red_at, green_at, red_seconds, working_seconds, red_builds,
            breaking_number, fixing_number, is_open
        FROM branch_incidents
        JOIN shown_pipelines USING (organization_id, pipeline_slug)
        ORDER BY is_open DESC, red_at DESC, pipeline
        LIMIT $longest
        """,
        params={"longest": _LONGEST_LISTING},
    ).pl()
    return Listing(
        title="When main was red",
        caption=(
            "One row per time that a default branch was red, from the end of the build that broke "
            f"it to the end of the one that passed again; the newest {_LONGEST_LISTING}, open ones "
            "first."
        ),
        headings={
            "pipeline": "Pipeline",
            "branch": "Branch",
            "red_at": "Red (UTC)",
            "green_at": "Green (UTC)",
            "red_seconds": "For",
            "working_seconds": "In working hours",
            "red_builds": "Failed builds",
            "breaking_number": "Broken by",
            "fixing_number": "Passed with",
            "is_open": "Still red",
        },
        rows=rows,
        if_empty="No default branch was red.",
    )


def dora(connection: Connection) -> Listing:
    """Deployments by week, and proxies for the other figures of DORA."""
    rows = connection.sql("""
        SELECT iso_week, application, environment, deployments, deployment_days,
            deployment_failure_rate, tries, commit_to_deploy_p50_seconds, traced_deployments,
            recovery_p50_seconds, recoveries, basis
        FROM dora_weekly
        SEMI JOIN scope ON week BETWEEN first_day - 6 AND last_day
        SEMI JOIN deployments USING (organization_id, application, environment)
        ORDER BY week DESC, application, environment
    """).pl()
    return Listing(
        title="Deployments and DORA",
        caption=(
            "One row per application, environment and ISO week that the days touch. Only the "
            "number of deployments is what DORA asks for; the rest are proxies that builds can "
            "tell: failed deployments for the change fail rate, from the commit's first build for "
            "the change lead time (a lower bound), from a failed deployment to the next success "
            "for the recovery time."
        ),
        headings={
            "iso_week": "Week",
            "application": "Application",
            "environment": "Environment",
            "deployments": "Deployments",
            "deployment_failure_rate": "Failed (proxy)",
            "tries": "n tries",
            "commit_to_deploy_p50_seconds": "Build to deploy, median (proxy)",
            "traced_deployments": "n traced",
            "recovery_p50_seconds": "Recovery, median (proxy)",
            "recoveries": "n recoveries",
        },
        rows=rows,
        if_empty="No deployment is known: the rules file says which jobs deploy.",
    )


def _main_success(connection: Connection) -> Headline:
    [(rate, verdicts)] = connection.execute("""
        SELECT count(*) FILTER (outcome = 'passed') / nullif(count(*), 0), count(*)
        FROM build_runs
        WHERE is_default_branch AND outcome IN ('passed', 'failed')
    """).fetchall()
    return Headline(
        "Success rate of main",
        percent(rate),
        f"of {count(verdicts, 'build')} of default branches that passed or failed",
    )


def _time_to_green(connection: Connection) -> list[Headline]:
    [(median, slow, builds)] = connection.execute("""
        SELECT
            quantile_cont(active_seconds, 0.5),
            quantile_cont(active_seconds, 0.9),
            count(active_seconds)
        FROM build_runs
        WHERE outcome = 'passed'
    """).fetchall()
    basis = f"active time of {count(builds, 'passed build')}"
    return [
        Headline("Time to green, median", duration(median), basis),
        Headline("Time to green, 90th percentile", duration(slow), basis),
    ]


def _queue_wait(connection: Connection) -> Headline:
    [(wait, waits, never_started)] = connection.execute("""
        SELECT
            quantile_cont(queue_seconds, 0.9),
            count(queue_seconds),
            count(*) FILTER (runnable_at IS NOT NULL AND started_at IS NULL)
        FROM job_runs
    """).fetchall()
    return Headline(
        "Wait for an agent, 90th percentile",
        duration(wait),
        f"of {count(waits, 'job')} that began; {never_started:,} never did",
    )


def _main_red(connection: Connection) -> Headline:
    [(seconds, times, still_red, verdicts)] = connection.execute("""
        SELECT
            coalesce(
                sum(greatest(
                    epoch(
                        least(red_at + to_seconds(red_seconds), last_day + INTERVAL 1 DAY)
                        - greatest(red_at, first_day)
                    ),
                    0
                )),
                0
            ),
            count(*),
            count(*) FILTER (is_open),
            (
                SELECT count(*) FROM build_runs
                WHERE is_default_branch AND outcome IN ('passed', 'failed')
            )
        FROM branch_incidents, scope
    """).fetchall()
    if not times and not verdicts:
        return Headline("Main red", UNKNOWN, "no build of a default branch passed or failed")
    return Headline(
        "Main red",
        duration(seconds),
        f"in {count(times, 'incident')}, {still_red} of them still open; summed over pipelines",
    )


def _cost(connection: Connection) -> Headline:
    [(cost, currency, runs, minutes, unpriced)] = connection.execute("""
        SELECT sum(cost), any_value(currency), coalesce(sum(runs), 0)::BIGINT,
            coalesce(sum(agent_minutes), 0), coalesce(sum(unpriced_minutes), 0)
        FROM agent_cost_daily
    """).fetchall()
    return Headline(
        "Cost of agents",
        money(cost, currency),
        f"{duration(minutes * 60)} of agents in {count(runs, 'run')}; "
        f"{duration(unpriced * 60)} without a price",
    )


def _flaky(connection: Connection) -> Headline:
    [(flaky, recovered, jobs, last)] = connection.execute("""
        SELECT count(*) FILTER (NOT is_recovered), count(*) FILTER (is_recovered),
            coalesce(sum(jobs), 0)::BIGINT, max(window_to)
        FROM flaky_steps
    """).fetchall()
    window = f"in the 30 days of builds to {last}" if last else "in the newest 30 days of builds"
    return Headline(
        "Flaky steps",
        f"{flaky:,}",
        f"{window}, with {count(jobs, 'job')}; {recovered:,} more have recovered",
    )
