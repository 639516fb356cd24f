"""The tables of CI health about pipelines and their builds, with links to Buildkite."""

from buildkite_assets.report.listing import LONGEST_LISTING, Listing
from buildkite_assets.warehouse import Connection


def pipelines(connection: Connection) -> Listing:
    """How each pipeline does."""
    rows = connection.sql("""
        WITH built AS (
            SELECT
                organization_id,
                pipeline_slug,
                count(*) AS builds,
                count(*) FILTER (is_default_branch AND is_verdict) AS verdicts,
                count(*) FILTER (is_default_branch AND is_verdict AND outcome = 'passed')
                    / nullif(verdicts, 0) AS success_rate,
                count(active_seconds) FILTER (is_verdict AND outcome = 'passed') AS green_builds,
                quantile_cont(active_seconds, [0.5, 0.9])
                    FILTER (is_verdict AND outcome = 'passed') AS green,
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
            web_url,
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
        LEFT JOIN (
            SELECT organization_id, slug AS pipeline_slug, arg_max(web_url, synced_at) AS web_url
            FROM pipelines
            GROUP BY ALL
        ) USING (organization_id, pipeline_slug)
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
        links={"pipeline": "web_url"},
    )


def main_builds(connection: Connection) -> Listing:
    """List the newest builds of default branches, with what failed in them."""
    rows = connection.sql(
        """
        SELECT
            pipeline,
            build_runs.number AS build_number,
            builds.web_url AS build_url,
            build_runs.created_at,
            outcome,
            failed_jobs,
            soft_failed_jobs,
            timed_out_jobs,
            not_run_jobs,
            passed_jobs + failed_jobs + soft_failed_jobs AS finished_jobs,
            active_seconds
        FROM build_runs
        JOIN shown_pipelines USING (organization_id, pipeline_slug)
        JOIN builds USING (build_id)
        WHERE is_default_branch
        ORDER BY build_runs.created_at DESC, pipeline, build_number DESC
        LIMIT $longest
        """,
        params={"longest": LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Newest builds of main",
        caption=(
            f"One row per build of a default branch, the newest {LONGEST_LISTING}. Jobs are the "
            "last attempts of script jobs. A soft failure does not fail its build. Timed-out jobs "
            "are among the failed or soft-failed ones."
        ),
        headings={
            "pipeline": "Pipeline",
            "build_number": "Build",
            "created_at": "Created (UTC)",
            "outcome": "Outcome",
            "failed_jobs": "Failed jobs",
            "soft_failed_jobs": "Soft failed",
            "timed_out_jobs": "Timed out",
            "not_run_jobs": "Never ran",
            "finished_jobs": "n of finished",
            "active_seconds": "Active time",
        },
        rows=rows,
        if_empty="No build of a default branch is known.",
        links={"build_number": "build_url"},
    )


def open_builds(connection: Connection) -> Listing:
    """List the builds that run, wait or stand at a block, the oldest first."""
    rows = connection.sql(
        """
        SELECT
            pipeline,
            number AS build_number,
            web_url AS build_url,
            branch,
            if(is_blocked, 'blocked', state) AS state,
            created_at,
            age_seconds,
            running_jobs,
            waiting_jobs,
            longest_wait_seconds,
            blocked_seconds
        FROM open_builds
        JOIN shown_pipelines USING (organization_id, pipeline_slug)
        ORDER BY is_blocked, created_at, pipeline, build_number
        LIMIT $longest
        """,
        params={"longest": LONGEST_LISTING},
    ).pl()
    return Listing(
        title="Open builds",
        caption=(
            "One row per build that runs, waits or stands at a block as of the last sync. Blocked "
            f"builds come last, older ones first; the first {LONGEST_LISTING}."
        ),
        headings={
            "pipeline": "Pipeline",
            "build_number": "Build",
            "branch": "Branch",
            "state": "State",
            "created_at": "Created (UTC)",
            "age_seconds": "Age",
            "running_jobs": "Jobs running",
            "waiting_jobs": "Jobs waiting",
            "longest_wait_seconds": "Longest wait",
            "blocked_seconds": "Blocked for",
        },
        rows=rows,
        if_empty="No build is open.",
        links={"build_number": "build_url"},
    )


def incidents(connection: Connection) -> Listing:
    """When default branches were red, the newest first."""
    rows = connection.sql(
        """
        SELECT
            pipeline,
            branch_incidents.branch,
            red_at,
            green_at,
            red_seconds,
            working_seconds / 3600 AS working_hours,
            red_builds,
            breaking_number,
            broken.web_url AS breaking_url,
            fixing_number,
            fixed.web_url AS fixing_url,
            is_open
        FROM branch_incidents
        JOIN shown_pipelines USING (organization_id, pipeline_slug)
        LEFT JOIN builds AS broken ON broken.build_id = breaking_build_id
        LEFT JOIN builds AS fixed ON fixed.build_id = fixing_build_id
        ORDER BY is_open DESC, red_at DESC, pipeline
        LIMIT $longest
        """,
        params={"longest": LONGEST_LISTING},
    ).pl()
    return Listing(
        title="When main was red",
        caption=(
            "One row per time that a default branch was red, from the end of the build that broke "
            f"it to the end of the one that passed again; the newest {LONGEST_LISTING}, open ones "
            "first."
        ),
        headings={
            "pipeline": "Pipeline",
            "branch": "Branch",
            "red_at": "Red (UTC)",
            "green_at": "Green (UTC)",
            "red_seconds": "For",
            "working_hours": "Working hours",
            "red_builds": "Failed builds",
            "breaking_number": "Broken by",
            "fixing_number": "Passed with",
            "is_open": "Still red",
        },
        rows=rows,
        if_empty="No default branch was red.",
        links={"breaking_number": "breaking_url", "fixing_number": "fixing_url"},
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
