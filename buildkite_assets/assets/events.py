"""What runs tell Dagster of days of builds and jobs: materializations and warnings."""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.changes import Feed
from buildkite_assets.days import Source
from buildkite_assets.tables import BUILDS, JOBS, Table
from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.ledger import DayRead
from buildkite_assets.warehouse.preview import count_rows, preview


def warn_of_missing_scope(context: dg.AssetExecutionContext, sources: Sequence[Source]) -> None:
    """Say once what follows where the token may not list pipelines."""
    if any(source.pipelines.lacks_scope for source in sources):
        context.log.warning(
            "The token lacks the scope read_pipelines: builds are read without `pipeline_id`, "
            "and none is marked as absent."
        )


def log_day(context: dg.AssetExecutionContext, day: date, reads: Sequence[DayRead]) -> None:
    """Show a day of builds and jobs as materialized, now."""
    for asset, metadata in day_metadata(reads).items():
        context.log_event(
            dg.AssetMaterialization(asset, partition=day.isoformat(), metadata=metadata)
        )
    rejected = sum(read.rejected for read in reads)
    if rejected:
        context.log.warning(
            "%s: %d builds could not be read; see the table rejected_builds.", day, rejected
        )


def day_metadata(reads: Sequence[DayRead]) -> dict[dg.AssetKey, dict[str, int | float]]:
    """What the UI shows of a day that was read in full, for each of its two assets."""
    shared = {
        "requests": sum(read.requests for read in reads),
        "megabytes": round(sum(read.size_bytes for read in reads) / 1e6, 1),
        "rejected": sum(read.rejected for read in reads),
    }
    return {
        asset_key(BUILDS): {
            "dagster/partition_row_count": sum(read.builds for read in reads),
            **shared,
        },
        asset_key(JOBS): {
            "dagster/partition_row_count": sum(read.jobs for read in reads),
            **shared,
        },
    }


def log_touched_days(context: dg.AssetExecutionContext, feed: Feed) -> None:
    """Show the touched days of builds and jobs as materialized, so that derived ones follow."""
    for day in feed.touched:
        for table, rows in ((BUILDS, day.builds), (JOBS, day.jobs)):
            context.log_event(
                dg.AssetMaterialization(
                    asset_key(table),
                    partition=day.day.isoformat(),
                    metadata={"dagster/partition_row_count": rows, "changed_builds": day.changed},
                )
            )
    if feed.rejected:
        context.log.warning(
            "%d builds could not be read; see the table rejected_builds.", feed.rejected
        )


def whole_table(
    connection: Connection, table: Table, **metadata: int
) -> dg.MaterializeResult[None]:
    """A table that is not partitioned as materialized: its row count, a glance, and `metadata`."""
    return dg.MaterializeResult(
        asset_key=asset_key(table),
        metadata={
            "dagster/row_count": count_rows(connection, table),
            "preview": dg.MetadataValue.md(preview(connection, table)),
            **metadata,
        },
    )
