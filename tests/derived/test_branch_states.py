"""What default branches were, and for how long: worked examples, and a model that replays it."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import BranchHealth, Rules

from .history import ORGANIZATION, History, at, plus

DAY = 86_400
STATE = ["state", "begins_at", "ends_at", "number"]
INCIDENT = ["red_at", "green_at", "ended_by", "red_builds"]


def naive(text: str) -> datetime:
    return at(text).replace(tzinfo=None)


def states(history: History) -> list[tuple[object, ...]]:
    return history.derive("branch_states").rows("branch_states", *STATE)


def incidents(history: History, *columns: str) -> list[tuple[object, ...]]:
    history.derive("branch_incidents", "branch_health_daily")
    return history.rows("branch_incidents", *(columns or INCIDENT))


def retried(history: History, build: UUID, *runs: tuple[str, str, str]) -> None:
    """Add attempts of one job, each made by hand after the one before; begin, end and state."""
    before: UUID | None = None
    for begin, end, state in runs:
        created = naive(begin)
        job = history.job(build, "test", begin, begin, end or None, state, created_at=created)
        if before:
            history.retry(before, job, "manual")
        before = job


def see_end(history: History, build: UUID, end: str, state: str, noticed: str) -> None:
    """Say that a feed saw a build go on that had ended."""
    for field, old in (("finished_at", f"{naive(end)}"), ("state", state)):
        history.connection.execute(
            "INSERT INTO build_changes (build_id, organization_id, field, old, noticed_at) "
            "VALUES (?, ?, ?, ?, ?)",
            [build, ORGANIZATION, field, old, naive(noticed)],
        )


# What is the newest verdict


def test_a_newer_build_that_passed_leaves_main_green_when_an_older_one_fails_later() -> None:
    """Build 2 of the demo: red 12:04 and green 11:56 was an incident that ended before it began."""
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "11:00", finished_at="11:10")
    history.build(pipeline, "11:20", "failed", finished_at="12:04")
    history.build(pipeline, "11:30", finished_at="11:56")
    history.read("13:00")
    assert incidents(history) == []
    assert states(history) == [
        ("green", naive("11:10"), naive("11:56"), 1),
        ("green", naive("11:56"), naive("13:00"), 3),
    ]


def test_an_incident_ends_with_the_first_newer_build_that_passes() -> None:
    """Builds end in another order than they were created in; the last one never counts."""
    history = History()
    pipeline = history.pipeline()
    for created, end, state in (
        ("10:00", "10:30", "failed"),
        ("10:10", "10:20", "failed"),
        ("10:15", "11:30", "failed"),
        ("10:40", "11:00", "passed"),
    ):
        history.build(pipeline, created, state, finished_at=end)
    assert incidents(history) == [(naive("10:20"), naive("11:00"), "build", 1)]
    assert history.rows("branch_incidents", "breaking_number", "fixing_number") == [(2, 4)]


def test_of_two_builds_that_end_in_the_same_instant_the_newer_one_counts() -> None:
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", "failed", finished_at="10:30")
    history.build(pipeline, "10:10", finished_at="10:30")
    assert incidents(history) == []


# Builds that go on after their end


def test_three_red_days_stay_when_a_late_retry_passes() -> None:
    """Failed on Monday at 10:10, retried on Thursday at 10:00, passed at 10:10: three days red.

    No feed has seen it: the attempts tell. Before, the build was passed and left no trace.
    """
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "09:00", finished_at="09:10")
    build = history.build(pipeline, "10:00", finished_at="2026-11-05 10:10")
    retried(
        history, build, ("10:00", "10:10", "failed"),
        ("2026-11-05 10:00", "2026-11-05 10:10", "passed"),
    )  # fmt: skip
    history.read("2026-11-05 12:00")
    assert incidents(history) == [(naive("10:10"), naive("2026-11-05 10:10"), "retry", 1)]
    columns = ["red_seconds", "breaking_number", "fixing_number", "is_same_commit"]
    assert history.rows("branch_incidents", *columns) == [(3 * DAY, 2, 2, True)]
    health = history.rows("branch_health_daily", "red_seconds", "turned_red", "turned_green")
    assert health == [
        (13 * 3600 + 3000, 1, 0), (DAY, 0, 0), (DAY, 0, 0), (10 * 3600 + 600, 0, 1)
    ]  # fmt: skip
    assert history.rows("branch_health_daily", "failed_builds") == [0, 0, 0, 0]


def test_main_stays_red_while_a_failed_build_is_retried_and_fails_again() -> None:
    """Failed 10:10, again 11:10, is being retried since 11:30; read until noon: one incident."""
    history = History()
    build = history.build(history.pipeline(), "10:00", "running")
    retried(
        history, build, ("10:00", "10:10", "failed"), ("11:00", "11:10", "failed"),
        ("11:30", "", "running"),
    )  # fmt: skip
    history.read("12:00")
    assert incidents(history) == [(naive("10:10"), None, None, 1)]
    assert history.rows("branch_incidents", "is_open", "red_seconds") == [(True, 6_600)]


def test_a_green_build_that_is_run_again_and_fails_turns_main_red_then() -> None:
    """Passed 10:10, run again and failed 11:10, once more and passed 12:10, failed 13:10.

    One build breaks main twice.
    """
    history = History()
    build = history.build(history.pipeline(), "10:00", "failed", finished_at="13:10")
    retried(
        history, build, ("10:00", "10:10", "passed"), ("11:00", "11:10", "failed"),
        ("12:00", "12:10", "passed"), ("13:00", "13:10", "failed"),
    )  # fmt: skip
    history.read("14:00")
    assert incidents(history) == [
        (naive("11:10"), naive("12:10"), "retry", 1),
        (naive("13:10"), None, None, 1),
    ]
    assert history.rows("branch_incidents", "is_begin_known") == [True, True]


def test_a_late_retry_of_an_old_build_changes_nothing_once_a_newer_one_has_a_verdict() -> None:
    """The old one failed at 10:10, the newer one at 10:30; only a third build turns main green."""
    history = History()
    pipeline = history.pipeline()
    old = history.build(pipeline, "10:00", finished_at="11:10")
    retried(history, old, ("10:00", "10:10", "failed"), ("11:00", "11:10", "passed"))
    history.build(pipeline, "10:05", "failed", finished_at="10:30")
    history.build(pipeline, "12:00", finished_at="12:10")
    assert incidents(history) == [(naive("10:10"), naive("12:10"), "build", 2)]


def test_a_retry_before_the_end_of_a_build_never_turned_main_red() -> None:
    """The first is automatic; the last one is of a job that passed, beside a soft failure.

    During the second another job runs. During the third a concurrency group holds another job back,
    from 12:05 to 12:20.
    """
    history = History()
    pipeline = history.pipeline()
    build = history.build(pipeline, "10:00", finished_at="10:40")
    first = history.job(build, "a", "10:00", "10:00", "10:10", "failed")
    again = history.job(build, "a", "10:10", "10:10", "10:15", created_at="10:10")
    history.retry(first, again)
    build = history.build(pipeline, "11:00", finished_at="11:40")
    retried(history, build, ("11:00", "11:05", "failed"), ("11:10", "11:15", "passed"))
    history.job(build, "slow", "11:00", "11:00", "11:40")
    build = history.build(pipeline, "12:00", finished_at="12:40")
    retried(history, build, ("12:00", "12:05", "failed"), ("12:10", "12:15", "passed"))
    history.job(build, "one at a time", "12:20", "12:20", "12:40", concurrency_wait_time_ms=900_000)
    build = history.build(pipeline, "13:00", finished_at="13:40")
    retried(history, build, ("13:00", "13:05", "passed"), ("13:10", "13:15", "passed"))
    history.job(build, "soft", "13:00", "13:00", "13:01", "failed", soft_failed=True)
    history.read("14:00")
    assert incidents(history) == []


def test_jobs_that_are_retried_together_reopen_their_build_once() -> None:
    """Two failed at 10:10; their new attempts were made within 50 ms at 11:00."""
    history = History()
    build = history.build(history.pipeline(), "10:00", finished_at="11:10")
    for step, made in (("a", "11:00:00.000"), ("b", "11:00:00.050")):
        first = history.job(build, step, "10:00", "10:00", "10:10", "failed")
        runnable = plus(made, seconds=0.07)
        again = history.job(build, step, runnable, "11:01", "11:10", created_at=made)
        history.retry(first, again, "manual")
    history.derive("build_reopenings")
    columns = ["ended_at", "reopened_at", "outcome"]
    assert history.rows("build_reopenings", *columns) == [
        (naive("10:10"), naive("11:00"), "failed")
    ]


def test_what_passed_up_to_a_block_was_green_from_then_on() -> None:
    """Main was red until the build stood at its block at 10:30; it was lifted on Wednesday."""
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", "failed", finished_at="10:10")
    build = history.build(pipeline, "10:20", finished_at="2026-11-04 10:10")
    history.job(build, "test", "10:20", "10:20", "10:30")
    unblocked = {"type": "manual", "unblocked_at": "2026-11-04 10:00"}
    history.job(build, "ok?", state="unblocked", **unblocked)
    history.job(build, "ship", "2026-11-04 10:00", "2026-11-04 10:00", "2026-11-04 10:10")
    assert incidents(history) == [(naive("10:10"), naive("10:30"), "build", 1)]


@pytest.mark.parametrize(("child", "is_red"), [("10:30", False), (None, True)])
def test_a_trigger_that_waits_for_its_build_keeps_the_parent_from_ending(
    child: str | None, *, is_red: bool
) -> None:
    """A job failed at 10:10 and was retried at 10:20, while the triggered build ran, or not."""
    history = History()
    build = history.build(history.pipeline(), "10:00", finished_at="10:40")
    retried(history, build, ("10:00", "10:10", "failed"), ("10:20", "10:25", "passed"))
    if child:
        history.job(
            build, "child", "10:00", "10:00", child, type="trigger", triggered_build_id=UUID(int=7)
        )
    assert bool(incidents(history)) == is_red


def test_of_canceled_jobs_nobody_knows_what_they_made_of_their_build() -> None:
    """Unless a feed saw it."""
    history = History()
    build = history.build(history.pipeline(), "10:00", finished_at="11:10")
    retried(history, build, ("10:00", "10:10", "canceled"), ("11:00", "11:10", "passed"))
    history.derive("build_reopenings")
    assert history.rows("build_reopenings", "outcome", "is_verdict") == [(None, False)]
    assert incidents(history) == []
    see_end(history, build, "10:10", "failed", "10:50")
    assert incidents(history) == [(naive("10:10"), naive("11:10"), "retry", 1)]


def test_what_a_feed_saw_counts_even_if_no_attempt_tells_of_it() -> None:
    """Failed 10:10 and running when seen at 10:50, passed 11:10; the jobs show one attempt each.

    So it is with a trigger step whose build is retried. Where both tell, the feed is more exact:
    the second build ended 2 s after its last job.
    """
    history = History()
    pipeline = history.pipeline()
    build = history.build(pipeline, "10:00", finished_at="11:10")
    see_end(history, build, "10:10", "failed", "10:50")
    build = history.build(pipeline, "12:00", finished_at="13:10")
    retried(history, build, ("12:00", "12:10", "failed"), ("13:00", "13:10", "passed"))
    see_end(history, build, "12:10:02", "failed", "13:05")
    assert incidents(history) == [
        (naive("10:10"), naive("11:10"), "retry", 1),
        (naive("12:10:02"), naive("13:10"), "retry", 1),
    ]


def test_the_state_that_went_with_an_end_is_the_one_before_the_next_change() -> None:
    """Failed 10:10, failed again 11:10 (only the end moved), then passed 12:10."""
    history = History()
    build = history.build(history.pipeline(), "10:00", finished_at="12:10")
    for end, noticed in (("10:10", "11:15"), ("11:10", "12:15")):
        history.connection.execute(
            "INSERT INTO build_changes (build_id, organization_id, field, old, noticed_at) "
            "VALUES (?, ?, 'finished_at', ?, ?)",
            [build, ORGANIZATION, f"{naive(end)}", naive(noticed)],
        )
    history.connection.execute(
        "INSERT INTO build_changes (build_id, organization_id, field, old, noticed_at) "
        "VALUES (?, ?, 'state', 'failed', ?)",
        [build, ORGANIZATION, naive("12:15")],
    )
    assert [row[:2] for row in states(history)] == [
        ("red", naive("10:10")),
        ("red", naive("11:10")),
        ("green", naive("12:10")),
    ]


def test_a_retry_that_mends_a_failed_upload_ends_the_incident() -> None:
    """The build did nothing else, so that it is no verdict now; but it had broken main."""
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "09:00", finished_at="09:10")
    build = history.build(pipeline, "10:00", finished_at="11:10")
    retried(history, build, ("10:00", "10:10", "failed"), ("11:00", "11:10", "passed"))
    history.connection.execute("UPDATE jobs SET command = 'buildkite-agent pipeline upload'")
    assert incidents(history) == [(naive("10:10"), naive("11:10"), "retry", 1)]
    assert history.rows("build_runs", "is_verdict", where="number = 2") == [False]


# What counts, and until when


@pytest.mark.parametrize("column", ["archived_at", "absent_since"])
def test_an_incident_ends_with_its_pipeline(column: str) -> None:
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", "failed", finished_at="10:10")
    if column == "archived_at":
        history.list_pipeline(pipeline, seen="12:00", archived_at="11:10")
    else:
        history.lose_pipeline(pipeline, seen="11:10")
    history.read("2026-11-05 12:00")
    columns = ["green_at", "red_until", "is_open", "ended_by", "red_seconds"]
    assert incidents(history, *columns) == [(None, naive("11:10"), False, "archive", 3600)]


@pytest.mark.parametrize(
    ("rules", "expected", "verdicts"),
    [
        (Rules(), ["red", "green", "red"], 4),
        (Rules(branch_health=BranchHealth(("schedule", "api"))), ["green", "red"], 2),
    ],
)
def test_builds_from_ignored_sources_turn_no_branch(
    rules: Rules, expected: list[str], verdicts: int
) -> None:
    """A schedule fails at 10:30, and an api's build passes at 11:30; what has no source counts."""
    history = History(rules)
    pipeline = history.pipeline()
    for created, state, source in (
        ("10:20", "failed", "schedule"),
        ("11:20", "passed", "api"),
        ("11:30", "passed", "webhook"),
        ("12:00", "failed", None),
    ):
        end = plus(created, minutes=10)
        history.build(pipeline, created, state, source=source, finished_at=end)
    history.derive("branch_health_daily", "branch_states")
    told = history.rows("branch_states", "state")
    assert [state for n, state in enumerate(told) if told[n - 1 : n] != [state]] == expected
    assert history.rows("branch_health_daily", "verdicts") == [verdicts]


# A model that replays a history minute by minute


@dataclass(frozen=True)
class Run:
    """A run of a build: how long it took, how it ended, and how long the build then rested.

    Attributes:
        is_seen: whether a feed saw the end before the next run moved it.
        is_noisy: whether jobs beside it are retried before it ends, by hand and automatically.
    """

    minutes: int
    state: str
    rest: int
    is_seen: bool
    is_noisy: bool


BEGIN = "2026-10-30 20:00"
ZONES = st.sampled_from(["UTC", "America/Havana", "Asia/Kolkata", "Australia/Lord_Howe"])
RUNS = st.builds(
    Run,
    st.integers(2, 90),
    st.sampled_from(["passed", "failed", "failed", "canceled"]),
    st.integers(2, 900),
    st.booleans(),
    st.booleans(),
)
BUILDS = st.lists(
    st.tuples(st.integers(0, 300), st.lists(RUNS, min_size=1, max_size=3), st.booleans()),
    max_size=8,
)


def instant(minute: float) -> str:
    return plus(BEGIN, minutes=minute)


class Life:
    """A build that runs several times, each time after a retry by hand.

    Attributes:
        ends: the minute in which each run ends.
        verdicts: what it says, and in which minute.
    """

    def __init__(self, created: int, runs: list[Run], *, is_running: bool) -> None:
        self.runs = runs
        self.is_running = is_running
        self.begins = [created]
        self.ends: list[int] = []
        for run in runs:
            self.ends.append(self.begins[-1] + run.minutes)
            self.begins.append(self.ends[-1] + run.rest)
        self.verdicts = [
            (end, run.state)
            for end, run in zip(self.ends, runs, strict=True)
            if run.state != "canceled"
        ]

    def write(self, history: History, pipeline: UUID) -> None:
        """Store the build as Buildkite shows it in the end; it may be running once more."""
        build = history.build(
            pipeline,
            instant(self.begins[0]),
            "running" if self.is_running else self.runs[-1].state,
            finished_at=None if self.is_running else instant(self.ends[-1]),
        )
        attempts = []
        for begin, end, run in zip(self.begins, self.ends, self.runs, strict=False):
            attempts.append(self._job(history, build, begin, end, run.state))
            if run.is_noisy:
                for how in ("manual", "automatic"):
                    failed = self._job(history, build, begin, begin + 0.5, "failed")
                    again = self._job(history, build, begin + 0.6, begin + 1, "passed")
                    history.retry(failed, again, how)
            if run.is_seen and (self.is_running or run is not self.runs[-1]):
                see_end(history, build, instant(end), run.state, instant(end + run.rest))
        if self.is_running:
            attempts.append(self._job(history, build, self.begins[-1], None, "running"))
        for earlier, later in pairwise(attempts):
            history.retry(earlier, later, "manual")

    @staticmethod
    def _job(history: History, build: UUID, begin: float, end: float | None, state: str) -> UUID:
        first, last = instant(begin), instant(end) if end else None
        return history.job(build, "test", first, first, last, state, created_at=first)


@settings(max_examples=30, deadline=None)
@given(BUILDS, ZONES, st.integers(0, 600))
def test_states_incidents_and_days_are_what_replaying_the_verdicts_gives(
    builds: list[tuple[int, list[Run], bool]], zone: str, quiet: int
) -> None:
    """Each minute the newest build that has said something decides; runs of red are incidents."""
    history = History(Rules(time_zone=zone))
    pipeline = history.pipeline()
    verdicts: dict[int, list[tuple[int, str]]] = {}
    created = 0
    for n, (gap, runs, is_running) in enumerate(builds):
        created += gap
        life = Life(created, runs, is_running=is_running)
        life.write(history, pipeline)
        for minute, state in life.verdicts:
            verdicts.setdefault(minute, []).append((n, state))
    until = max(verdicts, default=0) + quiet
    history.read(instant(until))
    history.derive("branch_incidents", "branch_health_daily")

    seconds: Counter[tuple[date, str]] = Counter()
    turns: list[tuple[datetime, str]] = []
    newest, says = -1, ""
    for minute in range(until + 1):
        now = at(BEGIN) + timedelta(minutes=minute)
        newest, said = max([(newest, says), *verdicts.get(minute, [])], key=lambda each: each[0])
        said = dict(verdicts.get(minute, [])).get(newest, said)
        if said != says:
            turns.append((now.replace(tzinfo=None), said))
        says = said
        if says and minute < until:
            seconds[now.astimezone(ZoneInfo(zone)).date(), says] += 60
    replayed = [
        (red_at, green_at)
        for (red_at, state), (green_at, _) in pairwise([*turns, (None, "")])
        if state == "failed"
    ]

    assert history.rows("branch_incidents", "red_at", "green_at") == replayed
    days = history.rows("branch_health_daily", "local_day", "green_seconds", "red_seconds")
    assert {
        (day, state): value
        for day, *values in days
        for state, value in zip(("passed", "failed"), values, strict=True)
        if value
    } == seconds
    assert sum(history.rows("branch_incidents", "red_seconds")) == sum(day[2] for day in days)
