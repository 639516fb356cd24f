"""One organization's members and teams: who is in which team, and what each team may do.

Two requests per team and three more, plus one for each further 100 rows of a list.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from buildkite_assets.buildkite.client import Client, Response
from buildkite_assets.buildkite.decoding import decode_one
from buildkite_assets.buildkite.errors import InvalidPermissionsError, NotFoundError
from buildkite_assets.buildkite.listings import api_path, every_item
from buildkite_assets.buildkite.records import (
    AccessToken,
    Body,
    Member,
    Team,
    TeamMember,
    TeamPipeline,
)

R = TypeVar("R", bound=Body)

_TEAMS_AT_ONCE = 8


@dataclass(frozen=True)
class TeamAccess:
    """A team, who is in it, and what it may do; `requests` is what it took to list them."""

    team: Team
    members: list[TeamMember]
    pipelines: list[TeamPipeline]
    listed_at: datetime
    requests: int


@dataclass(frozen=True)
class AccessSnapshot:
    """An organization's members and teams between two instants.

    Attributes:
        started_at: Buildkite's clock before anything was listed.
        ended_at: Buildkite's clock when all was listed.
        token: what it was taken with.
        is_administrator: whether the token's user administers the organization, None where that
            is not told. Nobody else sees all teams.
        members: None where the token may not list them.
        teams: None where the token may not list them; those deleted meanwhile are left out.
        members_refusal: why it may not, in Buildkite's words.
        teams_refusal: likewise.
        requests: that it took.
    """

    started_at: datetime
    ended_at: datetime
    token: AccessToken
    is_administrator: bool | None
    members: list[Member] | None
    teams: list[TeamAccess] | None
    members_refusal: InvalidPermissionsError | None
    teams_refusal: InvalidPermissionsError | None
    requests: int


def token_in_use(client: Client) -> Response[AccessToken]:
    """The token that the client sends.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    return client.get("access-token", None, lambda body: decode_one(body, AccessToken))


def is_administrator(members: Iterable[Member], email: str | None) -> bool | None:
    """Whether the member with this e-mail address is one, or None where that is not told."""
    if email is None:
        return None
    address = email.lower()
    roles = [m.role for m in members if m.email is not None and m.email.lower() == address]
    return roles[0] == "admin" if roles and roles[0] else None


def administers(client: Client, organization: str, email: str | None) -> bool | None:
    """Whether the user with this e-mail address administers an organization, who sees all of it.

    None where the token may not list the members, or is not told their roles.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    pages, _ = _listed(client, api_path("organizations", organization, "members"), Member)
    return is_administrator([member for page in pages for member in page.body], email)


def read_access(client: Client, organization: str, token: Response[AccessToken]) -> AccessSnapshot:
    """Everything about access in an organization that the token sees.

    Args:
        client: the connection.
        organization: its slug.
        token: as `token_in_use` told it, before anything was listed.

    Raises:
        BuildkiteError: see `buildkite.errors`; what the token may not list is no error.
    """
    path = api_path("organizations", organization)
    member_pages, members_refusal = _listed(client, f"{path}/members", Member)
    team_pages, teams_refusal = _listed(client, f"{path}/teams", Team)
    members = _items(member_pages)
    teams = _teams_in_full(client, path, _items(team_pages))
    email = token.body.user.email if token.body.user else None
    answered_at = [token.at, *(page.at for page in member_pages), *(page.at for page in team_pages)]
    return AccessSnapshot(
        started_at=token.at,
        ended_at=max(answered_at + [team.listed_at for team in teams]),
        token=token.body,
        is_administrator=is_administrator(members, email),
        members=None if members_refusal else members,
        teams=None if teams_refusal else teams,
        members_refusal=members_refusal,
        teams_refusal=teams_refusal,
        requests=len(answered_at) + sum(team.requests for team in teams),
    )


def _listed(
    client: Client, path: str, record: type[R]
) -> tuple[list[Response[list[R]]], InvalidPermissionsError | None]:
    """The pages of a list, or why the token may not have them."""
    try:
        return list(every_item(client, path, record)), None
    except InvalidPermissionsError as refusal:
        return [], refusal


def _items(pages: Sequence[Response[list[R]]]) -> list[R]:
    return [item for page in pages for item in page.body]


def _teams_in_full(client: Client, path: str, teams: Sequence[Team]) -> list[TeamAccess]:
    """The teams with their members and pipelines, less those deleted while they were listed.

    Raises:
        NotFoundError: a team's lists are not there although the team is.
    """
    once = list({team.id: team for team in teams}.values())
    with ThreadPoolExecutor(_TEAMS_AT_ONCE, "team") as pool:
        listed = list(pool.map(lambda team: _team_in_full(client, path, team), once))
    gone = {found.team.id: found for found in listed if isinstance(found, _Gone)}
    if gone:
        for team in _items(list(every_item(client, f"{path}/teams", Team))):
            if team.id in gone:
                raise gone[team.id].error
    return [found for found in listed if isinstance(found, TeamAccess)]


@dataclass(frozen=True)
class _Gone:
    """A team that was listed, and then was not there."""

    team: Team
    error: NotFoundError


def _team_in_full(client: Client, path: str, team: Team) -> TeamAccess | _Gone:
    team_path = f"{path}/{api_path('teams', team.id)}"
    try:
        members = list(every_item(client, f"{team_path}/members", TeamMember))
        pipelines = list(every_item(client, f"{team_path}/pipelines", TeamPipeline))
    except NotFoundError as error:
        return _Gone(team, error)
    return TeamAccess(
        team=team,
        members=_items(members),
        pipelines=_items(pipelines),
        listed_at=max(members[-1].at, pipelines[-1].at),
        requests=len(members) + len(pipelines),
    )
