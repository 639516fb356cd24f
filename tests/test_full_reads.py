"""Reading days again in full: what differs although feeds should have told it is late."""

from datetime import date, timedelta
from pathlib import Path

from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.days import open_sources, read_days
from buildkite_assets.session import Session
from tests.syncing import empty_sandbox
from tests.test_changes import follow, served_session


def test_of_days_read_again_together_those_are_compared_that_were_known_whole(
    tmp_path: Path,
) -> None:
    sandbox, clock = empty_sandbox()
    today = clock().date()
    known, outdated, unread = (today - timedelta(days=n) for n in (1, 2, 3))
    clock.move(days=-5)
    for _ in range(4):
        clock.move(days=1)
        sandbox.organization("acme").create_build("web", state="passed")
    clock.move(days=1)
    with served_session(sandbox, tmp_path) as (session, client):

        def read(*days: date, is_after_feed: bool) -> None:
            sources = open_sources(client, session, Failures())
            for _ in read_days(sources, days, session.warehouse, None, is_after_feed=is_after_feed):
                pass

        read(known, outdated, today, is_after_feed=False)
        clock.move(hours=1)
        follow(session, client)
        with session.warehouse.transaction() as connection:
            connection.execute("UPDATE builds SET branch = 'another'")
            connection.execute("UPDATE sync_days SET is_to_read_again = day = ?", [outdated])
        read(known, outdated, unread, today, is_after_feed=True)
        assert late(session) == [(known, "branch", "another", "main")]


def late(session: Session) -> list[tuple[object, ...]]:
    """The late changes that were noted."""
    with session.warehouse.transaction() as connection:
        return connection.execute("SELECT day, field, old, new FROM late_changes").fetchall()
