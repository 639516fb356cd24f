"""Deployments, blocks, trees and meta-data of builds that a sandbox serves over HTTP."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from buildkite_assets.rules import Deployment, Rules
from buildkite_assets.sandbox.model import Build, Step

from .served_history import ServedHistory, served_history

SHA = "98e2f4eeabbfd6c9f29ba23b2a9c74311fd8682a"
BY_META_DATA = {"environment": "production"}
BY_RULE = Rules(deployments=(Deployment("production", "web", step="step-1"),))
DEPLOYMENTS = "SELECT deployed_at, is_success FROM deployments ORDER BY deployed_at"


@pytest.fixture
def history(tmp_path: Path) -> Iterator[ServedHistory]:
    with served_history(tmp_path) as served:
        yield served


def built(history: ServedHistory, state: str = "passed", **columns: Any) -> Build:  # noqa: ANN401
    """A build whose only job, `step-1`, takes a minute; another minute later."""
    build = history.acme.create_build("web", state="running", **columns)
    history.clock.move(minutes=1)
    history.acme.finish_job(build.jobs[0], state)
    history.acme.finish_build(build)
    history.clock.move(minutes=1)
    return build


def run_again(history: ServedHistory, build: Build, state: str = "passed") -> None:
    """Retry the build's job by hand, which takes a minute; another minute later."""
    attempt = history.acme.retry_job(build.job("step-1"), by=history.user)
    history.acme.start_job(attempt)
    history.clock.move(minutes=1)
    history.acme.finish_job(attempt, state)
    history.acme.finish_build(build)
    history.clock.move(minutes=1)


def on(day: int, minute: int) -> datetime:
    """An instant after nine, in November."""
    return datetime(2026, 11, day, 9, minute)  # noqa: DTZ001 - as DuckDB gives it


def test_deployments_of_commits_that_are_not_known_are_not_called_the_same(
    history: ServedHistory,
) -> None:
    for commit in ("HEAD", "HEAD", SHA, "HEAD"):
        built(history, meta_data=BY_META_DATA).commit = commit
    history.sync()
    query = "SELECT commit, is_success, is_redeploy, is_rollback FROM deployments ORDER BY number"
    assert history.rows(query) == [
        (None, True, None, None),
        (None, True, None, None),
        (SHA, True, None, None),
        (None, True, None, None),
    ]
    query = "SELECT deployments, compared_deployments, rollbacks, traced_deployments "
    assert history.rows(query + "FROM dora_weekly") == [(4, 0, 0, 1)]


@pytest.mark.parametrize(("commit", "same_commit_flaky_jobs"), [(SHA, [1]), ("", [])])
def test_a_step_is_not_flaky_by_commits_that_are_not_known(
    history: ServedHistory, commit: str, same_commit_flaky_jobs: list[int]
) -> None:
    for state in ("failed", "passed"):
        built(history, state).commit = commit
    history.sync()
    query = "SELECT same_commit_flaky_jobs FROM flaky_steps"
    assert history.rows(query) == same_commit_flaky_jobs


@pytest.mark.parametrize("rules", [Rules(), BY_RULE], ids=["meta-data", "rule"])
def test_a_deployment_whose_job_failed_softly_is_no_success(
    history: ServedHistory, rules: Rules
) -> None:
    history.rules = rules
    for state in ("failed", "timed_out"):
        build = history.acme.create_build("web", state="running", meta_data=BY_META_DATA)
        history.clock.move(minutes=1)
        history.acme.finish_job(build.jobs[0], state, soft_failed=True)
        history.acme.finish_build(build)
    history.sync()
    assert history.rows("SELECT outcome FROM build_runs") == ["passed", "passed"]
    assert history.rows("SELECT is_success FROM deployments") == [False, False]


@pytest.mark.parametrize("syncs_between", [True, False])
@pytest.mark.parametrize("rules", [Rules(), BY_RULE], ids=["meta-data", "rule"])
def test_a_deployment_job_that_is_run_again_two_days_later_is_another_deployment(
    history: ServedHistory, rules: Rules, *, syncs_between: bool
) -> None:
    """It passes on the 2nd, fails on the 4th, and passes at once after that.

    A sync that has seen the first one finds the same as one that comes only then.
    """
    history.rules = rules
    build = built(history, meta_data=BY_META_DATA)
    if syncs_between:
        history.sync()
        assert history.rows(DEPLOYMENTS) == [(on(2, 1), True)]
    history.clock.move(days=2)
    run_again(history, build, "failed")
    run_again(history, build)
    history.sync()
    assert history.rows(DEPLOYMENTS) == [(on(2, 1), True), (on(4, 3), False), (on(4, 5), True)]
    query = "SELECT deployment_no, is_redeploy FROM deployments ORDER BY deployment_no"
    assert history.rows(query) == [(1, False), (2, False), (3, True)]
    query = "SELECT deployments, tries, recoveries, recovery_p50_seconds FROM dora_weekly"
    assert history.rows(query) == [(2, 3, 1, 120)]


def test_a_job_that_is_run_again_after_another_build_deployed_is_a_rollback(
    history: ServedHistory,
) -> None:
    first = built(history, meta_data=BY_META_DATA)
    built(history, meta_data=BY_META_DATA)
    run_again(history, first)
    history.sync()
    query = "SELECT number, is_redeploy, is_rollback FROM deployments ORDER BY deployed_at"
    assert history.rows(query) == [(1, False, False), (2, False, False), (1, False, True)]


def test_a_build_that_calls_itself_blocked_is_blocked_like_one_that_is_flagged(
    history: ServedHistory,
) -> None:
    """Four builds stand at their blocks, and a fifth goes on; nothing was deployed."""
    cases = [
        ("passed", "", "passed"),
        ("passed", "passed", "passed"),
        ("passed", "failed", "failed"),
        ("failed", "", "failed"),
        ("passed", "running", "unfinished"),
    ]
    for is_flagged in (False, True):
        for ending, blocked_state, _ in cases:
            build = history.acme.create_build(
                "web",
                state="running",
                jobs=[Step("script", key="step-1"), Step("manual", key="release")],
                meta_data=BY_META_DATA,
            )
            history.clock.move(minutes=1)
            history.acme.finish_job(build.jobs[0], ending)
            history.acme.finish_build(build)
            build.state, build.blocked, build.blocked_state = "blocked", is_flagged, blocked_state
    history.sync()
    query = "SELECT state, outcome, is_open, is_blocked FROM build_runs ORDER BY number"
    outcomes = [outcome for _, _, outcome in cases * 2]
    assert history.rows(query) == [
        ("blocked", outcome, outcome == "unfinished", True) for outcome in outcomes
    ]
    assert history.rows("SELECT is_open FROM block_waits") == [True] * 10
    query = "SELECT open_builds, blocked_builds, passed_builds, failed_builds FROM pipeline_daily"
    assert history.rows(query) == [(2, 10, 4, 4)]
    assert history.rows("SELECT * FROM deployments") == []


def test_a_build_that_calls_itself_blocked_is_followed_when_the_block_is_lifted(
    history: ServedHistory,
) -> None:
    build = history.acme.create_build("web", state="blocked")
    build.state, build.blocked, build.finished_at = "blocked", False, None
    history.sync()
    assert history.rows("SELECT is_blocked FROM build_runs") == [True]
    history.acme.unblock_job(build.job("release"), by=history.user)
    history.sync(minutes=5)
    assert history.rows("SELECT state, is_blocked FROM build_runs") == [("running", False)]
    history.acme.finish_build(build)
    history.sync(minutes=5)
    assert history.rows("SELECT outcome, is_blocked FROM build_runs") == [("passed", False)]
    assert history.rows("SELECT is_open FROM block_waits") == [False]


def test_builds_that_trigger_one_another_in_a_circle_are_one_tree_with_a_mark(
    history: ServedHistory,
) -> None:
    """Builds 1, 2 and 3 trigger one another, and 3 triggers 4; 5 triggers itself, 6 nothing."""
    builds = [built(history) for _ in range(6)]
    for child, parent in ((1, 3), (2, 1), (3, 2), (4, 3), (5, 5)):
        builds[child - 1].triggered_from = builds[parent - 1]
    history.sync()
    query = "SELECT number, builds, depth, agent_seconds, is_cycle FROM build_trees ORDER BY number"
    assert history.rows(query) == [
        (1, 4, 3, 240, True),
        (5, 1, 0, 60, True),
        (6, 1, 0, 60, False),
    ]


def test_meta_data_of_null_is_null(history: ServedHistory) -> None:
    """Values that are no text stay as JSON; the word null stays a word."""
    build = built(history)
    odd: dict[str, Any] = {"environment": None, "word": "null", "number": 1, "list": ["a"]}
    build.meta_data = odd
    history.sync()
    [meta_data] = history.rows("SELECT meta_data FROM builds")
    assert meta_data == {"environment": None, "word": "null", "number": "1", "list": '["a"]'}
    assert history.rows("SELECT * FROM deployments") == []


def test_meta_data_that_becomes_null_is_a_change(history: ServedHistory) -> None:
    build = built(history, meta_data={"release": "7"})
    history.sync()
    build.meta_data["release"] = None  # type: ignore[assignment] # as an API may answer
    history.sync(full=True)
    assert history.rows("SELECT meta_data['release'] FROM builds") == [None]
