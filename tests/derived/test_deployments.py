"""What counts as a deployment: rules first, then Buildkite's own convention, never a guess."""

from uuid import UUID

import pytest

from buildkite_assets.rules import Deployment, Rules

from .history import History, at, plus

RULES = Rules(
    deployments=(
        Deployment("production", "ship-*", application="shop", step="deploy*", branch="main"),
        Deployment("staging", "ship-*", step="deploy*"),
    )
)


def shipped(history: History, branch: str = "main", state: str = "passed") -> UUID:
    """A build of `ship-web` with two jobs that deploy, the second until 10:10, and a test."""
    build = history.build(
        history.pipeline("ship-web"), "10:00", state, branch=branch, finished_at="10:30"
    )
    history.job(build, "test", "10:00", "10:00", "10:20", "failed")
    history.job(build, "deploy-eu", "10:00", "10:00", "10:05")
    history.job(build, "deploy-us", "10:00", "10:00", "10:10", state)
    return build


def test_the_jobs_that_a_rule_fits_are_the_deployment() -> None:
    """It ended with the later of the two jobs, whatever became of the test."""
    history = History(RULES)
    shipped(history)
    history.derive("deployments")
    columns = ["application", "environment", "deployed_at", "is_success", "basis"]
    assert history.rows("deployments", *columns) == [
        ("shop", "production", at("10:10").replace(tzinfo=None), True, "rule")
    ]


def test_the_first_rule_that_fits_counts_and_the_application_is_else_the_pipeline() -> None:
    history = History(RULES)
    shipped(history, branch="topic")
    history.derive("deployments")
    assert history.rows("deployments", "application", "environment") == [("ship-web", "staging")]


@pytest.mark.parametrize(
    ("state", "expected"), [("failed", [False]), ("running", []), ("canceled", [False])]
)
def test_one_job_that_failed_fails_it_and_one_that_runs_has_not_deployed_yet(
    state: str, expected: list[bool]
) -> None:
    history = History(RULES)
    shipped(history, state=state)
    history.derive("deployments")
    assert history.rows("deployments", "is_success") == expected


def test_a_retry_that_passed_is_a_success() -> None:
    history = History(RULES)
    build = history.build(history.pipeline("ship-web"), "10:00")
    first = history.job(build, "deploy", "10:00", "10:00", "10:05", "failed")
    history.retry(first, history.job(build, "deploy", "10:05", "10:05", "10:10"))
    history.derive("deployments")
    assert history.rows("deployments", "is_success") == [True]


@pytest.mark.parametrize(
    ("meta_data", "expected"),
    [
        ({"environment": "production"}, [("web", "production", None)]),
        (
            {"environment": "production", "production:version": "1.2"},
            [("web", "production", "1.2")],
        ),
        (
            {"environment": "production", "shop:production:version": "1.2"},
            [("shop", "production", "1.2")],
        ),
        ({"staging_deployment": "true"}, [("web", "staging", None)]),
        ({"shop:staging:deployed": "true"}, [("shop", "staging", None)]),
        ({"staging_deployment": "false"}, []),
        ({"shop:staging:deployed": "no"}, []),
        ({"deploy": "yes", "release": "1"}, []),
    ],
)
def test_without_a_rule_the_convention_of_meta_data_counts(
    meta_data: dict[str, str], expected: list[tuple[str, str, str | None]]
) -> None:
    """Values are strings: `true` is `"true"`. A build named `deploy` deploys nothing by that."""
    history = History()
    history.build(history.pipeline(), "10:00", finished_at="10:10", meta_data=meta_data)
    build = history.build(history.pipeline("deploy"), "10:00", finished_at="10:10")
    history.job(build, "deploy production", "10:00", "10:00", "10:10")
    history.derive("deployments")
    assert history.rows("deployments", "application", "environment", "version") == expected
    assert set(history.rows("deployments", "basis")) <= {"meta-data"}


@pytest.mark.parametrize(
    ("state", "blocked", "expected"),
    [
        ("passed", False, [True]),
        ("failed", False, [False]),
        ("passed", True, []),
        ("running", False, []),
    ],
)
def test_meta_data_is_no_success_the_builds_outcome_is(
    state: str,
    blocked: bool,  # noqa: FBT001 - a table of cases
    expected: list[bool],
) -> None:
    """Trap 10: a blocked build reports its last state, here passed, yet nothing was deployed."""
    history = History()
    history.build(
        history.pipeline(), "10:00", state, blocked=blocked, finished_at="10:10",
        meta_data={"environment": "production"},
    )  # fmt: skip
    history.derive("deployments")
    assert history.rows("deployments", "is_success") == expected


def test_rollbacks_and_redeployments_are_told_by_the_commits_before() -> None:
    """a, b, b again, then back to a; a failed deployment of c in between leaves no trace."""
    history = History()
    pipeline = history.pipeline()
    for n, commit in enumerate(["a", "b", "c", "b", "a"]):
        history.build(
            pipeline, f"1{n}:00", "failed" if commit == "c" else "passed", commit=commit,
            finished_at=f"1{n}:10", meta_data={"environment": "production"},
        )  # fmt: skip
    history.derive("deployments")
    assert history.rows("deployments", "is_redeploy") == [False, False, False, True, False]
    assert history.rows("deployments", "is_rollback") == [False, False, False, False, True]


def test_a_day_of_very_many_deployments_fits_in_the_memory_that_tables_may_take() -> None:
    """Were each deployment to keep those before it, 20,000 of them would keep 200 million."""
    history = History()
    history.build(
        history.pipeline(), "00:00", finished_at="00:10", meta_data={"environment": "production"}
    )
    history.connection.execute("""
        INSERT INTO builds BY NAME
        SELECT builds.* REPLACE (
            uuid() AS build_id, number + n AS number, 'c' || n AS commit,
            created_at + INTERVAL 1 SECOND * n AS created_at,
            finished_at + INTERVAL 1 SECOND * n AS finished_at
        )
        FROM builds, range(1, 20_000) AS numbers(n)
    """)
    history.derive("deployments")
    assert len(history.rows("deployments", "build_id", where="NOT is_rollback")) == 20_000


def test_a_week_counts_deployments_days_failures_and_recoveries() -> None:
    """Week of 2 November 2026. Commit a: built Monday 08:00, deployed 10:10: 130 min.

    Tuesday 10:10 and 11:10 fail (b was never built before), Tuesday 12:10 succeeds with b: built
    first at 10:00 by the failed deployment, so 130 min again. Recovery once, from 10:10: 2 h.
    2 of 4 tries failed. A week without deployments follows, with no rates, then one with one.
    """
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "2026-11-02 08:00", commit="a")
    for created, commit, state in (
        ("2026-11-02 10:00", "a", "passed"),
        ("2026-11-03 10:00", "b", "failed"),
        ("2026-11-03 11:00", "b", "failed"),
        ("2026-11-03 12:00", "b", "passed"),
        ("2026-11-16 10:00", "c", "passed"),
    ):
        history.build(
            pipeline, created, state, commit=commit, finished_at=plus(created, minutes=10),
            meta_data={"environment": "production"},
        )  # fmt: skip
    history.derive("dora_weekly")
    columns = ["iso_week", "deployments", "deployment_days", "tries", "deployment_failure_rate"]
    assert history.rows("dora_weekly", *columns) == [
        ("2026-W45", 2, 2, 4, 0.5),
        ("2026-W46", 0, 0, 0, None),
        ("2026-W47", 1, 1, 1, 0),
    ]
    columns = ["traced_deployments", "commit_to_deploy_p50_seconds", "recoveries"]
    assert history.rows("dora_weekly", *columns, "recovery_p50_seconds") == [
        (2, 130 * 60, 1, 7_200),
        (0, None, 0, None),
        (1, 600, 0, None),
    ]


def test_weeks_of_deployments_cross_the_years_end_in_local_time() -> None:
    """Berlin, UTC+1: 2026-W53 is from 27 December 23:00 UTC to 3 January 23:00 UTC (trap 17)."""
    history = History(Rules(time_zone="Europe/Berlin"))
    pipeline = history.pipeline()
    for deployed in ("2026-12-27 22:59", "2026-12-27 23:00", "2027-01-03 22:59"):
        history.build(
            pipeline, plus(deployed, minutes=-10), finished_at=deployed,
            meta_data={"environment": "production"},
        )  # fmt: skip
    history.derive("dora_weekly")
    columns = ["iso_week", "deployments", "deployment_days"]
    assert history.rows("dora_weekly", *columns) == [("2026-W52", 1, 1), ("2026-W53", 2, 2)]
