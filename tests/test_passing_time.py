"""Time that passes while nothing else changes: what is open grows older with every feed."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from buildkite_assets.checks.check import Evidence
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.report.freshness import freshness, lagging_tables
from buildkite_assets.report.headlines import headlines
from buildkite_assets.report.opening import opened
from buildkite_assets.report.scope import narrow, newest_days
from buildkite_assets.sandbox.model import OPEN_BUILD_STATES, Build, Job, Step
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect
from buildkite_assets.warehouse.coverage import Span, unsettled_days
from buildkite_assets.warehouse.derive import lagging_days, lagging_whole

from .checks.evaluating import STORED_CHECKS
from .derived.soundness import negative_durations
from .report.conftest import settings_of
from .served_history import START, ServedHistory, served_history

OVERLAP = timedelta(seconds=120)
"""How far the read point lies before the feed's first request."""


def test_a_starved_queue_waits_longer_from_sync_to_sync(tmp_path: Path) -> None:
    """35 jobs wait since 06:24; syncs at 21:36, 02:00 and 04:30 find no change.

    The oldest wait is 15.2, 19.6 and 22.1 hours.
    """
    with served_history(tmp_path, datetime(2026, 11, 2, 6, 24, tzinfo=UTC)) as history:
        runnable_at = timedelta(milliseconds=70)  # after the build's creation
        shards = [Step("script", key=f"shard-{n}", queue_key="mac") for n in range(35)]
        steps = [Step("script", key="build"), *shards]
        build = history.acme.create_build("web", jobs=steps)
        history.acme.start_job(build.job("build"))
        for at, age_hours in (("2 21:36", 15.2), ("3 02:00", 19.6), ("3 04:30", 22.1)):
            history.clock.now = datetime.strptime(f"2026-11-{at}+0000", "%Y-%m-%d %H:%M%z")
            history.sync()
            now = history.clock.now.replace(tzinfo=None)
            age = timedelta(hours=age_hours)
            wait = (age - runnable_at).total_seconds()
            assert history.rows("""
                SELECT read_at, age_seconds, running_jobs, waiting_jobs, longest_wait_seconds
                FROM open_builds
            """) == [(now, age.total_seconds(), 1, 35, pytest.approx(wait))]
            assert history.rows("""
                SELECT queue_key, read_at, waiting_jobs, longest_wait_seconds, running_jobs
                FROM queue_backlog ORDER BY queue_key
            """) == [("default", now, 0, None, 1), ("mac", now, 35, pytest.approx(wait), 0)]
            assert history.rows(
                "SELECT max(censored_queue_seconds) FROM job_runs WHERE started_at IS NULL"
            ) == [pytest.approx(wait)]
        starved = history.rows("""
            SELECT hour, peak_waiting, mean_waiting FROM queue_hourly
            WHERE queue_key = 'mac' ORDER BY hour
        """)
        hours = [datetime(2026, 11, 2, 6) + timedelta(hours=n) for n in range(23)]  # noqa: DTZ001
        assert [hour for hour, *_ in starved] == hours
        assert {peak for _, peak, _ in starved} == {35}
        means = [mean for *_, mean in starved[1:]]
        assert means == pytest.approx([35] * 21 + [17.5])
        assert history.rows("FROM build_changes") == []
        assert history.rows("SELECT changed FROM sync_feeds") == [0, 0, 0]


def test_a_feed_renews_open_builds_and_counts_no_change(tmp_path: Path) -> None:
    """A build in the state `waiting` is in no list: a feed asks for it by its number."""
    with served_history(tmp_path) as history:
        states = sorted(OPEN_BUILD_STATES)
        builds = [history.acme.create_build("web", state=state) for state in (*states, "scheduled")]
        builds[-1].state = "waiting"
        history.acme.create_build("web", state="passed")
        history.clock.move(minutes=1)
        history.collect()
        begin = history.clock.now.replace(tzinfo=None)
        for _ in range(2):
            [day] = history.follow(minutes=15).touched
            assert (day.day, day.changed, day.builds) == (START.date(), 0, 7)
        now = begin + timedelta(minutes=30)
        for table in ("builds", "jobs"):
            query = f"SELECT synced_at FROM {table} ORDER BY synced_at"  # noqa: S608
            assert history.rows(query) == [begin, *[now] * 6]
        assert history.rows("FROM build_changes") == []
        assert history.rows("SELECT changed FROM sync_feeds") == [0, 0, 0]

        for build in builds:
            history.acme.cancel_build(build)
        [day] = history.follow(minutes=15).touched
        assert day.changed == len(builds)
        assert history.rows("SELECT changed FROM sync_feeds ORDER BY started_at")[-1] == len(builds)
        assert history.rows("""
            SELECT DISTINCT new FROM build_changes WHERE field = 'state' AND job_id IS NULL
        """) == ["canceled"]
        assert history.follow(minutes=15).touched == []


def test_a_feed_renews_open_builds_of_a_day_that_only_feeds_have_brought(tmp_path: Path) -> None:
    with served_history(tmp_path) as history:
        history.collect()
        history.clock.move(days=1)
        history.acme.create_build("web", state="running")
        for _ in range(2):
            history.follow(minutes=15)
            now = history.clock.now.replace(tzinfo=None)
            assert history.rows("SELECT synced_at FROM builds") == [now]


def test_a_feed_leaves_finished_builds_as_they_are(tmp_path: Path) -> None:
    """Only the tables that take the time from feeds are to be recomputed."""
    with served_history(tmp_path) as history:
        for state in ("passed", "failed", "canceled", "skipped", "not_run", "blocked"):
            history.acme.create_build("web", state=state)
        history.sync(minutes=1, with_access=True)
        stored = history.rows("FROM builds"), history.rows("FROM jobs")
        assert history.follow(hours=9).touched == []
        assert (history.rows("FROM builds"), history.rows("FROM jobs")) == stored
        with connect(history.path) as connection:
            parameters = history.rules.parameters()
            assert lagging_days(connection, derived_tables(), parameters) == {}
            lagging = lagging_whole(connection, derived_tables(), parameters)
        assert {table.name for table in lagging} >= {"open_builds", "queue_backlog"}
        assert {table.name for table in lagging}.isdisjoint({"queue_hourly", "flaky_steps"})


def test_a_build_at_a_block_stands_there_until_the_read_point(tmp_path: Path) -> None:
    """Work ends at 9:01:05; 50 hours later, the read point is 2 minutes before the feed.

    What nobody has lifted is no part of the build's blocked time.
    """
    with served_history(tmp_path) as history:
        history.clock.move(minutes=2)
        build = history.acme.create_build("web", state="blocked", created_at=START)
        history.sync(minutes=1)
        history.clock.move(hours=50)
        history.follow()
        history.derive()
        now = history.clock.now
        blocked = (now - OVERLAP - (START + timedelta(seconds=65))).total_seconds()
        age = (now - OVERLAP - START).total_seconds()
        assert history.rows("""
            SELECT read_at, age_seconds, is_blocked, blocked_seconds, waiting_jobs FROM open_builds
        """) == [((now - OVERLAP).replace(tzinfo=None), age, True, blocked, 0)]
        assert history.rows("SELECT is_open, blocked_seconds FROM block_waits") == [(True, None)]
        assert history.rows("SELECT blocked_seconds FROM build_runs") == [0]

        history.acme.unblock_job(build.job("release"), by=history.user)
        history.acme.finish_build(build)
        history.sync(minutes=15)
        assert history.rows("FROM open_builds") == []
        lifted = (now - (START + timedelta(seconds=65))).total_seconds()
        assert history.rows("SELECT is_open, blocked_seconds FROM block_waits") == [(False, lifted)]
        assert history.rows("SELECT blocked_seconds FROM build_runs") == [lifted]


def test_what_a_feed_cannot_see_is_open_until_it_was_seen_last(tmp_path: Path) -> None:
    """Of two builds one can no longer be read; then their pipeline goes out of sight."""
    with served_history(tmp_path) as history:
        history.acme.create_build("web", state="running", number=1)
        odd = history.acme.create_build("web", state="running", number=2)
        history.sync(minutes=1)
        ages = "SELECT number, age_seconds FROM open_builds ORDER BY number"
        assert history.rows(ages) == [(1, 60), (2, 60)]

        odd.number = "two"  # type: ignore[assignment] # what cannot be read
        history.sync(minutes=1)
        assert history.rows(ages) == [(1, 120), (2, 60)]
        odd.number = 2

        token = history.sandbox.tokens.administrator
        token.visible_pipelines = frozenset()
        history.follow(minutes=1)
        history.derive()
        assert history.rows(ages) == [(1, 120), (2, 60)]
        history.sync(minutes=1)
        assert history.rows(ages) == []
        assert history.rows("SELECT waiting_jobs, running_jobs FROM queue_backlog") == [(0, 0)]

        token.visible_pipelines = None
        history.sync(minutes=1)
        assert history.rows(ages) == [(1, 300), (2, 300)]


def test_a_deleted_build_is_open_no_more(tmp_path: Path) -> None:
    with served_history(tmp_path) as history:
        build = history.acme.create_build("web", state="running")
        history.sync(minutes=1)
        history.acme.delete_build(build)
        [day] = history.follow(minutes=1).touched
        assert day.changed == 1
        history.derive()
        assert history.rows("FROM open_builds") == []
        assert history.rows("SELECT running_jobs FROM queue_backlog") == [0]
        assert history.follow(minutes=1).touched == []


def test_a_week_without_changes_is_known_to_its_end(tmp_path: Path) -> None:
    """A feed comes every day until the next Tuesday; Monday's build still runs."""
    with served_history(tmp_path) as history:
        history.acme.create_build("web", state="failed")
        history.acme.create_build("web", state="running")
        history.sync(minutes=1)
        while history.clock.now < START + timedelta(days=8):
            history.follow(days=1)
        history.derive()
        now, today = history.clock.now, history.clock.now.date()
        with opened(settings_of(history.path)) as connection:
            [acme] = freshness(connection)
            assert acme.span == Span(START.date(), today, [], now.replace(tzinfo=None))
            assert acme.open_builds == 1
            assert unsettled_days(connection, history.acme.id, today) == [START.date()]
            assert lagging_tables(connection, history.rules.parameters()) == []
            scope = newest_days(connection, 3)
            assert scope.last_day == today
            narrow(connection, scope)
            for headline in headlines(connection):
                assert not headline.value.startswith("-"), headline

        assert check_passes(history, "no_missing_days", now)
        for after, is_late in ((timedelta(hours=26), False), (timedelta(hours=26.1), True)):
            assert check_passes(history, "synced_lately", now + after) != is_late
            assert check_passes(history, "caught_up", now + after, table="open_builds")
        for age, is_stuck in ((timedelta(days=8), False), (timedelta(days=8, hours=1), True)):
            assert check_passes(history, "old_days_are_final", START + age) != is_stuck


def check_passes(
    history: ServedHistory, name: str, now: datetime, table: str | None = None
) -> bool:
    """Whether a check of stored data passes at an instant."""
    [check] = [
        check for check in STORED_CHECKS if check.name == name and table in {None, check.table.name}
    ]
    with connect(history.path) as connection:
        session = Session(Settings.from_environment({}))
        return check.result(Evidence(session, connection, now)).passed


QUEUES = st.lists(st.sampled_from(["default", "mac"]), max_size=3)
MINUTES = st.sampled_from([1, 7, 60, 600])


class PassingTime(RuleBasedStateMachine):
    """Builds whose jobs wait and run for any time, followed by feeds at any time.

    Each thing happens in a second of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.history = self.stack.enter_context(served_history(folder))
        self.acme = self.history.acme
        self.create(["default", "mac"], is_blocking=True)
        self.history.sync(minutes=1)

    def teardown(self) -> None:
        try:
            self.history.sync(minutes=1)
            assert_is_true(self.history)
        finally:
            self.stack.close()

    @rule(queues=QUEUES, is_blocking=st.booleans())
    def create(self, queues: list[str], *, is_blocking: bool) -> None:
        steps = [Step("script", key=f"{n}", queue_key=key) for n, key in enumerate(queues)]
        behind = [Step("manual", key="ok?"), Step("script", key="ship", queue_key="mac")]
        jobs = [*steps, *(behind if is_blocking else [])]
        self.settle(self.acme.create_build("web", jobs=jobs))

    @rule(nth=st.integers(0, 50))
    def start(self, nth: int) -> None:
        self.each(nth, waiting_jobs, self.acme.start_job)

    @rule(nth=st.integers(0, 50))
    def finish(self, nth: int) -> None:
        self.each(nth, running_jobs, self.acme.finish_job)

    @rule(nth=st.integers(0, 50))
    def retry(self, nth: int) -> None:
        def passed_jobs(build: Build) -> list[Job]:
            return [job for job in build.jobs if job.state == "passed" and not job.retried]

        self.each(nth, passed_jobs, self.acme.retry_job)

    @rule(nth=st.integers(0, 50))
    def unblock(self, nth: int) -> None:
        def blocks(build: Build) -> list[Job]:
            return [build.job("ok?")] if build.blocked else []

        self.each(nth, blocks, lambda job: self.acme.unblock_job(job, by=self.history.user))

    @rule(nth=st.integers(0, 50))
    def cancel(self, nth: int) -> None:
        self.each(nth, waiting_jobs, lambda job: self.acme.cancel_build(job.build))

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.history.clock.move(minutes=minutes)

    @rule(minutes=MINUTES)
    def follow(self, minutes: int) -> None:
        self.history.follow(minutes=minutes)

    @rule(minutes=MINUTES)
    def look(self, minutes: int) -> None:
        self.history.follow(minutes=minutes)
        self.history.derive()
        assert_is_true(self.history)

    def each(
        self, nth: int, jobs_of: Callable[[Build], list[Job]], act: Callable[[Job], object]
    ) -> None:
        """Let something happen to one of the jobs that suit, if any does."""
        suitable = [job for build in self.acme.builds for job in jobs_of(build)]
        if suitable:
            job = suitable[nth % len(suitable)]
            act(job)
            self.settle(job.build)

    def settle(self, build: Build) -> None:
        """Finish a build whose work is done, and let a second pass."""
        if build.state in OPEN_BUILD_STATES and not waiting_jobs(build) + running_jobs(build):
            self.acme.finish_build(build)
        self.history.clock.move(seconds=1)


TestWhatIsOpenGrowsOlder = PassingTime.TestCase
TestWhatIsOpenGrowsOlder.settings = settings(
    max_examples=5,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def waiting_jobs(build: Build) -> list[Job]:
    return [job for job in build.jobs if job.state == "scheduled"]


def running_jobs(build: Build) -> list[Job]:
    return [job for job in build.jobs if job.state == "running"]


def assert_is_true(history: ServedHistory) -> None:
    """Compare what is told of the present with the sandbox, right after a feed."""
    with connect(history.path) as connection:
        assert negative_durations(connection) == []
    now, builds = history.clock.now, history.acme.builds
    known_to = {
        number: read_at.replace(tzinfo=UTC)
        for number, read_at in history.rows("SELECT number, read_at FROM open_builds")
    }
    unfinished = {build.number for build in builds if build.state in OPEN_BUILD_STATES}
    blocked = {build.number for build in builds if build.blocked}
    assert known_to.keys() == unfinished | blocked
    assert all(known_to[number] == now for number in unfinished)
    assert all(now - OVERLAP <= known_to[number] <= now for number in blocked)
    assert history.rows("""
        SELECT number, round(age_seconds, 3), running_jobs, waiting_jobs,
            round(longest_wait_seconds, 3), round(blocked_seconds, 3)
        FROM open_builds ORDER BY number
    """) == [
        (
            build.number,
            seconds(build.created_at, known_to[build.number]),
            len(running_jobs(build)),
            len(waiting_jobs(build)),
            longest_wait(waiting_jobs(build), now),
            seconds(stopped_at(build), known_to[build.number]) if build.blocked else None,
        )
        for build in builds
        if build.number in known_to
    ]

    jobs = [job for build in builds for job in build.jobs if job.step.type == "script"]
    queues = {
        key: [job for job in jobs if job.step.queue_key == key and job.runnable_at]
        for key in sorted({job.step.queue_key or "default" for job in jobs})
    }
    backlog = history.rows("""
        SELECT queue_key, waiting_jobs, round(longest_wait_seconds, 3), running_jobs
        FROM queue_backlog ORDER BY queue_key
    """)
    assert backlog == [
        (
            key,
            len(waiting := [job for job in queued if job.state == "scheduled"]),
            longest_wait(waiting, now),
            sum(job.state == "running" for job in queued),
        )
        for key, queued in queues.items()
    ]
    load = history.rows("""
        SELECT queue_key, sum(mean_waiting) * 3600, sum(mean_running) * 3600
        FROM queue_hourly GROUP BY queue_key ORDER BY queue_key
    """)
    assert load == [
        (
            key,
            pytest.approx(
                sum(
                    seconds(job.runnable_at, job.started_at or job.finished_at or now)
                    for job in queued
                )
            ),
            pytest.approx(
                sum(
                    seconds(job.started_at, job.finished_at or now)
                    for job in queued
                    if job.started_at
                )
            ),
        )
        for key, queued in queues.items()
        if queued
    ]


def stopped_at(build: Build) -> datetime:
    """When the work before a block had ended."""
    ends = [job.finished_at for job in build.jobs if job.started_at and job.finished_at]
    return max([build.created_at, *ends])


def longest_wait(waiting: list[Job], now: datetime) -> float | None:
    return max((seconds(job.runnable_at, now) for job in waiting), default=None)


def seconds(begin: datetime | None, end: datetime) -> float:
    assert begin
    return round((end - begin).total_seconds(), 3)
