"""The checks that are SQL: one file each in `sql/checks`, whose header says what must hold.

A file begins with its header, then comes one SELECT of the rows that should not be there. It may
use `$now`, this machine's clock in UTC:

    /*
    Every job's build is there.

    What else there is to say, such as why it matters.

    Asset: jobs
    Severity: error
    Blocks: yes
    Runs: with its asset
    Needs: sync_days
    When it fails: what to do; it may go on
      in further lines.
    */
    SELECT …

`Blocks: yes` keeps assets downstream in the same run from being made of such rows; only an error
can. `Runs: by the hour` is for what breaks by the passing of time alone. `Needs` names tables
without whose rows there is nothing to evaluate.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from buildkite_assets.derived_tables import DefinitionError, known_tables
from buildkite_assets.tables import Table

FOLDER = Path(__file__).parents[1] / "sql" / "checks"

_FIELDS = ("Asset", "Severity", "Blocks", "Runs", "Needs", "When it fails")


@dataclass(frozen=True)
class CheckFile:
    """A check as a SQL file defines it.

    Attributes:
        table: the asset that it belongs to.
        statement: what must hold, and what else there is to say.
        is_error: whether it fails with an error, not a warning.
        is_blocking: whether a failure stops what is downstream.
        is_hourly: whether it runs by the hour, not with its asset.
        needs: tables without whose rows it is not evaluated.
        remedy: what to do when it fails.
        query: for the rows that should not be there.
        path: of the file; its name is the check's.
    """

    table: Table
    statement: str
    is_error: bool
    is_blocking: bool
    is_hourly: bool
    needs: tuple[str, ...]
    remedy: str
    query: str
    path: Path


@cache
def check_files() -> tuple[CheckFile, ...]:
    """Every check that is a SQL file, in the order of their names.

    Raises:
        DefinitionError: a header is malformed.
    """
    paths = sorted(FOLDER.glob("*.sql"))
    return tuple(parse(path, path.read_text(encoding="utf-8")) for path in paths)


def parse(path: Path, text: str) -> CheckFile:
    """The check that a SQL file defines.

    Raises:
        DefinitionError: the header is malformed; names the file and the rule.
    """
    header, end, query = text.partition("\n*/\n")
    if not header.startswith("/*\n") or not end:
        raise DefinitionError(f"{path}: a file begins with its header, from /* to */")
    statement, values = _fields(path, header.removeprefix("/*\n"))
    tables = known_tables()
    needs = tuple(name.strip() for name in values["Needs"].split(","))
    for name in (values["Asset"], *needs):
        if name not in tables:
            raise DefinitionError(f"{path}: there is no table {name!r}")
    is_error = _one_of(path, values, "Severity", ("warn", "error"))
    is_blocking = _one_of(path, values, "Blocks", ("no", "yes"))
    if is_blocking and not is_error:
        raise DefinitionError(f"{path}: only an error can block")
    return CheckFile(
        table=tables[values["Asset"]],
        statement=statement,
        is_error=is_error,
        is_blocking=is_blocking,
        is_hourly=_one_of(path, values, "Runs", ("with its asset", "by the hour")),
        needs=needs,
        remedy=values["When it fails"],
        query=query.strip(),
        path=path,
    )


def _fields(path: Path, header: str) -> tuple[str, dict[str, str]]:
    """What stands before the fields, and the value of each field on one line."""
    statement, begin, rest = header.partition(f"\n{_FIELDS[0]}:")
    values: dict[str, str] = {}
    for line in f"{begin}{rest}".strip().splitlines():
        name, colon, value = line.partition(":")
        if line.startswith("  ") and values:
            last = next(reversed(values))
            values[last] += f" {line.strip()}"
        elif colon:
            values[name] = value.strip()
    if tuple(values) != _FIELDS or not all(values.values()) or not statement.strip():
        raise DefinitionError(
            f"{path}: a header says what must hold, then has the lines {', '.join(_FIELDS)}"
        )
    return statement.strip(), values


def _one_of(path: Path, values: dict[str, str], name: str, words: tuple[str, str]) -> bool:
    """Whether the field has the second of two words."""
    if values[name] not in words:
        raise DefinitionError(f"{path}: {name} is {words[0]} or {words[1]}")
    return values[name] == words[1]
