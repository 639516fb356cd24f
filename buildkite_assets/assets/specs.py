"""What Dagster's UI tells of a table: description, columns, group, owner."""

from collections.abc import Iterable
from pathlib import Path
from warnings import catch_warnings, simplefilter

import dagster as dg

from buildkite_assets.tables import Table

PREFIX = "buildkite"
OWNER = "team:platform"


def asset_key(table: Table) -> dg.AssetKey:
    """The key of the asset that is this table."""
    return dg.AssetKey([PREFIX, table.name])


def table_spec(
    table: Table, *, group: str, code: str, deps: tuple[Table, ...] = (), is_skippable: bool = False
) -> dg.AssetSpec:
    """The specification of the asset that is this table.

    Args:
        table: which.
        group: where it stands on the graph.
        code: path of the file that fills it.
        deps: the tables that it follows.
        is_skippable: whether a run may leave it out for want of a scope.
    """
    return dg.AssetSpec(
        asset_key(table),
        description=table.grain,
        group_name=group,
        deps=[asset_key(dep) for dep in deps],
        owners=[OWNER],
        kinds={"duckdb", "buildkite"},
        skippable=is_skippable,
        metadata={
            "dagster/table_name": table.name,
            "dagster/column_schema": column_schema(table),
            "dagster/code_references": code_references(code),
        },
    )


def code_references(*paths: str) -> dg.CodeReferencesMetadataValue:
    """Links to files, which open in an editor where the code is on the same machine."""
    with catch_warnings():
        # Dagster warns of each reference that the feature may still change.
        simplefilter("ignore", dg.BetaWarning)
        return dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(file_path=path, label=Path(path).name) for path in paths
            ]
        )


def stored_in(assets: Iterable[dg.AssetsDefinition], warehouse: Path) -> list[dg.AssetsDefinition]:
    """The assets, each with the address of the published file that its table is in."""
    address = {"dagster/uri": warehouse.absolute().as_uri()}
    return [
        each.map_asset_specs(lambda spec: spec.merge_attributes(metadata=address))
        for each in assets
    ]


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns with their types and meanings."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                column.meaning,
                constraints=dg.TableColumnConstraints(
                    # Of a key, too, a part may be NULL: its meaning then says when.
                    nullable=column.name not in table.key or "NULL" in column.meaning,
                    unique=table.key == (column.name,),
                ),
            )
            for column in table.columns
        ]
    )
