"""What holds of every figure of every derived table, whatever it was made of."""

import duckdb

from buildkite_assets.derived_tables import derived_tables

_UNITS = ("_seconds", "_minutes", "_hours")
_RATIOS = ("_rate", "_share", "_coverage")


def negative_durations(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns that hold durations and have a negative one; changes of them may be negative."""
    return [
        column
        for column in _columns_with(*_UNITS)
        if "_change" not in column and _has(connection, column, "< 0")
    ]


def impossible_ratios(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns that hold ratios and have one that is not within 0 and 1."""
    return [
        column
        for column in _columns_with(*_RATIOS)
        if "_change" not in column and _has(connection, column, "NOT BETWEEN 0 AND 1")
    ]


def empty_tables(connection: duckdb.DuckDBPyConnection, folder: str) -> set[str]:
    """The derived tables of a folder of `sql` that have no rows."""
    return {
        table.name
        for table in derived_tables()
        if table.path.parent.name == folder
        if not connection.execute(f"FROM {table.name} LIMIT 1").fetchall()
    }


def _columns_with(*endings: str) -> list[str]:
    return [
        f"{table.name}.{column.name}"
        for table in derived_tables()
        for column in table.columns
        if column.type == "DOUBLE" and any(ending in column.name for ending in endings)
    ]


def _has(connection: duckdb.DuckDBPyConnection, column: str, condition: str) -> bool:
    table, name = column.split(".")
    found = connection.execute(
        f"SELECT 1 FROM {table} WHERE {name} {condition} LIMIT 1"  # noqa: S608
    ).fetchall()
    return bool(found)
