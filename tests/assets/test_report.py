"""The report as an asset: where it lies, that it is whole, and when it is written."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.definitions import definitions
from buildkite_assets.runs import run_report
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse.errors import WarehouseWriteError

KEY = dg.AssetKey(["buildkite", "ci_report"])
SHOWN = dg.AssetKey(["buildkite", "flaky_steps"])
TEN = datetime(2026, 3, 1, 10, 5, tzinfo=UTC)


@pytest.fixture
def session(month_file: Path, tmp_path: Path) -> Session:
    """Return a session on a copy of the month that a group may read."""
    path = tmp_path / "acme.duckdb"
    shutil.copyfile(month_file, path)
    return Session(
        Settings.from_environment({"BUILDKITE_WAREHOUSE": str(path), "BUILDKITE_FILE_MODE": "0640"})
    )


def test_it_lies_beside_the_warehouse_with_its_mode_and_nothing_else_does(
    session: Session, tmp_path: Path
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_report(session, instance)
        event = instance.get_latest_materialization_event(KEY)
    path = tmp_path / "acme-ci-report.html"
    assert path == session.settings.report
    assert path.stat().st_mode & 0o777 == 0o640
    assert event
    assert event.asset_materialization
    metadata = event.asset_materialization.metadata
    assert metadata["path"].value == str(path)
    assert metadata["bytes"].value == path.stat().st_size
    assert {entry.name for entry in tmp_path.iterdir()} == {
        ".acme.duckdb",
        "acme.duckdb",
        "acme-ci-report.html",
    }
    assert {entry.name for entry in (tmp_path / ".acme.duckdb").iterdir()} <= {"lock"}


def test_a_page_that_cannot_be_written_leaves_the_old_one(session: Session, tmp_path: Path) -> None:
    path = session.settings.report
    path.write_text("the old one")
    (tmp_path / ".acme.duckdb" / f"publishing-{path.name}").mkdir(parents=True)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(WarehouseWriteError, match="What was published stays"),
    ):
        run_report(session, instance)
    assert path.read_text() == "the old one"


def written_at(
    session: Session, *, changed_before: set[int], changed_after: frozenset[int] = frozenset()
) -> list[int]:
    """When the report is asked for, and written at once, in minutes after 10:05.

    Args:
        session: whose definitions count.
        changed_before: the looks before which something shown has changed.
        changed_after: the looks after which it has, once the report was written.
    """
    defs = definitions(session)
    cursor, requested = None, []
    with dg.DagsterInstance.ephemeral() as instance:
        for minutes in (0, 15, 60, 75, 120, 180):
            if minutes in changed_before:
                instance.report_runless_asset_event(dg.AssetMaterialization(SHOWN))
            result = dg.evaluate_automation_conditions(
                defs=defs,
                instance=instance,
                asset_selection=dg.AssetSelection.assets(KEY),
                cursor=cursor,
                evaluation_time=TEN + timedelta(minutes=minutes),
            )
            cursor = result.cursor
            if result.get_num_requested(KEY):
                requested.append(minutes)
                instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
            if minutes in changed_after:
                instance.report_runless_asset_event(dg.AssetMaterialization(SHOWN))
    return requested


def test_it_is_written_at_most_once_an_hour_and_only_after_a_change(session: Session) -> None:
    # On the hour for the change at 10:20, then for those at 11:20 and 12:05; not at 13:05.
    assert written_at(session, changed_before={0, 15, 75, 120}) == [60, 120]


def test_a_change_that_is_seen_together_with_the_end_of_its_own_run_counts(
    session: Session,
) -> None:
    assert written_at(session, changed_before={0, 15}, changed_after=frozenset({60})) == [60, 120]
