"""The change feed: right after every sync, whatever happened in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from starlette.requests import Request

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.errors import InvalidCredentialsError
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.changes import read_changes
from buildkite_assets.days import open_sources, read_days
from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from tests.histories import History
from tests.late_changes import Story, jobs_collect, tell
from tests.syncing import StandingClock, empty_sandbox, environment

TestAnyHistoryEndsInTheTruth = History.TestCase
TestAnyHistoryEndsInTheTruth.settings = settings(
    max_examples=8,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_one_sync_catches_up_with_a_month_that_went_on_changing(tmp_path: Path) -> None:
    """Trap 4: nothing tells when a build changed, so open, finished and new ones are asked for."""
    story = Story(builds=600, new=60, finished=20, retried=10, unblocked=5, deleted=3)
    # The created and the finished, 10 to a page at first and up to 100, and those now open.
    assert tell(story, tmp_path, jobs_collect) <= 12


def test_a_quiet_feed_takes_four_requests(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    sandbox.organization("acme").create_build("web", state="passed")
    with served_session(sandbox, tmp_path) as (session, client):
        read_today(session, client, clock)
        clock.move(minutes=15)
        follow(session, client)
        clock.move(minutes=15)
        sandbox.requests.clear()
        follow(session, client)
        assert len(sandbox.requests) == 4


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_server_whose_clock_is_wrong_is_followed_by_its_own_clock(
    tmp_path: Path, minutes: int
) -> None:
    sandbox, clock = empty_sandbox()
    clock.move(minutes=minutes)
    acme = sandbox.organization("acme")
    build = acme.create_build("web", state="running")
    with served_session(sandbox, tmp_path) as (session, client):
        read_today(session, client, clock)
        clock.move(minutes=15)
        acme.finish_job(build.jobs[0])
        acme.finish_build(build)
        acme.create_build("web", state="passed")
        follow(session, client)
        with session.warehouse.transaction() as connection:
            rows = connection.execute("SELECT number, state FROM builds ORDER BY 1").fetchall()
    assert rows == [(1, "passed"), (2, "passed")]


def test_a_token_revoked_in_mid_feed_changes_nothing(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    build = acme.create_build("web", state="running")
    with served_session(sandbox, tmp_path) as (session, client):
        read_today(session, client, clock)
        clock.move(minutes=15)
        acme.cancel_build(build)

        def revoke(_: Request) -> None:
            sandbox.tokens.revoke(sandbox.tokens.administrator)

        sandbox.before_page = revoke
        with pytest.raises(InvalidCredentialsError):
            follow(session, client)
        with session.warehouse.transaction() as connection:
            assert connection.execute("SELECT state FROM builds").fetchall() == [("running",)]
            assert connection.execute("FROM sync_feeds").fetchall() == []


@contextmanager
def served_session(sandbox: Sandbox, folder: Path) -> Iterator[tuple[Session, Client]]:
    """A session on the sandbox's organization, with its connection."""
    with serve(sandbox) as server:
        variables = environment(server, folder / "buildkite.duckdb")
        session = Session(Settings.from_environment(variables), clock=sandbox.clock)
        with session.client() as client:
            yield session, client


def read_today(session: Session, client: Client, clock: StandingClock) -> None:
    """Read today in full."""
    today = [clock().date()]
    for _ in read_days(open_sources(client, session, Failures()), today, session.warehouse, None):
        pass


def follow(session: Session, client: Client) -> None:
    """Read the change feed."""
    (organization,), listed_at = visible_organizations(client, ["acme"])
    read_changes(client, organization, listed_at, session, None)
