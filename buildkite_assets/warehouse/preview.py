"""A glance at a table, for Dagster's UI."""

from collections.abc import Sequence
from datetime import date

import duckdb
import polars as pl

from buildkite_assets.tables import Column, Table

_ROWS = 5
_ROWS_OF_A_DAY = 3
_COLUMNS = 6
_COLUMNS_IN_FULL = 8
_LONGEST_TEXT = 40
_LONGEST_TEXT_IN_FULL = 200
_WIDEST = 10_000


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
    cells = ", ".join(_cell(_value(table, each), links.get(each.name)) for each in columns)
    join = "LEFT JOIN pipelines AS linked USING (pipeline_id)" if "linked." in cells else ""
    rows = connection.execute(
        f"SELECT {cells} FROM {table.name} {join} "
        f"WHERE $day IS NULL OR {_day(table) if day else 'true'} = $day "
        f'ORDER BY {table.name}."{_newest_by(table)}" DESC NULLS LAST '
        f"LIMIT {_ROWS_OF_A_DAY if day else _ROWS}",
        {"day": day},
    ).fetchall()
    return _markdown([column.name for column in columns], rows)


def as_markdown(rows: pl.DataFrame) -> str:
    """A few rows as a Markdown table; text that is longer than 200 characters is cut."""
    one_line = pl.col(pl.String).str.replace_all(r"[\r\n|]+", " ")
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=_COLUMNS_IN_FULL,
        tbl_rows=-1,
        tbl_width_chars=_WIDEST,
        fmt_str_lengths=_LONGEST_TEXT_IN_FULL,
    ):
        return str(rows.with_columns(one_line))


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


def _cell(value: str, link: str | None) -> str:
    """The SQL of a cell: its text, cut and without any Markdown of its own, linked if it can be."""
    whole = f"regexp_replace(({value})::VARCHAR, '[\\s|]+', ' ', 'g')"
    cut = f"{whole}[:{_LONGEST_TEXT}] || if(length({whole}) > {_LONGEST_TEXT}, '…', '')"
    text = f"regexp_replace({cut}, '([\\\\\\[\\]<>`*])', '\\\\\\1', 'g')"
    if link is None:
        return f"coalesce({text}, '')"
    safe = f"if(regexp_full_match({link}, 'https?://[^\\s<>|()\\[\\]]+'), {link}, NULL)"
    return f"coalesce('[' || {text} || '](' || {safe} || ')', {text}, '')"


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
