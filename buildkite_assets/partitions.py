"""The daily partitions: one UTC day of builds each, from the first day to today."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.first_day import known_first_day

_DEFAULT_DAYS = 90
_LOCK_SECONDS = 5


def first_day(settings: Settings) -> date:
    """The first daily partition: the earliest that was ever asked for.

    It is kept in the warehouse from the first sync on, so that it does not move with today.
    """
    warehouse = Warehouse(settings.warehouse, settings.file_mode, lock_seconds=_LOCK_SECONDS)
    known = [day for day in (settings.start_date, known_first_day(warehouse)) if day]
    return min(known, default=datetime.now(UTC).date() - timedelta(days=_DEFAULT_DAYS))


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """The partitions of everything that stands on one day's builds; today counts."""
    return dg.DailyPartitionsDefinition(first_day(settings).isoformat(), end_offset=1)


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags by which a run is one of all partitions from `first` to `last`."""
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
