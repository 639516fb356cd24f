"""Random histories of an organization, with syncs in between: the state machine of the tests."""

import random
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import stamina
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from buildkite_assets.buildkite.errors import BuildkiteError
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.changes import read_changes
from buildkite_assets.days import open_sources, read_days
from buildkite_assets.sandbox import Organization, Sandbox, serve
from buildkite_assets.sandbox.model import OPEN_BUILD_STATES, Build, Step
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse.future import NOTED_INSTANTS
from buildkite_assets.warehouse.ledger import followed_days

START = datetime(2026, 11, 2, 22, 30, tzinfo=UTC)
STEPS = [
    Step("script", name="Test", key="test"),
    Step("waiter"),
    Step("script", name="Package", key="package"),
]
STATES = st.sampled_from(["scheduled", "running", "passed", "failed", "blocked", "skipped"])
MINUTES = st.sampled_from([1, 3, 10, 60, 600, 1500])


class History(RuleBasedStateMachine):
    """An organization in which anything may happen to any build, and its warehouse.

    Time stands still within a rule, so that several things happen in one second too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.now = START
        self.sandbox = Sandbox.empty(clock=lambda: self.now)
        self.sandbox.limits.organization_limit = None
        self.sandbox.limits.user_limit = None
        self.organization: Organization = self.sandbox.organization("acme")
        self.user = self.organization.members[0].user
        self.builds: list[Build] = []
        self.built = self.syncs = self.failed_syncs = self.faults = 0
        # The waits between tries are the library's own; here they would only take time.
        self.stack.enter_context(stamina.set_testing(True, attempts=4))
        server = self.stack.enter_context(serve(self.sandbox))
        self.session = Session(
            Settings.from_environment(
                {
                    "BUILDKITE_API_TOKEN": self.sandbox.tokens.administrator.value,
                    "BUILDKITE_API_URL": server.url,
                    "BUILDKITE_WAREHOUSE": str(folder / "buildkite.duckdb"),
                    "BUILDKITE_ORGANIZATIONS": "acme",
                }
            ),
            clock=self.sandbox.clock,
        )
        self.client = self.stack.enter_context(self.session.client())

    def teardown(self) -> None:
        """Bring the warehouse up to date at last, and compare it with the truth."""
        try:
            self.sandbox.faults = None
            self.sandbox.before_page = None
            self.sandbox.dates = None
            self.now += timedelta(minutes=1)
            self.read_days(full=False)
            self.feed()
            self.assert_existing_builds_are_true()
            self.now += timedelta(minutes=1)
            self.read_days(full=True)
            self.assert_existing_builds_are_true()
            self.assert_deleted_builds_are_marked()
            self.assert_nothing_was_late()
            self.assert_nothing_is_dated_in_the_future()
        finally:
            self.stack.close()

    @initialize(states=st.lists(STATES, min_size=3, max_size=8))
    def begin(self, states: list[str]) -> None:
        """Start from a warehouse that is true, so that all that follows is the feed's to notice."""
        for state in states:
            self.create(state)
        self.now += timedelta(minutes=10)
        self.read_days(full=False)
        self.now += timedelta(minutes=1)
        self.feed()
        self.assert_existing_builds_are_true()

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(state=STATES)
    def create(self, state: str) -> None:
        self.built += 1
        self.builds.append(
            self.organization.create_build("web", state=state, jobs=STEPS, run_seconds=20)
        )

    @rule(nth=st.integers(0, 50), failed=st.booleans())
    def finish(self, nth: int, *, failed: bool) -> None:
        for build in self.pick(nth, lambda build: build.state in OPEN_BUILD_STATES):
            for job in build.jobs:
                if job.step.type == "script" and job.state in {"scheduled", "waiting", "running"}:
                    self.organization.start_job(job)
                    self.organization.finish_job(job, "failed" if failed else "passed")
            self.organization.finish_build(build)

    @rule(nth=st.integers(0, 50))
    def start(self, nth: int) -> None:
        for build in self.pick(nth, lambda build: build.state == "scheduled"):
            self.organization.start_job(build.job("test"))

    @rule(nth=st.integers(0, 50), by_hand=st.booleans())
    def retry(self, nth: int, *, by_hand: bool) -> None:
        for build in self.pick(nth, lambda build: build.job("test").finished_at is not None):
            self.organization.retry_job(build.job("test"), by=self.user if by_hand else None)

    @rule(nth=st.integers(0, 50))
    def unblock(self, nth: int) -> None:
        for build in self.pick(nth, lambda build: build.blocked):
            self.organization.unblock_job(build.job("release"), by=self.user)

    @rule(nth=st.integers(0, 50))
    def cancel(self, nth: int) -> None:
        for build in self.pick(nth, lambda build: build.state in OPEN_BUILD_STATES):
            self.organization.cancel_build(build, reason="No longer needed")

    @rule(nth=st.integers(0, 50))
    def skip(self, nth: int) -> None:
        for build in self.pick(nth, lambda build: build.state == "scheduled"):
            self.organization.skip_build(build)

    @rule(nth=st.integers(0, 50))
    def rebuild(self, nth: int) -> None:
        for build in self.pick(nth, lambda build: build.finished_at is not None):
            self.builds.append(self.organization.rebuild(build, by=self.user))

    @rule(nth=st.integers(0, 50))
    def delete(self, nth: int) -> None:
        for build in self.pick(nth, lambda _: True):
            self.organization.delete_build(build)
            self.builds.remove(build)

    @rule(seed=st.integers(0, 2**16), share=st.sampled_from([0.1, 0.5, 0.9]))
    def trouble_begins(self, seed: int, share: float) -> None:
        dice = random.Random(seed)

        def fault(_: Request) -> ASGIApp | None:
            if dice.random() > share:
                return None
            self.faults += 1
            answers: list[Response] = [
                HTMLResponse("<html>502 Bad Gateway</html>", 502),
                Response(b'[{"id": "trunc', media_type="application/json"),
                Response(b'{"message": "oops"}', 500, media_type="application/json"),
            ]
            return dice.choice(answers)

        self.sandbox.faults = fault

    @precondition(lambda self: self.sandbox.faults)
    @rule()
    def trouble_ends(self) -> None:
        self.sandbox.faults = None

    @rule(nth=st.integers(0, 50), what=st.sampled_from(["create", "delete", "finish", "retry"]))
    def something_happens_during_the_next_sync(self, nth: int, what: str) -> None:
        def happen(_: Request) -> None:
            self.sandbox.before_page = None
            actions: dict[str, Callable[[], None]] = {
                "create": lambda: self.create("passed"),
                "delete": lambda: self.delete(nth),
                "finish": lambda: self.finish(nth, failed=False),
                "retry": lambda: self.retry(nth, by_hand=True),
            }
            actions[what]()

        self.sandbox.before_page = happen

    @rule(years=st.sampled_from([-56, -1, 1, 11]), nth=st.integers(1, 12))
    def an_answer_of_the_next_sync_has_a_wrong_date(self, years: int, nth: int) -> None:
        requests = count(1)

        def wrong_date(_: Request) -> datetime | None:
            return self.now.replace(year=self.now.year + years) if next(requests) == nth else None

        self.sandbox.dates = wrong_date

    @rule(minutes=MINUTES)
    def an_older_version_believed_dates_eleven_years_ahead(self, minutes: int) -> None:
        since = (self.now - timedelta(minutes=minutes)).replace(tzinfo=None)
        with self.session.warehouse.transaction() as connection:
            for table, column in NOTED_INSTANTS:
                connection.execute(
                    f"UPDATE {table} SET {column} = {column} + INTERVAL 11 YEAR "  # noqa: S608
                    f"WHERE {column} >= ?",
                    [since],
                )

    @rule(full=st.sampled_from([False, False, False, True]))
    def sync(self, *, full: bool) -> None:
        """A sync may fail; what it must not do is lose, double or freeze anything."""
        try:
            if full:
                self.feed()
            self.read_days(full=full)
            self.feed()
        except BuildkiteError as error:
            self.failed_syncs += 1
            note(f"sync failed: {error}")

    @rule(minutes=MINUTES)
    def follow(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        try:
            self.feed()
        except BuildkiteError as error:
            self.failed_syncs += 1
            note(f"feed failed: {error}")

    def pick(self, nth: int, suits: Callable[[Build], bool]) -> list[Build]:
        """One of the builds that suit, or none."""
        suitable = [build for build in self.builds if suits(build)]
        return [suitable[nth % len(suitable)]] if suitable else []

    def read_days(self, *, full: bool) -> None:
        """Read days as a sync does: those unknown, or all of them right after a feed."""
        sources = open_sources(self.client, self.session, Failures())
        days = [
            START.date() + timedelta(days=n)
            for n in range((self.now.date() - START.date()).days + 1)
        ]
        if not full:
            days = [day for day in days if day not in self.followed_days()]
        for _ in read_days(sources, days, self.session.warehouse, None, is_after_feed=full):
            pass

    def followed_days(self) -> set[date]:
        with self.session.warehouse.transaction() as connection:
            return followed_days(connection, self.organization.id)

    def feed(self) -> None:
        self.syncs += 1
        organizations, listed_at = visible_organizations(self.client, ["acme"])
        read_changes(self.client, organizations[0], listed_at, self.session, None)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.session.warehouse.transaction() as connection:
            return connection.execute(sql).fetchall()

    def assert_existing_builds_are_true(self) -> None:
        bodies = list(self.organization.truth_builds())
        stored_builds = {row[0]: row[1:] for row in self.query(_BUILDS)}
        stored_jobs = {row[0]: row[1:] for row in self.query(_JOBS)}
        for body in bodies:
            assert stored_builds[body["id"]] == _build_row(body)
        expected = {job["id"]: _job_row(job, body) for body in bodies for job in body["jobs"]}
        existing = {body["id"] for body in bodies}
        present = {id_: row for id_, row in stored_jobs.items() if row[0] in existing}
        assert present == expected

    def assert_deleted_builds_are_marked(self) -> None:
        existing = {body["id"] for body in self.organization.truth_builds()}
        for build_id, is_marked in self.query(
            "SELECT build_id::VARCHAR, absent_since IS NOT NULL FROM builds"
        ):
            assert is_marked == (build_id not in existing)

    def assert_nothing_was_late(self) -> None:
        assert self.query("FROM late_changes") == []

    def assert_nothing_is_dated_in_the_future(self) -> None:
        for table, column in NOTED_INSTANTS:
            [(latest,)] = self.query(f"SELECT max({column}) FROM {table}")  # noqa: S608
            assert latest is None or latest <= self.now.replace(tzinfo=None)


_BUILDS = """
    SELECT
        build_id::VARCHAR, number, state, blocked, branch, "commit", creator_id::VARCHAR,
        created_at, scheduled_at, started_at, failing_at, finished_at,
        rebuilt_from_build_id::VARCHAR, cancel_reason
    FROM builds
"""
_JOBS = """
    SELECT
        job_id::VARCHAR, build_id::VARCHAR, type, name, step_key, state, exit_status, soft_failed,
        retried, retried_in_job_id::VARCHAR, retries_count, retry_type, retried_by_id::VARCHAR,
        unblocked_by_id::VARCHAR, unblocked_at, agent_id::VARCHAR, created_at, scheduled_at,
        runnable_at, started_at, finished_at
    FROM jobs WHERE absent_since IS NULL
"""


def _build_row(body: dict[str, Any]) -> tuple[Any, ...]:
    return (
        body["number"],
        body["state"],
        body["blocked"],
        body["branch"],
        body["commit"],
        (body["creator"] or {}).get("id"),
        *(_at(body.get(f"{name}_at")) for name in ("created", "scheduled", "started")),
        *(_at(body.get(f"{name}_at")) for name in ("failing", "finished")),
        (body["rebuilt_from"] or {}).get("id"),
        body["cancel_reason"],
    )


def _job_row(job: dict[str, Any], build: dict[str, Any]) -> tuple[Any, ...]:
    return (
        build["id"],
        job["type"],
        job.get("name", job.get("label")),
        *(job.get(name) for name in ("step_key", "state", "exit_status", "soft_failed")),
        *(job.get(name) for name in ("retried", "retried_in_job_id", "retries_count")),
        job.get("retry_type"),
        (job.get("retried_by") or {}).get("id"),
        (job.get("unblocked_by") or {}).get("id"),
        _at(job.get("unblocked_at")),
        (job.get("agent") or {}).get("id"),
        *(_at(job.get(f"{name}_at")) for name in ("created", "scheduled", "runnable")),
        *(_at(job.get(f"{name}_at")) for name in ("started", "finished")),
    )


def _at(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
