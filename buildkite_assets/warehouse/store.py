"""The two files: a working one that is written, a published one that is read.

The working file lies in a hidden folder beside the published one, is written under a file lock in
short transactions, and copied over the published one by an atomic rename. A reader keeps the
snapshot that it opened, and a kill at any moment leaves the last publication and the last
transaction.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from buildkite_assets.private_files import private_folder
from buildkite_assets.warehouse.errors import (
    DamagedWarehouseError,
    StrayLogError,
    WarehouseBusyError,
    WarehouseLockedError,
    WarehouseWriteError,
)
from buildkite_assets.warehouse.first_day import NOTE, noted_first_day
from buildkite_assets.warehouse.ledger import start_date
from buildkite_assets.warehouse.reader import connect, logs_of, opened_by
from buildkite_assets.warehouse.schema import upgrade

_logger = logging.getLogger(__name__)

_LOCK_SECONDS = 900
_SILENT_SECONDS = 5
_PUBLISH_EVERY_SECONDS = 60
_OLDEST_READER = "v1.5.0"
_DISK_ERRORS = (duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException)


class Warehouse:
    """The DuckDB warehouse behind one published path.

    Args:
        path: of the published file.
        file_mode: its mode, such as 0o600.
        lock_seconds: how long to wait for others who write.
    """

    def __init__(
        self, path: Path, file_mode: int = 0o600, *, lock_seconds: float = _LOCK_SECONDS
    ) -> None:
        self.path = path
        self._file_mode = file_mode
        self.folder = path.parent / f".{path.name}"
        self._working = self.folder / "working.duckdb"
        self._lock = FileLock(self.folder / "lock", timeout=lock_seconds, mode=0o600)
        self._published_at = time.monotonic()

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the working file, alone on it, for one `atomic` change or several.

        Others wait for it to end, so have everything at hand before.

        Raises:
            WarehouseError: see `warehouse.errors`.
        """
        with self._locked(), self._connection() as connection:
            with atomic(connection):
                upgrade(connection)
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for a single change, which holds whole or not at all.

        Raises:
            WarehouseError: see `warehouse.errors`.
        """
        with self.connection() as connection, atomic(connection):
            yield connection

    def publish(self) -> None:
        """Replace the published file by a copy of the working file.

        Raises:
            WarehouseError: see `warehouse.errors`; the published file is then the old one.
        """
        with self._locked():
            with self.connection() as connection:
                connection.execute("CHECKPOINT")
                first_day = start_date(connection)
            if first_day and first_day != noted_first_day(self.folder):
                self._put(self.folder / NOTE, f"{first_day}\n".encode(), 0o600)
            fresh = self.folder / "publishing.duckdb"
            with _disk_trouble(self.path), _removed_on_failure(fresh):
                shutil.copyfile(self._working, fresh)
                fresh.chmod(self._file_mode)
                _flush(fresh)
                _remove_logs(self.path)
                fresh.replace(self.path)
                _flush(self.path.parent)
        self._published_at = time.monotonic()

    def publish_beside(self, name: str, content: bytes) -> Path:
        """Write a file beside the published one, as a whole and with its mode; its path.

        Raises:
            WarehouseError: see `warehouse.errors`; a file that was there is then the old one.
        """
        path = self.path.with_name(name)
        with self._locked():
            self._put(path, content, self._file_mode)
        return path

    def published(self) -> duckdb.DuckDBPyConnection:
        """Return a connection to the published file, for work that other programs must not stop.

        A file that another program has open for writing is published again: the other program
        keeps the old one.

        Raises:
            WarehouseError: see `warehouse.errors`.
        """
        try:
            return connect(self.path)
        except WarehouseLockedError:
            self.publish()
            return connect(self.path)

    def publish_if_due(self) -> None:
        """`publish`, when this object has not done so for about a minute."""
        if time.monotonic() - self._published_at > _PUBLISH_EVERY_SECONDS:
            self.publish()

    def rewrite(self) -> None:
        """Write the working file anew, so that no byte of deleted rows stays in its free space.

        Raises:
            WarehouseError: see `warehouse.errors`; the working file is then the old one.
        """
        fresh = self.folder / "rewriting.duckdb"
        quoted = str(fresh).replace("'", "''")
        with self._locked(), _disk_trouble(fresh), _removed_on_failure(fresh):
            _remove(fresh)
            with self._connection() as connection:
                connection.execute(
                    f"ATTACH '{quoted}' AS fresh (STORAGE_VERSION '{_OLDEST_READER}')"
                )
                connection.execute(f"COPY FROM DATABASE {self._working.stem} TO fresh")
                connection.execute("DETACH fresh")
                connection.execute("CHECKPOINT")
            fresh.chmod(0o600)
            _flush(fresh)
            _remove_logs(self._working)
            fresh.replace(self._working)
            _flush(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _disk_trouble(self.folder):
            self._make_parents()
            private_folder(self.folder)
            self._acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _acquire(self) -> None:
        """Take the lock, and say so if that takes a while.

        Raises:
            WarehouseBusyError: another process holds it for too long.
        """
        limit_seconds = self._lock.timeout
        with suppress(Timeout):
            self._lock.acquire(timeout=min(_SILENT_SECONDS, limit_seconds))
            return
        _logger.warning(
            "Waiting up to %g s for another process, which writes to %s.", limit_seconds, self.path
        )
        try:
            self._lock.acquire(timeout=max(limit_seconds - _SILENT_SECONDS, 0))
        except Timeout:
            raise WarehouseBusyError(
                f"{self._lock.lock_file} has been held for {limit_seconds:g} s by another "
                "process: look for one that hangs, end it, and run again."
            ) from None

    def _put(self, path: Path, content: bytes, mode: int) -> None:
        """Write a file as a whole, within the lock."""
        fresh = self.folder / f"publishing-{path.name}"
        with _disk_trouble(path), _removed_on_failure(fresh):
            fresh.write_bytes(content)
            fresh.chmod(mode)
            _flush(fresh)
            fresh.replace(path)
            _flush(path.parent)

    def _make_parents(self) -> None:
        """Make the folders above the published file, for those who may read that."""
        readable = self._file_mode & 0o044
        missing = [folder for folder in self.path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700 | readable | readable >> 2)

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._open()
        try:
            yield connection
        except duckdb.Error as error:
            if "Corrupt database file" in str(error):
                raise self._damaged(error) from error
            # What the disk refuses at the end of a transaction has its own type.
            if isinstance(error, _DISK_ERRORS) or "Failed to commit" in str(error):
                raise self._unwritable(error) from error
            raise
        finally:
            connection.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._start_from_published()
        try:
            connection = duckdb.connect(
                self._working,
                config={
                    "storage_compatibility_version": _OLDEST_READER,
                    "temp_directory": str(self.folder / "temporary"),
                    "preserve_insertion_order": False,
                },
            )
            connection.execute("SET TimeZone = 'UTC'")
        except duckdb.Error as error:
            if program := opened_by(str(error)):
                raise WarehouseLockedError(
                    f"{self._working} is open in {program}. Close it there, and read the "
                    f"published file {self.path} instead."
                ) from error
            if "Cannot open file" in str(error):
                raise self._unwritable(error) from error
            raise self._damaged(error) from error
        return connection

    def _unwritable(self, error: duckdb.Error) -> WarehouseWriteError:
        return WarehouseWriteError(
            f"{self._working} could not be written: {error}. What was not committed is undone: "
            "free disk space or memory, or correct the permissions, and run again."
        )

    def _damaged(self, error: duckdb.Error) -> DamagedWarehouseError:
        return DamagedWarehouseError(
            f"{self._working} cannot be read: {error}. The published file {self.path} is "
            f"untouched. To rebuild, move the folder {self.folder} away and run "
            "`buildkite-assets sync`: it goes on from the published file."
        )

    def _start_from_published(self) -> None:
        """Begin with what is published, where there is no working file yet."""
        if self._working.exists() or not self.path.exists():
            return
        # Not while another program writes to it, which would tear the copy. Its log stays behind.
        with suppress(StrayLogError):
            connect(self.path).close()
        fresh = self.folder / "starting.duckdb"
        with _disk_trouble(fresh), _removed_on_failure(fresh):
            shutil.copyfile(self.path, fresh)
            fresh.chmod(0o600)
            _flush(fresh)
            _remove_logs(self._working)
            fresh.replace(self._working)


@contextmanager
def atomic(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Have what happens within hold whole, or, when it raises, not at all."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


@contextmanager
def _disk_trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WarehouseWriteError(
            f"{path} could not be written: {error.strerror}. What was published stays: free disk "
            "space or correct the permissions, and run again."
        ) from error


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    """Keep half a copy from taking the room that a full disk lacks."""
    try:
        yield
    except BaseException:
        _remove(path)
        raise


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_logs(path)


def _remove_logs(path: Path) -> None:
    for log in logs_of(path):
        log.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the disk hold what was written to a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
