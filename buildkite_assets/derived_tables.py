"""Every derived table once: a SQL file in `sql/ci` or `sql/access`, whose header tells its rows.

A file begins with its header, then comes one SELECT:

    /*
    One row per build.

    What else there is to say, such as which formulas are used and why.

    Key: build_id
    Recomputed: by day

    Columns:
      build_id     UUID    Buildkite's id of the build.
      day          DATE    The UTC day of the build; the partition.
      wall_seconds DOUBLE  From creation to end; a meaning may go on
                           in further lines.
    */
    SELECT …

Columns, types and meanings stand at least two spaces apart; a key of several columns is separated
by commas. `Recomputed: whole` is for tables that look across builds. A table recomputed by day has
a column `day`, and its query reads only the builds of `$from_day` to before `$to_day`. A line
`Personal: name` names columns that tell who people are, if there are any.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from buildkite_assets.tables import ACCESS_TABLES, TABLES, Column, Table

FOLDER = Path(__file__).parent / "sql"

_GROUPS = {"ci": "metrics", "access": "access_review"}
_GROUP_BY_DAY = "build_details"
_COLUMN_PARTS = re.compile(r"  (?P<name>[a-z]\w*) {2,}(?P<type>[A-Z].*?) {2,}(?P<meaning>\S.*)")
_FIRST_CONTINUED = " " * 3


class DefinitionError(Exception):
    """A SQL file's header is malformed or contradicts its query; names the file and the line."""


@dataclass(frozen=True)
class DerivedTable(Table):
    """A table that a query makes of other tables.

    Attributes:
        group: where it stands on Dagster's graph.
        notes: definitions and caveats that hold for the whole table; may be empty.
        is_daily: whether it is recomputed by the UTC day of the builds, else whole.
        query: the SELECT that makes it.
        path: of the SQL file.
    """

    group: str
    notes: str
    is_daily: bool
    query: str
    path: Path

    @property
    def description(self) -> str:
        """The grain and what else there is to say."""
        return f"{self.grain}\n\n{self.notes}".strip()


@cache
def derived_tables() -> tuple[DerivedTable, ...]:
    """Every derived table, in the order of their names.

    Raises:
        DefinitionError: a header is malformed.
    """
    paths = [path for folder in _GROUPS for path in FOLDER.glob(f"{folder}/*.sql")]
    paths.sort(key=lambda path: path.stem)
    return tuple(parse(path, path.read_text(encoding="utf-8")) for path in paths)


@cache
def known_tables() -> dict[str, Table]:
    """Every table that a query can read, by name: what is synced, then what is derived of it.

    Raises:
        DefinitionError: a header is malformed.
    """
    return {table.name: table for table in (*TABLES, *ACCESS_TABLES, *derived_tables())}


def parse(path: Path, text: str) -> DerivedTable:
    """The table that a SQL file defines.

    Args:
        path: of the file; its name is the table's, its folder tells the group of whole tables.
        text: what stands in it.

    Raises:
        DefinitionError: the header is malformed.
    """
    return _Header(path, text).table()


class _Header:
    """The lines of one header, each known by its number in the file."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        header, end, self._query = text.partition("\n*/\n")
        self._lines = header.split("\n")
        if self._lines[0] != "/*" or not end:
            raise self._error(
                0, "a file begins with its header, from /* to */ on lines of their own"
            )

    def table(self) -> DerivedTable:
        key_line = self._find("Key:")
        recomputed_line = self._find("Recomputed:")
        columns = self._columns(self._find("Columns:"), self._personal())
        names = [column.name for column in columns]
        key = tuple(name.strip() for name in self._value(key_line).split(","))
        for name in key:
            if name not in names:
                raise self._error(key_line, f"the key {name!r} is none of the columns")
        recomputed = self._value(recomputed_line)
        if recomputed not in {"by day", "whole"}:
            raise self._error(recomputed_line, "a table is recomputed `by day` or `whole`")
        if recomputed == "by day" and "day" not in names:
            raise self._error(recomputed_line, "a table recomputed by day has a column `day`")
        grain, _, notes = "\n".join(self._lines[1:key_line]).strip().partition("\n\n")
        if not grain.startswith("One row per "):
            raise self._error(1, "a header begins with `One row per …`")
        return DerivedTable(
            name=self._path.stem,
            grain=" ".join(grain.split()),
            key=key,
            columns=columns,
            group=self._group(recomputed),
            notes=notes.strip(),
            is_daily=recomputed == "by day",
            query=self._query.strip(),
            path=self._path,
        )

    def _group(self, recomputed: str) -> str:
        folder = self._path.parent.name
        if folder not in _GROUPS:
            raise self._error(0, f"a file lies in one of the folders {', '.join(_GROUPS)}")
        return _GROUP_BY_DAY if recomputed == "by day" else _GROUPS[folder]

    def _personal(self) -> set[str]:
        lines = [n for n, line in enumerate(self._lines) if line.startswith("Personal:")]
        return {name.strip() for n in lines for name in self._value(n).split(",")}

    def _find(self, word: str) -> int:
        found = [n for n, line in enumerate(self._lines) if line.startswith(word)]
        if len(found) != 1:
            raise self._error(0, f"a header has one line that begins with `{word}`")
        return found[0]

    def _value(self, line: int) -> str:
        return self._lines[line].partition(":")[2].strip()

    def _columns(self, heading: int, personal: set[str]) -> tuple[Column, ...]:
        columns: list[Column] = []
        for n, line in enumerate(self._lines[heading + 1 :], heading + 1):
            match = _COLUMN_PARTS.fullmatch(line)
            if match:
                name = match["name"]
                columns.append(
                    Column(name, match["type"], match["meaning"], is_name=name in personal)
                )
            elif columns and line.startswith(_FIRST_CONTINUED):
                last = columns.pop()
                columns.append(replace(last, meaning=f"{last.meaning} {line.strip()}"))
            else:
                raise self._error(n, "a column is `  name  TYPE  meaning`, two spaces between them")
            if columns[-1].name in [column.name for column in columns[:-1]]:
                raise self._error(n, f"the column {columns[-1].name!r} stands twice")
        for name in personal - {column.name for column in columns}:
            raise self._error(heading, f"the personal {name!r} is none of the columns")
        return tuple(columns)

    def _error(self, line: int, message: str) -> DefinitionError:
        return DefinitionError(f"{self._path}:{line + 1}: {message}")
