"""What became of jobs: builds are served over HTTP, synced, and derived."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from buildkite_assets.rules import Infrastructure, Rules
from buildkite_assets.sandbox.model import Build, Job, Step
from tests.served_history import START, ServedHistory, served_history

COUNTS = "passed_jobs, soft_failed_jobs, failed_jobs, timed_out_jobs, not_run_jobs, unfinished_jobs"


@pytest.fixture
def history(tmp_path: Path) -> Iterator[ServedHistory]:
    """Serve an organization, from 2 November 2026 at 09:00 UTC."""
    with served_history(tmp_path) as history:
        yield history


def build_of(history: ServedHistory, *steps: Step) -> Build:
    return history.acme.create_build("web", jobs=steps)


def script(key: str, queue: str = "default") -> Step:
    return Step("script", name=key, key=key, command=f"make {key}", queue_key=queue)


def run(history: ServedHistory, job: Job, state: str, seconds: float, **how: object) -> None:
    """Let a job start when it is runnable and end so many seconds after the history began."""
    end = START + timedelta(seconds=seconds)
    history.acme.start_job(job, at=min(job.runnable_at or START, end))
    history.acme.finish_job(job, state, at=end, **how)  # type: ignore[arg-type]  # as a test gives it


def found(history: ServedHistory, table: str, columns: str) -> list[object]:
    """The rows of a table, in the order of these columns."""
    return history.rows(f"SELECT {columns} FROM {table} ORDER BY ALL")  # noqa: S608 - names of ours


def finish(history: ServedHistory, build: Build, seconds: float) -> None:
    history.clock.now = START + timedelta(seconds=seconds)
    history.acme.finish_build(build)


def test_the_first_failure_comes_from_the_jobs_whether_or_not_failing_at_is_told(
    history: ServedHistory,
) -> None:
    """A job fails for good after 171 s, the build ends after 8,722 s.

    Before that, one failed softly after 20 s, and one after 60 s, whose retry passed. Buildkite
    called the build failing after 60 s, if it tells.
    """
    builds = []
    for _ in range(2):
        build = build_of(history, *(script(key) for key in ("soft", "flaky", "unit", "slow")))
        soft, flaky, unit, slow = build.jobs
        run(history, soft, "failed", 20, soft_failed=True)
        run(history, flaky, "failed", 60)
        run(history, history.acme.retry_job(flaky, at=START + timedelta(seconds=61)), "passed", 90)
        run(history, unit, "failed", 171)
        run(history, slow, "failed", 8_722)
        builds.append(build)
    builds[1].failing_at = None
    for build in builds:
        finish(history, build, 8_722)
    history.sync()
    columns = "time_to_first_failure_seconds, time_to_failing_seconds, wall_seconds"
    assert found(history, "build_runs", columns) == [
        (171, 60, 8_722),
        (171, None, 8_722),
    ]
    columns = "first_failures, first_failure_p50_seconds"
    assert found(history, "pipeline_daily", columns) == [(2, 171)]


def test_a_failed_build_without_a_failed_job_tells_no_first_failure(history: ServedHistory) -> None:
    """Its only failure was a trigger's: no job of a script tells when it came."""
    build = build_of(history, script("unit"), Step("trigger", name="deploy", triggers="web"))
    run(history, build.jobs[0], "passed", 60)
    history.acme.finish_job(build.jobs[1], "failed", at=START + timedelta(seconds=100))
    finish(history, build, 300)
    history.sync()
    columns = "outcome, time_to_first_failure_seconds"
    assert found(history, "build_runs", columns) == [("failed", None)]


def test_a_timeout_that_does_not_fail_its_build_is_a_soft_failure(history: ServedHistory) -> None:
    """Two builds pass although `audit` timed out in both; `lint` is well."""
    for _ in range(2):
        build = build_of(history, script("audit"), script("lint"))
        run(history, build.jobs[0], "timed_out", 600, soft_failed=True)
        run(history, build.jobs[1], "passed", 30)
        finish(history, build, 600)
    history.sync()
    assert history.rows("SELECT DISTINCT outcome FROM build_runs") == ["passed"]
    assert found(history, "build_runs", COUNTS) == [(1, 1, 0, 1, 0, 0)] * 2
    columns = "step, verdicts, pass_rate, soft_fail_rate"
    assert found(history, "step_daily", columns) == [
        ("audit", 2, 0, 1),
        ("lint", 2, 1, 0),
    ]
    columns = "step, failure_class, failures, soft_failures, failed_builds"
    assert found(history, "step_failures", columns) == [("audit", "timeout", 2, 2, 0)]
    columns = "step, jobs, soft_failed_jobs, timed_out_jobs, is_always_soft_failed"
    assert found(history, "soft_failing_steps", columns) == [
        ("audit", 2, 2, 2, True),
    ]


def test_a_passed_build_tells_how_many_of_its_jobs_failed(history: ServedHistory) -> None:
    """83 jobs: 81 failed softly, ten of them by a timeout; the build passed."""
    build = build_of(history, *(script(f"s{n}") for n in range(83)))
    for n, job in enumerate(build.jobs):
        if n < 81:
            run(history, job, "timed_out" if n < 10 else "failed", 60, soft_failed=True)
        else:
            run(history, job, "passed", 60)
    finish(history, build, 60)
    history.sync()
    assert history.rows("SELECT outcome FROM build_runs") == ["passed"]
    assert found(history, "build_runs", COUNTS) == [(2, 81, 0, 10, 0, 0)]
    assert found(history, "pipeline_daily", f"jobs, {COUNTS}") == [
        (83, 2, 81, 0, 10, 0, 0),
    ]


def test_jobs_behind_a_block_are_unfinished_while_it_stands_and_never_ran_when_it_ended(
    history: ServedHistory,
) -> None:
    """Two builds with a block: one waits there, and somebody lifts it; the other one failed."""
    steps = (script("unit"), Step("manual", name="Release?", key="release"), script("ship"))
    waiting, failed = build_of(history, *steps), build_of(history, *steps)
    run(history, waiting.jobs[0], "passed", 60)
    run(history, failed.jobs[0], "failed", 60)
    finish(history, waiting, 60)
    finish(history, failed, 60)
    columns = f"number, outcome, is_blocked, {COUNTS}"
    history.sync(minutes=1)
    assert found(history, "build_runs", columns) == [
        (1, "passed", True, 1, 0, 0, 0, 0, 1),
        (2, "failed", False, 0, 0, 1, 0, 1, 0),
    ]
    history.acme.unblock_job(waiting.jobs[1], by=history.user)
    history.clock.move(minutes=1)
    history.acme.start_job(waiting.jobs[2])
    history.acme.finish_job(waiting.jobs[2])
    history.acme.finish_build(waiting)
    history.sync(minutes=1)
    passed = (1, "passed", False, 2, 0, 0, 0, 0, 0)
    assert found(history, "build_runs", columns)[0] == passed


def test_exit_statuses_become_infrastructure_when_the_rules_say_so(history: ServedHistory) -> None:
    """Exit 125 in both queues, retried and passed: flaky, until a rule names it for one queue."""
    for queue in ("default", "gpu"):
        build = build_of(history, script("train", queue))
        run(history, build.jobs[0], "failed", 60, exit_status=125)
        again = history.acme.retry_job(build.jobs[0], at=START + timedelta(seconds=61))
        run(history, again, "passed", 120)
        finish(history, build, 120)
    history.sync()
    query = "SELECT failure_class, count(*) FROM job_runs WHERE outcome = 'failed' GROUP BY 1"
    assert history.rows(query) == [("code", 2)]
    assert history.rows("SELECT jobs, flaky_jobs FROM flaky_steps") == [(2, 2)]
    queues = history.rows(
        "SELECT DISTINCT queue_key FROM job_runs WHERE queue_key != 'default' ORDER BY 1"
    )
    history.rules = Rules(infrastructure=(Infrastructure((125,), queue="gp*"),))
    history.derive()
    assert queues == ["gpu"]
    assert sorted(history.rows(query)) == [("code", 1), ("infra", 1)]
    assert history.rows("SELECT jobs, flaky_jobs, code_failures FROM flaky_steps") == [(2, 1, 1)]
    columns = "failure_class, failures"
    assert found(history, "step_failures", columns) == [
        ("code", 1),
        ("infra", 1),
    ]


def test_so_far_includes_the_job_that_runs(history: ServedHistory) -> None:
    """`unit` ran 10 min. `e2e` started with it and still runs after 20, then 30 min.

    It is told of when something else of its build changes: here, a third job that starts.
    """
    build = build_of(history, script("unit"), script("e2e"), script("docs"))
    unit, e2e, docs = build.jobs
    history.acme.start_job(unit)
    history.acme.start_job(e2e)
    history.clock.move(minutes=10)
    history.acme.finish_job(unit)
    columns = "agent_seconds, round(active_seconds) AS active_seconds"
    history.sync(minutes=10)
    assert found(history, "build_runs", columns) == [(1_800, 1_200)]
    history.clock.move(minutes=10)
    history.acme.start_job(docs)
    history.sync()
    assert found(history, "build_runs", columns) == [(2_400, 1_800)]
    assert history.rows("SELECT run_seconds FROM job_runs WHERE step = 'e2e'") == [None]
    assert history.rows("SELECT agent_hours * 3600 FROM pipeline_daily") == [2_400]
    history.acme.finish_job(docs)
    history.acme.finish_job(e2e)
    history.acme.finish_build(build)
    history.sync(hours=1)
    assert found(history, "build_runs", columns) == [(2_400, 1_800)]


def test_a_job_that_never_became_runnable_has_no_wait(history: ServedHistory) -> None:
    """Two canceled jobs: `unit` waited an hour for an agent, `ship` for `unit`."""
    build = build_of(history, script("unit"), Step("waiter"), script("ship"))
    history.clock.move(hours=1)
    history.acme.cancel_build(build)
    history.sync()
    query = "SELECT step, gave_up_at IS NOT NULL, round(censored_queue_seconds) FROM job_runs"
    assert history.rows(f"{query} ORDER BY step") == [("ship", False, None), ("unit", True, 3_600)]


def test_a_timeout_whose_retry_passes_is_flaky_in_every_table(history: ServedHistory) -> None:
    build = build_of(history, script("e2e"))
    run(history, build.jobs[0], "timed_out", 600, exit_status=-1)
    again = history.acme.retry_job(build.jobs[0], at=START + timedelta(seconds=601))
    run(history, again, "passed", 900)
    finish(history, build, 900)
    history.sync()
    columns = "is_flaky, is_infra, first_failure_class"
    assert found(history, "job_retry_chains", columns) == [(True, False, "timeout")]
    columns = "retry_flaky_jobs, code_failures, retry_coverage"
    assert found(history, "flaky_steps", columns) == [(1, 1, 1)]
    columns = "failure_class, retry_success_rate"
    assert found(history, "step_failures", columns) == [("timeout", 1)]
