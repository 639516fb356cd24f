"""Builds and jobs, a day at a time, in full."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date

import dagster as dg

from buildkite_assets.assets.changes import follow_changes
from buildkite_assets.assets.events import day_metadata, log_day, warn_of_missing_scope
from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.specs import asset_key, table_spec
from buildkite_assets.assets.unread import check_unread, unread_check
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.days import Source, open_sources, read_days
from buildkite_assets.partitions import first_day
from buildkite_assets.session import Session
from buildkite_assets.tables import BUILDS, JOBS, ORGANIZATIONS
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.ledger import extend_start_date, known_days, row_counts
from buildkite_assets.warehouse.preview import preview

_GROUP = "builds"


class BuildsConfig(dg.Config):
    """How to read days of builds."""

    full: bool = False
    """Follow changes, then read every day again, known or not: what differs goes to
    `late_changes`, what vanished is marked."""


def builds_asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The assets `builds` and `jobs`, which one request reads together."""

    @dg.multi_asset(
        name="builds",
        specs=[
            table_spec(BUILDS, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,)),
            table_spec(JOBS, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,)),
        ],
        check_specs=[unread_check(BUILDS)],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @told_in_one_line
    def builds(
        context: dg.AssetExecutionContext,
        session: dg.ResourceParam[Session],
        config: BuildsConfig,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Read UTC days of builds with all their jobs; about one request per 100 builds.

        One partition is always read in full. In a range, days that are known already are left as
        they are unless `full` is set, so that an interrupted backfill goes on where it stopped.
        """
        asked = [date.fromisoformat(key) for key in context.partition_keys]
        warehouse = session.warehouse
        failures = Failures()
        first = min(first_day(session.settings), *asked)
        with warehouse.transaction() as connection:
            extend_start_date(connection, first)
        with session.client() as client:
            if config.full:
                follow_changes(context, client, session, failures)
            sources = open_sources(client, session, failures)
            warn_of_missing_scope(context, sources)
            if len(asked) > 1 and not config.full:
                sources = _without_known_days(warehouse, sources)
            days = [
                day for day in asked if any(day not in source.skipped_days for source in sources)
            ]
            session.progress.expect(len(days), "days")
            context.log.info(
                "Reading %d of %d days of %d organizations.", len(days), len(asked), len(sources)
            )
            _count_known(context, warehouse, set(asked) - set(days))
            for day, reads in read_days(
                sources, days, warehouse, context.run.run_id, is_after_feed=config.full
            ):
                # At once, so that a kill does not hide what is committed. The events that Dagster
                # adds at the end of the run carry the same metadata.
                log_day(context, day, reads)
                session.progress.part_read()
                for asset, metadata in day_metadata(reads).items():
                    context.add_asset_metadata(
                        metadata, asset_key=asset, partition_key=day.isoformat()
                    )
        warehouse.publish()
        newest = max(asked)
        with warehouse.transaction() as connection:
            for table in (BUILDS, JOBS):
                context.add_asset_metadata(
                    {"preview": dg.MetadataValue.md(preview(connection, table, newest))},
                    asset_key=asset_key(table),
                    partition_key=newest.isoformat(),
                )
        yield dg.MaterializeResult(asset_key=asset_key(BUILDS))
        yield dg.MaterializeResult(asset_key=asset_key(JOBS))
        yield check_unread(context, BUILDS, failures)

    return builds


def _without_known_days(warehouse: Warehouse, sources: Sequence[Source]) -> list[Source]:
    """Return the organizations, each of which skips the days that it has."""
    with warehouse.transaction() as connection:
        return [
            replace(source, skipped_days=known_days(connection, source.organization.id))
            for source in sources
        ]


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
