"""Checks of stored data by SQL: unique keys of every table, and the files of `sql/checks`.

They read the published file, so they block no sync. They wait for one only if another program has
the file open for writing: then it is published again first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from buildkite_assets.checks.check import (
    ERROR,
    WARN,
    Check,
    Evidence,
    Finding,
    NotEvaluatedError,
)
from buildkite_assets.checks.files import FOLDER, CheckFile, check_files
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.session import Session
from buildkite_assets.tables import (
    ACCESS_SYNCS,
    ACCESS_TABLES,
    BUILD_CHANGES,
    BUILDS,
    CATALOG_HISTORIES,
    CATALOG_TABLES,
    JOBS,
    LATE_CHANGES,
    REJECTED_BUILDS,
    SYNC_DAYS,
    SYNC_FEEDS,
    Table,
    history_of,
)
from buildkite_assets.warehouse.derive import inputs
from buildkite_assets.warehouse.errors import NothingPublishedError
from buildkite_assets.warehouse.faults import doubled_keys, find_faults, lacking_table

# What is no asset is looked at with the asset that it goes with.
_COMPANIONS = (
    {BUILD_CHANGES: (REJECTED_BUILDS, SYNC_DAYS, SYNC_FEEDS)}
    | {table: (history,) for table, history in CATALOG_HISTORIES.items()}
    | {table: (history_of(table),) for table in ACCESS_TABLES}
)
_SOURCES = (*CATALOG_TABLES, BUILDS, JOBS, BUILD_CHANGES, LATE_CHANGES, ACCESS_SYNCS)


@contextmanager
def stored_evidence(session: Session) -> Iterator[Evidence]:
    """The published file as it is now.

    Raises:
        NotEvaluatedError: there is none yet.
        DamagedWarehouseError: it is damaged.
    """
    try:
        connection = session.warehouse.published()
    except NothingPublishedError as error:
        raise NotEvaluatedError(str(error)) from error
    with connection:
        yield Evidence(session, connection, datetime.now(UTC))


def unique_keys() -> list[Check[Evidence]]:
    """For each source table the check that no key stands twice in it, or in what goes with it.

    It blocks where derived tables are made of them: what such a row is joined with would count
    twice.

    Raises:
        DefinitionError: a derived table's query is no SELECT.
    """
    read = {name for table in derived_tables() for name in inputs(table)}
    return [
        _unique_key(table, is_blocking=bool({table.name, history_of(table).name} & read))
        for table in (*_SOURCES, *ACCESS_TABLES)
    ]


def _unique_key(table: Table, *, is_blocking: bool) -> Check[Evidence]:
    tables = (table, *_COMPANIONS.get(table, ()))
    keys = "; ".join(f"{each.name} by {', '.join(each.key)}" for each in tables)
    return Check(
        table=table,
        name="unique_key",
        statement=f"No key stands twice.\n\nLooked at are {keys}.",
        remedy="please report it. A sync with --full of the days in question may mend it.",
        severity=ERROR,
        is_blocking=is_blocking,
        evaluate=lambda evidence: _no_rows(evidence, doubled_keys(tables), ()),
    )


def check_of(file: CheckFile) -> Check[Evidence]:
    """The check that a SQL file defines."""
    return Check(
        table=file.table,
        name=file.path.stem,
        statement=file.statement,
        remedy=file.remedy,
        severity=ERROR if file.is_error else WARN,
        is_blocking=file.is_blocking,
        evaluate=lambda evidence: _no_rows(evidence, file.query, file.needs),
        metadata={
            "file": str(file.path.relative_to(FOLDER.parents[1])),
            "query": dg.MetadataValue.md(f"```sql\n{file.query}\n```"),
        },
    )


def sql_checks(*, is_hourly: bool) -> list[Check[Evidence]]:
    """The checks of files, of those that run by the hour or of those that run with their asset.

    Raises:
        DefinitionError: a file is malformed.
    """
    return [check_of(file) for file in check_files() if file.is_hourly == is_hourly]


def _no_rows(evidence: Evidence, query: str, needs: tuple[str, ...]) -> Finding:
    lacking = lacking_table(evidence.connection, query, needs)
    if lacking:
        raise NotEvaluatedError(f"the table {lacking} is not there yet, or has no rows.")
    faults = find_faults(evidence.connection, query, {"now": evidence.now.replace(tzinfo=None)})
    if not faults.rows:
        return Finding(passed=True, description="No such row.", metadata={"rows": 0})
    return Finding(
        passed=False,
        description=f"{faults.rows:,} rows that should not be there.",
        metadata={"rows": faults.rows, "preview": dg.MetadataValue.md(faults.preview)},
    )
