"""The two files: a working one that is written, a published one that is read.

The working file lies in a hidden folder beside the published one, is written under a file lock in
short transactions, and copied over the published one by an atomic rename. A reader keeps the
snapshot that it opened, and a kill at any moment leaves the last publication and the last
transaction.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from buildkite_assets.warehouse.errors import (
    DamagedWarehouseError,
    WarehouseBusyError,
    WarehouseWriteError,
)
from buildkite_assets.warehouse.schema import upgrade

_LOCK_SECONDS = 900
_PUBLISH_EVERY_SECONDS = 60
_OLDEST_READER = "v1.5.0"
_DISK_ERRORS = (duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException)


class Warehouse:
    """The DuckDB warehouse behind one published path.

    Args:
        path: of the published file.
        file_mode: its mode, such as 0o600.
    """

    def __init__(self, path: Path, file_mode: int = 0o600) -> None:
        self.path = path
        self._file_mode = file_mode
        self.folder = path.parent / f".{path.name}"
        self._working = self.folder / "working.duckdb"
        self._lock = FileLock(self.folder / "lock", timeout=_LOCK_SECONDS, mode=0o600)
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
            with self._connection() as connection:
                connection.execute("CHECKPOINT")
            fresh = self.folder / "publishing.duckdb"
            with _disk_trouble(self.path), _removed_on_failure(fresh):
                shutil.copyfile(self._working, fresh)
                fresh.chmod(self._file_mode)
                _flush(fresh)
                _log_of(self.path).unlink(missing_ok=True)
                fresh.replace(self.path)
                _flush(self.path.parent)
        self._published_at = time.monotonic()

    def publish_beside(self, name: str, content: bytes) -> Path:
        """Write a file beside the published one, as a whole and with its mode; its path.

        Raises:
            WarehouseError: see `warehouse.errors`; a file that was there is then the old one.
        """
        path = self.path.with_name(name)
        fresh = self.folder / f"publishing-{name}"
        with self._locked(), _disk_trouble(path), _removed_on_failure(fresh):
            fresh.write_bytes(content)
            fresh.chmod(self._file_mode)
            _flush(fresh)
            fresh.replace(path)
            _flush(path.parent)
        return path

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
            _log_of(self._working).unlink(missing_ok=True)
            fresh.replace(self._working)
            _flush(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _disk_trouble(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise WarehouseBusyError(
                f"{self._lock.lock_file} has been held for {_LOCK_SECONDS} s by another process: "
                "look for one that hangs, end it, and run again."
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._open()
        try:
            yield connection
        except duckdb.Error as error:
            if "Corrupt database file" in str(error):
                raise self._damaged(error) from error
            if not isinstance(error, _DISK_ERRORS):
                raise
            raise WarehouseWriteError(
                f"{self._working} could not be written: {error}. Nothing was changed: free disk "
                "space or memory, and run again."
            ) from error
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
            if "Could not set lock" in str(error):
                raise WarehouseBusyError(
                    f"{self._working} is open in another program: {error}. Close it there, and "
                    f"read the published file {self.path} instead."
                ) from error
            raise self._damaged(error) from error
        return connection

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
        fresh = self.folder / "starting.duckdb"
        with _disk_trouble(fresh), _removed_on_failure(fresh):
            shutil.copyfile(self.path, fresh)
            fresh.chmod(0o600)
            _flush(fresh)
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
            "space or mend the permissions, and run again."
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
    _log_of(path).unlink(missing_ok=True)


def _log_of(path: Path) -> Path:
    """Where DuckDB keeps a file's log; it would replay it into another file of the same name."""
    return path.with_name(path.name + ".wal")


def _flush(path: Path) -> None:
    """Have the disk hold what was written to a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
