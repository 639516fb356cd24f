"""One organization's members and teams: who is in which team, and what each team may do.

Two requests per team and three more, plus one for each further 100 rows of a list. A list of
several pages that lacks something known is read again; see `whole_list`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from buildkite_assets.buildkite.client import Client, Response
from buildkite_assets.buildkite.decoding import decode_one
from buildkite_assets.buildkite.errors import (
    BuildkiteError,
    InvalidPermissionsError,
    NotFoundError,
)
from buildkite_assets.buildkite.failures import CONCERNS_ALL, Failure, Failures
from buildkite_assets.buildkite.listings import WholeList, api_path, every_item, whole_list
from buildkite_assets.buildkite.records import (
    AccessToken,
    Body,
    Member,
    Team,
    TeamMember,
    TeamPipeline,
)
from buildkite_assets.plain_text import one_line

R = TypeVar("R", bound=Body)

_TEAMS_AT_ONCE = 8


@dataclass(frozen=True)
class KnownAccess:
    """The ids that earlier snapshots saw and that none saw end.

    Attributes:
        member_ids: users in the organization.
        team_ids: teams.
        team_member_ids: users by team.
        team_pipeline_ids: pipelines by team.
    """

    member_ids: Collection[str] = ()
    team_ids: Collection[str] = ()
    team_member_ids: Mapping[str, Collection[str]] = field(default_factory=dict)
    team_pipeline_ids: Mapping[str, Collection[str]] = field(default_factory=dict)


NOTHING_KNOWN = KnownAccess()


@dataclass(frozen=True)
class TeamAccess:
    """A team, who is in it, and what it may do.

    Attributes:
        team: which.
        members: its memberships.
        pipelines: what it may do with each pipeline.
        listed_at: Buildkite's clock when both were listed.
        requests: that it took to list them.
        is_settled: whether what is missing from them is gone.
        has_failed: whether they could not be listed.
    """

    team: Team
    members: list[TeamMember]
    pipelines: list[TeamPipeline]
    listed_at: datetime
    requests: int
    is_settled: bool
    has_failed: bool = False


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
        unsettled_lists: the lists that changed each time they were read, for people. What is
            missing from these is not gone.
        has_settled_members: whether a member who is missing has left.
        has_settled_teams: whether a team that is missing is gone.
        failures: the lists that could not be read for another reason than a missing permission.
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
    unsettled_lists: Sequence[str]
    has_settled_members: bool
    has_settled_teams: bool
    failures: Sequence[Failure]


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

    None where the members cannot be listed, or their roles are not given.

    Raises:
        BuildkiteError: no organization can be read; see `failures.CONCERNS_ALL`.
    """
    try:
        pages = list(every_item(client, api_path("organizations", organization, "members"), Member))
    except CONCERNS_ALL:
        raise
    except BuildkiteError:
        return None
    return is_administrator([member for page in pages for member in page.body], email)


def read_access(
    client: Client,
    organization: str,
    token: Response[AccessToken],
    known: KnownAccess = NOTHING_KNOWN,
) -> AccessSnapshot:
    """Read everything about access in an organization that the token sees.

    Args:
        client: the connection.
        organization: its slug.
        token: as `token_in_use` told it, before anything was listed.
        known: what earlier snapshots saw.

    Raises:
        BuildkiteError: neither members nor teams can be read; see `buildkite.errors`. What the
            token may not list is no error.
    """
    failures = Failures()
    reader = _Reader(client, organization, known, failures)
    members, members_refusal = reader.listed("members", Member, known.member_ids)
    listed_teams, teams_refusal = reader.listed("teams", Team, known.team_ids)
    lists = [each for each in (members, listed_teams) if each]
    if not lists:
        failures.raise_first()
    teams = reader.in_full(listed_teams.items if listed_teams else [], token.at)
    email = token.body.user.email if token.body.user else None
    return AccessSnapshot(
        started_at=token.at,
        ended_at=max(
            [token.at, *(each.ended_at for each in lists), *(team.listed_at for team in teams)]
        ),
        token=token.body,
        is_administrator=is_administrator(members.items if members else [], email),
        members=members.items if members else None,
        teams=teams if listed_teams else None,
        members_refusal=members_refusal,
        teams_refusal=teams_refusal,
        requests=1 + sum(each.requests for each in lists) + sum(team.requests for team in teams),
        unsettled_lists=[
            *(["members"] if members and not members.is_settled else []),
            *(["teams"] if listed_teams and not listed_teams.is_settled else []),
            *(
                f"members and pipelines of team {one_line(team.team.slug)}"
                for team in teams
                if not team.is_settled and not team.has_failed
            ),
        ],
        has_settled_members=members is not None and members.is_settled,
        has_settled_teams=listed_teams is not None and listed_teams.is_settled,
        failures=failures.found,
    )


@dataclass(frozen=True)
class _Gone:
    """A team that was listed, and then was not there."""

    team: Team
    error: NotFoundError


@dataclass(frozen=True)
class _Reader:
    """Reads one organization's lists, and notes those that fail."""

    client: Client
    organization: str
    known: KnownAccess
    failures: Failures

    def listed(
        self, name: str, record: type[R], known_ids: Collection[str]
    ) -> tuple[WholeList[R] | None, InvalidPermissionsError | None]:
        """Return the list of this name, or why the token may not have it; neither if it failed."""
        with self.failures.of(self.organization, name):
            try:
                path = api_path("organizations", self.organization, name)
                return whole_list(self.client, path, record, attrgetter("id"), known_ids), None
            except InvalidPermissionsError as refusal:
                return None, refusal
        return None, None

    def in_full(self, teams: Sequence[Team], started_at: datetime) -> list[TeamAccess]:
        """Return the teams with their lists, less those that were deleted meanwhile."""
        self.client.watcher.expect(len(teams), "teams")
        with ThreadPoolExecutor(_TEAMS_AT_ONCE, "team") as pool:
            found = list(pool.map(lambda team: self._team(team, started_at), teams))
        gone = {each.team.id: each for each in found if isinstance(each, _Gone)}
        remaining = self._remaining(gone)
        return [
            _unread(each.team, started_at) if isinstance(each, _Gone) else each
            for each in found
            if each.team.id not in gone or each.team.id in remaining
        ]

    def _remaining(self, gone: Mapping[str, _Gone]) -> set[str]:
        """Return which of these teams are still listed, or all if that cannot be known."""
        if not gone:
            return set()
        path = api_path("organizations", self.organization, "teams")
        remaining = set(gone)
        with self.failures.of(self.organization, "teams"):
            listed = whole_list(self.client, path, Team, attrgetter("id"), gone)
            remaining &= {team.id for team in listed.items}
        for team_id in remaining:
            team, error = gone[team_id].team, gone[team_id].error
            self.failures.add(Failure(self.organization, f"team {team.slug}", error))
        return remaining

    def _team(self, team: Team, at: datetime) -> TeamAccess | _Gone:
        subject = f"team {team.slug}"
        try:
            if self.failures.skips(self.organization, subject):
                return _unread(team, at)
            with self.failures.of(self.organization, subject):
                return self._team_in_full(team)
            return _unread(team, at)
        finally:
            self.client.watcher.part_read()

    def _team_in_full(self, team: Team) -> TeamAccess | _Gone:
        path = api_path("organizations", self.organization, "teams", team.id)
        known_members = self.known.team_member_ids.get(team.id, ())
        known_pipelines = self.known.team_pipeline_ids.get(team.id, ())
        try:
            members = whole_list(
                self.client, f"{path}/members", TeamMember, attrgetter("user_id"), known_members
            )
            pipelines = whole_list(
                self.client,
                f"{path}/pipelines",
                TeamPipeline,
                attrgetter("pipeline_id"),
                known_pipelines,
            )
        except NotFoundError as error:
            return _Gone(team, error)
        return TeamAccess(
            team=team,
            members=members.items,
            pipelines=pipelines.items,
            listed_at=max(members.ended_at, pipelines.ended_at),
            requests=members.requests + pipelines.requests,
            is_settled=members.is_settled and pipelines.is_settled,
        )


def _unread(team: Team, at: datetime) -> TeamAccess:
    """Return a team whose lists failed: nothing is known of them, and nothing ends."""
    return TeamAccess(
        team, members=[], pipelines=[], listed_at=at, requests=0, is_settled=False, has_failed=True
    )
