"""One file is written in transactions, another is read; what goes wrong changes neither."""

import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from threading import Event, Thread

import duckdb
import pytest

from buildkite_assets.warehouse import Warehouse, connect
from buildkite_assets.warehouse.errors import (
    DamagedWarehouseError,
    NothingPublishedError,
    WarehouseBusyError,
    WarehouseWriteError,
)
from buildkite_assets.warehouse.ledger import start_date
from tests.other_programs import opened_for_writing
from tests.unprivileged import unprivileged

ONE, TWO = date(2026, 1, 1), date(2026, 2, 2)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return a warehouse that has nothing yet."""
    return Warehouse(tmp_path / "data" / "w.duckdb")


def store(warehouse: Warehouse, day: date) -> None:
    """Write something that tells one state of the warehouse from another."""
    with warehouse.transaction() as connection:
        set_start_date(connection, day)


def set_start_date(connection: duckdb.DuckDBPyConnection, day: date) -> None:
    """Put a mark into the one row that every warehouse has."""
    connection.execute("UPDATE warehouse_meta SET start_date = ?", [day])


def stored(warehouse: Warehouse) -> date | None:
    """What the working file holds."""
    with warehouse.transaction() as connection:
        return start_date(connection)


def published(path: Path) -> date | None:
    """What a new reader sees."""
    with connect(path) as connection:
        return start_date(connection)


# Transactions


def test_an_exception_leaves_everything_as_it_was(warehouse: Warehouse) -> None:
    store(warehouse, ONE)

    def fail_half_way() -> None:
        with warehouse.transaction() as connection:
            set_start_date(connection, TWO)
            connection.execute("DROP TABLE builds")
            raise LookupError

    with pytest.raises(LookupError):
        fail_half_way()
    assert stored(warehouse) == ONE
    with warehouse.transaction() as connection:
        assert connection.execute("FROM builds").fetchall() == []


def test_two_processes_write_one_after_the_other(warehouse: Warehouse) -> None:
    program = """
import sys
from datetime import timedelta
from pathlib import Path
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.ledger import start_date
for _ in range(10):
    with Warehouse(Path(sys.argv[1])).transaction() as connection:
        day = start_date(connection) + timedelta(days=1)
        connection.execute("UPDATE warehouse_meta SET start_date = ?", [day])
"""
    store(warehouse, ONE)
    writers = [run_beside(program, warehouse.path) for _ in range(2)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert stored(warehouse) == date(2026, 1, 21)


# Publishing


def test_nothing_can_be_read_before_it_is_published(warehouse: Warehouse) -> None:
    store(warehouse, ONE)
    with pytest.raises(NothingPublishedError, match="buildkite-assets sync"):
        connect(warehouse.path)


def test_readers_see_what_was_published_and_keep_it(warehouse: Warehouse) -> None:
    store(warehouse, ONE)
    warehouse.publish()
    with connect(warehouse.path) as reader:
        store(warehouse, TWO)
        assert published(warehouse.path) == ONE
        warehouse.publish()
        # The old reader keeps its snapshot; a new one in the same process sees the new file.
        assert start_date(reader) == ONE
        assert published(warehouse.path) == TWO


def test_a_reader_cannot_write(warehouse: Warehouse) -> None:
    store(warehouse, ONE)
    warehouse.publish()
    with connect(warehouse.path) as reader, pytest.raises(duckdb.InvalidInputException):
        set_start_date(reader, TWO)


def test_a_reader_in_another_process_blocks_nobody(warehouse: Warehouse) -> None:
    program = """
import sys
import duckdb
reader = duckdb.connect(sys.argv[1], read_only=True)
print(reader.sql("SELECT start_date::VARCHAR FROM warehouse_meta").fetchall(), flush=True)
sys.stdin.readline()
print(reader.sql("SELECT start_date::VARCHAR FROM warehouse_meta").fetchall(), flush=True)
"""
    store(warehouse, ONE)
    warehouse.publish()
    notebook = run_beside(program, warehouse.path)
    assert notebook.stdout
    assert notebook.stdout.readline() == "[('2026-01-01',)]\n"
    store(warehouse, TWO)
    warehouse.publish()
    assert published(warehouse.path) == TWO
    said, _ = notebook.communicate("go on\n", timeout=60)
    assert said == "[('2026-01-01',)]\n"


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_the_published_file_has_its_mode_and_the_working_one_is_the_owners(
    mode: int, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb", mode)
    old_mask = os.umask(0)
    try:
        store(warehouse, ONE)
        warehouse.publish()
    finally:
        os.umask(old_mask)
    assert warehouse.path.stat().st_mode & 0o777 == mode
    assert warehouse.folder.stat().st_mode & 0o777 == 0o700


def test_publishing_leaves_nothing_beside_the_file(warehouse: Warehouse) -> None:
    store(warehouse, ONE)
    warehouse.publish()
    stale_log = warehouse.path.with_name("w.duckdb.wal")
    stale_log.write_bytes(b"the log of a file that is no more")
    store(warehouse, TWO)
    warehouse.publish()
    assert published(warehouse.path) == TWO
    names = {path.name for path in warehouse.path.parent.iterdir()}
    assert names == {"w.duckdb", ".w.duckdb"}
    assert {path.name for path in warehouse.folder.iterdir()} <= {
        "working.duckdb",
        "lock",
        "first_day",
    }


def test_a_lost_working_file_is_taken_from_the_published_one(warehouse: Warehouse) -> None:
    store(warehouse, ONE)
    warehouse.publish()
    (warehouse.folder / "working.duckdb").unlink()
    assert stored(warehouse) == ONE


# Damage, and other programs


def test_a_damaged_working_file_is_told_and_the_told_way_out_works(warehouse: Warehouse) -> None:
    store(warehouse, ONE)
    warehouse.publish()
    (warehouse.folder / "working.duckdb").write_bytes(os.urandom(50_000))
    with pytest.raises(DamagedWarehouseError, match="move the folder") as caught:
        store(warehouse, TWO)
    assert str(warehouse.folder) in str(caught.value)
    assert published(warehouse.path) == ONE
    warehouse.folder.rename(warehouse.folder.with_name("away"))
    store(warehouse, TWO)
    warehouse.publish()
    assert published(warehouse.path) == TWO


def test_damage_that_shows_only_on_reading_is_told_as_such(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        connection.execute("CREATE TABLE filler AS SELECT hash(i) AS h FROM range(300_000) t(i)")
    warehouse.publish()
    working = warehouse.folder / "working.duckdb"
    with working.open("r+b") as file:
        file.seek(working.stat().st_size // 2)
        file.write(os.urandom(200_000))
    with (
        pytest.raises(DamagedWarehouseError, match="move the folder"),
        warehouse.transaction() as connection,
    ):
        connection.execute("SELECT sum(h) FROM filler").fetchall()
    with connect(warehouse.path) as reader:
        [(rows,)] = reader.execute("SELECT count(DISTINCT h) FROM filler").fetchall()
    assert rows > 299_000


def test_a_wait_for_another_writer_is_said(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    store(warehouse, ONE)
    is_held = Event()

    def hold() -> None:
        with Warehouse(warehouse.path).transaction():
            is_held.set()
            time.sleep(6)

    other = Thread(target=hold)
    other.start()
    assert is_held.wait(60)
    store(warehouse, TWO)
    other.join()
    assert f"Waiting up to 900 s for another process, which writes to {warehouse.path}." in (
        caplog.messages
    )
    assert stored(warehouse) == TWO


def test_a_damaged_published_file_is_told(warehouse: Warehouse) -> None:
    warehouse.path.parent.mkdir()
    warehouse.path.write_bytes(os.urandom(50_000))
    with pytest.raises(DamagedWarehouseError, match="Move it away"):
        connect(warehouse.path)


def test_a_working_file_open_elsewhere_is_told_as_such(warehouse: Warehouse) -> None:
    store(warehouse, ONE)
    with (
        opened_for_writing(warehouse.folder / "working.duckdb"),
        pytest.raises(WarehouseBusyError, match="open in another program"),
    ):
        store(warehouse, TWO)
    store(warehouse, TWO)
    assert stored(warehouse) == TWO


# A full disk

FILL = """
import resource, sys
from pathlib import Path
from buildkite_assets.warehouse import Warehouse, WarehouseError
warehouse = Warehouse(Path(sys.argv[1]))
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if sys.argv[3] == "store":
        with warehouse.transaction() as connection:
            connection.execute("UPDATE warehouse_meta SET start_date = '2026-02-02'")
            connection.execute("CREATE TABLE filler AS SELECT hash(i) h FROM range(5_000_000) t(i)")
    elif sys.argv[3] == "commit":
        with warehouse.transaction() as connection:
            connection.execute("UPDATE warehouse_meta SET start_date = '2026-02-02'")
    elif sys.argv[3] == "rewrite":
        warehouse.rewrite()
    else:
        warehouse.publish()
except WarehouseError as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""


@pytest.fixture
def large(warehouse: Warehouse) -> Warehouse:
    """Return a warehouse of about 10 MB, published, that no file larger than it can join."""
    with warehouse.transaction() as connection:
        set_start_date(connection, ONE)
        connection.execute("CREATE TABLE ballast AS SELECT hash(i) AS h FROM range(1_000_000) t(i)")
    warehouse.publish()
    return warehouse


def test_a_disk_that_is_full_at_the_commit_changes_nothing(large: Warehouse) -> None:
    said = run_to_end(FILL, large.path, 1, "commit")
    assert said.startswith("WarehouseWriteError")
    assert "free disk space" in said
    assert stored(large) == ONE
    store(large, TWO)
    assert stored(large) == TWO


def test_a_folder_that_may_not_be_written_changes_nothing(large: Warehouse) -> None:
    large.folder.chmod(0o500)
    said = run_to_end(FILL, large.path, 10**9, "commit", binds_permissions=True)
    large.folder.chmod(0o700)
    assert said.startswith("WarehouseWriteError")
    assert "correct the permissions" in said
    assert stored(large) == ONE


def test_a_disk_that_fills_up_while_writing_changes_nothing(large: Warehouse) -> None:
    limit = (large.folder / "working.duckdb").stat().st_size + 1_000_000
    said = run_to_end(FILL, large.path, limit, "store")
    assert said.startswith("WarehouseWriteError")
    assert "free disk space" in said
    assert stored(large) == ONE
    assert published(large.path) == ONE
    store(large, TWO)
    assert stored(large) == TWO


def test_a_disk_that_fills_up_while_publishing_keeps_what_was_published(large: Warehouse) -> None:
    store(large, TWO)
    said = run_to_end(FILL, large.path, 1_000_000, "publish")
    assert said.startswith("WarehouseWriteError")
    assert "free disk space" in said
    assert published(large.path) == ONE
    assert not (large.folder / "publishing.duckdb").exists()
    large.publish()
    assert published(large.path) == TWO


@pytest.mark.parametrize("missing_bytes", [7_000_000, 300_000], ids=["copy", "checkpoint"])
def test_a_disk_that_fills_up_while_rewriting_keeps_the_file_and_no_half_copy(
    large: Warehouse, missing_bytes: int
) -> None:
    with large.transaction() as connection:  # of less than a row group, so that it goes to the log
        connection.execute("CREATE TABLE small AS SELECT hash(i) AS h FROM range(100_000) t(i)")
    limit = (large.folder / "working.duckdb").stat().st_size - missing_bytes
    said = run_to_end(FILL, large.path, limit, "rewrite")
    assert said.startswith("WarehouseWriteError")
    assert "free disk space" in said
    assert {path.name for path in large.folder.iterdir()} <= {"working.duckdb", "lock", "first_day"}
    assert stored(large) == ONE


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WarehouseWriteError, match="Not a directory"):
        store(Warehouse(tmp_path / "file" / "w.duckdb"), ONE)


def run_beside(
    program: str, *arguments: object, binds_permissions: bool = False
) -> subprocess.Popen[str]:
    """Start a Python program."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(  # noqa: S603 - a program of this file
        unprivileged(*command) if binds_permissions else command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_to_end(program: str, *arguments: object, binds_permissions: bool = False) -> str:
    """Run a Python program that is to exit with 3; what it printed."""
    process = run_beside(program, *arguments, binds_permissions=binds_permissions)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 3, said
    return said
