"""The first day is the earliest that was ever asked for, and today counts."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from buildkite_assets.partitions import daily_partitions, first_day
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.ledger import extend_start_date


def settings(folder: Path, **more: str) -> Settings:
    """Settings for a warehouse in this folder."""
    return Settings.from_environment({"BUILDKITE_WAREHOUSE": str(folder / "w.duckdb"), **more})


def test_before_the_first_sync_it_is_90_days_ago(tmp_path: Path) -> None:
    assert first_day(settings(tmp_path)) == datetime.now(UTC).date() - timedelta(days=90)


def test_it_is_kept_from_the_first_sync_on_and_only_moves_back(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    for day, expected in [
        (date(2026, 3, 3), date(2026, 3, 3)),
        (date(2026, 3, 4), date(2026, 3, 3)),
        (date(2026, 2, 2), date(2026, 2, 2)),
    ]:
        with warehouse.transaction() as connection:
            extend_start_date(connection, day)
        warehouse.publish()
        assert first_day(settings(tmp_path)) == expected


def test_a_setting_moves_it_back_but_never_forgets_what_is_stored(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with warehouse.transaction() as connection:
        extend_start_date(connection, date(2026, 3, 3))
    warehouse.publish()
    earlier = settings(tmp_path, BUILDKITE_START_DATE="2026-01-01")
    later = settings(tmp_path, BUILDKITE_START_DATE="2026-05-05")
    assert (first_day(earlier), first_day(later)) == (date(2026, 1, 1), date(2026, 3, 3))


def test_today_is_a_partition(tmp_path: Path) -> None:
    start = datetime.now(UTC).date() - timedelta(days=2)
    partitions = daily_partitions(settings(tmp_path, BUILDKITE_START_DATE=f"{start}"))
    keys = partitions.get_partition_keys()
    assert keys[:3] == [f"{start + timedelta(days=n)}" for n in range(3)]
