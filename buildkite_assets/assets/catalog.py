"""Organizations, pipelines, clusters and queues: what builds refer to, as it is now."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import dagster as dg
import pyarrow as pa

from buildkite_assets.assets.events import whole_table
from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.specs import asset_key, table_spec
from buildkite_assets.buildkite.access import administers, token_in_use
from buildkite_assets.buildkite.client import Client, Response
from buildkite_assets.buildkite.errors import MissingScopeError
from buildkite_assets.buildkite.listings import api_path, every_item
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
from buildkite_assets.warehouse.merge import mark_absent_records, merge_records

_GROUP = "catalog"


@dataclass(frozen=True)
class Listed:
    """One organization's records of one table.

    `is_complete` says that whatever is missing is gone, and not only out of the token's sight.
    """

    table: Table
    organization_id: str
    rows: list[pa.Table]
    listed_at: datetime
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
    can_subset=True,
)
@told_in_one_line
def catalog(
    context: dg.AssetExecutionContext, session: dg.ResourceParam[Session]
) -> Iterator[dg.MaterializeResult[None]]:
    """List everything that builds refer to.

    One request per 100 of each, one per cluster, and two to know whether an administrator asks.
    """
    wanted = [t for t in CATALOG_TABLES if asset_key(t) in context.selected_asset_keys]
    warehouse = session.warehouse
    with session.client() as client:
        organizations, listed_at = visible_organizations(client, session.settings.organizations)
        listed: dict[Table, list[Listed]] = {ORGANIZATIONS: []}
        skipped: defaultdict[str, list[Table]] = defaultdict(list)
        for table in (table for table in wanted if table is not ORGANIZATIONS):
            try:
                listed[table] = _listed(client, table, organizations, listed_at, session.privacy)
            except MissingScopeError as error:
                skipped[error.scope].append(table)
    _warn_of_skipped(context, skipped)
    with warehouse.transaction() as connection:
        rows = record_rows(ORGANIZATIONS, organizations, listed_at, session.privacy)
        merge_records(connection, ORGANIZATIONS, rows)
        for records in chain.from_iterable(listed.values()):
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
        results = [whole_table(connection, table) for table in wanted if table in listed]
    warehouse.publish()
    yield from results


def _listed(
    client: Client,
    table: Table,
    organizations: Sequence[Organization],
    listed_at: datetime,
    privacy: Privacy,
) -> list[Listed]:
    """The table's records by organization.

    Raises:
        MissingScopeError: the token may not list them.
        BuildkiteError: see `buildkite.errors`.
    """
    return [
        Listed(
            table,
            organization.id,
            [
                record_rows(
                    table, page.body, page.at, privacy, organization_id=organization.id, **ids
                )
                for page, ids in _pages(client, table, organization.slug)
            ],
            listed_at,
            table is not PIPELINES or _sees_every_pipeline(client, organization.slug),
        )
        for organization in organizations
    ]


def _sees_every_pipeline(client: Client, organization: str) -> bool:
    """Whether the token's user does; anyone but an administrator sees those of some teams only."""
    user = token_in_use(client).body.user
    return administers(client, organization, user.email if user else None) is True


def _warn_of_skipped(
    context: dg.AssetExecutionContext, skipped: Mapping[str, Sequence[Table]]
) -> None:
    """Say once for each missing scope what was skipped for want of it, in the run and the UI."""
    for scope, tables in skipped.items():
        names = " and ".join(table.name for table in tables)
        message = f"Skipped {names}: the token lacks the scope {scope}."
        context.log.warning("%s Add it to the token to have them.", message)
        for table in tables:
            context.log_event(
                dg.AssetObservation(
                    asset_key(table), description=message, metadata={"skipped": message}
                )
            )


def _pages(
    client: Client, table: Table, organization: str
) -> Iterator[tuple[Response[list[Any]], dict[str, str]]]:
    """The pages of an organization's records, and the ids that their bodies do not hold."""
    if table is PIPELINES:
        path = api_path("organizations", organization, "pipelines")
        yield from ((page, {}) for page in every_item(client, path, Pipeline))
        return
    path = api_path("organizations", organization, "clusters")
    for page in every_item(client, path, Cluster):
        if table is CLUSTERS:
            yield page, {}
            continue
        for cluster in page.body:
            queues = f"{path}/{api_path(cluster.id, 'queues')}"
            for queue_page in every_item(client, queues, Queue):
                yield queue_page, {"cluster_id": cluster.id}
