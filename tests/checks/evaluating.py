"""Evaluates one check on a hand-written history, or on a published file."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from buildkite_assets.checks.caught_up import caught_up_checks
from buildkite_assets.checks.check import Check, Evidence
from buildkite_assets.checks.recency import SYNCED_LATELY
from buildkite_assets.checks.rules_fit import rules_fit_checks
from buildkite_assets.checks.stored import sql_checks, unique_keys
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from tests.derived.history import ORGANIZATION, History

STORED_CHECKS: list[Check[Evidence]] = [
    *unique_keys(),
    *sql_checks(is_hourly=False),
    *sql_checks(is_hourly=True),
    SYNCED_LATELY,
    *caught_up_checks(),
    *rules_fit_checks(),
]


def evaluate(
    history: History, name: str, *, now: datetime | None = None, table: str | None = None
) -> dg.AssetCheckResult:
    """The outcome of a check of stored data; with `table`, of that asset's."""
    [check] = [
        check for check in STORED_CHECKS if check.name == name and table in {None, check.table.name}
    ]
    session = Session(Settings.from_environment({}))
    return check.result(Evidence(session, history.connection, now or datetime.now(UTC)))


def metadata(result: dg.AssetCheckResult) -> Mapping[str, object]:
    """The plain values of an outcome's metadata."""
    return {name: value.value for name, value in result.metadata.items()}


def is_evaluated(result: dg.AssetCheckResult) -> bool:
    """Whether the check says that it was evaluated; it must not claim anything else then."""
    told = metadata(result)
    if not told["evaluated"]:
        assert result.passed
        assert (result.description or "").startswith("Not evaluated: ")
        assert set(told) == {"evaluated"}
    return bool(told["evaluated"])


def read_days(history: History, first: date, last: date, *, early: bool = False) -> None:
    """Say that days were read in full, an hour after their end, or before it."""
    for n in range((last - first).days + 1):
        day = first + timedelta(days=n)
        at = datetime.combine(day, datetime.min.time()) + timedelta(hours=12 if early else 25)
        history.connection.execute(
            "INSERT INTO sync_days VALUES (?, ?, ?, 0, 0, 0, 1, 0, NULL, false)",
            [ORGANIZATION, day, at],
        )


def feed(history: History, at: datetime) -> None:
    """Say that a change feed ran."""
    instant = at.replace(tzinfo=None)
    history.connection.execute(
        "INSERT INTO sync_feeds VALUES (?, ?, ?, ?, 4, 0, NULL)",
        [ORGANIZATION, instant - timedelta(minutes=2), instant, instant],
    )


def organization(history: History) -> None:
    """List the organization."""
    history.connection.execute(
        "INSERT INTO organizations (organization_id, slug) VALUES (?, 'acme')", [ORGANIZATION]
    )
