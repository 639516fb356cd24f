"""Which published file people look at, and a connection to it that no table is missing from."""

import os
from collections.abc import Mapping

from buildkite_assets.demo import RULES, WAREHOUSE
from buildkite_assets.derived_tables import known_tables
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Connection, connect


def settings_to_show(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the warehouse to show: the environment's, else the demo's.

    The demo's count where no warehouse is named, none is at the default place, and `make demo` has
    made its own; `is_invented` then says so.

    Raises:
        SettingsError: a setting is wrong.
    """
    settings = Settings.from_environment(environment)
    is_named = environment.get("BUILDKITE_WAREHOUSE", "").strip()
    is_missing = not is_named and not settings.warehouse.exists() and WAREHOUSE.exists()
    if not is_missing and not is_invented(settings):
        return settings
    return Settings.from_environment(
        {"BUILDKITE_RULES": str(RULES), **environment, "BUILDKITE_WAREHOUSE": str(WAREHOUSE)}
    )


def is_invented(settings: Settings) -> bool:
    """Whether the warehouse is the demo's, whose organization nobody has."""
    return settings.warehouse == WAREHOUSE.resolve()


def opened(settings: Settings) -> Connection:
    """A connection as `connect` gives it, on which tables that were never made are empty.

    A first sync publishes before it has derived anything, and an older version knew fewer tables.

    Raises:
        WarehouseError: there is no published file, or it cannot be opened.
    """
    connection = connect(settings.warehouse)
    made = published_tables(connection)
    for table in known_tables().values():
        if table.name not in made:
            columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
            connection.execute(f"CREATE TEMP TABLE {table.name} ({columns})")
    return connection


def published_tables(connection: Connection) -> set[str]:
    """The names of the tables and views that the published file has."""
    rows = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database()"
    ).fetchall()
    return {name for (name,) in rows}
