"""The derived tables: one asset for each SQL file, recomputed by day or whole."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from buildkite_assets.assets.events import whole_table
from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.lineage import asset_table, column_lineage
from buildkite_assets.assets.specs import OWNER, asset_key, code_references, column_schema
from buildkite_assets.automation import Condition, follow_all, follow_days
from buildkite_assets.derived_tables import DerivedTable, derived_tables
from buildkite_assets.session import Session
from buildkite_assets.warehouse import atomic
from buildkite_assets.warehouse.derive import (
    count_by_day,
    derive_days,
    derive_whole,
    in_order,
    inputs,
)
from buildkite_assets.warehouse.preview import preview


def derived_assets(partitions: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The assets of all derived tables.

    Raises:
        DefinitionError: a SQL file is malformed.
    """
    tables = in_order(derived_tables())
    by_day = [table for table in tables if table.is_daily]
    whole = [table for table in tables if not table.is_daily]
    return [_by_day(by_day, partitions), *([_whole(whole, by_day)] if whole else [])]


def _by_day(
    tables: Sequence[DerivedTable], partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="derived_by_day",
        specs=[_spec(table, follow_days()) for table in tables],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    @told_in_one_line
    def derived_by_day(
        context: dg.AssetExecutionContext, session: dg.ResourceParam[Session]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Recompute the rows that stand on the builds of these UTC days."""
        days = [date.fromisoformat(key) for key in context.partition_keys]
        for table in _selected(context, tables):
            with session.warehouse.transaction() as connection:
                lost = derive_days(connection, table, days, derived_tables(), session.parameters)
                rows = count_by_day(connection, table, days)
                glance = preview(connection, table, max(days))
            if lost:
                context.log.warning(
                    "The columns of %s have changed: it has no rows of %d other days until a sync "
                    "or a backfill recomputes them.",
                    table.name,
                    lost,
                )
            for day in days:
                context.add_asset_metadata(
                    {"dagster/partition_row_count": rows[day]},
                    asset_key=asset_key(table),
                    partition_key=day.isoformat(),
                )
            context.add_asset_metadata(
                {"preview": dg.MetadataValue.md(glance)},
                asset_key=asset_key(table),
                partition_key=max(days).isoformat(),
            )
            yield dg.MaterializeResult(asset_key=asset_key(table))
        session.warehouse.publish()

    return derived_by_day


def _whole(tables: Sequence[DerivedTable], by_day: Sequence[DerivedTable]) -> dg.AssetsDefinition:
    behind_days = {table.name for table in by_day}
    for table in tables:
        if not behind_days.isdisjoint(inputs(table)):
            behind_days.add(table.name)

    @dg.multi_asset(
        name="derived_whole",
        specs=[
            _spec(table, follow_all(is_behind_days=table.name in behind_days)) for table in tables
        ],
        can_subset=True,
    )
    @told_in_one_line
    def derived_whole(
        context: dg.AssetExecutionContext, session: dg.ResourceParam[Session]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Recompute tables that look across builds."""
        # Altair takes half a second, which only those shall pay who draw.
        from buildkite_assets.assets.plots import pictures, plans  # noqa: PLC0415

        for table in _selected(context, tables):
            with session.warehouse.connection() as connection:
                with atomic(connection):
                    derive_whole(connection, table, derived_tables(), session.parameters)
                result = whole_table(connection, table)
                figures = plans(context, connection, table)
            # Drawn only now: others may wait for the connection.
            context.add_asset_metadata(
                pictures(context, figures, table), asset_key=asset_key(table)
            )
            yield result
        session.warehouse.publish()

    return derived_whole


def _selected(
    context: dg.AssetExecutionContext, tables: Sequence[DerivedTable]
) -> list[DerivedTable]:
    return [table for table in tables if asset_key(table) in context.selected_asset_keys]


def _spec(table: DerivedTable, automation_condition: Condition) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(table),
        description=table.description,
        group_name=table.group,
        deps=sorted({asset_key(source) for name in inputs(table) if (source := asset_table(name))}),
        owners=[OWNER],
        kinds={"duckdb", "sql"},
        automation_condition=automation_condition,
        metadata={
            "dagster/table_name": table.name,
            "dagster/column_schema": column_schema(table),
            "dagster/column_lineage": column_lineage(table),
            "dagster/code_references": code_references(str(table.path), __file__),
            "query": dg.MetadataValue.md(f"```sql\n{table.query}\n```"),
        },
    )
