"""Creates the tables that `tables` declares, and brings older files up to date."""

import duckdb

from buildkite_assets.tables import ACCESS_TABLES, CATALOG_HISTORIES, TABLES, Table, history_of
from buildkite_assets.warehouse.attributes import seed_states
from buildkite_assets.warehouse.errors import NewerWarehouseError

SCHEMA_VERSION = 3

_META = """
CREATE TABLE IF NOT EXISTS warehouse_meta (
    schema_version INTEGER NOT NULL,
    start_date DATE
)
"""


def upgrade(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what is missing, within the caller's transaction.

    Days read before a column was added lack it: they are marked as to be read again.

    Raises:
        NewerWarehouseError: a newer version wrote the file.
    """
    connection.execute(_META)
    versions = connection.execute("SELECT schema_version FROM warehouse_meta").fetchall()
    version = versions[0][0] if versions else None
    if version == SCHEMA_VERSION:
        return
    if version is not None and version > SCHEMA_VERSION:
        raise NewerWarehouseError(
            f"The warehouse has schema version {version}, this version of buildkite-assets knows "
            f"{SCHEMA_VERSION}: upgrade buildkite-assets, or point BUILDKITE_WAREHOUSE elsewhere."
        )
    added = [_bring_up_to_date(connection, table) for table in TABLES]
    for table in ACCESS_TABLES:
        _create_present(connection, table)
    for table in CATALOG_HISTORIES:
        seed_states(connection, table)
    if any(added):
        connection.execute("UPDATE sync_days SET is_to_read_again = true")
    if versions:
        connection.execute("UPDATE warehouse_meta SET schema_version = ?", [SCHEMA_VERSION])
    else:
        connection.execute("INSERT INTO warehouse_meta VALUES (?, NULL)", [SCHEMA_VERSION])


def create_table(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create a table without rows, in place of any that has its name."""
    columns = ", ".join(f'"{c.name}" {c.type}' for c in table.columns)
    connection.execute(f"CREATE OR REPLACE TABLE {table.name} ({columns})")
    _comment(connection, table)


def _bring_up_to_date(connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Create the table or add its missing columns; whether columns were added to an old table."""
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND NOT internal",
        [table.name],
    ).fetchall()
    known = {name for (name,) in rows}
    if not known:
        create_table(connection, table)
        return False
    missing = [column for column in table.columns if column.name not in known]
    for column in missing:
        connection.execute(f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {column.type}')
    _comment(connection, table)
    return bool(missing)


def _comment(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    for column in table.columns:
        meaning = _quoted(column.meaning)
        connection.execute(f"""COMMENT ON COLUMN {table.name}."{column.name}" IS {meaning}""")
    connection.execute(f"COMMENT ON TABLE {table.name} IS {_quoted(table.grain)}")


def _create_present(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Have the plain name of an access table show the present of its history."""
    columns = ", ".join(column.name for column in table.columns)
    connection.execute(f"""
        CREATE OR REPLACE VIEW {table.name} AS
        SELECT {columns} FROM {history_of(table).name} WHERE valid_to IS NULL
    """)
    connection.execute(f"COMMENT ON VIEW {table.name} IS {_quoted(table.grain)}")


def _quoted(text: str) -> str:
    """The text as an SQL literal: comments take no bound values."""
    return "'" + text.replace("'", "''") + "'"
