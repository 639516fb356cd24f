"""What a check is, and the one way in which its outcome is told.

A check that could not be evaluated, because what it looks at was never collected, raises no alarm
and claims nothing: Dagster knows only passed and failed, so it passes, its description begins with
"Not evaluated", and its metadata has `evaluated: false`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

import dagster as dg

from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.specs import asset_key
from buildkite_assets.buildkite.errors import BuildkiteError
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.plain_text import one_line
from buildkite_assets.session import Session
from buildkite_assets.tables import Table
from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.lag import Lag, lags
from buildkite_assets.warehouse.rule_fits import RuleFit, rule_fits

ERROR = dg.AssetCheckSeverity.ERROR
WARN = dg.AssetCheckSeverity.WARN


class NotEvaluatedError(Exception):
    """What a check looks at is not there; says why, and what would bring it."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        passed: whether what it states holds.
        description: what holds, or what is wrong; one or two sentences.
        metadata: the figures behind it.
    """

    passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What a check of stored data looks at.

    Attributes:
        session: the settings.
        connection: to the published file.
        now: this machine's clock, UTC.
    """

    session: Session
    connection: Connection
    now: datetime

    def require_days(self) -> None:
        """Hold that there is anything to look at.

        Raises:
            NotEvaluatedError: no day of builds was ever read.
        """
        if not self.connection.execute("FROM sync_days LIMIT 1").fetchall():
            raise NotEvaluatedError(
                "no day of builds has been read yet: run `buildkite-assets sync`."
            )

    def require_anything_read(self) -> None:
        """Hold that there is anything that tables could be derived of.

        Raises:
            NotEvaluatedError: neither builds nor access were ever read.
        """
        read = "SELECT 1 FROM sync_days UNION ALL SELECT 1 FROM access_syncs LIMIT 1"
        if not self.connection.execute(read).fetchall():
            raise NotEvaluatedError(
                "neither builds nor access have been read yet: run `buildkite-assets sync`."
            )

    @cached_property
    def lags(self) -> list[Lag]:
        """The derived tables that lag: found once, and told by a check of each of them."""
        return lags(self.connection, derived_tables(), self.session.parameters)

    @cached_property
    def rule_fits(self) -> list[RuleFit]:
        """Which rules fit something: found once, and told by a check of each of their tables."""
        settings = self.session.settings
        return rule_fits(self.connection, settings.rules, settings.organizations)


E = TypeVar("E", bound=Evidence)


@dataclass(frozen=True)
class Check(Generic[E]):
    """One statement that must hold of a table.

    Attributes:
        table: the asset that it belongs to.
        name: unique among the checks of that asset.
        statement: what must hold; the first sentence says it all.
        remedy: what to do when it fails.
        severity: an error where figures would be wrong, a warning where someone should look.
        evaluate: finds out; raises `NotEvaluatedError` where it cannot.
        is_blocking: whether assets downstream in the same run must not be made of this.
        metadata: that never changes, for the UI.
    """

    table: Table
    name: str
    statement: str
    remedy: str
    severity: dg.AssetCheckSeverity
    evaluate: Callable[[E], Finding]
    is_blocking: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> dg.AssetCheckKey:
        """Dagster's key of it."""
        return dg.AssetCheckKey(asset_key(self.table), self.name)

    def spec(self) -> dg.AssetCheckSpec:
        """What Dagster shows of it before it ran."""
        return dg.AssetCheckSpec(
            self.name,
            asset=asset_key(self.table),
            description=f"{self.statement}\n\nWhen it fails: {self.remedy}",
            blocking=self.is_blocking,
            metadata=self.metadata,
        )

    def result(self, evidence: E) -> dg.AssetCheckResult:
        """Evaluate it and tell the outcome."""
        try:
            finding = self.evaluate(evidence)
        except NotEvaluatedError as error:
            return self.not_evaluated(str(error))
        remedy = "" if finding.passed else f" What to do: {self.remedy}"
        return self._told(
            passed=finding.passed,
            description=finding.description + remedy,
            metadata={"evaluated": True, **finding.metadata},
        )

    def not_evaluated(self, reason: str) -> dg.AssetCheckResult:
        """Tell that nothing is known, and why."""
        return self._told(
            passed=True, description=f"Not evaluated: {reason}", metadata={"evaluated": False}
        )

    def _told(
        self, *, passed: bool, description: str, metadata: Mapping[str, Any]
    ) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            asset_key=asset_key(self.table),
            check_name=self.name,
            passed=passed,
            severity=self.severity,
            description=one_line(description),
            metadata=metadata,
        )


def asset_checks(
    name: str,
    checks: Sequence[Check[E]],
    gather: Callable[[Session], AbstractContextManager[E]],
) -> dg.AssetChecksDefinition:
    """One op for several checks: they share their evidence, and each can be run alone.

    Trouble with Buildkite in one of them fails the op after the others were evaluated.

    Args:
        name: of the op.
        checks: in the order to evaluate them.
        gather: the evidence; raises `NotEvaluatedError` where there is none.
    """

    @dg.multi_asset_check(
        name=name,
        specs=[check.spec() for check in checks],
        can_subset=True,
    )
    @told_in_one_line
    def evaluate(
        context: dg.AssetCheckExecutionContext, session: dg.ResourceParam[Session]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = [check for check in checks if check.key in context.selected_asset_check_keys]
        troubles: list[BuildkiteError] = []
        with ExitStack() as stack:
            try:
                evidence = stack.enter_context(gather(session))
            except NotEvaluatedError as error:
                yield from [check.not_evaluated(str(error)) for check in wanted]
                return
            for check in wanted:
                try:
                    result = check.result(evidence)
                except BuildkiteError as error:
                    context.log.warning(
                        "%s could not be evaluated: %s", check.name, one_line(str(error))
                    )
                    troubles.append(error)
                else:
                    yield result
        if troubles:
            raise troubles[0]

    return evaluate
