"""A first sync's download, parse and write alone: no Dagster, no feed, no derived tables.

Run as a program in the environment of a sync.
"""

from collections import deque
from datetime import UTC, datetime, timedelta

from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.days import open_sources, read_days
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings


def main() -> None:
    """Read every day from BUILDKITE_START_DATE to today, and publish."""
    session = Session(Settings.from_environment())
    first, last = session.settings.start_date, datetime.now(UTC).date()
    assert first
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    warehouse = session.warehouse
    with session.client() as client:
        deque(read_days(open_sources(client, session, Failures()), days, warehouse, None), maxlen=0)
    warehouse.publish()


if __name__ == "__main__":
    main()
