"""Small questions to the derived tables, answered also where a table is not there yet."""

import polars as pl
from polars import selectors

from buildkite_assets.plain_text import BREAKS, REPLACEMENT, UNSAFE
from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.queries import references

_LONGEST_TEXT = 200


def read(connection: Connection, query: str, **values: object) -> pl.DataFrame:
    """The rows of a query; a frame without columns where a table of it does not exist yet.

    Days and instants are given as instants of UTC: a chart shall show them as they stand in the
    table, whatever the time zone of who looks. Text is made safe to draw, as `one_line` does, and
    cut to 200 characters: to measure text of 100,000 takes minutes.

    Args:
        connection: to the published file, or to the working one.
        query: a SELECT, with `$name` for values.
        values: by name.
    """
    existing = {
        name
        for (name,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        ).fetchall()
    }
    if references(query).tables - existing:
        return pl.DataFrame()
    rows: pl.DataFrame = connection.sql(query, params=values).pl()
    return rows.with_columns(
        selectors.temporal().cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"),
        _cut(selectors.string().str.replace_all(BREAKS, " ").str.replace_all(UNSAFE, REPLACEMENT)),
    )


def _cut(text: pl.Expr) -> pl.Expr:
    is_long = text.str.len_chars() > _LONGEST_TEXT
    return pl.when(is_long).then(text.str.head(_LONGEST_TEXT) + "…").otherwise(text)


def named(rows: pl.DataFrame, column: str) -> pl.Expr:
    """A column of slugs, with `organization` before each where the rows are of several."""
    if rows["organization"].n_unique() > 1:
        return pl.col("organization") + "/" + pl.col(column)
    return pl.col(column)
