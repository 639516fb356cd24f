"""Builds that a sandbox serves over HTTP, and what a sync and its derived tables make of them.

A test lets things happen in the organization `acme`, moves the clock, and syncs as often as it
likes. Each sync takes the steps of `buildkite-assets sync`, without Dagster where that is not what
the test is about.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.changes import Feed, read_changes
from buildkite_assets.days import open_sources, read_days
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rules import Rules
from buildkite_assets.runs import run_access, run_catalog
from buildkite_assets.sandbox import Sandbox, SandboxServer, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect
from buildkite_assets.warehouse.derive import (
    derive_days,
    derive_whole,
    in_order,
    lagging_days,
    lagging_whole,
)
from buildkite_assets.warehouse.ledger import followed_days

from .syncing import StandingClock, environment, without_limits

START = datetime(2026, 11, 2, 9, tzinfo=UTC)  # a Monday


class ServedHistory:
    """A served organization that a test lets live, and the warehouse that follows it.

    Attributes:
        clock: the sandbox's; a test moves it.
        sandbox: what is served.
        acme: its organization, with the pipeline `web` that `Sandbox.empty` gives it.
        path: the published file.
        rules: the rules that derived tables go by.
        session: what it syncs with; its clock is the sandbox's.
    """

    def __init__(self, server: SandboxServer, clock: StandingClock, folder: Path) -> None:
        self.clock = clock
        self.sandbox = server.sandbox
        self.acme = server.sandbox.organization("acme")
        self.user = self.acme.members[0].user
        self.path = folder / "buildkite.duckdb"
        self.rules = Rules()
        self._first_day = clock().date()
        self.session = Session(
            Settings.from_environment(
                environment(server, self.path, BUILDKITE_START_DATE=f"{self._first_day}")
            ),
            clock=clock,
        )

    def sync(self, *, full: bool = False, with_access: bool = False, **later: float) -> None:
        """Let time pass, if any is given, then sync: catalog, days, feed and derived tables."""
        self.clock.move(**later)
        self.collect(full=full, with_access=with_access)
        self.derive()

    def collect(self, *, full: bool = False, with_access: bool = False) -> None:
        """Sync without deriving; `full` reads every day again, right after the feed."""
        with dg.DagsterInstance.ephemeral() as instance:
            run_catalog(self.session, instance)
            if with_access:
                run_access(self.session, instance)
        with self.session.client() as client:
            days = self._unknown_days()
            self._read_days(client, days, is_after_feed=False)
            # The clock stands, and a day is known from the first feed after its full read on.
            self._read_feed(client, seconds_later=1 if days else 0)
            if full:
                self._read_days(client, self._days(), is_after_feed=True)
        self.session.warehouse.publish()

    def follow(self, **later: float) -> Feed:
        """Let time pass, if any is given, then read the change feed alone."""
        self.clock.move(**later)
        with self.session.client() as client:
            feed = self._read_feed(client)
        self.session.warehouse.publish()
        return feed

    def derive(self) -> None:
        """Recompute the derived tables that lag."""
        tables, parameters = derived_tables(), self.rules.parameters()
        with self.session.warehouse.transaction() as connection:
            by_day = lagging_days(connection, tables, parameters)
            for table in in_order(tables):
                if table in by_day:
                    derive_days(connection, table, by_day[table], tables, parameters)
            whole = lagging_whole(connection, tables, parameters)
            for table in in_order(tables):
                if table in whole:
                    derive_whole(connection, table, tables, parameters)
        self.session.warehouse.publish()

    def rows(self, query: str, **parameters: object) -> list[Any]:
        """What a query finds in the published file: tuples, or values of its only column."""
        with connect(self.path) as connection:
            found = connection.execute(query, parameters or None).fetchall()
        return [row[0] for row in found] if found and len(found[0]) == 1 else found

    def _days(self) -> list[date]:
        days = (self.clock().date() - self._first_day).days + 1
        return [self._first_day + timedelta(days=n) for n in range(days)]

    def _unknown_days(self) -> list[date]:
        with self.session.warehouse.transaction() as connection:
            known = followed_days(connection, self.acme.id)
        return [day for day in self._days() if day not in known]

    def _read_feed(self, client: Client, seconds_later: int = 0) -> Feed:
        [organization], listed_at = visible_organizations(client, ["acme"])
        started_at = listed_at + timedelta(seconds=seconds_later)
        feed = read_changes(client, organization, started_at, self.session, None)
        assert feed
        return feed

    def _read_days(self, client: Client, days: list[date], *, is_after_feed: bool) -> None:
        sources = open_sources(client, self.session, Failures())
        for _ in read_days(
            sources, days, self.session.warehouse, None, is_after_feed=is_after_feed
        ):
            pass


@contextmanager
def served_history(folder: Path, start: datetime = START) -> Iterator[ServedHistory]:
    """Serve an organization without builds and without limits, whose clock begins at `start`."""
    clock = StandingClock()
    clock.now = start
    sandbox = without_limits(Sandbox.empty(clock=clock))
    with serve(sandbox) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        yield ServedHistory(server, clock, folder)
