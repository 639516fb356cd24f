"""Keep one organization's trouble its own: note what could not be read, and read the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from buildkite_assets.buildkite.errors import (
    BuildkiteError,
    InvalidCredentialsError,
    ProxyError,
    TransientError,
    UnreachableError,
    WrongClockError,
)

CONCERNS_ALL = (InvalidCredentialsError, ProxyError, UnreachableError, WrongClockError)
"""Errors after which no organization can be read."""


@dataclass(frozen=True)
class Failure:
    """What could not be read of one organization, and why.

    Attributes:
        organization: its slug.
        subject: what was to be read, such as `builds` or `teams`.
        error: why it was not.
    """

    organization: str
    subject: str
    error: BuildkiteError

    def __str__(self) -> str:
        return f"{self.organization}: {self.subject} not read: {self.error.code}: {self.error}"


class Failures:
    """What one step could not read, while it read the rest."""

    def __init__(self) -> None:
        self.found: list[Failure] = []

    @contextmanager
    def of(self, organization: str, subject: str) -> Iterator[None]:
        """Note a failure within the block instead of raising it.

        Raises:
            BuildkiteError: no organization can be read, such as when the token has expired.
        """
        try:
            yield
        except CONCERNS_ALL:
            raise
        except BuildkiteError as error:
            self.add(Failure(organization, subject, error))

    def add(self, failure: Failure) -> None:
        """Note a failure, unless one of the same subject is known."""
        known = {(each.organization, each.subject) for each in self.found}
        if (failure.organization, failure.subject) not in known:
            self.found.append(failure)

    def skips(self, organization: str, subject: str) -> bool:
        """Return whether to skip a subject, and note it then, since retries did not help before.

        Another request would take as long as the first one that failed after all its retries.
        """
        for failure in self.found:
            if failure.organization == organization and isinstance(failure.error, TransientError):
                self.add(Failure(organization, subject, failure.error))
                return True
        return False

    def concern(self, organization: str) -> bool:
        """Return whether anything of an organization could not be read."""
        return any(failure.organization == organization for failure in self.found)

    def raise_first(self) -> None:
        """Raise the first failure, if there is one: call it where nothing was read at all.

        Raises:
            BuildkiteError: the first failure.
        """
        if self.found:
            raise self.found[0].error
