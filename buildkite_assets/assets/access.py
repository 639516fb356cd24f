"""Members, teams, memberships and team pipelines: who can do what, now and before."""

from collections.abc import Iterator

import dagster as dg

from buildkite_assets.assets.events import whole_table
from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.specs import asset_key, table_spec
from buildkite_assets.assets.unread import check_unread, unread_check
from buildkite_assets.buildkite.access import AccessSnapshot, KnownAccess, read_access, token_in_use
from buildkite_assets.buildkite.errors import InvalidPermissionsError, MissingScopeError
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.session import Session
from buildkite_assets.snapshots import access_rows
from buildkite_assets.tables import (
    ACCESS_SYNCS,
    ACCESS_TABLES,
    ORGANIZATION_MEMBERS,
    ORGANIZATIONS,
    TEAM_MEMBERS,
    TEAM_PIPELINES,
    TEAMS,
    Table,
)
from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.future import correct_future
from buildkite_assets.warehouse.history import known_ids, merge_access
from buildkite_assets.warehouse.ledger import ListedOrganization, listed_organizations

_GROUP = "access"


@dg.multi_asset(
    name="access",
    specs=[
        table_spec(ACCESS_SYNCS, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,)),
        *(
            table_spec(table, group=_GROUP, code=__file__, deps=(ORGANIZATIONS,), is_skippable=True)
            for table in ACCESS_TABLES
        ),
    ],
    check_specs=[unread_check(ACCESS_SYNCS)],
)
@told_in_one_line
def access(
    context: dg.AssetExecutionContext, session: dg.ResourceParam[Session]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Take a snapshot of each organization's members and teams, and merge it into the history.

    Two requests per team and three more, plus one for each further 100 rows of a list. All of it
    is read before any of it is written.
    """
    warehouse = session.warehouse
    with warehouse.transaction() as connection:
        organizations = listed_organizations(connection, session.settings.organizations)
        known = {
            organization: _known_access(connection, organization.id)
            for organization in organizations
        }
    if not organizations:
        raise dg.Failure(
            "The warehouse knows no organization to read: materialize the asset organizations, "
            "and check BUILDKITE_ORGANIZATIONS.",
            allow_retries=False,
        )
    failures = Failures()
    snapshots: dict[ListedOrganization, AccessSnapshot] = {}
    with session.client() as client:
        token = token_in_use(client)
        for organization in organizations:
            with failures.of(organization.slug, "access"):
                snapshot = read_access(client, organization.slug, token, known[organization])
                failures.found += snapshot.failures
                snapshots[organization] = snapshot
    if not snapshots:
        failures.raise_first()
    listed: set[Table] = set()
    with warehouse.transaction() as connection:
        correct_future(connection, token.at, session.latest_instant)
        for organization, snapshot in snapshots.items():
            _warn(context, organization.slug, snapshot)
            rows = access_rows(organization.id, snapshot, session.privacy, context.run.run_id)
            listed |= set(rows.rows)
            if not merge_access(connection, rows):
                context.log.warning(
                    "%s: a later snapshot is known already, this one was left out.",
                    organization.slug,
                )
        results = [
            whole_table(connection, table)
            for table in (ACCESS_SYNCS, *ACCESS_TABLES)
            if table is ACCESS_SYNCS or table in listed
        ]
    warehouse.publish()
    yield from results
    yield check_unread(context, ACCESS_SYNCS, failures)


def _warn(context: dg.AssetExecutionContext, organization: str, snapshot: AccessSnapshot) -> None:
    """Warn once of each list that the token may not read, and note it at the tables it fills."""
    if snapshot.members_refusal:
        _skip(context, organization, snapshot.members_refusal, ORGANIZATION_MEMBERS)
    if snapshot.teams_refusal:
        _skip(context, organization, snapshot.teams_refusal, TEAMS, TEAM_MEMBERS, TEAM_PIPELINES)
    if snapshot.unsettled_lists:
        context.log.warning(
            "%s changed each time it was read: %s. Nothing that is missing from it counts as gone; "
            "the next snapshot tells.",
            organization,
            ", ".join(snapshot.unsettled_lists),
        )


def _known_access(connection: Connection, organization_id: str) -> KnownAccess:
    return KnownAccess(
        member_ids=known_ids(connection, ORGANIZATION_MEMBERS, organization_id).get("", ()),
        team_ids=known_ids(connection, TEAMS, organization_id).get("", ()),
        team_member_ids=known_ids(connection, TEAM_MEMBERS, organization_id),
        team_pipeline_ids=known_ids(connection, TEAM_PIPELINES, organization_id),
    )


def _skip(
    context: dg.AssetExecutionContext,
    organization: str,
    refusal: InvalidPermissionsError,
    *tables: Table,
) -> None:
    names = ", ".join(table.name for table in tables)
    if isinstance(refusal, MissingScopeError):
        reason = f"the token lacks the scope {refusal.scope}. Add it to have them"
    else:
        reason = f"its user may not list them: {refusal}"
    message = f"{organization}: {names} skipped: {reason}."
    context.log.warning("%s What is known of them stays as it was.", message)
    for table in tables:
        context.log_event(
            dg.AssetObservation(
                asset_key(table), description=message, metadata={"skipped": message}
            )
        )
