"""What Dagster's UI tells of a table: description, columns, group, owner."""

import dagster as dg

from buildkite_assets.tables import Table

PREFIX = "buildkite"
_OWNER = "team:platform"


def asset_key(table: Table) -> dg.AssetKey:
    """The key of the asset that is this table."""
    return dg.AssetKey([PREFIX, table.name])


def table_spec(
    table: Table, *, group: str, deps: tuple[Table, ...] = (), is_skippable: bool = False
) -> dg.AssetSpec:
    """The specification of the asset that is this table.

    Args:
        table: which.
        group: where it stands on the graph.
        deps: the tables that it follows.
        is_skippable: whether a run may leave it out for want of a scope.
    """
    return dg.AssetSpec(
        asset_key(table),
        description=table.grain,
        group_name=group,
        deps=[asset_key(dep) for dep in deps],
        owners=[_OWNER],
        kinds={"duckdb", "buildkite"},
        skippable=is_skippable,
        metadata={
            "dagster/table_name": table.name,
            "dagster/column_schema": column_schema(table),
        },
    )


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns with their types and meanings."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                column.meaning,
                constraints=dg.TableColumnConstraints(
                    nullable=column.name not in table.key, unique=table.key == (column.name,)
                ),
            )
            for column in table.columns
        ]
    )
