"""What people have from `connect()`: the newest publication, and rows as their tools want them."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import duckdb
import polars as pl
import pytest

from buildkite_assets import connect
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.tables import TABLES
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.schema import create_table

from .build_pages import Page, Seen, build_id, merge

CREATED_AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
PUBLISH = """
import sys
from pathlib import Path
from buildkite_assets.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]))
with warehouse.transaction() as connection:
    connection.execute("UPDATE warehouse_meta SET start_date = ?", [sys.argv[2]])
warehouse.publish()
"""
MARK = "SELECT start_date::VARCHAR FROM warehouse_meta"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a published file with a build, an attempt and all derived tables."""
    folder = tmp_path_factory.mktemp("reader")
    warehouse = Warehouse(folder / "it's.duckdb")
    with warehouse.transaction() as connection:
        merge(connection, folder, Page(1, [Seen(1, "passed", [1])]))
        for table in derived_tables():
            create_table(connection, table)
        connection.execute("UPDATE builds SET created_at = ?", [CREATED_AT.replace(tzinfo=None)])
    warehouse.publish()
    return warehouse.path


@pytest.fixture
def reader(published: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a connection to it."""
    with connect(published) as connection:
        yield connection


def publish_elsewhere(path: Path, day: str) -> None:
    """Publish with a mark, in a process of its own."""
    subprocess.run([sys.executable, "-c", PUBLISH, str(path), day], check=True, timeout=120)  # noqa: S603


def test_each_new_connection_of_a_process_sees_what_another_process_published(
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.duckdb"
    publish_elsewhere(path, "2026-01-01")
    with connect(path) as first:
        assert first.sql(MARK).fetchall() == [("2026-01-01",)]
        publish_elsewhere(path, "2026-02-02")
        with connect(path) as second:
            publish_elsewhere(path, "2026-03-03")
            with connect(path) as third:
                assert third.sql(MARK).fetchall() == [("2026-03-03",)]
                assert second.sql(MARK).fetchall() == [("2026-02-02",)]
                assert first.sql(MARK).fetchall() == [("2026-01-01",)]


def test_the_default_is_the_file_that_the_environment_names(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKITE_WAREHOUSE", str(published))
    with connect() as connection:
        assert connection.sql("SELECT count(*) FROM builds").fetchall() == [(1,)]


def test_a_path_may_stand_in_the_home_folder(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(published.parent))
    with connect("~/it's.duckdb") as connection:
        assert connection.sql("SELECT count(*) FROM builds").fetchall() == [(1,)]


@pytest.mark.parametrize("table", [table.name for table in (*TABLES, *derived_tables())])
def test_every_table_can_be_had_as_a_frame_of_polars_and_of_pandas(
    reader: duckdb.DuckDBPyConnection, table: str
) -> None:
    rows = reader.sql(f"FROM {table}")
    assert rows.pl().columns == list(rows.df().columns) == rows.columns


def test_instants_are_naive_times_in_utc_everywhere(reader: duckdb.DuckDBPyConnection) -> None:
    rows = reader.sql("SELECT build_id, created_at FROM builds")
    at = CREATED_AT.replace(tzinfo=None)
    assert rows.fetchall() == [(UUID(build_id(1)), at)]
    assert rows.pl()["created_at"].to_list() == [at]
    assert rows.pl().schema["created_at"] == pl.Datetime("us", time_zone=None)
    assert rows.df()["created_at"].tolist() == [at]


def test_instants_with_a_time_zone_are_those_of_utc(reader: duckdb.DuckDBPyConnection) -> None:
    rows = reader.sql("SELECT created_at AT TIME ZONE 'UTC' AS created_at FROM builds")
    assert rows.fetchall() == [(CREATED_AT,)]
    assert rows.pl()["created_at"].to_list() == [CREATED_AT]
    assert rows.df()["created_at"].tolist() == [CREATED_AT]


def test_tables_of_ones_own_can_stand_beside_the_published_ones(
    reader: duckdb.DuckDBPyConnection,
) -> None:
    mine = pl.DataFrame({"state": ["passed"], "colour": ["green"]})
    assert mine.height
    rows = reader.sql("SELECT colour FROM builds JOIN mine USING (state)")
    assert rows.fetchall() == [("green",)]
