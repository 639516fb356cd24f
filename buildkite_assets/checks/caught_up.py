"""Derived tables that have not caught up with what they are made of."""

from datetime import UTC, timedelta
from functools import partial
from typing import Any

import dagster as dg

from buildkite_assets.checks.check import WARN, Check, Evidence, Finding
from buildkite_assets.derived_tables import DerivedTable, derived_tables

GRACE = timedelta(hours=1)
"""What changed within it is still about to be followed: no reason for an alarm."""

_SHOWN = 5


def caught_up_checks() -> list[Check[Evidence]]:
    """For each derived table the check that it is made of what its inputs are now.

    Raises:
        DefinitionError: a SQL file is malformed.
    """
    return [_caught_up(table) for table in derived_tables()]


def _caught_up(table: DerivedTable) -> Check[Evidence]:
    return Check(
        table=table,
        name="caught_up",
        statement=(
            "It is made of what its inputs are now.\n\n"
            f"What changed within the last {GRACE / timedelta(minutes=1):.0f} minutes may still be "
            "about to be followed. It lags when builds, the catalog, its query or the rules file "
            "changed after it was made."
        ),
        remedy=(
            "switch on the sensors derive and catch_up, materialize the days in question, "
            "or run `buildkite-assets sync`."
        ),
        severity=WARN,
        evaluate=partial(_follows, table.name),
    )


def _follows(table_name: str, evidence: Evidence) -> Finding:
    evidence.require_anything_read()
    since = {
        lag.day: lag.since.replace(tzinfo=UTC)
        for lag in evidence.lags
        if lag.table_name == table_name and lag.since
    }
    late = [day for day, changed_at in since.items() if evidence.now - changed_at > GRACE]
    metadata: dict[str, Any] = {"lagging": len(since), "late": len(late)}
    if not late:
        return Finding(
            passed=True, description="It has caught up, or is about to.", metadata=metadata
        )
    metadata["lags_since"] = dg.MetadataValue.timestamp(min(since[day] for day in late))
    days = sorted(day.isoformat() for day in late if day)
    if not days:
        return Finding(
            passed=False, description="It lags behind what it is made of.", metadata=metadata
        )
    metadata["days"] = days[:_SHOWN]
    return Finding(
        passed=False,
        description=f"{len(days)} days of it lag, the first is {days[0]}.",
        metadata=metadata,
    )
