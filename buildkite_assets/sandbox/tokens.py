"""API access tokens: who sends them, what they may read, and what they see."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from .model import User

READ_SCOPES = (
    "read_agents",
    "read_clusters",
    "read_teams",
    "read_artifacts",
    "read_builds",
    "read_build_logs",
    "read_organizations",
    "read_pipelines",
    "read_user",
    "read_suites",
)


@dataclass(slots=True, eq=False)
class Token:
    """An API access token of one user, limited to some organizations (by slug).

    `visible_pipelines` (slugs) restricts what the user sees, None shows every pipeline.
    """

    value: str
    uuid: str
    user: User
    description: str
    created_at: datetime
    scopes: tuple[str, ...] = READ_SCOPES
    organizations: tuple[str, ...] = ()
    expires_at: datetime | None = None
    visible_pipelines: frozenset[str] | None = None


class Tokens:
    """The tokens that the sandbox accepts, with some ready ones."""

    def __init__(
        self,
        *,
        administrator: Token,
        member: Token,
        without_read_teams: Token,
        without_read_clusters: Token,
        expired: Token,
    ) -> None:
        self.administrator = administrator
        self.member = member
        self.without_read_teams = without_read_teams
        self.without_read_clusters = without_read_clusters
        self.expired = expired
        ready = (administrator, member, without_read_teams, without_read_clusters, expired)
        self._by_value = {token.value: token for token in ready}

    def __iter__(self) -> Iterator[Token]:
        return iter(self._by_value.values())

    def add(self, token: Token) -> None:
        """Accept one more token."""
        self._by_value[token.value] = token

    def revoke(self, token: Token) -> None:
        """Refuse the token from now on."""
        self._by_value.pop(token.value, None)

    def find(self, value: str, now: datetime) -> Token | None:
        """Return the token that is sent as this value, None if unknown or expired."""
        token = self._by_value.get(value)
        if token is None or (token.expires_at is not None and token.expires_at <= now):
            return None
        return token
