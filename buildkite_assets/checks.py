"""What must hold of the data, checked after each change feed and shown in the UI."""

import dagster as dg

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.session import Session
from buildkite_assets.tables import BUILDS, LATE_CHANGES, REJECTED_BUILDS, Table
from buildkite_assets.warehouse import connect
from buildkite_assets.warehouse.preview import count_rows, preview


@dg.asset_check(
    asset=asset_key(LATE_CHANGES),
    description="The change feed missed nothing that a full read found later.",
)
def no_late_changes(session: dg.ResourceParam[Session]) -> dg.AssetCheckResult:
    """Fails when a full read found a change that a feed before it should have brought."""
    return _is_empty(session, LATE_CHANGES, dg.AssetCheckSeverity.ERROR)


@dg.asset_check(
    asset=asset_key(BUILDS),
    description="Every build could be read; what could not is in the table rejected_builds.",
)
def no_rejected_builds(session: dg.ResourceParam[Session]) -> dg.AssetCheckResult:
    """Warns when builds were set aside, with the place and the kind of each fault."""
    return _is_empty(session, REJECTED_BUILDS, dg.AssetCheckSeverity.WARN)


def _is_empty(
    session: Session, table: Table, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    with connect(session.settings.warehouse) as connection:
        rows = count_rows(connection, table)
        glance = preview(connection, table)
    return dg.AssetCheckResult(
        passed=rows == 0,
        severity=severity,
        metadata={"rows": rows, "preview": dg.MetadataValue.md(glance)},
    )


CHECKS = [no_late_changes, no_rejected_builds]
