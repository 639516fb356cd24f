"""The way in for people: a connection that reads the published file."""

from pathlib import Path

import duckdb

from buildkite_assets.settings import Settings
from buildkite_assets.warehouse.errors import DamagedWarehouseError, NothingPublishedError


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
        DamagedWarehouseError: the file is no DuckDB database.
    """
    file = Settings.from_environment().warehouse if path is None else Path(path)
    if not file.exists():
        raise NothingPublishedError(
            f"{file} does not exist: run `buildkite-assets sync` (or `make demo`) to make it, or "
            "set BUILDKITE_WAREHOUSE to where it is."
        )
    connection = duckdb.connect()
    quoted = str(file).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{quoted}' AS buildkite (READ_ONLY)")
    except duckdb.IOException as error:
        connection.close()
        raise DamagedWarehouseError(
            f"{file} cannot be opened: {error}. Move it away and run `buildkite-assets sync`, "
            "which publishes it anew."
        ) from error
    connection.execute("USE buildkite")
    connection.execute("SET TimeZone = 'UTC'")
    return connection
