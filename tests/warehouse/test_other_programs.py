"""Programs that open the warehouse's files for writing: they are named, and cost nobody else."""

import os
import shutil
import struct
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from buildkite_assets.definitions import definitions
from buildkite_assets.partitions import first_day
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse, connect
from buildkite_assets.warehouse.errors import (
    ForbiddenWarehouseError,
    OutdatedDuckDBError,
    StrayLogError,
    WarehouseLockedError,
)
from buildkite_assets.warehouse.ledger import extend_start_date
from tests.other_programs import leave_log, opened_for_writing
from tests.unprivileged import unprivileged

FIRST = date(2026, 3, 3)
LOSE_ROWS = "DELETE FROM mark WHERE i >= 16"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a published warehouse with 101 marks, whose first day is known."""
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with warehouse.transaction() as connection:
        connection.execute("CREATE TABLE mark AS SELECT range AS i FROM range(101)")
        extend_start_date(connection, FIRST)
    warehouse.publish()
    return warehouse


def marks(connection: duckdb.DuckDBPyConnection) -> int:
    [(rows,)] = connection.execute("SELECT count(*) FROM mark").fetchall()
    return int(rows)


def settings(warehouse: Warehouse) -> Settings:
    return Settings.from_environment({"BUILDKITE_WAREHOUSE": str(warehouse.path)})


# A program that holds the published file


def test_a_lock_is_called_a_lock_and_names_the_program(warehouse: Warehouse) -> None:
    with opened_for_writing(warehouse.path):
        with pytest.raises(WarehouseLockedError) as caught:
            connect(warehouse.path)
        message = str(caught.value)
        assert f"{warehouse.path} is open for writing in another program, " in message
        assert "(PID " in message
        assert "close it there" in message
        assert "Move it away" not in message
    with connect(warehouse.path) as reader:
        assert marks(reader) == 101


def test_a_lock_of_ones_own_program_is_called_one(warehouse: Warehouse) -> None:
    with (
        duckdb.connect(warehouse.path),
        pytest.raises(WarehouseLockedError, match="in this program, by another connection"),
    ):
        connect(warehouse.path)


def test_what_is_collected_is_published_although_another_program_holds_the_file(
    warehouse: Warehouse,
) -> None:
    with opened_for_writing(warehouse.path) as ask:
        with warehouse.transaction() as connection:
            connection.execute("INSERT INTO mark VALUES (101)")
        warehouse.publish()
        with connect(warehouse.path) as reader:
            assert marks(reader) == 102
        assert ask("SELECT count(*) FROM mark") == [[101]]


def test_our_own_reading_publishes_once_more_rather_than_fail(warehouse: Warehouse) -> None:
    with opened_for_writing(warehouse.path) as ask, warehouse.published() as reader:
        assert marks(reader) == 101
        assert ask("SELECT count(*) FROM mark") == [[101]]


# Logs that other programs leave


def test_the_log_of_a_program_that_was_killed_is_not_replayed(warehouse: Warehouse) -> None:
    log = leave_log_of_same_checkpoint(warehouse.path)
    with pytest.raises(StrayLogError, match="delete the log") as caught:
        connect(warehouse.path)
    assert log.name in str(caught.value)
    with warehouse.published() as reader:
        assert marks(reader) == 101
    assert not log.exists()


def test_a_program_that_writes_to_an_older_publication_is_named_until_it_ends(
    warehouse: Warehouse,
) -> None:
    with opened_for_writing(warehouse.path) as ask:
        ask("INSERT INTO mark VALUES (200)")
        warehouse.publish()
        # Its log is named after the path, which is now another file's.
        ask("CHECKPOINT")
        ask(LOSE_ROWS)
        assert warehouse.path.with_name("w.duckdb.wal").exists()
        with pytest.raises(StrayLogError, match="an older publication open for writing"):
            connect(warehouse.path)
    with connect(warehouse.path) as reader:
        assert marks(reader) == 101


def test_a_published_file_is_taken_up_again_without_the_log_beside_it(
    warehouse: Warehouse,
) -> None:
    log = leave_log_of_same_checkpoint(warehouse.path)
    warehouse.folder.rename(warehouse.folder.with_name("away"))
    with warehouse.transaction() as connection:
        assert marks(connection) == 101
    warehouse.publish()
    assert not log.exists()
    with connect(warehouse.path) as reader:
        assert marks(reader) == 101


def test_a_published_file_is_taken_up_again_without_the_log_of_a_lost_working_file(
    warehouse: Warehouse,
) -> None:
    working = warehouse.folder / "working.duckdb"
    leave_log_of_same_checkpoint(working)
    working.unlink()
    with warehouse.transaction() as connection:
        assert marks(connection) == 101


def test_a_file_that_another_program_writes_to_is_not_taken_up(warehouse: Warehouse) -> None:
    shutil.rmtree(warehouse.folder)
    with (
        opened_for_writing(warehouse.path),
        pytest.raises(WarehouseLockedError, match="open for writing in another program"),
        warehouse.transaction(),
    ):
        pass
    with warehouse.transaction() as connection:
        assert marks(connection) == 101


def leave_log_of_same_checkpoint(path: Path) -> Path:
    """Leave a log beside a file that DuckDB would replay into it; the log."""
    before = path.read_bytes()
    leave_log(path, LOSE_ROWS)
    path.write_bytes(before)
    log = path.with_name(f"{path.name}.wal")
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS it (READ_ONLY)")
        assert connection.execute("SELECT count(*) FROM it.mark").fetchall() == [(16,)]
    return log


# The first day, which the code location asks for


@pytest.fixture
def without_note(warehouse: Warehouse) -> Warehouse:
    """Return the warehouse as an older version left it."""
    (warehouse.folder / "first_day").unlink()
    return warehouse


def test_the_code_location_loads_while_another_program_holds_the_file(
    warehouse: Warehouse,
) -> None:
    with opened_for_writing(warehouse.path):
        loaded = definitions(Session(settings(warehouse)))
    partitions = loaded.resolve_assets_def(dg.AssetKey(["buildkite", "builds"])).partitions_def
    assert partitions
    assert partitions.get_first_partition_key() == f"{FIRST}"


def test_the_first_day_needs_no_database(warehouse: Warehouse) -> None:
    warehouse.path.write_bytes(os.urandom(50_000))
    (warehouse.folder / "working.duckdb").write_bytes(os.urandom(50_000))
    assert first_day(settings(warehouse)) == FIRST


@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"3 March", b"2026-13-01"])
def test_a_damaged_note_is_as_good_as_none(warehouse: Warehouse, note: bytes) -> None:
    (warehouse.folder / "first_day").write_bytes(note)
    assert first_day(settings(warehouse)) == FIRST
    warehouse.publish()
    assert (warehouse.folder / "first_day").read_text() == f"{FIRST}\n"


def test_without_a_note_the_first_day_is_that_of_the_working_file_where_need_be(
    without_note: Warehouse,
) -> None:
    with opened_for_writing(without_note.path):
        assert first_day(settings(without_note)) == FIRST
    without_note.path.write_bytes(os.urandom(50_000))
    assert first_day(settings(without_note)) == FIRST


def test_where_nothing_can_be_read_partitions_begin_at_the_default(
    without_note: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    without_note.path.write_bytes(os.urandom(50_000))
    (without_note.folder / "working.duckdb").write_bytes(os.urandom(50_000))
    assert first_day(settings(without_note)) == datetime.now(UTC).date() - timedelta(days=90)
    assert "Daily partitions begin at the default" in caplog.text


def test_a_file_of_another_program_has_no_first_day(tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "w.duckdb") as connection:
        connection.execute("CREATE TABLE theirs (i INTEGER)")
    expected = datetime.now(UTC).date() - timedelta(days=90)
    assert first_day(settings(Warehouse(tmp_path / "w.duckdb"))) == expected


# Links, versions, permissions


def test_a_link_to_the_warehouse_is_followed_and_stays_a_link(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.duckdb"
    link.symlink_to(warehouse.path)
    session = Session(Settings.from_environment({"BUILDKITE_WAREHOUSE": str(link)}))
    with session.warehouse.transaction() as connection:
        connection.execute("INSERT INTO mark VALUES (101)")
    session.warehouse.publish()
    session.warehouse.publish_beside(session.settings.report.name, b"a page")
    assert link.is_symlink()
    for path in (link, warehouse.path):
        with connect(path) as reader:
            assert marks(reader) == 102
    assert (tmp_path / "w-ci-report.html").exists()
    assert [entry.name for entry in (tmp_path / "elsewhere").iterdir()] == ["link.duckdb"]


def test_a_file_of_a_newer_duckdb_says_which_one_is_needed(warehouse: Warehouse) -> None:
    content = bytearray(warehouse.path.read_bytes())
    content[12:20] = struct.pack("<Q", 128)  # the storage version
    content[:8] = struct.pack("<Q", checksum_of_header(content[8:4096]))
    warehouse.path.write_bytes(content)
    with pytest.raises(OutdatedDuckDBError, match=r"needs DuckDB 1\.5 or newer") as caught:
        connect(warehouse.path)
    assert duckdb.__version__ in str(caught.value)
    assert "Move it away" not in str(caught.value)


def checksum_of_header(header: bytearray) -> int:
    """DuckDB's checksum of a block, without which it does not look at the version."""
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", header):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return checksum


@pytest.mark.parametrize("place", ["w.duckdb", "."])
def test_a_file_that_may_not_be_read_is_not_called_damaged(
    warehouse: Warehouse, place: str
) -> None:
    program = "import sys, buildkite_assets; buildkite_assets.connect(sys.argv[1])"
    (warehouse.path.parent / place).chmod(0)
    done = subprocess.run(  # noqa: S603 - a program of this test
        unprivileged(sys.executable, "-c", program, str(warehouse.path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    warehouse.path.parent.chmod(0o700)
    assert ForbiddenWarehouseError.__name__ in done.stderr
    assert "BUILDKITE_FILE_MODE" in done.stderr
