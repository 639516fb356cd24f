"""Can this token do the job? The answer as people and scripts want it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from buildkite_assets.buildkite.access import administers
from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.decoding import decode_one
from buildkite_assets.buildkite.errors import BuildkiteError, InvalidPermissionsError
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.listings import api_path, every_item
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.buildkite.rate_limit import Window
from buildkite_assets.buildkite.records import AccessToken, Organization, Pipeline

SCOPES = {
    "read_organizations": "organizations, organization_members",
    "read_pipelines": "pipelines",
    "read_builds": "builds, jobs",
    "read_clusters": "clusters, queues",
    "read_teams": "teams, team_members, team_pipelines",
}
"""Each scope that is used, and the tables that need it."""

_REQUIRED = ("read_organizations", "read_pipelines", "read_builds")


@dataclass(frozen=True)
class OrganizationAccess:
    """What the token sees of one organization.

    `is_administrator` is None where it cannot be told.
    """

    slug: str
    name: str | None
    pipelines: int | None
    is_administrator: bool | None


@dataclass(frozen=True)
class Connection:
    """The doctor's report; `code` and `message` say what is wrong, and what to do."""

    ok: bool
    code: str | None
    message: str
    user_email: str | None = None
    expires_at: datetime | None = None
    scopes: Sequence[str] = ()
    missing_scopes: Sequence[str] = ()
    organizations: Sequence[OrganizationAccess] = ()
    rate_limits: Sequence[Window] = field(default=())


def check_connection(client: Client, wanted: Sequence[str]) -> Connection:
    """Try what a sync needs, with about three requests and two per organization.

    Args:
        client: the connection to try.
        wanted: the slugs of the organizations to sync; none of them means all visible.
    """
    try:
        token = client.get("access-token", None, lambda body: decode_one(body, AccessToken)).body
    except BuildkiteError as error:
        return Connection(ok=False, code=error.code, message=str(error))
    missing = [scope for scope in SCOPES if scope not in token.scopes]
    organizations: list[OrganizationAccess] = []
    code, message = None, "The token can do everything that a sync needs."
    if missing:
        tables = "; ".join(f"{scope} ({SCOPES[scope]})" for scope in missing)
        message = f"The token lacks scopes, and with them tables: {tables}."
    try:
        if any(scope in missing for scope in _REQUIRED):
            code = InvalidPermissionsError.code
        else:
            failures = Failures()
            visible, _ = visible_organizations(client, wanted, failures)
            email = token.user.email if token.user else None
            for organization in visible:
                with failures.of(organization.slug, "pipelines"):
                    organizations.append(_access(client, organization, email))
            if failures.found:
                code = failures.found[0].error.code
                message = " ".join(str(failure) for failure in failures.found)
            elif not any(organization.pipelines for organization in organizations):
                slugs = ", ".join(organization.slug for organization in organizations)
                code = "no_resources"
                message = (
                    f"The token sees no pipeline in {slugs}: create one, or have its user added "
                    "to a team that has pipelines."
                )
    except BuildkiteError as error:
        code, message = error.code, str(error)
    return Connection(
        ok=code is None,
        code=code,
        message=message,
        user_email=token.user.email if token.user else None,
        expires_at=token.expires_at,
        scopes=sorted(token.scopes),
        missing_scopes=missing,
        organizations=organizations,
        rate_limits=client.pacer.windows,
    )


def _access(client: Client, organization: Organization, email: str | None) -> OrganizationAccess:
    path = api_path("organizations", organization.slug)
    pipelines = sum(len(page.body) for page in every_item(client, f"{path}/pipelines", Pipeline))
    return OrganizationAccess(
        slug=organization.slug,
        name=organization.name,
        pipelines=pipelines,
        is_administrator=administers(client, organization.slug, email),
    )
