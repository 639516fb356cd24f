"""A glance at a table, for Dagster's UI."""

import re
from collections.abc import Sequence
from datetime import date

import duckdb
import polars as pl

from buildkite_assets.plain_text import one_line
from buildkite_assets.tables import Column, Table

_ROWS = 5
_ROWS_OF_A_DAY = 3
_COLUMNS = 6
_LONGEST_TEXT = 40
_LONGEST_TEXT_IN_FULL = 200
_SPACES = re.compile(r"[\s|]+")
_PLAIN = re.compile(r"[0-9 .:+-]+|[^\W_]+(?:[ _-][^\W_]+)*(?: \([^\W_]+\))?…?")
"""Numbers, times, and words with one space, underscore or hyphen between them: `at (UTC)`."""
_ADDRESS = re.compile(r"https?://[^\s<>|()\[\]`]+")


def count_rows(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    """How many rows the table has."""
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()
    return int(rows)


def preview(connection: duckdb.DuckDBPyConnection, table: Table, day: date | None = None) -> str:
    """The newest rows of a table's first columns as Markdown, with links to Buildkite.

    Dagster's UI shows Markdown of less than 1,000 characters at once, and more on demand.

    Who people are is left out, and so are ids where slugs say the same. Text from outside is
    text: it can neither link nor load anything.

    Args:
        connection: to the published file or to the working one.
        table: which.
        day: the only UTC day of builds to show, of a table that is kept by day.
    """
    columns = _shown(table)
    links = _links(table)
    cells = ", ".join(
        f"({_value(table, each)})::VARCHAR, {links.get(each.name, 'NULL')}" for each in columns
    )
    join = "LEFT JOIN pipelines AS linked USING (pipeline_id)" if "linked." in cells else ""
    rows = connection.execute(
        f"SELECT {cells} FROM {table.name} {join} "
        f"WHERE $day IS NULL OR {_day(table) if day else 'true'} = $day "
        f'ORDER BY {table.name}."{_newest_by(table)}" DESC NULLS LAST '
        f"LIMIT {_ROWS_OF_A_DAY if day else _ROWS}",
        {"day": day},
    ).fetchall()
    shown = [[_linked(*cell) for cell in zip(row[::2], row[1::2], strict=True)] for row in rows]
    return _markdown([column.name for column in columns], shown)


def as_markdown(rows: pl.DataFrame) -> str:
    """Return a few rows as a Markdown table; text that is longer than 200 characters is cut."""
    heading = [markdown_text(name, _LONGEST_TEXT_IN_FULL) for name in rows.columns]
    cells = [
        [
            "null" if value is None else markdown_text(f"{value}", _LONGEST_TEXT_IN_FULL)
            for value in row
        ]
        for row in rows.iter_rows()
    ]
    return _markdown(heading, cells)


def markdown_text(text: str, longest: int) -> str:
    """Return text as Markdown that shows it as it is: as code, unless it is plain words or numbers.

    Only code is safe: Dagster's UI also links a bare address whose characters are escaped.

    Args:
        text: from outside.
        longest: how many characters to show.
    """
    line = _SPACES.sub(" ", one_line(text)).replace("`", "'")
    cut = f"{line[:longest]}…" if len(line) > longest else line
    return cut if not cut.strip() or _PLAIN.fullmatch(cut) else f"`{cut}`"


def _shown(table: Table) -> list[Column]:
    columns = [column for column in table.columns if not column.is_personal]
    if {"slug", "pipeline_slug"} & {column.name for column in columns}:
        columns = [column for column in columns if column.type != "UUID"]
    return columns[:_COLUMNS]


def _links(table: Table) -> dict[str, str]:
    """For columns that name something at Buildkite, the SQL of its address."""
    names = [column.name for column in table.columns]
    links = {}
    if "web_url" in names and "slug" in names:
        links["slug"] = f"{table.name}.web_url"
    if {"pipeline_id", "pipeline_slug"} <= set(names):
        links["pipeline_slug"] = "linked.web_url"
        for name in names:
            if name == "number" or name.endswith("_number"):
                links[name] = f"linked.web_url || '/builds/' || {table.name}.\"{name}\""
    return links


def _value(table: Table, column: Column) -> str:
    """The SQL of a column's value, no more exact than a glance needs."""
    name = f'{table.name}."{column.name}"'
    return {"TIMESTAMP": f"{name}::TIMESTAMP_S", "DOUBLE": f"round({name}, 3)"}.get(
        column.type, name
    )


def _linked(text: str | None, link: str | None) -> str:
    """Return a cell's text, linked if it can be."""
    shown = markdown_text(text or "", _LONGEST_TEXT)
    return f"[{shown}]({link})" if shown and link and _ADDRESS.fullmatch(link) else shown


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _day(table: Table) -> str:
    """The SQL of the UTC day of builds that a row belongs to."""
    names = {column.name for column in table.columns}
    if "day" in names:
        return "day"
    name = "build_created_at" if "build_created_at" in names else "created_at"
    return f"{table.name}.{name}::DATE"


def _newest_by(table: Table) -> str:
    """The column that tells how new a row is: an instant, else a day, else the key."""
    instants = [column.name for column in table.columns if column.type == "TIMESTAMP"]
    days = [column.name for column in table.columns if column.type == "DATE"]
    return "created_at" if "created_at" in instants else [*instants, *days, *table.key][0]
