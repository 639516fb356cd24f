"""Which columns the columns of a derived table are computed from, told by its SQL."""

from functools import cache

import dagster as dg
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.derived_tables import DerivedTable, known_tables
from buildkite_assets.tables import LEDGER_TABLES, Table
from buildkite_assets.warehouse.derive import inputs


def asset_table(name: str) -> Table | None:
    """The table whose asset fills the table of this name; None for a ledger, which has no asset.

    A sync fills present and history at once, which are one asset.
    """
    if name in {table.name for table in LEDGER_TABLES}:
        return None
    return known_tables()[name.removesuffix("_history")]


@cache
def column_lineage(table: DerivedTable) -> dg.TableColumnLineage:
    """The columns of other assets that the values of each column are computed from.

    What they are ordered by, or packed into a struct with, counts; what only decides which rows
    there are (joins, filters, groups) does not. A column that has no source, such as a count of
    rows, is left out; so are all of a query that DuckDB can parse and sqlglot cannot.
    """
    tables = known_tables()
    columns = {
        name: {column.name: column.type for column in tables[name].columns}
        for name in inputs(table)
    }
    try:
        # Names are compared and not printed, so that a quarter of the time for quotes is saved.
        nodes = lineage(
            None,
            table.query,
            columns,
            dialect="duckdb",
            trim_selects=False,
            quote_identifiers=False,
        )
    except SqlglotError:
        return dg.TableColumnLineage({})
    deps = {name: _deps(node) for name, node in nodes.items()}
    return dg.TableColumnLineage({name: found for name, found in deps.items() if found})


def _deps(node: Node) -> list[dg.TableColumnDep]:
    """The columns of assets that a node of the lineage leads to."""
    leaves = {
        (leaf.expression.name, leaf.name.rpartition(".")[2])
        for leaf in node.walk()
        if isinstance(leaf.expression, exp.Table)
    }
    found = {
        (asset_key(source), column)
        for name, column in leaves
        if (source := asset_table(name)) and column in {each.name for each in source.columns}
    }
    return [dg.TableColumnDep(asset, column) for asset, column in sorted(found)]
