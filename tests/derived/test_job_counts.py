"""What a build counts of its jobs, against counting them in plain Python.

Builds of every state, blocked or not, with jobs of every state: what cannot be at Buildkite is
counted, too.
"""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from .history import History, plus

CREATED = "2026-11-02 10:00"
READ = 3_600
BUILD_STATES = ["passed", "failed", "canceled", "blocked", "running", "failing", "skipped"]
ENDED = ["passed", "failed", "timed_out", "canceled"]
HELD = ["blocked", "waiting", "pending", "scheduled"]
NEVER_RAN = ["broken", "skipped", "waiting_failed", "blocked_failed"]
COUNTS = ["passed", "soft_failed", "failed", "canceled", "not_run", "unfinished"]


@dataclass(frozen=True)
class Attempt:
    """One run of a job, in seconds after its build's creation."""

    state: str
    is_soft: bool | None
    started: int
    run: int

    @property
    def end(self) -> int | None:
        """When it ended or expired, if it did."""
        return self.started + self.run if self.state in {*ENDED, "expired"} else None

    @property
    def has_started(self) -> bool:
        """Whether an agent began it."""
        return self.state in {*ENDED, "running"}


@dataclass(frozen=True)
class Build:
    """A build with its jobs, each with all attempts."""

    state: str
    is_blocked: bool
    jobs: list[list[Attempt]]

    @property
    def is_over(self) -> bool:
        """Whether nothing of it goes on unless somebody reopens it."""
        if self.state in {"canceled", "skipped"}:
            return True
        return self.state in {"passed", "failed"} and not self.is_blocked


ATTEMPTS = st.builds(
    Attempt,
    st.sampled_from([*ENDED, *ENDED, "expired", "running", *HELD, *NEVER_RAN]),
    st.sampled_from([True, False, None]),
    st.integers(0, 900),
    st.integers(0, 900),
)
BUILDS = st.builds(
    Build,
    st.sampled_from(BUILD_STATES),
    st.booleans(),
    st.lists(st.lists(ATTEMPTS, min_size=1, max_size=3), max_size=8),
)


def store(history: History, build: Build) -> None:
    build_id = history.build(
        None, CREATED, build.state, blocked=build.is_blocked, synced_at=plus(CREATED, seconds=READ)
    )
    for attempts in build.jobs:
        earlier = None
        for attempt in attempts:
            end = None if attempt.end is None else plus(CREATED, seconds=attempt.end)
            is_expired = attempt.state == "expired"
            job_id = history.job(
                build_id,
                "t",
                started=plus(CREATED, seconds=attempt.started) if attempt.has_started else None,
                finished=None if is_expired else end,
                state=attempt.state,
                expired_at=end if is_expired else None,
                soft_failed=attempt.is_soft,
            )
            if earlier:
                history.retry(earlier, job_id)
            earlier = job_id


def kind(build: Build, attempt: Attempt) -> str:
    """Which count an attempt is of."""
    if attempt.state in {"passed", "canceled"}:
        return attempt.state
    if attempt.state in {"failed", "timed_out", "expired"}:
        return "soft_failed" if attempt.is_soft else "failed"
    is_held_for_ever = build.is_over and attempt.state != "running"
    return "not_run" if attempt.state in NEVER_RAN or is_held_for_ever else "unfinished"


def seconds(build: Build, attempt: Attempt) -> int:
    """How long an agent ran it, so far."""
    if attempt.state in ENDED:
        return attempt.run
    return READ - attempt.started if attempt.state == "running" and not build.is_over else 0


@settings(max_examples=40, deadline=None)
@given(st.lists(BUILDS, min_size=1, max_size=8))
def test_the_counts_of_a_builds_jobs_are_what_counting_gives(builds: list[Build]) -> None:
    history = History()
    for build in builds:
        store(history, build)
    history.derive("build_runs", "pipeline_daily", "step_daily")
    expected, attempts_stored = [], 0
    totals: Counter[str] = Counter()
    for build in builds:
        last = [attempts[-1] for attempts in build.jobs]
        counts = Counter(kind(build, attempt) for attempt in last)
        totals += counts
        hard = [attempt.end for attempt in last if kind(build, attempt) == "failed"]
        expected.append((
            *(counts[name] for name in COUNTS),
            sum(attempt.state == "timed_out" for attempt in last),
            min((end for end in hard if end is not None), default=None)
            if build.state in {"failed", "blocked"}
            else None,
            sum(seconds(build, attempt) for attempts in build.jobs for attempt in attempts),
            sum(
                seconds(build, attempt)
                for attempts in build.jobs
                for n, attempt in enumerate(attempts, 1)
                if n < len(attempts) or "canceled" in {attempt.state, build.state}
            ),
        ))  # fmt: skip
        attempts_stored += sum(len(attempts) for attempts in build.jobs)
    columns = [f"{name}_jobs" for name in COUNTS]
    measured = ["time_to_first_failure_seconds", "agent_seconds", "wasted_agent_seconds"]
    assert history.rows("build_runs", *columns, "timed_out_jobs", *measured) == expected
    # The tables that sum them say the same.
    assert history.rows("pipeline_daily", "jobs", *columns) == [
        (sum(totals.values()), *(totals[name] for name in COUNTS))
    ]
    verdicts = sum(totals[name] for name in ("passed", "soft_failed", "failed"))
    [sums] = history.connection.execute("""
        SELECT
            (SELECT coalesce(sum(verdicts), 0) FROM step_daily),
            (SELECT coalesce(round(sum(verdicts * soft_fail_rate)), 0) FROM step_daily),
            (SELECT sum(script_jobs - retried_jobs) FROM build_runs),
            (SELECT sum(script_jobs) FROM build_runs)
    """).fetchall()
    assert sums == (verdicts, totals["soft_failed"], sum(totals.values()), attempts_stored)
