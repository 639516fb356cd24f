"""Recomputes derived tables, and knows which of them lag behind what they are made of.

Each table, or each day of it, is recorded in `derived_days` with a fingerprint of all that it was
made of: the query and its parameters, the versions of the builds, the contents of the other
sources, and the fingerprints that its derived inputs had then. It lags where that fingerprint is
not the one that would result now.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from graphlib import TopologicalSorter

import duckdb

from buildkite_assets.derived_tables import DefinitionError, DerivedTable
from buildkite_assets.tables import ACCESS_TABLES, BUILDS, JOBS, TABLES
from buildkite_assets.warehouse.errors import UnsoundRowsError
from buildkite_assets.warehouse.queries import references
from buildkite_assets.warehouse.schema import create_table

_DAYS_AT_ONCE = 31
_MEMORY_LIMIT = "1GB"
_MOST_THREADS = 8
_DAY = timedelta(days=1)
_SOURCES = {table.name: table for table in (*TABLES, *ACCESS_TABLES)}

Parameters = Mapping[str, object]
"""Values for the `$name` of queries; each query is given those that it names."""


def inputs(table: DerivedTable) -> frozenset[str]:
    """The names of the tables that a derived table is made of.

    Raises:
        DefinitionError: its query is no SELECT.
    """
    try:
        return references(table.query).tables
    except ValueError as error:
        raise DefinitionError(f"{table.path}: {error}") from error


def in_order(tables: Sequence[DerivedTable]) -> list[DerivedTable]:
    """The tables, each after those that it is made of.

    Raises:
        DefinitionError: one reads a table that nobody declares, or cannot have its rows by day.
    """
    by_name = {table.name: table for table in tables}
    for table in tables:
        for name in inputs(table):
            if name not in by_name and name not in _SOURCES:
                raise DefinitionError(f"{table.path}: there is no table {name}")
            if table.is_daily and name in by_name and not by_name[name].is_daily:
                raise DefinitionError(
                    f"{table.path}: a table recomputed by day cannot read {name}, which is "
                    "recomputed whole"
                )
    names = {table.name: sorted(inputs(table) & by_name.keys()) for table in tables}
    return [by_name[name] for name in TopologicalSorter(names).static_order()]


def derive_whole(
    connection: duckdb.DuckDBPyConnection,
    table: DerivedTable,
    tables: Sequence[DerivedTable],
    parameters: Parameters,
) -> None:
    """Make a table anew.

    Args:
        connection: within a transaction.
        table: one that is recomputed whole.
        tables: all derived tables.
        parameters: values for the queries.

    Raises:
        DefinitionError: the header's columns are not those of the query.
        UnsoundRowsError: a key would stand twice.
    """
    _limit_memory(connection)
    _create_missing(connection, tables)
    values = _values(table, parameters)
    _check_columns(connection, table, values)
    create_table(connection, table)
    connection.execute(f"INSERT INTO {table.name} BY NAME {table.query}", values)
    _check_unique(connection, table, "true", {})
    _record(connection, table, [None], tables, parameters)


def derive_days(
    connection: duckdb.DuckDBPyConnection,
    table: DerivedTable,
    days: Sequence[date],
    tables: Sequence[DerivedTable],
    parameters: Parameters,
) -> int:
    """Make the rows of some UTC days of builds anew.

    Where the header's columns have changed, the table starts empty: its other days then lag.

    Args:
        connection: within a transaction.
        table: one that is recomputed by day.
        days: which.
        tables: all derived tables.
        parameters: values for the queries.

    Returns:
        How many other days the table lost.

    Raises:
        DefinitionError: the header's columns are not those of the query.
        UnsoundRowsError: a key would stand twice.
    """
    _limit_memory(connection)
    _create_missing(connection, tables)
    no_day = {"from_day": date.min, "to_day": date.min}
    _check_columns(connection, table, _values(table, {**parameters, **no_day}))
    lost: set[date] = set()
    if not _has_columns(connection, table):
        create_table(connection, table)
        dropped = connection.execute(
            "DELETE FROM derived_days WHERE table_name = ? RETURNING day", [table.name]
        ).fetchall()
        lost = {day for (day,) in dropped} - set(days)
    for first, last in ranges(days, _DAYS_AT_ONCE):
        window = {"from_day": first, "to_day": last + _DAY}
        values = _values(table, {**parameters, **window})
        within = "day >= $from_day AND day < $to_day"
        connection.execute(f"DELETE FROM {table.name} WHERE {within}", window)
        connection.execute(f"INSERT INTO {table.name} BY NAME {table.query}", values)
        _check_unique(connection, table, within, window)
    _record(connection, table, days, tables, parameters)
    return len(lost)


def ranges(days: Sequence[date], longest: int | None = None) -> Iterator[tuple[date, date]]:
    """The unbroken ranges of days, first and last inclusive, of `longest` days at most."""
    run: list[date] = []
    for day in sorted(days):
        if run and (day != run[-1] + _DAY or len(run) == longest):
            yield run[0], run[-1]
            run = []
        run.append(day)
    if run:
        yield run[0], run[-1]


def lagging_ranges(
    by_day: Mapping[DerivedTable, Sequence[date]],
) -> Iterator[tuple[date, date, list[DerivedTable]]]:
    """The unbroken ranges of days that lag, each with the tables that lag within it."""
    for first, last in ranges(sorted({day for days in by_day.values() for day in days})):
        yield (
            first,
            last,
            [table for table, days in by_day.items() if any(first <= day <= last for day in days)],
        )


def count_by_day(
    connection: duckdb.DuckDBPyConnection, table: DerivedTable, days: Sequence[date]
) -> dict[date, int]:
    """How many rows a table has of each of these days."""
    rows = connection.execute(
        f"SELECT day, count(*) FROM {table.name} WHERE day IN (SELECT unnest($days::DATE[])) "
        "GROUP BY day",
        {"days": list(days)},
    ).fetchall()
    return dict.fromkeys(days, 0) | dict(rows)


def lagging_whole(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[DerivedTable], parameters: Parameters
) -> list[DerivedTable]:
    """The tables recomputed whole that are not made of what their inputs would be now."""
    fingerprints = _Fingerprints(connection, tables, parameters)
    return [
        table
        for table in tables
        if not table.is_daily
        and fingerprints.recorded(table, None) != fingerprints.expected(table, None)
    ]


def lagging_days(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[DerivedTable], parameters: Parameters
) -> dict[DerivedTable, list[date]]:
    """The tables recomputed by day with those of their days that lag; current tables are left out.

    Asked for are the days that have builds or were read in full.
    """
    fingerprints = _Fingerprints(connection, tables, parameters)
    lagging = {
        table: [
            day
            for day in sorted(fingerprints.days)
            if fingerprints.recorded(table, day) != fingerprints.expected(table, day)
        ]
        for table in tables
        if table.is_daily
    }
    return {table: days for table, days in lagging.items() if days}


class _Fingerprints:
    """What each table was made of, and what it would be made of now."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        tables: Sequence[DerivedTable],
        parameters: Parameters,
    ) -> None:
        self._connection = connection
        self._derived = {table.name: table for table in tables}
        self._parameters = parameters
        # A build is stored anew with its jobs whenever it is read, and marked when it is absent.
        self._builds = dict(
            connection.execute(
                "SELECT created_at::DATE, bit_xor(hash(build_id, synced_at, absent_since)) "
                "FROM builds GROUP BY ALL"
            ).fetchall()
        )
        self._recorded: dict[tuple[str, date | None], str] = {
            (name, day): fingerprint
            for name, day, fingerprint in connection.execute(
                "SELECT table_name, day, fingerprint FROM derived_days"
            ).fetchall()
        }
        read = connection.execute("SELECT DISTINCT day FROM sync_days").fetchall()
        recorded_days = {day for _, day in self._recorded if day}
        self.days: set[date] = {day for (day,) in read} | self._builds.keys() | recorded_days
        self._contents: dict[str, object] = {}
        self._expected: dict[tuple[str, date | None], str] = {}

    def recorded(self, table: DerivedTable, day: date | None) -> str | None:
        """The fingerprint of what a table was last made of."""
        return self._recorded.get((table.name, day))

    def expected(self, table: DerivedTable, day: date | None) -> str:
        """The fingerprint that a table would have if all were recomputed now."""
        if (table.name, day) not in self._expected:
            self._expected[table.name, day] = self.current(table, day, self.expected)
        return self._expected[table.name, day]

    def current(
        self,
        table: DerivedTable,
        day: date | None,
        fingerprint_of: Callable[[DerivedTable, date | None], str | None],
    ) -> str:
        """The fingerprint of a table made now of derived tables that have theirs."""
        parts: list[object] = [table.query, sorted(_values(table, self._parameters).items())]
        for name in sorted(inputs(table)):
            if name in {BUILDS.name, JOBS.name}:
                parts.append(sorted(self._builds.items()) if day is None else self._builds.get(day))
            elif name not in self._derived:
                parts.append(self._content(name))
            elif day is None and self._derived[name].is_daily:
                parts += [fingerprint_of(self._derived[name], each) for each in sorted(self.days)]
            else:
                parts.append(fingerprint_of(self._derived[name], day))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _content(self, name: str) -> object:
        """A fingerprint of a small table's rows, whenever they were read."""
        if name not in self._contents:
            columns = ", ".join(
                f'"{column.name}"'
                for column in _SOURCES[name].columns
                if column.name != "synced_at"
            )
            [(self._contents[name],)] = self._connection.execute(
                f"SELECT bit_xor(hash({columns})) FROM {name}"
            ).fetchall()
        return self._contents[name]


def _limit_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """Have DuckDB write to its temporary directory what it would else keep in memory.

    Its own limit is most of the machine. Ten million jobs take hardly longer within this one, with
    up to that many threads; each thread needs its share.
    """
    connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
    [(threads,)] = connection.execute("SELECT current_setting('threads')").fetchall()
    connection.execute(f"SET threads = {min(threads, _MOST_THREADS)}")


def _record(
    connection: duckdb.DuckDBPyConnection,
    table: DerivedTable,
    days: Sequence[date | None],
    tables: Sequence[DerivedTable],
    parameters: Parameters,
) -> None:
    fingerprints = _Fingerprints(connection, tables, parameters)
    now = datetime.now(UTC).replace(tzinfo=None)
    connection.execute(
        """
        DELETE FROM derived_days
        WHERE table_name = $name AND (day IS NULL OR day IN (SELECT unnest($days::DATE[])))
        """,
        {"name": table.name, "days": [day for day in days if day]},
    )
    for day in days:
        fingerprint = fingerprints.current(table, day, fingerprints.recorded)
        connection.execute(
            "INSERT INTO derived_days VALUES (?, ?, ?, ?)", [table.name, day, fingerprint, now]
        )


def _values(table: DerivedTable, parameters: Parameters) -> dict[str, object]:
    """The parameters that the table's query names."""
    names = references(table.query).parameters
    return {name: value for name, value in parameters.items() if name in names}


def _create_missing(connection: duckdb.DuckDBPyConnection, tables: Sequence[DerivedTable]) -> None:
    """Create tables that were never made, so that each can be read, in whatever order."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE NOT internal"
    ).fetchall()
    for table in tables:
        if (table.name,) not in rows:
            create_table(connection, table)


def _has_columns(connection: duckdb.DuckDBPyConnection, table: DerivedTable) -> bool:
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE table_name = ? AND NOT internal ORDER BY column_index",
        [table.name],
    ).fetchall()
    return rows == [(column.name, column.type) for column in table.columns]


def _check_columns(
    connection: duckdb.DuckDBPyConnection, table: DerivedTable, values: Parameters
) -> None:
    """Hold that the query gives the columns that the header tells of.

    Raises:
        DefinitionError: it does not.
    """
    described = connection.execute(f"DESCRIBE {table.query}", dict(values)).fetchall()
    given = {name: type_name for name, type_name, *_ in described}
    told = {column.name: column.type for column in table.columns}
    for name in told | given:
        if told.get(name) != given.get(name):
            raise DefinitionError(
                f"{table.path}: the header says {name} {told.get(name, 'is missing')}, "
                f"the query gives {given.get(name, 'nothing')}"
            )


def _check_unique(
    connection: duckdb.DuckDBPyConnection, table: DerivedTable, within: str, values: Parameters
) -> None:
    """Hold that each key stands once.

    Raises:
        UnsoundRowsError: one stands twice.
    """
    key = ", ".join(table.key)
    doubled = connection.execute(
        f"SELECT {key} FROM {table.name} WHERE {within} GROUP BY ALL HAVING count(*) > 1 LIMIT 1",
        dict(values),
    ).fetchall()
    if doubled:
        raise UnsoundRowsError(
            f"{table.name} would have two rows of {table.key} = {doubled[0]}: nothing was "
            "changed. Please report it."
        )
