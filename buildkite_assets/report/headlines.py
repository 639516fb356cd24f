"""The figures of CI health to look at first, each with what it stands on."""

from buildkite_assets.report.listing import Headline
from buildkite_assets.report.wording import UNKNOWN, count, duration, money, percent
from buildkite_assets.warehouse import Connection


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


def _main_success(connection: Connection) -> Headline:
    [(rate, verdicts)] = connection.execute("""
        SELECT count(*) FILTER (outcome = 'passed') / nullif(count(*), 0), count(*)
        FROM build_runs
        WHERE is_default_branch AND is_verdict
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
        WHERE is_verdict AND outcome = 'passed'
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
                WHERE is_default_branch AND is_verdict
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
