"""Which file is shown, and that no table is missing from it."""

from pathlib import Path

import pytest

from buildkite_assets.demo import RULES
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.report.opening import is_invented, opened, settings_to_show
from buildkite_assets.rules import Rules, read_rules
from buildkite_assets.tables import ACCESS_TABLES, TABLES
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.errors import NothingPublishedError

from .conftest import settings_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder in which this process stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path


def test_the_file_of_the_environment_counts_even_if_it_is_not_there(folder: Path) -> None:
    (folder / "data" / "demo.duckdb").touch()
    shown = settings_to_show({"BUILDKITE_WAREHOUSE": "mine.duckdb"})
    assert shown.warehouse == folder / "mine.duckdb"
    assert not is_invented(shown)
    with pytest.raises(NothingPublishedError, match="buildkite-assets sync"):
        opened(shown)


def test_the_default_file_counts_before_the_demos(folder: Path) -> None:
    for name in ("demo", "buildkite"):
        (folder / "data" / f"{name}.duckdb").touch()
    shown = settings_to_show({})
    assert shown.warehouse == folder / "data" / "buildkite.duckdb"
    assert shown.rules == Rules()
    assert not is_invented(shown)


@pytest.mark.parametrize("environment", [{}, {"BUILDKITE_WAREHOUSE": "data/demo.duckdb"}])
def test_the_demos_file_is_shown_with_its_rules_and_known_as_invented(
    folder: Path, environment: dict[str, str]
) -> None:
    (folder / "data" / "demo.duckdb").touch()
    shown = settings_to_show(environment)
    assert shown.warehouse == folder / "data" / "demo.duckdb"
    assert shown.rules == read_rules(RULES)
    assert is_invented(shown)


def test_without_any_file_it_is_told_how_to_make_one(folder: Path) -> None:
    assert folder.exists()
    with pytest.raises(NothingPublishedError, match="make demo"):
        opened(settings_to_show({}))


def test_tables_that_were_never_made_are_empty(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.publish()
    with opened(settings_of(warehouse.path)) as connection:
        for table in (*TABLES, *ACCESS_TABLES, *derived_tables()):
            rows = connection.sql(f"FROM {table.name}")
            assert rows.columns == [column.name for column in table.columns]
            assert rows.fetchall() == []
