"""A simulated Buildkite: organizations, tokens, limits and the hooks of tests."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .company import Company, found_company
from .identity import derived_id
from .limits import Limits
from .model import Step, User
from .organization import Organization
from .requests import RequestLog
from .scenario import Scenario
from .tokens import READ_SCOPES, Token, Tokens

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

_FOUNDED_AT = datetime(2024, 1, 8, 9, tzinfo=UTC)
_DEPTH_LIMIT = 10_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Sandbox:
    """One simulated Buildkite.

    Attributes that a test may set at any time: `depth_limit` (builds; None for none),
    `latency_seconds` before each answer, `faults` (asked with each request first; may return an
    ASGI application that answers instead), `dates` (asked with each request; may return another
    date than the clock's for the answer's `Date` header), `before_page` (called with each request
    for a list of builds before anything of it is looked up).
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        lock: threading.RLock,
        organizations: list[Organization],
        tokens: Tokens,
    ) -> None:
        self.clock = clock
        self.lock = lock
        self.organizations = {organization.slug: organization for organization in organizations}
        self.tokens = tokens
        self.limits = Limits(clock)
        self.requests = RequestLog()
        self.depth_limit: int | None = _DEPTH_LIMIT
        self.latency_seconds = 0.0
        self.faults: Callable[[Request], ASGIApp | None] | None = None
        self.dates: Callable[[Request], datetime | None] | None = None
        self.before_page: Callable[[Request], None] | None = None
        self._scenario: Scenario | None = None

    @classmethod
    def empty(cls, *, clock: Callable[[], datetime] = _utc_now) -> "Sandbox":
        """Return a sandbox with one organization `acme` and one pipeline `web` without builds."""
        lock = threading.RLock()
        acme = Organization("acme", "Acme", clock=clock, lock=lock, created_at=_FOUNDED_AT)
        administrator = acme.add_user("Ada Admin", role="admin", at=_FOUNDED_AT)
        member = acme.add_user("Max Member", at=_FOUNDED_AT)
        cluster = acme.add_cluster("Main", created_by=administrator, at=_FOUNDED_AT)
        acme.add_agents("default", 4, queue=cluster.queues[0], at=_FOUNDED_AT)
        acme.add_pipeline(
            "web",
            cluster=cluster,
            steps=[Step("script", name="Test", key="test", command="make test")],
            created_by=administrator,
            at=_FOUNDED_AT,
        )
        everyone = acme.add_team("Everyone", default=True, at=_FOUNDED_AT)
        for user in (administrator, member):
            acme.add_team_member(everyone, user, at=_FOUNDED_AT)
        acme.set_team_pipeline(everyone, "web", "build_and_read", at=_FOUNDED_AT)
        return cls(clock, lock, [acme], _ready_tokens(administrator, member, ("acme",), clock))

    @classmethod
    def company(
        cls,
        *,
        seed: int = 1,
        clock: Callable[[], datetime] = _utc_now,
        days: int = 30,
        builds_per_day: int = 130,
        jobs_per_build: int = 8,
    ) -> "Sandbox":
        """Return a sandbox in which a company has worked for the last `days` days, and goes on.

        `builds_per_day` is a weekday's, `jobs_per_build` an average, both roughly. Beside `acme`
        there are `umbrella`, which has Teams disabled, and `vacant`, which has no pipelines.
        """
        lock = threading.RLock()
        company: Company = found_company(seed, clock, lock, _FOUNDED_AT, jobs_per_build)
        acme = company.organization
        umbrella = Organization(
            "umbrella",
            "Umbrella",
            clock=clock,
            lock=lock,
            created_at=_FOUNDED_AT,
            teams_enabled=False,
        )
        vacant = Organization("vacant", "Vacant", clock=clock, lock=lock, created_at=_FOUNDED_AT)
        for organization in (umbrella, vacant):
            organization.add_member(company.administrator, role="admin")
            organization.add_member(company.users[-1])
        umbrella.add_pipeline("site", created_by=company.administrator, at=_FOUNDED_AT)
        slugs = (acme.slug, umbrella.slug, vacant.slug)
        tokens = _ready_tokens(company.administrator, company.users[-1], slugs, clock)
        sandbox = cls(clock, lock, [acme, umbrella, vacant], tokens)
        sandbox._scenario = Scenario(company, seed, clock(), days, builds_per_day)
        sandbox.advance()
        return sandbox

    def organization(self, slug: str) -> Organization:
        """Return an organization, after everything in it that is due by the clock.

        Raises:
            KeyError: there is none.
        """
        self.advance()
        return self.organizations[slug]

    def advance(self) -> None:
        """Let everything happen that is due by the clock; each request does this first."""
        if self._scenario is not None:
            with self.lock:
                self._scenario.advance(self.clock())


def _ready_tokens(
    administrator: User,
    member: User,
    organizations: tuple[str, ...],
    clock: Callable[[], datetime],
) -> Tokens:
    def token(
        name: str, user: User, *, without: str = "", expires_at: datetime | None = None
    ) -> Token:
        return Token(
            f"bkua_sandbox_{name}",
            derived_id(_FOUNDED_AT, "token", name),
            user,
            f"Sandbox {name.replace('_', ' ')}",
            _FOUNDED_AT,
            tuple(scope for scope in READ_SCOPES if scope != without),
            organizations,
            expires_at,
        )

    return Tokens(
        administrator=token("administrator", administrator),
        member=token("member", member),
        without_read_teams=token("without_read_teams", administrator, without="read_teams"),
        without_read_clusters=token(
            "without_read_clusters", administrator, without="read_clusters"
        ),
        expired=token("expired", administrator, expires_at=clock() - timedelta(days=1)),
    )
