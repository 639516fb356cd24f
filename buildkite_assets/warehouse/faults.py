"""Looks for rows that should not be there; the queries come with the checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from buildkite_assets.tables import Table
from buildkite_assets.warehouse.preview import as_markdown
from buildkite_assets.warehouse.queries import references

_SHOWN_ROWS = 5


@dataclass(frozen=True)
class Faults:
    """What a query for faulty rows found: how many, and the first few as Markdown."""

    rows: int
    preview: str


def find_faults(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object]
) -> Faults:
    """Run a query for faulty rows.

    Args:
        connection: to the warehouse.
        query: a SELECT.
        parameters: values by name; the query is given those that it names.
    """
    named = references(query).parameters
    rows = connection.sql(
        f"""
        WITH faults AS ({query})
        SELECT COLUMNS(faults.*)::VARCHAR, count(*) OVER () AS all_rows
        FROM faults LIMIT {_SHOWN_ROWS}
        """,
        params={name: value for name, value in parameters.items() if name in named},
    ).pl()
    if rows.is_empty():
        return Faults(0, "")
    return Faults(int(rows["all_rows"][0]), as_markdown(rows.drop("all_rows")))


def doubled_keys(tables: Sequence[Table]) -> str:
    """The query for the keys that stand more than once in one of the tables."""
    return " UNION ALL ".join(_doubled_keys(table) for table in tables)


def _doubled_keys(table: Table) -> str:
    key = ", ".join(table.key)
    return f"""
        SELECT '{table.name}' AS "table", concat_ws(', ', {key}) AS key, count(*) AS rows
        FROM {table.name} GROUP BY {key} HAVING count(*) > 1
    """


def lacking_table(
    connection: duckdb.DuckDBPyConnection, query: str, needed: Sequence[str]
) -> str | None:
    """The first table that a query reads and that is not there, or of `needed` that has no row."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views()"
    ).fetchall()
    for name in sorted(references(query).tables | set(needed)):
        if (name,) not in rows:
            return name
    for name in needed:
        if not connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall():
            return name
    return None
