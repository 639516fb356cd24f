"""A clock that is wrong, Buildkite's or ours, stores nothing; what it once stored is corrected."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from buildkite_assets.buildkite.errors import WrongClockError
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.changes import read_changes
from buildkite_assets.days import open_sources, read_days
from buildkite_assets.runs import run_access, run_catalog
from buildkite_assets.sandbox import serve
from buildkite_assets.session import Session
from buildkite_assets.tables import TABLES
from buildkite_assets.warehouse.future import NOTED_INSTANTS

from .served_history import START, ServedHistory, served_history
from .syncing import command_here, empty_sandbox, environment, forgetful_home

FUTURE = datetime(2037, 11, 28, 12, tzinfo=UTC)
PAST = datetime(2001, 1, 1, tzinfo=UTC)
Step = Callable[[Session], None]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[ServedHistory]:
    with served_history(tmp_path) as served:
        yield served


def list_catalog(session: Session) -> None:
    """List organizations, pipelines, clusters and queues."""
    with dg.DagsterInstance.ephemeral() as instance:
        run_catalog(session, instance)


def take_snapshot(session: Session) -> None:
    """Take a snapshot of access."""
    with dg.DagsterInstance.ephemeral() as instance:
        run_access(session, instance)


def read_first_day(session: Session) -> None:
    """Read the day of START in full."""
    with session.client() as client:
        sources = open_sources(client, session, Failures())
        assert list(read_days(sources, [START.date()], session.warehouse, None))


def follow(session: Session) -> None:
    """Read the change feed."""
    with session.client() as client:
        [organization], listed_at = visible_organizations(client, ["acme"])
        assert read_changes(client, organization, listed_at, session, None)


STEPS = (list_catalog, take_snapshot, read_first_day, follow)


def stored(history: ServedHistory) -> dict[str, list[Any]]:
    """All that the working file has."""
    with history.session.warehouse.transaction() as connection:
        return {
            table.name: connection.execute(f"FROM {table.name} ORDER BY ALL").fetchall()
            for table in TABLES
        }


def assert_nothing_in_the_future(history: ServedHistory) -> None:
    """Assert that no instant is later than now; a feed is dated a second later, see `collect`."""
    now = (history.clock() + timedelta(seconds=1)).replace(tzinfo=None)
    with history.session.warehouse.transaction() as connection:
        for table, column in NOTED_INSTANTS:
            query = f"SELECT max({column}) FROM {table}"  # noqa: S608 - our own names
            [(latest,)] = connection.execute(query).fetchall()
            assert latest is None or latest <= now, (table, column)


@contextmanager
def both_clocks_at(history: ServedHistory, instant: datetime) -> Iterator[None]:
    """Have Buildkite and this machine agree on an instant: an older version believed any date."""
    now, history.clock.now = history.clock.now, instant
    yield
    history.clock.now = now


def standing_at(instant: datetime) -> Callable[[], datetime]:
    """A clock that stands still."""
    return lambda: instant


# What is refused


@pytest.mark.parametrize(
    ("step", "path", "nth", "date"),
    [
        (list_catalog, "/queues", 1, FUTURE),
        (take_snapshot, "/teams", 1, FUTURE),
        (read_first_day, "/builds", 2, FUTURE),
        (follow, "/organizations", 1, FUTURE),
        (follow, "/builds", 3, FUTURE),
        (follow, "/builds", 3, PAST),
    ],
)
def test_one_answer_with_a_wrong_date_changes_nothing(
    history: ServedHistory, step: Step, path: str, nth: int, date: datetime
) -> None:
    builds = [history.acme.create_build("web", state="passed") for _ in range(12)]
    history.collect(with_access=True)
    history.clock.move(minutes=10)
    for build in builds:
        history.acme.retry_job(build.jobs[0])
    history.acme.add_team("New")
    history.acme.add_pipeline("new")
    before = stored(history)
    requests = count(1)
    history.sandbox.dates = lambda request: (
        date if request.url.path.endswith(path) and next(requests) == nth else None
    )
    with pytest.raises(WrongClockError, match=rf"{path} answered with the date {date:%Y-%m-%d}"):
        step(history.session)
    assert next(requests) == nth + 1
    assert stored(history) == before
    history.collect(with_access=True)
    assert history.rows("SELECT DISTINCT state FROM builds") == ["running"]
    assert history.rows("SELECT count(*) FROM teams") == [2]


@pytest.mark.parametrize("step", STEPS)
def test_a_wrong_clock_of_this_machine_harms_neither_right_rows_nor_wrong_ones(
    history: ServedHistory, step: Step
) -> None:
    history.acme.create_build("web", state="running")
    history.collect(with_access=True)
    with both_clocks_at(history, FUTURE):
        follow(history.session)
    before = stored(history)
    for hours in (-500_000, -5, 5, 100_000):
        wrong = history.clock() + timedelta(hours=hours)
        with pytest.raises(WrongClockError, match="Check this machine's clock first"):
            step(replace(history.session, clock=standing_at(wrong)))
    assert stored(history) == before


def test_sync_and_check_end_with_one_line(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    clock.now = FUTURE
    home = forgetful_home(tmp_path / "home")
    with serve(sandbox) as server:
        settings = environment(server, tmp_path / "w.duckdb")
        done = command_here("sync", settings=settings, cwd=tmp_path, home=home)
        checked = command_here("check", "--json", settings=settings, cwd=tmp_path, home=home)
    assert done.exit_code == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert line.startswith("Error: wrong_clock: GET /v2/organizations answered with the date 2037-")
    assert not (tmp_path / "w.duckdb").exists()
    assert checked.exit_code == 1
    assert json.loads(checked.stdout)["code"] == "wrong_clock"


# What an older version stored


SYNCS: dict[str, Callable[[ServedHistory], None]] = {
    "sync": lambda history: history.collect(with_access=True),
    "full": lambda history: history.collect(full=True, with_access=True),
}


@pytest.mark.parametrize("sync", SYNCS)
def test_a_whole_sync_in_the_future_is_made_up_for(history: ServedHistory, sync: str) -> None:
    acme = history.acme
    finished, deleted = (acme.create_build("web", state="passed") for _ in range(2))
    running = acme.create_build("web", state="running")
    old = acme.add_pipeline("old")
    history.collect(with_access=True)
    acme.add_team("Seen in the future")
    acme.delete_pipeline(old)
    acme.delete_build(deleted)
    history.clock.move(minutes=10)
    with both_clocks_at(history, FUTURE):
        for step in STEPS:
            step(history.session)
    history.clock.move(minutes=10)
    acme.finish_job(running.jobs[0])
    acme.finish_build(running)
    acme.retry_job(finished.jobs[0])
    acme.pipelines["web"].default_branch = "trunk"
    new = acme.create_build("web", state="failed")
    acme.remove_member(acme.members[1].user)
    history.clock.move(minutes=10)
    SYNCS[sync](history)
    present = "SELECT build_id::VARCHAR, state FROM builds WHERE absent_since IS NULL"
    states = {finished.id: "running", running.id: "passed", new.id: "failed"}
    assert dict(history.rows(present)) == states
    assert history.rows("SELECT default_branch FROM pipelines WHERE absent_since IS NULL") == [
        "trunk"
    ]
    assert history.rows("SELECT count(*) FROM organization_members") == [1]
    assert history.rows("SELECT name FROM teams ORDER BY name") == [
        "Everyone",
        "Seen in the future",
    ]
    assert history.rows("SELECT day FROM sync_days WHERE is_to_read_again") == []
    assert history.rows("FROM late_changes") == []
    assert_nothing_in_the_future(history)


def test_changes_between_a_feed_in_the_future_and_the_next_are_not_lost(
    history: ServedHistory,
) -> None:
    """An older version went on with feeds that began in the future, and found nothing."""
    build = history.acme.create_build("web", state="passed")
    history.collect()
    [read_point] = history.rows("SELECT read_point FROM sync_feeds")
    history.clock.move(minutes=10)
    with both_clocks_at(history, FUTURE):
        follow(history.session)
    history.acme.retry_job(build.jobs[0])
    history.acme.finish_job(build.jobs[-1], "failed")
    history.acme.finish_build(build)
    history.clock.move(minutes=10)
    with history.session.warehouse.transaction() as connection:
        at = history.clock().replace(tzinfo=None)
        connection.execute(
            "INSERT INTO sync_feeds "
            "SELECT organization_id, $read_point, $at, $at, 4, 0, NULL FROM organizations",
            {"read_point": at - timedelta(minutes=2), "at": at},
        )
    history.clock.move(minutes=10)
    follow(history.session)
    history.session.warehouse.publish()
    assert history.rows("SELECT state FROM builds") == ["failed"]
    points = history.rows("SELECT read_point FROM sync_feeds ORDER BY 1")
    assert points == [
        read_point,
        (history.clock() - timedelta(minutes=2)).replace(tzinfo=None),
    ]


def test_a_feed_whose_last_page_alone_was_dated_in_the_future_is_made_up_for(
    history: ServedHistory,
) -> None:
    """The next feed begins where that one did: it left out as older what it should have stored."""
    history.acme.create_build("web", state="passed")
    history.collect()
    history.clock.move(minutes=10)
    follow(history.session)
    points = history.rows("SELECT read_point FROM sync_feeds ORDER BY started_at")
    with history.session.warehouse.transaction() as connection:
        connection.execute(
            "UPDATE sync_feeds SET finished_at = '2037-11-28' "
            "WHERE started_at = (SELECT max(started_at) FROM sync_feeds)"
        )
    history.clock.move(minutes=10)
    visited = len(history.sandbox.requests)
    follow(history.session)
    since = f"{points[0] - timedelta(microseconds=points[0].microsecond):%Y-%m-%dT%H:%M:%SZ}"
    asked = [request.query for request in list(history.sandbox.requests)[visited:]]
    assert since in [query.get("finished_from") for query in asked]


def test_a_change_that_was_left_out_as_older_is_read_again(history: ServedHistory) -> None:
    """One page was dated in the future; feeds have passed the change since."""
    build = history.acme.create_build("web", state="passed")
    other = history.acme.create_build("web", state="passed")
    history.clock.move(hours=1)
    history.collect()
    with history.session.warehouse.transaction() as connection:
        connection.execute(
            "UPDATE builds SET synced_at = '2037-11-28' WHERE build_id = ?", [build.id]
        )
    build.state = "failed"  # no list of changes has it
    history.clock.move(minutes=10)
    history.collect()
    states = {build.id: "failed", other.id: "passed"}
    assert dict(history.rows("SELECT build_id::VARCHAR, state FROM builds")) == states
    assert history.rows("FROM late_changes") == []
    assert_nothing_in_the_future(history)


def test_several_syncs_in_the_future_keep_their_order(history: ServedHistory) -> None:
    history.collect(with_access=True)
    for n in range(3):
        history.acme.add_team(f"Team {n}")
        history.acme.pipelines["web"].default_branch = f"branch-{n}"
        with both_clocks_at(history, FUTURE + timedelta(hours=n)):
            list_catalog(history.session)
            take_snapshot(history.session)
    history.clock.move(minutes=10)
    history.sync(with_access=True)
    for table, name in (("pipelines_history", "default_branch"), ("teams_history", "name")):
        rows = history.rows(
            f"SELECT {name}, valid_from, valid_to FROM {table} ORDER BY valid_from"  # noqa: S608
        )
        assert [row[0] for row in rows if row[0].startswith(("Team", "branch"))] == [
            row[0].replace("0", f"{n}") for n in range(3) for row in rows if row[0][-1] == "0"
        ]
        begins = [valid_from for _, valid_from, _ in rows]
        assert len(set(begins)) == len(begins)
        assert all(valid_to is None or valid_to > valid_from for _, valid_from, valid_to in rows)
    assert history.rows("SELECT count(*) FROM access_syncs") == [5]
    assert history.rows("SELECT count(*) FROM access_syncs WHERE ended_at < started_at") == [0]
    assert history.rows("""
        SELECT count(*) FROM teams_history
        WHERE valid_from NOT IN (SELECT started_at FROM access_syncs)
    """) == [0]
    assert_nothing_in_the_future(history)


def test_a_feed_in_the_future_leaves_no_lag_of_years(history: ServedHistory) -> None:
    build = history.acme.create_build("web", state="running")
    history.collect()
    history.acme.finish_job(build.jobs[0])
    history.acme.finish_build(build)
    with both_clocks_at(history, FUTURE):
        follow(history.session)
    history.clock.move(minutes=10)
    follow(history.session)
    history.session.warehouse.publish()
    assert history.rows("SELECT DISTINCT lag_seconds FROM build_changes") == [None]
    assert_nothing_in_the_future(history)


def test_what_a_clock_ahead_within_the_tolerance_stored_is_left_alone(
    history: ServedHistory,
) -> None:
    history.acme.create_build("web", state="passed")
    history.collect()
    before = stored(history)
    history.clock.move(minutes=-29)
    with history.session.client() as client:
        open_sources(client, history.session, Failures())
    assert stored(history) == before
