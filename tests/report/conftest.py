"""The sandbox's month, and the same with names that somebody typed to do harm."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from buildkite_assets.demo import RULES
from buildkite_assets.report.opening import opened
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Connection

HARM = "<img src=x onerror=alert(1)>&\"'"


def settings_of(path: Path) -> Settings:
    """The settings of a published file with the demo's rules."""
    return Settings.from_environment(
        {"BUILDKITE_WAREHOUSE": str(path), "BUILDKITE_RULES": str(RULES)}
    )


@pytest.fixture
def month(month_file: Path) -> Iterator[Connection]:
    """Return a connection to the month that is not narrowed yet."""
    with opened(settings_of(month_file)) as connection:
        yield connection


@pytest.fixture(scope="module")
def harmful(month_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the month in which every text that people choose is HTML."""
    path = tmp_path_factory.mktemp("harm") / "w.duckdb"
    shutil.copyfile(month_file, path)
    with duckdb.connect(path) as connection:
        texts = connection.execute("""
            SELECT table_name, column_name
            FROM duckdb_columns() JOIN duckdb_tables() USING (table_name)
            WHERE data_type = 'VARCHAR' AND column_name IN (
                'pipeline_slug', 'slug', 'step', 'branch', 'queue_key', 'queue', 'application',
                'name', 'environment', 'email', 'evidence'
            )
        """).fetchall()
        for table, column in texts:
            harm = f'UPDATE {table} SET "{column}" = "{column}" || ?'  # noqa: S608 - our own names
            connection.execute(harm, [HARM])
    return path
