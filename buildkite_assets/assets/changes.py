"""The change feed, which keeps every known day current, and the settling reads that verify it."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
from pydantic import Field

from buildkite_assets.assets.events import (
    log_day,
    log_touched_days,
    warn_of_missing_scope,
    whole_table,
)
from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.specs import table_spec
from buildkite_assets.assets.unread import check_unread, unread_check
from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.changes import Feed, read_changes
from buildkite_assets.days import open_sources, read_days
from buildkite_assets.session import Session
from buildkite_assets.tables import BUILD_CHANGES, LATE_CHANGES, ORGANIZATIONS
from buildkite_assets.warehouse.coverage import days_to_settle
from buildkite_assets.warehouse.ledger import listed_organizations

_GROUP = "builds"


class ChangesConfig(dg.Config):
    """What to do after the feed."""

    settle_ages_days: list[int] = Field(default_factory=list)
    """Ages at which days are read again in full after the feed, once for each age that they have
    reached; differences go to `late_changes`."""


@dg.multi_asset(
    name="build_changes",
    specs=[
        table_spec(BUILD_CHANGES, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,)),
        table_spec(LATE_CHANGES, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,)),
    ],
    check_specs=[unread_check(BUILD_CHANGES)],
)
@told_in_one_line
def build_changes(
    context: dg.AssetExecutionContext, session: dg.ResourceParam[Session], config: ChangesConfig
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Bring every known day up to date; four requests an organization when nothing happened."""
    warehouse = session.warehouse
    failures = Failures()
    with session.client() as client:
        feeds = follow_changes(context, client, session, failures)
        if config.settle_ages_days:
            _settle(context, client, session, config.settle_ages_days, failures)
    with warehouse.transaction() as connection:
        results = [
            whole_table(
                connection,
                table,
                requests=sum(feed.requests for feed in feeds),
                changed_builds=sum(day.changed for feed in feeds for day in feed.touched),
            )
            for table in (BUILD_CHANGES, LATE_CHANGES)
        ]
    warehouse.publish()
    yield from results
    yield check_unread(context, BUILD_CHANGES, failures)


def follow_changes(
    context: dg.AssetExecutionContext, client: Client, session: Session, failures: Failures
) -> list[Feed]:
    """Read the change feed of each organization and merge it.

    Raises:
        BuildkiteError: Buildkite failed for every organization.
        WarehouseError: the warehouse failed; organizations done before stay done.
    """
    wanted = session.settings.organizations
    organizations, listed_at = visible_organizations(client, wanted, failures)
    feeds = []
    for organization in organizations:
        feed = None
        with failures.of(organization.slug, "changes"):
            feed = read_changes(client, organization, listed_at, session, context.run.run_id)
        if failures.concern(organization.slug):
            continue
        if feed is None:
            context.log.info(
                "%s: no day of builds is known yet, so there is nothing to follow. "
                "Materialize partitions of builds first.",
                organization.slug,
            )
            continue
        log_touched_days(context, feed)
        feeds.append(feed)
    if all(failures.concern(organization.slug) for organization in organizations):
        failures.raise_first()
    return feeds


def _settle(
    context: dg.AssetExecutionContext,
    client: Client,
    session: Session,
    ages_days: list[int],
    failures: Failures,
) -> None:
    """Read the days that are due again in full: what differs should have been in a feed.

    An organization whose feed failed is left out: what differs there is not late.
    """
    warehouse = session.warehouse
    with warehouse.transaction() as connection:
        due = {
            organization.id: set(days_to_settle(connection, organization.id, ages_days))
            for organization in listed_organizations(connection, session.settings.organizations)
            if not failures.concern(organization.slug)
        }
    days = sorted(set().union(*due.values()))
    if not days:
        return
    context.log.info("Settling %d days, from %s to %s.", len(days), days[0], days[-1])
    sources = [
        replace(source, skipped_days=set(days) - due.get(source.organization.id, set()))
        for source in open_sources(client, session, failures)
    ]
    warn_of_missing_scope(context, sources)
    session.progress.expect(len(days), "days")
    for day, reads in read_days(sources, days, warehouse, context.run.run_id, is_after_feed=True):
        log_day(context, day, reads)
        session.progress.part_read()
