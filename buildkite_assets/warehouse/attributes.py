"""Keeps the attributes of pipelines, clusters and queues over time, as listings find them.

The API tells the present only. So a state counts from the first listing that shows it to the first
one that shows another state, or that lacks the record although it is complete.
"""

from datetime import datetime

import duckdb

from buildkite_assets.tables import CATALOG_HISTORIES, Table


def merge_states(connection: duckdb.DuckDBPyConnection, table: Table, staged: str) -> None:
    """Open the states that differ from the present ones, and close those that they replace.

    Args:
        connection: within a transaction.
        table: the catalog table.
        staged: the table with its new rows, each at least as new as the stored row and its absence.
    """
    history, key, columns = CATALOG_HISTORIES[table].name, table.key[0], _columns(table)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE new_states AS
        SELECT changed.*, {staged}.synced_at AS valid_from
        FROM (
            SELECT {columns} FROM {staged}
            EXCEPT
            SELECT {columns} FROM {history} WHERE valid_to IS NULL
        ) AS changed
        JOIN {staged} USING ({key})
    """)
    # Of two states at one instant the later one counts.
    connection.execute(f"""
        DELETE FROM {history} USING new_states
        WHERE {history}.{key} = new_states.{key} AND {history}.valid_from = new_states.valid_from
    """)
    connection.execute(f"""
        UPDATE {history} SET valid_to = new_states.valid_from FROM new_states
        WHERE {history}.{key} = new_states.{key} AND valid_to IS NULL
    """)
    connection.execute(f"INSERT INTO {history} BY NAME FROM new_states")


def close_absent(
    connection: duckdb.DuckDBPyConnection, table: Table, organization_id: str, read_at: datetime
) -> None:
    """Close the states of what an organization's complete list was found to lack.

    Args:
        connection: within a transaction.
        table: the catalog table, where the records are marked as absent since `read_at`.
        organization_id: whose records were listed.
        read_at: Buildkite's clock before the list was read.
    """
    history, key = CATALOG_HISTORIES[table].name, table.key[0]
    connection.execute(
        f"""
        UPDATE {history} SET valid_to = $read_at
        WHERE valid_to IS NULL AND {key} IN (
            SELECT {key} FROM {table.name}
            WHERE organization_id = $organization_id AND absent_since = $read_at
        )
        """,
        {"organization_id": organization_id, "read_at": read_at.replace(tzinfo=None)},
    )


def seed_states(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Give each record that has no state yet the one that is stored."""
    history, key = CATALOG_HISTORIES[table].name, table.key[0]
    connection.execute(f"""
        INSERT INTO {history} BY NAME
        SELECT {_columns(table)}, synced_at AS valid_from, absent_since AS valid_to
        FROM {table.name} ANTI JOIN {history} USING ({key})
    """)


def _columns(table: Table) -> str:
    """The columns of a state, without when it began and ended."""
    names = {column.name for column in table.columns}
    return ", ".join(c.name for c in CATALOG_HISTORIES[table].columns if c.name in names)
