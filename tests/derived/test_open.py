"""What runs, waits or stands at a block now: worked examples."""

from uuid import UUID

import pytest

from tests.checks.evaluating import feed, read_days

from .history import DAY, ORGANIZATION, History, at


@pytest.fixture
def history() -> History:
    return History()


def test_an_open_build_is_measured_to_when_buildkite_last_told_of_it(history: History) -> None:
    """Synced 11:10: one job waits since 10:05, one since 10:30, one runs, one is not yet due.

    A feed that began later and did not bring the build says nothing of it.
    """
    build = history.build(
        history.pipeline(), "10:00", "running", synced_at="11:10", web_url="https://x.example/1"
    )
    history.job(build, "a", "10:30", None, None, "scheduled")
    history.job(build, "b", "10:05", None, None, "assigned")
    history.job(build, "c", "10:00", "10:01", None, "running")
    history.job(build, "d", None, None, None, "waiting")
    history.job(build, "e", "10:00", "10:01", "10:02", "passed")
    feed(history, at("12:00"))
    history.derive("open_builds")
    columns = ("read_at", "age_seconds", "running_jobs", "waiting_jobs", "longest_wait_seconds")
    [row] = history.rows("open_builds", *columns, "is_blocked", "blocked_seconds", "web_url")
    read_at = at("11:10").replace(tzinfo=None)
    assert row == (read_at, 4_200, 1, 2, 3_900, False, None, "https://x.example/1")


def test_a_blocked_build_is_measured_to_the_read_point_of_the_last_feed(history: History) -> None:
    """Work ended 10:10, the last feed began at 12:00: the read point is 11:58."""
    build = history.build(history.pipeline(), "10:00", blocked=True, synced_at="10:15")
    history.job(build, "a", "10:00", "10:00", "10:10")
    history.job(build, "ok?", state="blocked", type="manual")
    history.derive("open_builds")
    columns = ("age_seconds", "blocked_seconds")
    assert history.rows("open_builds", *columns) == [(900, 300)]
    for begin in ("11:00", "12:00"):
        feed(history, at(begin))
    history.derive("open_builds")
    assert history.rows("open_builds", *columns) == [(7_080, 6_480)]


def test_a_build_is_never_older_than_it_was_read(history: History) -> None:
    """Buildkite tells its clock by the second, and agents have clocks of their own."""
    build = history.build(None, "10:00:00.900", "running", blocked=True, synced_at="10:00")
    history.job(build, "a", "10:00:01", None, None, "scheduled")
    history.derive("open_builds", "queue_backlog")
    columns = ("read_at", "age_seconds", "longest_wait_seconds")
    created_at = at("10:00:00.900").replace(tzinfo=None)
    assert history.rows("open_builds", *columns) == [(created_at, 0, 0)]
    assert history.rows("queue_backlog", "longest_wait_seconds") == [0]


def test_a_build_that_nobody_can_see_is_left_out(history: History) -> None:
    gone, seen = history.pipeline("gone"), history.pipeline("seen")
    history.connection.execute(
        "UPDATE pipelines SET absent_since = '2026-11-02 11:00' WHERE pipeline_id = ?", [gone]
    )
    history.build(gone, "10:00", "running")
    history.build(seen, "10:00", "running", absent_since="11:00")
    history.build(seen, "10:00", "passed")
    history.build(seen, "10:00", "a state that nobody knows")
    history.build(None, "10:00", "running")
    history.derive("open_builds")
    assert history.rows("open_builds", "number") == [4, 5]


def test_every_queue_has_a_row_as_of_the_last_sync(history: History) -> None:
    """`linux` is idle, `mac` has two jobs waiting and one running, of builds read at 11:10."""
    linux, mac = history.queue("linux"), history.queue("mac")
    pipeline = history.pipeline()
    done = history.build(pipeline, "10:00")
    history.job(done, "a", "10:00", "10:01", "10:02", queue_id=linux)
    for runnable in ("10:20", "10:40"):
        build = history.build(pipeline, "10:00", "running", synced_at="11:10")
        history.job(build, "a", runnable, None, None, "scheduled", queue_id=mac)
    history.job(build, "b", "10:00", "10:01", None, "running", queue_id=mac)
    read_days(history, DAY, DAY, early=True)
    columns = ("queue_key", "read_at", "waiting_jobs", "longest_wait_seconds", "running_jobs")
    for begin, read_at in ((None, "12:00"), ("11:30", "12:00"), ("13:00", "12:58")):
        if begin:
            feed(history, at(begin))
        history.derive("queue_backlog")
        now = at(read_at).replace(tzinfo=None)
        assert history.rows("queue_backlog", *columns) == [
            ("linux", now, 0, None, 0),
            ("mac", now, 2, 3_000, 1),
        ]


def test_each_organization_has_a_clock_of_its_own(history: History) -> None:
    other = UUID(int=2)
    for organization in (ORGANIZATION, other):
        build = history.build(
            None, "10:00", blocked=True, synced_at="10:10", organization_id=organization
        )
        history.job(build, "a", "10:00", "10:01", "10:02", organization_id=organization)
    feed(history, at("12:02"))
    history.derive("open_builds", "queue_backlog")
    assert history.rows("open_builds", "age_seconds") == [7_200, 600]
    assert history.rows("queue_backlog", "organization_id", "read_at") == [
        (ORGANIZATION, at("12:00").replace(tzinfo=None)),
        (other, None),
    ]


def test_a_read_point_that_was_set_back_is_the_one_that_counts(history: History) -> None:
    """A day that was read in full from 11:00 on was not known to the feed of 12:00."""
    history.build(None, "10:00", blocked=True, synced_at="10:10")
    for begin in ("10:30", "12:00"):
        feed(history, at(begin))
    history.connection.execute(
        "UPDATE sync_feeds SET read_point = '2026-11-02 10:58' WHERE started_at::TIME = '12:00'"
    )
    history.derive("open_builds")
    assert history.rows("open_builds", "age_seconds") == [58 * 60]
