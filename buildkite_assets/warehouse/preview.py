"""A glance at a table, for Dagster's UI and the terminal."""

import duckdb
import polars as pl

from buildkite_assets.tables import Table

_ROWS = 5
_COLUMNS = 8
_LONGEST_TEXT = 40
_LONGEST_TEXT_IN_FULL = 200
_WIDEST = 10_000


def count_rows(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    """How many rows the table has."""
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()
    return int(rows)


def preview(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    """The newest rows of a table's first columns as Markdown; who people are is left out."""
    names = [column.name for column in table.columns if not column.is_personal][:_COLUMNS]
    columns = ", ".join(f'"{name}"::VARCHAR AS "{name}"' for name in names)
    rows = connection.sql(
        f'SELECT {columns} FROM {table.name} ORDER BY "{_newest_by(table)}" DESC NULLS LAST '
        f"LIMIT {_ROWS}"
    ).pl()
    return as_markdown(rows, _LONGEST_TEXT)


def as_markdown(rows: pl.DataFrame, longest_text: int = _LONGEST_TEXT_IN_FULL) -> str:
    """A few rows as a Markdown table; text that is longer is cut."""
    one_line = pl.col(pl.String).str.replace_all(r"[\r\n|]+", " ")
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=_COLUMNS,
        tbl_rows=-1,
        tbl_width_chars=_WIDEST,
        fmt_str_lengths=longest_text,
    ):
        return str(rows.with_columns(one_line))


def _newest_by(table: Table) -> str:
    """The column that tells how new a row is: an instant, else a day, else the key."""
    instants = [column.name for column in table.columns if column.type == "TIMESTAMP"]
    days = [column.name for column in table.columns if column.type == "DATE"]
    return "created_at" if "created_at" in instants else [*instants, *days, *table.key][0]
