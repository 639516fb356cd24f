"""What counts as a deployment: rules first, then Buildkite's own convention, never a guess."""

from datetime import datetime
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


def naive(text: str) -> datetime:
    return at(text).replace(tzinfo=None)


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
        ("shop", "production", naive("10:10"), True, "rule")
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


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("automatic", [("10:11", True)]),
        ("manual", [("10:05", False), ("10:11", True)]),
        (None, [("10:05", False), ("10:11", True)]),
    ],
)
def test_an_automatic_retry_repairs_the_deployment_and_one_by_hand_is_another(
    how: str | None, expected: list[tuple[str, bool]]
) -> None:
    """A retry that does not say how it came about is not called automatic."""
    history = History(RULES)
    build = history.build(history.pipeline("ship-web"), "10:00")
    first = history.job(build, "deploy", "10:00", "10:00", "10:05", "failed")
    second = history.job(build, "deploy", "10:06", "10:06", "10:11", created_at="10:06")
    history.retry(first, second, how)
    history.derive("deployments")
    assert history.rows("deployments", "deployed_at", "is_success") == [
        (naive(when), is_success) for when, is_success in expected
    ]


def test_each_retry_by_hand_while_nothing_is_at_work_begins_another_deployment() -> None:
    """Two jobs, `eu` and `us`; in brackets when they ran.

    1. `eu` (10:00 to 10:05) passes, `us` (10:00 to 10:10) fails: failed at 10:10.
    2. `us` again (10:20 to 10:25) passes, and `eu` passed before: success at 10:25. While it runs,
       `eu` is retried too (10:21 to 10:24): the same deployment.
    3. `eu` again, two days later (10:00 to 10:05): success. It is canceled the next time: nothing.
    4. `eu` once more (11:00), which still runs.
    """
    history = History(RULES)
    build = history.build(history.pipeline("ship-web"), "10:00")

    def attempt(
        step: str, begin: str, end: str | None, state: str, earlier: UUID | None = None
    ) -> UUID:
        job = history.job(build, step, begin, begin, end, state, created_at=begin)
        if earlier:
            history.retry(earlier, job, "manual")
        return job

    later = "2026-11-04"
    eu = attempt("deploy-eu", "10:00", "10:05", "passed")
    us = attempt("deploy-us", "10:00", "10:10", "failed")
    attempt("deploy-us", "10:20", "10:25", "passed", us)
    eu = attempt("deploy-eu", "10:21", "10:24", "passed", eu)
    eu = attempt("deploy-eu", f"{later} 10:00", f"{later} 10:05", "passed", eu)
    eu = attempt("deploy-eu", f"{later} 10:30", f"{later} 10:35", "canceled", eu)
    attempt("deploy-eu", f"{later} 11:00", None, "running", eu)
    history.derive("deployments")
    columns = ["deployment_no", "deployed_at", "is_success", "is_redeploy"]
    assert history.rows("deployments", *columns) == [
        (1, naive("10:10"), False, False),
        (2, naive("10:25"), True, False),
        (3, naive(f"{later} 10:05"), True, True),
    ]


def test_a_job_that_a_failure_held_back_makes_no_failure_a_success() -> None:
    """The canary fails at 10:05; someone retries it at 10:20, and the rest follows until 10:30.

    The rest is one job all the time: it waited for the canary, then it ran.
    """
    history = History(RULES)
    build = history.build(history.pipeline("ship-web"), "10:00")
    first = history.job(build, "deploy-canary", "10:00", "10:00", "10:05", "failed")
    second = history.job(build, "deploy-canary", "10:20", "10:20", "10:22", created_at="10:20")
    history.retry(first, second, "manual")
    history.job(build, "deploy-rest", "10:22", "10:22", "10:30")
    history.derive("deployments")
    assert history.rows("deployments", "deployed_at", "is_success") == [
        (naive("10:05"), False), (naive("10:30"), True),
    ]  # fmt: skip


def test_half_of_a_deployment_is_none() -> None:
    """The canary passes and is run again while the rest waits behind a block: nothing is done."""
    history = History(RULES)
    build = history.build(history.pipeline("ship-web"), "10:00", blocked=True)
    first = history.job(build, "deploy-canary", "10:00", "10:00", "10:05")
    second = history.job(build, "deploy-canary", "10:20", "10:20", "10:25", created_at="10:20")
    history.retry(first, second, "manual")
    history.job(build, "deploy-rest", state="blocked")
    history.derive("deployments")
    assert history.rows("deployments") == []


def test_a_deployment_that_expired_has_failed() -> None:
    history = History(RULES)
    build = history.build(history.pipeline("ship-web"), "10:00", "failed")
    history.job(build, "deploy", "10:00", state="expired", expired_at="12:00")
    history.derive("deployments")
    assert history.rows("deployments", "deployed_at", "is_success") == [(naive("12:00"), False)]


@pytest.mark.parametrize(
    ("state", "kind", "expected"),
    [
        ("passed", "script", [True]),
        ("failed", "script", [False]),
        ("timed_out", "script", [False]),
        ("failed", "trigger", [False]),
        ("skipped", "script", [True]),
        ("broken", "script", [True]),
    ],
)
def test_a_whole_build_deploys_if_no_job_of_it_failed_not_even_softly(
    state: str, kind: str, expected: list[bool]
) -> None:
    """Trap 9: the build passes. Jobs that had no reason to run spoil nothing."""
    history = History()
    build = history.build(
        history.pipeline(), "10:00", finished_at="10:10", meta_data={"environment": "production"}
    )
    history.job(build, "deploy", "10:00", "10:00", "10:05")
    if state in {"skipped", "broken"}:
        history.job(build, "lint", state=state)
    else:
        is_soft = state != "passed"
        history.job(build, "lint", "10:00", "10:00", "10:05", state, type=kind, soft_failed=is_soft)
    history.derive("deployments")
    assert history.rows("deployments", "is_success") == expected


def test_a_build_by_meta_data_that_is_canceled_keeps_the_deployment_before() -> None:
    """It passed at 10:05; a job was run again the next day, and the build was canceled."""
    history = History()
    build = history.build(
        history.pipeline(), "10:00", "canceled", finished_at="2026-11-03 10:05",
        meta_data={"environment": "production"},
    )  # fmt: skip
    first = history.job(build, "deploy", "10:00", "10:00", "10:05")
    later = "2026-11-03 10:00"
    second = history.job(
        build, "deploy", later, later, "2026-11-03 10:05", "canceled", created_at=later
    )
    history.retry(first, second, "manual")
    history.derive("deployments")
    assert history.rows("deployments", "deployed_at", "is_success") == [(naive("10:05"), True)]


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
        ({"environment": None, "staging_deployment": None}, []),
        (
            {"environment": "production", "shop:production:version": None},
            [("web", "production", None)],
        ),
        ({"shop:staging:deployed": "no"}, []),
        ({"deploy": "yes", "release": "1"}, []),
    ],
)
def test_without_a_rule_the_convention_of_meta_data_counts(
    meta_data: dict[str, str | None], expected: list[tuple[str, str, str | None]]
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


@pytest.mark.parametrize("unknown", ["HEAD", "", None])
def test_a_commit_that_is_not_known_equals_no_other(unknown: str | None) -> None:
    """Not known, a, b, not known, a, not known, a.

    The first a may be the commit before it. The second a is a rollback whatever came between,
    since b did; the third a is perhaps the same again.
    """
    history = History()
    pipeline = history.pipeline()
    for n, commit in enumerate([unknown, "a", "b", unknown, "a", unknown, "a"]):
        history.build(
            pipeline, f"1{n}:00", commit=commit, finished_at=f"1{n}:10",
            meta_data={"environment": "production"},
        )  # fmt: skip
    history.derive("dora_weekly")
    assert history.rows("deployments", "commit", "is_redeploy", "is_rollback") == [
        (None, None, None),
        ("a", None, None),
        ("b", False, None),
        (None, None, None),
        ("a", None, True),
        (None, None, None),
        ("a", None, None),
    ]
    columns = ["deployments", "compared_deployments", "rollbacks", "traced_deployments"]
    assert history.rows("dora_weekly", *columns) == [(7, 1, 1, 2)]


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


def test_a_deployment_that_is_run_again_counts_in_its_own_week() -> None:
    """Built Wednesday 25 November 10:00, deployed 10:10; run again Monday 30th: fails, then passes.

    The week of the 23rd: one deployment, 10 min after the first build. The week of the 30th: two
    tries, one failed, recovered in 20 min; the commit came to production before.
    """
    history = History(RULES)
    build = history.build(history.pipeline("ship-web"), "2026-11-25 10:00")
    earlier = None
    for begin, state in (
        ("2026-11-25 10:00", "passed"),
        ("2026-11-30 12:00", "failed"),
        ("2026-11-30 12:20", "passed"),
    ):
        job = history.job(
            build, "deploy", begin, begin, plus(begin, minutes=10), state, created_at=begin
        )
        if earlier:
            history.retry(earlier, job, "manual")
        earlier = job
    history.derive("dora_weekly")
    columns = ["iso_week", "deployments", "tries", "deployment_failure_rate", "recoveries"]
    columns += ["recovery_p50_seconds", "traced_deployments", "commit_to_deploy_p50_seconds"]
    assert history.rows("dora_weekly", *columns) == [
        ("2026-W48", 1, 1, 0, 0, None, 1, 600),
        ("2026-W49", 1, 2, 0.5, 1, 1_200, 0, None),
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
