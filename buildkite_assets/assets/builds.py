"""Builds and jobs, a day at a time, in full."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from buildkite_assets.assets.specs import asset_key, table_spec
from buildkite_assets.days import Source, open_sources, read_days
from buildkite_assets.session import Session
from buildkite_assets.tables import BUILDS, JOBS, ORGANIZATIONS
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.ledger import DayRead, known_days, set_start_date, start_date

_GROUP = "builds"


class BuildsConfig(dg.Config):
    """How to read days of builds."""

    full: bool = False
    """Read every day of a range again, also those that are known."""


def builds_asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The assets `builds` and `jobs`, which one request reads together."""

    @dg.multi_asset(
        name="builds",
        specs=[
            table_spec(BUILDS, group=_GROUP, deps=(ORGANIZATIONS,)),
            table_spec(JOBS, group=_GROUP, deps=(ORGANIZATIONS,)),
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def builds(
        context: dg.AssetExecutionContext,
        session: dg.ResourceParam[Session],
        config: BuildsConfig,
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Read UTC days of builds with all their jobs; about one request per 100 builds.

        One partition is always read in full. In a range, days that are known already are left as
        they are unless `full` is set, so that an interrupted backfill goes on where it stopped.
        """
        asked = [date.fromisoformat(key) for key in context.partition_keys]
        warehouse = session.warehouse
        with session.client() as client:
            sources = open_sources(client, session)
            warn_of_missing_scope(context, sources)
            is_resumable = len(asked) > 1 and not config.full
            days = _days_to_read(warehouse, sources, asked, is_resumable=is_resumable)
            session.progress.expect_days(len(days))
            context.log.info(
                "Reading %d of %d days of %d organizations.", len(days), len(asked), len(sources)
            )
            for day, reads in read_days(sources, days, warehouse, context.run_id):
                # At once, so that a kill does not hide what is committed. The events that Dagster
                # adds at the end of the run carry the same metadata.
                log_day(context, day, reads)
                for asset, metadata in _day_metadata(reads).items():
                    context.add_asset_metadata(
                        metadata, asset_key=asset, partition_key=day.isoformat()
                    )
        warehouse.publish()
        yield dg.MaterializeResult(asset_key=asset_key(BUILDS))
        yield dg.MaterializeResult(asset_key=asset_key(JOBS))

    return builds


def warn_of_missing_scope(context: dg.AssetExecutionContext, sources: Sequence[Source]) -> None:
    """Say once what follows where the token may not list pipelines."""
    if any(source.pipelines.lacks_scope for source in sources):
        context.log.warning(
            "The token lacks the scope read_pipelines: builds are read without `pipeline_id`, "
            "and none is marked as absent."
        )


def _days_to_read(
    warehouse: Warehouse, sources: Sequence[Source], asked: Sequence[date], *, is_resumable: bool
) -> list[date]:
    with warehouse.transaction() as connection:
        first = start_date(connection)
        if first is None or min(asked) < first:
            set_start_date(connection, min(asked))
        if not is_resumable:
            return list(asked)
        known = [known_days(connection, source.organization.id) for source in sources]
    return [day for day in asked if not all(day in days for days in known)]


def log_day(context: dg.AssetExecutionContext, day: date, reads: Sequence[DayRead]) -> None:
    """Show a day of builds and jobs as materialized, now."""
    for asset, metadata in _day_metadata(reads).items():
        context.log_event(
            dg.AssetMaterialization(asset, partition=day.isoformat(), metadata=metadata)
        )
    rejected = sum(read.rejected for read in reads)
    if rejected:
        context.log.warning(
            "%s: %d builds could not be read; see the table rejected_builds.", day, rejected
        )


def _day_metadata(reads: Sequence[DayRead]) -> dict[dg.AssetKey, dict[str, int | float]]:
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
