"""The way in for people: a connection that reads the published file."""

import re
from pathlib import Path

import duckdb

from buildkite_assets.private_files import given_path
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse.errors import (
    DamagedWarehouseError,
    ForbiddenWarehouseError,
    NothingPublishedError,
    OutdatedDuckDBError,
    StrayLogError,
    WarehouseError,
    WarehouseLockedError,
)

_LOCKED = "Could not set lock on file"
_LOCKED_HERE = "Unique file handle conflict"
_HOLDER = re.compile(r"Conflicting lock is held in (.+ \(PID \d+\))")
_OTHER_VERSION = re.compile(r"database file with (?:storage )?version number \d+")
_FORBIDDEN = re.compile(r"Cannot open file.*(Permission denied|Operation not permitted)", re.DOTALL)


def connect(path: Path | str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection with the published file attached read-only as its default database.

    It keeps the snapshot that was newest when it was made, blocks no writer and waits for none.
    The file is attached to an in-memory database of its own, since a plain second
    `duckdb.connect` in one process would answer from the file that the first has open.

    `con.sql(…)` has `.pl()` and `.df()`. Instants are TIMESTAMPs in UTC without a time zone; an
    INTERVAL, such as the difference of two, is none that polars knows: `epoch(later - earlier)`
    gives seconds.

    Args:
        path: of the published file; the default is what BUILDKITE_WAREHOUSE names.

    Raises:
        NothingPublishedError: there is no such file yet.
        WarehouseLockedError: another program has the file open for writing, or left its log.
        OutdatedDuckDBError: the installed DuckDB is too old to read the file.
        ForbiddenWarehouseError: this user may not read the file.
        DamagedWarehouseError: the file is not a DuckDB database.
    """
    file = Settings.from_environment().warehouse if path is None else given_path(path)
    try:
        is_there = file.exists()
    except PermissionError:
        raise _forbidden(file) from None
    if not is_there:
        raise NothingPublishedError(
            f"{file} does not exist: run `buildkite-assets sync` (or `make demo`) to make it, or "
            "set BUILDKITE_WAREHOUSE to where it is."
        )
    connection = duckdb.connect()
    quoted = str(file).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{quoted}' AS buildkite (READ_ONLY)")
        # DuckDB replays a log that lies beside the file. Nobody writes to this file, so the log
        # belongs to another one: what was attached may lack rows, or have invented ones.
        if logs_of(file):
            raise _stray_log(file)
        connection.execute("USE buildkite")
        connection.execute("SET TimeZone = 'UTC'")
    except WarehouseError:
        connection.close()
        raise
    except duckdb.Error as error:
        connection.close()
        raise _unreadable(file, str(error)) from error
    return connection


def logs_of(path: Path) -> list[Path]:
    """Return the logs that DuckDB would replay into a file of this name, whosever they are."""
    suffixes = (".wal", ".wal.checkpoint", ".wal.recovery")
    logs = (path.with_name(path.name + suffix) for suffix in suffixes)
    return [log for log in logs if log.exists()]


def opened_by(message: str) -> str | None:
    """Return the program that holds the lock that an error of DuckDB is about; else None."""
    if _LOCKED_HERE in message:
        return "this program, by another connection"
    if _LOCKED not in message:
        return None
    named = _HOLDER.search(message)
    return f"another program, {named[1]}" if named else "another program"


def _unreadable(file: Path, message: str) -> WarehouseError:
    """Return the error for a file that DuckDB refuses to attach."""
    if program := opened_by(message):
        return WarehouseLockedError(
            f"{file} is open for writing in {program}. The file is fine: close it there, or open "
            "it there read-only, and try again."
        )
    if logs_of(file):
        return _stray_log(file)
    if _OTHER_VERSION.search(message):
        return OutdatedDuckDBError(
            f"{file} cannot be read by DuckDB {duckdb.__version__}, which is installed here: it "
            "needs DuckDB 1.5 or newer, or the version that wrote it. Run `pip install --upgrade "
            "duckdb`."
        )
    if _FORBIDDEN.search(message):
        return _forbidden(file)
    return DamagedWarehouseError(
        f"{file} cannot be opened: {message}. Move it away and run `buildkite-assets sync`, "
        "which publishes it again."
    )


def _stray_log(file: Path) -> StrayLogError:
    names = ", ".join(log.name for log in logs_of(file)) or f"{file.name}.wal"
    return StrayLogError(
        f"{names} lies beside {file} and is not its log: another program has an older publication "
        "open for writing, or was killed. Close that program, or open the file there read-only; "
        "if no such program runs, delete the log."
    )


def _forbidden(file: Path) -> ForbiddenWarehouseError:
    return ForbiddenWarehouseError(
        f"{file} may not be read by this user: ask its owner to set BUILDKITE_FILE_MODE, such as "
        "0640 for the file's group, and to open the folder to it."
    )
