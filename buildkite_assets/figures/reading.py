"""Small questions to the derived tables, answered also where a table is not there yet."""

import polars as pl
from polars import selectors

from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.queries import references


def read(connection: Connection, query: str, **values: object) -> pl.DataFrame:
    """The rows of a query; a frame without columns where a table of it does not exist yet.

    Days and instants are given as instants of UTC: a chart shall show them as they stand in the
    table, whatever the time zone of who looks. Of columns `organization` and `pipeline_slug` it
    makes a column `pipeline`, which names the organization only where there are several.

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
    instants = selectors.temporal().cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    rows = rows.with_columns(instants)
    if not {"organization", "pipeline_slug"} <= set(rows.columns):
        return rows
    slug = pl.col("pipeline_slug")
    if rows["organization"].n_unique() > 1:
        slug = pl.col("organization") + "/" + slug
    return rows.with_columns(slug.alias("pipeline"))
