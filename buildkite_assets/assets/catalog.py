"""Organizations, pipelines, clusters and queues: what builds refer to, as it is now."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, product
from operator import attrgetter
from typing import Any

import dagster as dg
import pyarrow as pa

from buildkite_assets.assets.events import whole_table
from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.specs import asset_key, table_spec
from buildkite_assets.assets.unread import check_unread, unread_check
from buildkite_assets.buildkite.access import administers, token_in_use
from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.errors import MissingScopeError
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.listings import WholeList, api_path, whole_list
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.buildkite.records import Cluster, Organization, Pipeline, Queue
from buildkite_assets.rows import Privacy, record_rows
from buildkite_assets.session import Session
from buildkite_assets.tables import (
    CATALOG_TABLES,
    CLUSTERS,
    ORGANIZATIONS,
    PIPELINES,
    QUEUES,
    Table,
)
from buildkite_assets.warehouse.future import correct_future
from buildkite_assets.warehouse.merge import mark_absent_records, merge_records, present_ids

_GROUP = "catalog"


@dataclass(frozen=True)
class Listed:
    """One organization's records of one table.

    `is_settled` says that the list did not change while it was read. `is_complete` says that
    whatever is missing is gone, and not only out of the token's sight.
    """

    table: Table
    organization_id: str
    rows: list[pa.Table]
    listed_at: datetime
    is_settled: bool
    is_complete: bool


@dg.multi_asset(
    name="catalog",
    specs=[
        table_spec(ORGANIZATIONS, group=_GROUP, code=__file__),
        table_spec(
            PIPELINES, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,), is_skippable=True
        ),
        table_spec(CLUSTERS, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,), is_skippable=True),
        table_spec(QUEUES, group=_GROUP, code=__file__, deps=(CLUSTERS,), is_skippable=True),
    ],
    check_specs=[unread_check(ORGANIZATIONS)],
    can_subset=True,
)
@told_in_one_line
def catalog(
    context: dg.AssetExecutionContext, session: dg.ResourceParam[Session]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """List everything that builds refer to.

    One request per 100 of each, one per cluster, and two to know whether an administrator asks. A
    list of several pages that lacks something known is read again.
    """
    wanted = [t for t in CATALOG_TABLES if asset_key(t) in context.selected_asset_keys]
    warehouse = session.warehouse
    failures = Failures()
    with session.client() as client:
        organizations, listed_at = visible_organizations(
            client, session.settings.organizations, failures
        )
        with warehouse.transaction() as connection:
            correct_future(connection, listed_at, session.latest_instant)
            known = {
                (table, organization.id): present_ids(connection, table, organization.id)
                for table in wanted
                if table is not ORGANIZATIONS
                for organization in organizations
            }
        listed, skipped = _listed_tables(
            client, session.privacy, product(wanted, organizations), known, listed_at, failures
        )
    _warn_of_skipped(context, skipped)
    slugs = {organization.id: organization.slug for organization in organizations}
    with warehouse.transaction() as connection:
        rows = record_rows(ORGANIZATIONS, organizations, listed_at, session.privacy)
        merge_records(connection, ORGANIZATIONS, rows)
        for records in chain.from_iterable(listed.values()):
            if not records.is_settled:
                context.log.warning(
                    "%s of %s changed each time they were listed: none that is missing counts as "
                    "gone.",
                    records.table.name,
                    slugs[records.organization_id],
                )
            for rows in records.rows:
                merge_records(connection, records.table, rows)
            if records.is_complete:
                mark_absent_records(
                    connection,
                    records.table,
                    records.organization_id,
                    records.rows,
                    records.listed_at,
                )
        results = [
            whole_table(connection, table)
            for table in wanted
            if table is ORGANIZATIONS or table in listed
        ]
    warehouse.publish()
    yield from results
    if context.selected_asset_check_keys:
        yield check_unread(context, ORGANIZATIONS, failures)


def _listed_tables(  # noqa: PLR0913, PLR0917 - what of whom to list, and what is known of it
    client: Client,
    privacy: Privacy,
    wanted: Iterable[tuple[Table, Organization]],
    known: Mapping[tuple[Table, str], Mapping[str, Sequence[str]]],
    listed_at: datetime,
    failures: Failures,
) -> tuple[Mapping[Table, list[Listed]], dict[Table, str]]:
    """Return what could be listed, and the scope that is missing for each table that could not.

    Raises:
        BuildkiteError: no organization can be read.
    """
    listed: defaultdict[Table, list[Listed]] = defaultdict(list)
    skipped: dict[Table, str] = {}
    for table, organization in wanted:
        if table is ORGANIZATIONS or table in skipped:
            continue
        if failures.skips(organization.slug, table.name):
            continue
        ids = known[table, organization.id]
        with failures.of(organization.slug, table.name):
            try:
                records = _listed(client, table, organization, ids, listed_at, privacy)
            except MissingScopeError as error:
                skipped[table] = error.scope
            else:
                listed[table].append(records)
    return listed, skipped


def _listed(  # noqa: PLR0913, PLR0917 - what of whom to list, and what is known of it
    client: Client,
    table: Table,
    organization: Organization,
    known: Mapping[str, Sequence[str]],
    listed_at: datetime,
    privacy: Privacy,
) -> Listed:
    """An organization's records of one table.

    Raises:
        MissingScopeError: the token may not list them.
        BuildkiteError: see `buildkite.errors`.
    """
    lists = list(_lists(client, table, organization.slug, known))
    is_settled = all(each.is_settled for each, _ in lists)
    return Listed(
        table,
        organization.id,
        [
            record_rows(
                table, each.items, each.started_at, privacy, organization_id=organization.id, **ids
            )
            for each, ids in lists
        ],
        listed_at,
        is_settled=is_settled,
        is_complete=is_settled
        and (table is not PIPELINES or _sees_every_pipeline(client, organization.slug)),
    )


def _sees_every_pipeline(client: Client, organization: str) -> bool:
    """Whether the token's user does; anyone but an administrator sees those of some teams only."""
    user = token_in_use(client).body.user
    return administers(client, organization, user.email if user else None) is True


def _warn_of_skipped(context: dg.AssetExecutionContext, skipped: Mapping[Table, str]) -> None:
    """Say once for each missing scope which tables were skipped, in the run and the UI.

    Args:
        context: of the run.
        skipped: the missing scope by table.
    """
    for scope in dict.fromkeys(skipped.values()):
        tables = [table for table in skipped if skipped[table] == scope]
        names = " and ".join(table.name for table in tables)
        message = f"Skipped {names}: the token lacks the scope {scope}."
        context.log.warning("%s Add it to the token to have them.", message)
        for table in tables:
            context.log_event(
                dg.AssetObservation(
                    asset_key(table), description=message, metadata={"skipped": message}
                )
            )


def _lists(
    client: Client, table: Table, organization: str, known: Mapping[str, Sequence[str]]
) -> Iterator[tuple[WholeList[Any], dict[str, str]]]:
    """The lists that hold an organization's records, and the ids that their bodies do not hold."""
    identify = attrgetter("id")
    if table is PIPELINES:
        path = api_path("organizations", organization, "pipelines")
        yield whole_list(client, path, Pipeline, identify, known.get("", ())), {}
        return
    path = api_path("organizations", organization, "clusters")
    known_clusters = known.get("", ()) if table is CLUSTERS else known.keys()
    clusters = whole_list(client, path, Cluster, identify, known_clusters)
    if table is CLUSTERS:
        yield clusters, {}
        return
    for cluster in clusters.items:
        queues = f"{path}/{api_path(cluster.id, 'queues')}"
        found = whole_list(client, queues, Queue, identify, known.get(cluster.id, ()))
        yield (
            replace(found, is_settled=found.is_settled and clusters.is_settled),
            {"cluster_id": cluster.id},
        )
