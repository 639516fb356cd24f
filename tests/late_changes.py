"""A month of builds that goes on changing after it was synced, at any size."""

import math
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Protocol

import dagster as dg

import buildkite_assets
from buildkite_assets.runs import run_builds, run_catalog, run_changes, unread_days
from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.sandbox.model import Build
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings

from . import truth
from .syncing import StandingClock, command, empty_sandbox, environment, true_rows

DAYS = 30


@dataclass(frozen=True)
class Story:
    """How much happens; counts of builds."""

    builds: int
    new: int
    finished: int
    retried: int
    unblocked: int
    deleted: int


class Month:
    """A served organization with its month of builds, and the warehouse that follows it."""

    def __init__(self, server: SandboxServer, clock: StandingClock, folder: Path) -> None:
        self.server = server
        self.clock = clock
        self.acme = server.sandbox.organization("acme")
        self.user = self.acme.members[0].user
        self.path = folder / "buildkite.duckdb"
        self.settings = environment(server, self.path, BUILDKITE_START_DATE=f"{self.first_day}")

    @property
    def first_day(self) -> date:
        """The first day with builds."""
        return self.clock().date() - timedelta(days=DAYS)

    def build(self, story: Story) -> dict[str, list[Build]]:
        """Make the builds, spread evenly over the month; those that will change by what they do."""
        seconds = (DAYS - 1) * 86_400 / story.builds
        begin = self.clock() - timedelta(days=DAYS - 1)
        states = {"finished": "running", "unblocked": "blocked"}
        kinds = ["finished", "retried", "unblocked", "deleted"]
        made: dict[str, list[Build]] = {kind: [] for kind in kinds}
        every = {kind: math.ceil(story.builds / getattr(story, kind)) for kind in kinds}
        for n in range(story.builds):
            fitting = [kind for at, kind in enumerate(kinds) if n % every[kind] == at]
            kind = next((k for k in fitting if len(made[k]) < getattr(story, k)), "")
            build = self.acme.create_build(
                "web",
                state=states.get(kind, "passed"),
                jobs=3,
                created_at=begin + timedelta(seconds=n * seconds),
            )
            if kind:
                made[kind].append(build)
        return made

    def change(self, story: Story, made: dict[str, list[Build]]) -> None:
        """Let everything happen at once, a quarter of an hour later."""
        self.clock.move(minutes=15)
        for build in made["finished"]:
            self.acme.finish_job(build.jobs[0])
            self.acme.finish_build(build)
        for build in made["retried"]:
            self.acme.retry_job(build.jobs[0], by=self.user)
        for build in made["unblocked"]:
            self.acme.unblock_job(build.job("release"), by=self.user)
        for build in made["deleted"]:
            self.acme.delete_build(build)
        for n in range(story.new):
            created_at = self.clock() - timedelta(seconds=story.new - n)
            self.acme.create_build("web", state="passed", jobs=3, created_at=created_at)
        self.clock.move(minutes=1)

    def assert_existing_builds_are_true(self) -> None:
        """Hold every build that exists, and every job of it, against the warehouse."""
        expected = true_rows(self.server.sandbox, self.first_day, self.clock().date())
        for table in ("builds", "jobs"):
            rows = {row[next(iter(row))]: row for row in truth.read_rows(self.path, table)}
            for row in expected[table]:
                assert rows[row[next(iter(row))]] == row

    def absent_builds(self) -> set[str]:
        """The ids of the builds that are marked as absent."""
        with buildkite_assets.connect(self.path) as connection:
            rows = connection.execute(
                "SELECT build_id::VARCHAR FROM builds WHERE absent_since IS NOT NULL"
            ).fetchall()
        return {build_id for (build_id,) in rows}


class Sync(Protocol):
    """What brings the warehouse up to date."""

    def __call__(self, month: Month, *, full: bool = False) -> None:
        """Sync, and read all days again if told so."""


def command_syncs(month: Month, *, full: bool = False) -> None:
    """Sync from the command line."""
    again = ["--full"] if full else []
    done = command("sync", *again, settings=month.settings, cwd=month.path.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def jobs_collect(month: Month, *, full: bool = False) -> None:
    """Run the jobs that a sync collects with, in this process; nothing is derived."""
    session = Session(Settings.from_environment(month.settings))
    first, last = month.first_day, month.clock().date()
    with dg.DagsterInstance.ephemeral() as instance:
        run_catalog(session, instance)
        days = [first, last] if full else unread_days(session, first, last)
        run_builds(session, instance, days[0], days[-1], full=full)
        run_changes(session, instance)


def tell(story: Story, folder: Path, sync: Sync) -> int:
    """Sync, change, sync: hold that the second is right; how many requests for builds it took."""
    sandbox, clock = empty_sandbox()
    with serve(sandbox) as server:
        month = Month(server, clock, folder)
        made = month.build(story)
        sync(month)
        month.assert_existing_builds_are_true()
        month.change(story, made)
        sandbox.requests.clear()
        sync(month)
        requests = sum("/builds" in request.path for request in sandbox.requests)
        month.assert_existing_builds_are_true()
        sync(month, full=True)
        assert month.absent_builds() == {build.id for build in made["deleted"]}
        month.assert_existing_builds_are_true()
        with buildkite_assets.connect(month.path) as connection:
            assert connection.execute("FROM late_changes").fetchall() == []
    return requests
