"""Older files are brought up to date, newer ones are refused."""

from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from buildkite_assets.tables import TABLES
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.errors import NewerWarehouseError
from buildkite_assets.warehouse.ledger import DayRead, known_days, record_day
from buildkite_assets.warehouse.schema import SCHEMA_VERSION

from .build_pages import ORGANIZATION_ID, Page, Seen, build_id, merge, stored_builds

DAY = date(2026, 3, 1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a warehouse with a build, whose day is known."""
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with warehouse.transaction() as connection:
        merge(connection, tmp_path, Page(1, [Seen(1, "passed", [1])]))
        record_day(connection, read_on(DAY))
    return warehouse


def read_on(day: date) -> DayRead:
    """A read of a day after its end."""
    return DayRead(
        organization_id=ORGANIZATION_ID,
        day=day,
        read_at=datetime(2026, 4, 1, tzinfo=UTC),
        builds=1,
        jobs=1,
        rejected=0,
        requests=1,
        size_bytes=1000,
        dagster_run_id=None,
    )


def test_a_change_of_the_tables_needs_a_new_schema_version() -> None:
    shape = [
        (table.name, table.key, [(column.name, column.type) for column in table.columns])
        for table in TABLES
    ]
    # An older file is brought up to date only when the version moves on. So: raise SCHEMA_VERSION
    # in warehouse/schema.py, then put both new values here.
    assert (SCHEMA_VERSION, sha256(repr(shape).encode()).hexdigest()[:12]) == (3, "29aad67a8a9c")


def test_every_declared_column_is_there_with_its_type_and_meaning(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        rows = connection.execute(
            "SELECT columns.table_name, column_name, data_type, columns.comment "
            "FROM duckdb_columns() AS columns SEMI JOIN duckdb_tables() USING (table_oid) "
            "WHERE columns.table_name != 'warehouse_meta' "
            "AND columns.database_name = current_database() "
            "ORDER BY columns.table_name, column_index"
        ).fetchall()
    assert rows == [
        (table.name, column.name, column.type, column.meaning)
        for table in sorted(TABLES, key=lambda table: table.name)
        for column in table.columns
    ]


def test_an_older_file_gets_the_columns_it_lacks_and_has_its_days_read_again(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    with warehouse.transaction() as connection:
        connection.execute("ALTER TABLE builds DROP COLUMN source")
        connection.execute("ALTER TABLE jobs DROP COLUMN matrix")
        connection.execute("DROP TABLE queues")
        connection.execute(
            "UPDATE warehouse_meta SET schema_version = 0, start_date = '2026-01-01'"
        )
    with warehouse.transaction() as connection:
        assert connection.execute("SELECT number, source FROM builds").fetchall() == [(1, None)]
        assert connection.execute("SELECT matrix FROM jobs").fetchall() == [(None,)]
        assert connection.execute("FROM queues").fetchall() == []
        assert connection.execute("FROM warehouse_meta").fetchall() == [
            (SCHEMA_VERSION, date(2026, 1, 1))
        ]
        assert known_days(connection, ORGANIZATION_ID) == set()
        # A read by this version fills the column, and the day is known again.
        merge(connection, tmp_path, Page(2, [Seen(1, "failed")]))
        record_day(connection, read_on(DAY))
        assert known_days(connection, ORGANIZATION_ID) == {DAY}
        assert stored_builds(connection) == {1: ("failed", False)}


def test_an_older_file_that_lacks_no_column_keeps_its_days(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("UPDATE warehouse_meta SET schema_version = 0")
    with warehouse.transaction() as connection:
        assert known_days(connection, ORGANIZATION_ID) == {DAY}


def test_a_newer_file_is_refused_and_left_as_it_is(warehouse: Warehouse) -> None:
    newer = SCHEMA_VERSION + 1
    with warehouse.transaction() as connection:
        connection.execute("UPDATE warehouse_meta SET schema_version = ?", [newer])
    working = warehouse.folder / "working.duckdb"
    before = working.read_bytes()
    with (
        pytest.raises(NewerWarehouseError, match=f"schema version {newer}.*upgrade"),
        warehouse.transaction() as connection,
    ):
        connection.execute("DELETE FROM builds")
    assert working.read_bytes() == before


def test_a_day_is_known_once_it_was_read_after_its_end(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "w.duckdb").transaction() as connection:
        record_day(connection, read_on(DAY))
        # Read at noon of the day itself: more builds were to come.
        during = {
            **vars(read_on(date(2026, 3, 2))),
            "read_at": datetime(2026, 3, 2, 12, tzinfo=UTC),
        }
        record_day(connection, DayRead(**during))
        assert known_days(connection, ORGANIZATION_ID) == {DAY}
        assert known_days(connection, build_id(77)) == set()
        record_day(connection, read_on(date(2026, 3, 2)))
        assert known_days(connection, ORGANIZATION_ID) == {DAY, date(2026, 3, 2)}


def test_the_file_can_be_read_by_duckdb_1_5(warehouse: Warehouse) -> None:
    warehouse.publish()
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{warehouse.path}' AS published (READ_ONLY)")
        [(tags,)] = connection.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = 'published'"
        ).fetchall()
    assert tags["storage_version"].startswith("v1.5.0")
