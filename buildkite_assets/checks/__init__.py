"""What must hold of the data: told in the UI, and by schedules of checks alone.

Three sets, by what makes them run:

- `CHECKS` run whenever their asset is materialized, and can stop what is downstream of it;
- `HOURLY_CHECKS` tell what the passing of time or the rules file breaks, so that no
  materialization runs them;
- `NIGHTLY_CHECKS` ask Buildkite, and cost requests.

The first two look at the published file alone and cost no request. The jobs of this project keep
to this; a run that is started from an asset in the UI takes all checks of that asset along.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import dagster as dg

from buildkite_assets.checks.asking import api_evidence
from buildkite_assets.checks.build_numbers import MISSING_NUMBERS_ARE_GONE
from buildkite_assets.checks.caught_up import caught_up_checks
from buildkite_assets.checks.check import Check, Evidence, asset_checks
from buildkite_assets.checks.connection import ALLOWANCE_IS_LEFT, TOKEN_LASTS
from buildkite_assets.checks.recency import SYNCED_LATELY
from buildkite_assets.checks.retention import UNSETTLED_DAYS_ARE_KEPT
from buildkite_assets.checks.rules_fit import rules_fit_checks
from buildkite_assets.checks.sampled_day import SAMPLED_DAY_AGREES
from buildkite_assets.checks.schema_drift import NO_UNKNOWN_FIELD
from buildkite_assets.checks.stored import sql_checks, stored_evidence, unique_keys
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.tables import (
    ACCESS_SYNCS,
    ACCESS_TABLES,
    BUILD_CHANGES,
    BUILDS,
    CATALOG_TABLES,
    JOBS,
    LATE_CHANGES,
)

# One op for what one op materializes, so that a check can block what is downstream of it.
_OPS = {
    "catalog_checks": CATALOG_TABLES,
    "access_checks": (ACCESS_SYNCS, *ACCESS_TABLES),
    "builds_checks": (BUILDS, JOBS),
    "changes_checks": (BUILD_CHANGES, LATE_CHANGES),
    "derived_checks": derived_tables(),
}
_OP_OF = {table.name: op for op, tables in _OPS.items() for table in tables}


def _by_op(checks: Sequence[Check[Evidence]]) -> Iterator[dg.AssetChecksDefinition]:
    ops: defaultdict[str, list[Check[Evidence]]] = defaultdict(list)
    for check in checks:
        ops[_OP_OF[check.table.name]].append(check)
    for name, grouped in ops.items():
        yield asset_checks(name, grouped, stored_evidence)


CHECKS = tuple(_by_op([*unique_keys(), *sql_checks(is_hourly=False)]))
"""Checks that run with their asset."""

HOURLY_CHECKS = (
    asset_checks(
        "hourly_checks",
        [SYNCED_LATELY, *sql_checks(is_hourly=True), *caught_up_checks(), *rules_fit_checks()],
        stored_evidence,
    ),
)
"""Checks of what the passing of time, or a change of the rules file, breaks."""

NIGHTLY_CHECKS = (
    asset_checks(
        "nightly_checks",
        [
            ALLOWANCE_IS_LEFT,
            TOKEN_LASTS,
            SAMPLED_DAY_AGREES,
            MISSING_NUMBERS_ARE_GONE,
            UNSETTLED_DAYS_ARE_KEPT,
            NO_UNKNOWN_FIELD,
        ],
        api_evidence,
    ),
)
"""Checks that ask Buildkite: two requests, and for each organization about 20 at most and one more
per 100 builds of one day."""
