"""The check by which a step says what it could not read, while it read the rest.

The step itself succeeds, so that what was read is checked and derived as ever. A step fails where
it could read nothing at all.
"""

from collections.abc import Iterable

import dagster as dg

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.plain_text import one_line
from buildkite_assets.tables import Table

EVERYTHING_WAS_READ = "everything_was_read"
_REMEDY = (
    "do what each error says. What is stored of these organizations stays as it was. To leave one "
    "out for good, name the others in BUILDKITE_ORGANIZATIONS."
)


def unread_check(table: Table) -> dg.AssetCheckSpec:
    """Return the check of the step that reads a table."""
    return dg.AssetCheckSpec(
        EVERYTHING_WAS_READ,
        asset=asset_key(table),
        description=(
            f"The last run could read everything of every organization.\n\nWhen it fails: {_REMEDY}"
        ),
    )


def check_unread(
    context: dg.AssetExecutionContext, table: Table, failures: Failures
) -> dg.AssetCheckResult:
    """Warn of each failure, and return the check's result."""
    unread = [one_line(str(failure)) for failure in failures.found]
    for line in unread:
        context.log.warning("%s", line)
    return dg.AssetCheckResult(
        asset_key=asset_key(table),
        check_name=EVERYTHING_WAS_READ,
        passed=not unread,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            f"{' '.join(unread)} What to do: {_REMEDY}"
            if unread
            else "Everything of every organization was read."
        ),
        metadata={"unread": unread},
    )


def unread_lines(evaluations: Iterable[dg.AssetCheckEvaluation]) -> list[str]:
    """Return what the checks of a run say could not be read, a line each."""
    values = [
        evaluation.metadata["unread"].value
        for evaluation in evaluations
        if evaluation.asset_check_key.name == EVERYTHING_WAS_READ
    ]
    return [str(line) for value in values if isinstance(value, list) for line in value]
