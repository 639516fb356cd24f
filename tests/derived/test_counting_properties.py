"""Tables that count builds, jobs and failures, against counting the same history in plain Python.

One random history is derived once and compared table by table. It lies around a change of clocks
and the end of a week.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Infrastructure, Rules

from .history import History, at, plus

BEGIN = "2026-10-23 12:00"
PIPELINE = "web"
FAILURES = {"code": ("failed", 1), "lost": ("failed", -1), "soft": ("failed", 1),
            "timeout": ("timed_out", -1), "soft timeout": ("timed_out", -1),
            "docker": ("failed", 125)}  # fmt: skip
CLASSES = {"code": "code", "soft": "code", "lost": "infra", "timeout": "timeout",
           "soft timeout": "timeout", "docker": "infra"}  # fmt: skip
SOFT = {"soft", "soft timeout"}
OF_CODE = {"code", "timeout", *SOFT}
OF_INFRASTRUCTURE = {"lost", "docker"}


@dataclass
class Attempt:
    """One run of a job, in whole seconds."""

    kind: str
    wait: int
    run: int

    @property
    def outcome(self) -> str:
        """What came of it."""
        return self.kind if self.kind in {"passed", "canceled"} else "failed"


@dataclass
class Job:
    """A job with all its attempts; all but the last were retried."""

    step: str
    attempts: list[Attempt]
    ids: list[UUID] = field(default_factory=list)


@dataclass
class Build:
    """A build of one of three commits, so many hours after the first instant."""

    hours: int
    state: str
    commit: str
    is_deployment: bool
    length: int
    jobs: list[Job]
    number: int = 0

    def begin(self, attempt_no: int) -> datetime:
        """When an attempt became runnable; attempts of a job follow one another."""
        return at(BEGIN) + timedelta(hours=self.hours, seconds=1_000 * attempt_no)


ATTEMPTS = st.builds(
    Attempt,
    st.sampled_from(["passed", "passed", "canceled", *FAILURES]),
    st.integers(0, 300),
    st.integers(0, 600),
)
JOBS = st.builds(Job, st.sampled_from("ab"), st.lists(ATTEMPTS, min_size=1, max_size=3))
BUILDS = st.builds(
    Build,
    st.integers(0, 100),
    st.sampled_from(["passed", "failed", "passed", "failed", "canceled", "running"]),
    st.sampled_from("xyz"),
    st.booleans(),
    st.integers(0, 7_200),
    st.lists(JOBS, max_size=4),
)
HISTORIES = st.lists(BUILDS, min_size=3, max_size=10)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])


def store(history: History, builds: list[Build]) -> None:
    pipeline = history.pipeline(PIPELINE)
    for number, build in enumerate(builds, 1):
        build.number = number
        created = plus(BEGIN, hours=build.hours)
        build_id = history.build(
            pipeline, created, build.state, commit=build.commit,
            finished_at=None if build.state == "running" else plus(created, seconds=build.length),
            meta_data={"environment": "production"} if build.is_deployment else {},
        )  # fmt: skip
        for job in build.jobs:
            job.ids = []
            for n, attempt in enumerate(job.attempts):
                state, exit_status = FAILURES.get(attempt.kind, (attempt.kind, 0))
                runnable = plus(created, seconds=1_000 * n)
                started = plus(runnable, seconds=attempt.wait)
                job.ids.append(
                    history.job(
                        build_id, job.step, runnable, started, plus(started, seconds=attempt.run),
                        state, exit_status=exit_status, soft_failed=attempt.kind in SOFT,
                    )
                )  # fmt: skip
            for earlier, later in pairwise(job.ids):
                history.retry(earlier, later)


T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)


def grouped(items: Iterable[T], key: Callable[[T], Key]) -> dict[Key, list[T]]:
    groups: defaultdict[Key, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(sorted(groups.items()))


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def quantile(values: Iterable[float], p: float) -> Any:  # noqa: ANN401 - a number, about, or None
    """Linear interpolation between the two nearest, as people and DuckDB's quantile_cont do."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = p * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return pytest.approx(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


@settings(max_examples=15, deadline=None)
@given(HISTORIES, ZONES)
def test_what_is_counted_is_what_counting_gives(builds: list[Build], zone: str) -> None:
    rules = Rules(time_zone=zone, infrastructure=(Infrastructure((125,)),))
    history = History(rules)
    store(history, builds)
    history.derive(
        "job_retry_chains", "pipeline_daily", "pipeline_weekly", "step_daily", "step_failures",
        "flaky_steps", "soft_failing_steps", "dora_weekly",
    )  # fmt: skip
    local = ZoneInfo(zone)

    def local_day(instant: datetime) -> date:
        return instant.astimezone(local).date()

    def week(instant: datetime) -> date:
        day = local_day(instant)
        return day - timedelta(days=day.weekday())

    check_attempts(history, builds)
    check_chains(history, builds)
    check_builds(history, "pipeline_daily", "local_day", builds, local_day)
    check_builds(history, "pipeline_weekly", "week", builds, week)
    check_steps(history, builds, local_day)
    check_failures(history, builds, week)
    check_flaky(history, builds)
    check_soft(history, builds)
    check_deployments(history, builds, week)


def check_attempts(history: History, builds: list[Build]) -> None:
    columns = ["job_id", "attempt_no", "is_last_attempt", "outcome", "failure_class"]
    assert history.rows("job_runs", *columns, "queue_seconds", "run_seconds", "wasted_seconds") == [
        (
            job.ids[n], n + 1, n + 1 == len(job.attempts), attempt.outcome,
            "canceled" if attempt.kind == "canceled" else CLASSES.get(attempt.kind),
            attempt.wait, attempt.run, attempt.run if is_wasted(build, job, n) else 0,
        )
        for build in builds for job in build.jobs for n, attempt in enumerate(job.attempts)
    ]  # fmt: skip


def is_wasted(build: Build, job: Job, n: int) -> bool:
    is_canceled = "canceled" in {build.state, job.attempts[n].kind}
    return is_canceled or n + 1 < len(job.attempts)


def is_flaky(job: Job) -> bool:
    return any(
        earlier.kind in OF_CODE and later.kind == "passed"
        for earlier, later in pairwise(job.attempts)
    )


def check_chains(history: History, builds: list[Build]) -> None:
    columns = ["logical_job_id", "attempts", "first_outcome", "last_outcome", "is_flaky"]
    assert history.rows("job_retry_chains", *columns, "is_infra", "agent_seconds") == [
        (
            job.ids[0], len(job.attempts), job.attempts[0].outcome, job.attempts[-1].outcome,
            is_flaky(job), any(attempt.kind in OF_INFRASTRUCTURE for attempt in job.attempts),
            sum(attempt.run for attempt in job.attempts),
        )
        for build in builds for job in build.jobs
    ]  # fmt: skip


def check_builds(
    history: History,
    table: str,
    period: str,
    builds: list[Build],
    period_of: Callable[[datetime], date],
) -> None:
    def figures(group: Sequence[Build]) -> tuple[object, ...]:
        verdicts = [build for build in group if build.state in {"passed", "failed"}]
        canceled = sum(build.state == "canceled" for build in group)
        runs = [
            (attempt.run, is_wasted(build, job, n))
            for build in group for job in build.jobs for n, attempt in enumerate(job.attempts)
        ]  # fmt: skip
        seconds = sum(run for run, _ in runs)
        return (
            len(group),
            sum(build.state == "running" for build in group),
            len(verdicts),
            share(sum(build.state == "passed" for build in verdicts), len(verdicts)),
            share(canceled, len(verdicts) + canceled),
            pytest.approx(seconds / 3600),
            share(sum(run for run, wasted in runs if wasted), seconds),
        )

    columns = ["builds", "open_builds", "verdicts", "success_rate", "canceled_rate"]
    columns += ["agent_hours", "wasted_share"]
    groups = grouped(builds, lambda build: period_of(build.begin(0)))
    assert history.rows(table, period, *columns) == [
        (when, *figures(group)) for when, group in groups.items()
    ]
    if table == "pipeline_daily":
        assert history.rows(table, period, "signal_p50_seconds", "signal_p90_seconds") == [
            (when, *(quantile(lengths(group), p) for p in (0.5, 0.9)))
            for when, group in groups.items()
        ]


def lengths(builds: Iterable[Build]) -> list[int]:
    return [build.length for build in builds if build.state in {"passed", "failed"}]


def check_steps(
    history: History, builds: list[Build], local_day: Callable[[datetime], date]
) -> None:
    runs = [
        (build, job, n, attempt)
        for build in builds for job in build.jobs for n, attempt in enumerate(job.attempts)
    ]  # fmt: skip

    def figures(group: Sequence[tuple[Build, Job, int, Attempt]]) -> tuple[object, ...]:
        last = [
            attempt for _, job, n, attempt in group
            if n + 1 == len(job.attempts) and attempt.kind != "canceled"
        ]  # fmt: skip
        first = [job for _, job, n, _ in group if n == 0]
        finished = [attempt.run for *_, attempt in group if attempt.kind != "canceled"]
        return (
            len(group),
            len(last),
            share(sum(attempt.kind == "passed" for attempt in last), len(last)),
            share(sum(attempt.kind in SOFT for attempt in last), len(last)),
            len(first),
            share(sum(len(job.attempts) > 1 for job in first), len(first)),
            quantile(finished, 0.5),
            quantile([attempt.wait for *_, attempt in group], 0.9),
        )

    columns = ["attempts", "verdicts", "pass_rate", "soft_fail_rate", "jobs", "retry_rate"]
    columns += ["run_p50_seconds", "queue_p90_seconds"]
    groups = grouped(
        runs,
        lambda run: (
            run[1].step,
            local_day(run[0].begin(run[2]) + timedelta(seconds=run[3].wait)),
        ),
    )
    assert history.rows("step_daily", "step", "local_day", *columns) == [
        (*key, *figures(group)) for key, group in groups.items()
    ]


def check_failures(history: History, builds: list[Build], week: Callable[[datetime], date]) -> None:
    failed = [
        (build, job, n)
        for build in builds for job in build.jobs for n, attempt in enumerate(job.attempts)
        if attempt.kind in FAILURES
    ]  # fmt: skip

    def figures(group: Sequence[tuple[Build, Job, int]]) -> tuple[object, ...]:
        kinds = [job.attempts[n].kind for _, job, n in group]
        broken = {
            build.number for build, job, n in group
            if build.state == "failed" and n + 1 == len(job.attempts)
            and job.attempts[n].kind not in SOFT
        }  # fmt: skip
        retries = [job.attempts[n + 1].outcome for _, job, n in group if n + 1 < len(job.attempts)]
        verdicts = [outcome for outcome in retries if outcome != "canceled"]
        return (
            len(group), sum(kind in SOFT for kind in kinds), len(broken), len(verdicts),
            share(verdicts.count("passed"), len(verdicts)),
        )  # fmt: skip

    columns = ["failures", "soft_failures", "failed_builds", "retried_failures"]
    groups = grouped(
        failed,
        lambda each: (
            each[1].step,
            CLASSES[each[1].attempts[each[2]].kind],
            FAILURES[each[1].attempts[each[2]].kind][1],
            week(each[0].begin(0)),
        ),
    )
    key = ["step", "failure_class", "exit_status", "week"]
    assert history.rows("step_failures", *key, *columns, "retry_success_rate") == [
        (*group_key, *figures(group)) for group_key, group in groups.items()
    ]


def check_flaky(history: History, builds: list[Build]) -> None:
    ended = [
        (build, job) for build in builds for job in build.jobs
        if job.attempts[-1].kind != "canceled"
    ]  # fmt: skip
    passed = {(job.step, build.commit) for build, job in ended if job.attempts[-1].kind == "passed"}
    expected = []
    for step, group in grouped(ended, lambda each: each[1].step).items():
        by_retry = [is_flaky(job) for _, job in group]
        by_commit = [
            job.attempts[-1].kind in OF_CODE and (step, build.commit) in passed
            for build, job in group
        ]
        both = [retry or commit for retry, commit in zip(by_retry, by_commit, strict=True)]
        if any(both):
            by_code = [job for _, job in group if job.attempts[0].kind in OF_CODE]
            covered = sum(len(job.attempts) > 1 for job in by_code)
            expected.append((
                step, len(group), sum(both), sum(by_retry), sum(by_commit),
                len(by_code), share(covered, len(by_code)),
            ))  # fmt: skip
    columns = ["step", "jobs", "flaky_jobs", "retry_flaky_jobs", "same_commit_flaky_jobs"]
    assert history.rows("flaky_steps", *columns, "code_failures", "retry_coverage") == expected


def check_soft(history: History, builds: list[Build]) -> None:
    last = [
        (job.step, job.attempts[-1]) for build in builds for job in build.jobs
        if job.attempts[-1].kind != "canceled"
    ]  # fmt: skip
    expected = []
    for step, group in grouped(last, lambda each: each[0]).items():
        soft = [attempt for _, attempt in group if attempt.kind in SOFT]
        timed_out = sum(attempt.kind == "soft timeout" for attempt in soft)
        minutes = pytest.approx(sum(attempt.run for attempt in soft) / 60)
        if soft:
            expected.append((step, len(group), len(soft), timed_out, len(soft) == len(group),
                             minutes))  # fmt: skip
    columns = ["step", "jobs", "soft_failed_jobs", "timed_out_jobs", "is_always_soft_failed"]
    assert history.rows("soft_failing_steps", *columns, "agent_minutes") == expected


def check_deployments(
    history: History, builds: list[Build], week: Callable[[datetime], date]
) -> None:
    deployed = sorted(
        (build.begin(0) + timedelta(seconds=build.length), build.number, build)
        for build in builds
        if build.is_deployment and build.state in {"passed", "failed"}
    )
    before: list[str] = []
    expected = {}
    for when, number, build in deployed:
        is_success = build.state == "passed" and all(
            job.attempts[-1].outcome == "passed" for job in build.jobs
        )
        is_redeploy = is_success and before[-1:] == [build.commit]
        is_rollback = is_success and not is_redeploy and build.commit in before
        expected[number] = (number, week(when), is_success, is_redeploy, is_rollback)
        before += [build.commit] * is_success
    columns = ["number", "deployed_at", "is_success", "is_redeploy", "is_rollback"]
    assert sorted(
        (number, week(at(f"{when}")), *rest)
        for number, when, *rest in history.rows("deployments", *columns)
    ) == sorted(expected.values())
    weeks = grouped(expected.values(), lambda each: each[1])
    rows = history.rows("dora_weekly", "week", "tries", "deployments", "rollbacks")
    assert [row for row in rows if row[1]] == [
        (monday, len(group), sum(each[2] for each in group), sum(each[4] for each in group))
        for monday, group in weeks.items()
    ]
