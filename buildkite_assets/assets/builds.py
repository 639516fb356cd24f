"""Builds and jobs, a day at a time, in full."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from threading import Event

import dagster as dg

from buildkite_assets.assets.session import Session
from buildkite_assets.assets.specs import asset_key, table_spec
from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.organizations import PipelineDirectory, visible_organizations
from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.days import Source, read_days
from buildkite_assets.partitions import first_day
from buildkite_assets.tables import BUILDS, JOBS, ORGANIZATIONS
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.ledger import DayRead, extend_start_date, known_days, row_counts

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
        with warehouse.transaction() as connection:
            extend_start_date(connection, min(first_day(session.settings), *asked))
        with session.client() as client:
            sources = _sources(context, client, session)
            is_resumable = len(asked) > 1 and not config.full
            days = _unknown_days(warehouse, sources, asked) if is_resumable else asked
            session.progress.expect_days(len(days))
            context.log.info(
                "Reading %d of %d days of %d organizations.", len(days), len(asked), len(sources)
            )
            _count_known(context, warehouse, set(asked) - set(days))
            for day, reads in read_days(sources, days, warehouse, context.run.run_id):
                _log_day(context, day, reads, is_ranged=len(asked) > 1)
        warehouse.publish()
        yield dg.MaterializeResult(asset_key=asset_key(BUILDS))
        yield dg.MaterializeResult(asset_key=asset_key(JOBS))

    return builds


def _sources(context: dg.AssetExecutionContext, client: Client, session: Session) -> list[Source]:
    organizations, _ = visible_organizations(client, session.settings.organizations)
    page_size, stopped = PageSize(), Event()
    sources = [
        Source(
            client=client,
            organization=organization,
            pipelines=PipelineDirectory(client, organization.slug),
            page_size=page_size,
            privacy=session.privacy,
            progress=session.progress,
            stopped=stopped,
        )
        for organization in organizations
    ]
    if any(source.pipelines.lacks_scope for source in sources):
        context.log.warning(
            "The token lacks the scope read_pipelines: builds are read without `pipeline_id`, "
            "and none is marked as absent."
        )
    return sources


def _unknown_days(
    warehouse: Warehouse, sources: Sequence[Source], asked: Sequence[date]
) -> list[date]:
    with warehouse.transaction() as connection:
        known = [known_days(connection, source.organization.id) for source in sources]
    return [day for day in asked if not all(day in days for days in known)]


def _count_known(
    context: dg.AssetExecutionContext, warehouse: Warehouse, days: AbstractSet[date]
) -> None:
    """Repeat the row counts of days that stay as they are: the run materializes its whole range."""
    with warehouse.transaction() as connection:
        counts = row_counts(connection)
    for day in days:
        for table, rows in zip((BUILDS, JOBS), counts[day], strict=True):
            context.add_asset_metadata(
                {"dagster/partition_row_count": rows},
                asset_key=asset_key(table),
                partition_key=day.isoformat(),
            )


def _log_day(
    context: dg.AssetExecutionContext, day: date, reads: Sequence[DayRead], *, is_ranged: bool
) -> None:
    """Show the day as materialized: in a range at once, since a kill must not hide it."""
    metadata = {
        BUILDS: {"dagster/partition_row_count": sum(read.builds for read in reads)},
        JOBS: {"dagster/partition_row_count": sum(read.jobs for read in reads)},
    }
    shared = {
        "requests": sum(read.requests for read in reads),
        "megabytes": round(sum(read.size_bytes for read in reads) / 1e6, 1),
        "rejected": sum(read.rejected for read in reads),
    }
    for table, rows in metadata.items():
        context.add_asset_metadata(
            {**rows, **shared}, asset_key=asset_key(table), partition_key=day.isoformat()
        )
        if is_ranged:
            context.log_event(
                dg.AssetMaterialization(
                    asset_key(table), partition=day.isoformat(), metadata={**rows, **shared}
                )
            )
    if shared["rejected"]:
        context.log.warning(
            "%s: %d builds could not be read; see the table rejected_builds.",
            day,
            shared["rejected"],
        )
