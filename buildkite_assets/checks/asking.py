"""What checks that ask Buildkite share: the connection, and what a refusal means for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, wraps
from itertools import takewhile
from typing import Generic, TypeVar

from buildkite_assets.buildkite.access import token_in_use
from buildkite_assets.buildkite.client import Client, Response
from buildkite_assets.buildkite.errors import (
    InvalidCredentialsError,
    InvalidPermissionsError,
    NotFoundError,
)
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.buildkite.records import AccessToken, Organization
from buildkite_assets.checks.check import Evidence, Finding, NotEvaluatedError
from buildkite_assets.checks.stored import stored_evidence
from buildkite_assets.plain_text import one_line
from buildkite_assets.session import Session
from buildkite_assets.settings import SettingsError
from buildkite_assets.warehouse.coverage import covered_days

T = TypeVar("T")

_SETTLED_AFTER = timedelta(days=2)


@dataclass(frozen=True)
class Answers(Generic[T]):
    """What organizations answered.

    Attributes:
        by_organization: the answers.
        metadata: names the organizations that did not answer, if there are any.
    """

    by_organization: list[T]
    metadata: dict[str, list[str]]


@dataclass(frozen=True)
class ApiEvidence(Evidence):
    """What a check that asks Buildkite looks at."""

    client: Client

    @cached_property
    def token(self) -> Response[AccessToken]:
        """The token in use; asked for once.

        Raises:
            BuildkiteError: see `buildkite.errors`.
        """
        return token_in_use(self.client)

    @cached_property
    def organizations(self) -> list[Organization]:
        """The organizations that are synced and that the token sees; asked for once.

        Raises:
            BuildkiteError: see `buildkite.errors`.
        """
        wanted = self.session.settings.organizations
        organizations, _ = visible_organizations(self.client, wanted, self.unseen)
        return organizations

    @cached_property
    def unseen(self) -> Failures:
        """The organizations that are synced and that the token does not see."""
        return Failures()

    def ask_each(self, ask: Callable[[Organization], T]) -> Answers[T]:
        """Ask each organization; one that fails is named, and the others count.

        Raises:
            BuildkiteError: none of them answers; see `buildkite.errors`.
        """
        answers: list[T] = []
        failures = Failures()
        for organization in self.organizations:
            with failures.of(organization.slug, "builds"):
                answers.append(ask(organization))
        if not answers:
            failures.raise_first()
        unread = [one_line(str(failure)) for failure in self.unseen.found + failures.found]
        return Answers(answers, {"unread": unread} if unread else {})

    def settled_days(self, organization: Organization) -> list[date]:
        """The known days of an organization that ended two days ago or earlier."""
        latest = self.now.date() - _SETTLED_AFTER
        days = covered_days(self.connection, organization.id)
        return list(takewhile(lambda day: day <= latest, days))


@contextmanager
def api_evidence(session: Session) -> Iterator[ApiEvidence]:
    """The published file, and a connection to Buildkite.

    Raises:
        NotEvaluatedError: there is no file or no token yet.
        DamagedWarehouseError: the file is damaged.
    """
    with stored_evidence(session) as stored:
        try:
            session.settings.token  # noqa: B018 - said before anything is asked
        except SettingsError as error:
            raise NotEvaluatedError(f"{error}.") from error
        with session.client() as client:
            yield ApiEvidence(session, stored.connection, stored.now, client)


def asking(evaluate: Callable[[ApiEvidence], Finding]) -> Callable[[ApiEvidence], Finding]:
    """Have a refusal by all mean that a check was not evaluated: it says nothing of the data.

    Any other trouble with all organizations is raised as it is: that Buildkite cannot be reached,
    someone should see. The organizations that did not answer are named in the description.
    """

    @wraps(evaluate)
    def asked(evidence: ApiEvidence) -> Finding:
        try:
            finding = evaluate(evidence)
        except (InvalidCredentialsError, InvalidPermissionsError, NotFoundError) as error:
            raise NotEvaluatedError(str(error)) from error
        unread = finding.metadata.get("unread")
        if not unread:
            return finding
        return replace(finding, description=f"{finding.description} Not asked: {' '.join(unread)}")

    return asked
