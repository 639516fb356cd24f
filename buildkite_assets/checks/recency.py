"""How old the newest build is, told apart from how old the last sync is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from buildkite_assets.buildkite.client import CLOCK_TOLERANCE
from buildkite_assets.checks.check import WARN, Check, Evidence, Finding, NotEvaluatedError
from buildkite_assets.tables import BUILDS
from buildkite_assets.warehouse.coverage import span
from buildkite_assets.warehouse.preview import as_markdown

LONGEST_SYNC_AGE = timedelta(hours=26)
"""A sync every night may be two hours late."""

_ORGANIZATIONS = """
SELECT
    organization_id::VARCHAR,
    slug,
    (SELECT max(created_at) FROM builds WHERE organization_id = organizations.organization_id),
    synced_at = (SELECT max(synced_at) FROM organizations) AS is_listed
FROM organizations
WHERE len($wanted) = 0 OR list_contains($wanted::VARCHAR[], slug)
ORDER BY slug
"""


def _synced_lately(evidence: Evidence) -> Finding:
    wanted = list(evidence.session.settings.organizations)
    found = evidence.connection.execute(_ORGANIZATIONS, {"wanted": wanted}).fetchall()
    rows = []
    for organization_id, slug, newest_build_at, is_listed in found:
        known = span(evidence.connection, organization_id)
        if known or is_listed:
            rows.append((slug, known.synced_at if known else None, newest_build_at))
    syncs = [synced_at for _, synced_at, _ in rows if synced_at]
    if not syncs:
        raise NotEvaluatedError("no day of builds has been read yet: run `buildkite-assets sync`.")
    never_synced = [slug for slug, synced_at, _ in rows if not synced_at]
    sync_age = evidence.now - min(syncs).replace(tzinfo=UTC)
    newest_build_at = max((built_at for *_, built_at in rows if built_at), default=None)
    metadata: dict[str, Any] = {
        "last_sync_age_hours": _hours(sync_age),
        "organizations": dg.MetadataValue.md(_table(rows)),
    }
    if newest_build_at:
        build_age = evidence.now - newest_build_at.replace(tzinfo=UTC)
        metadata["newest_build_age_hours"] = _hours(build_age)
    description = f"The last sync ended {_hours(sync_age)} hours ago."
    if never_synced:
        description += f" No day of builds was ever read of {', '.join(never_synced)}."
    is_in_future = max(syncs).replace(tzinfo=UTC) > evidence.now + CLOCK_TOLERANCE
    if is_in_future:
        description = "The last sync is dated in the future: a clock was wrong then, or is now."
    return Finding(
        passed=sync_age <= LONGEST_SYNC_AGE and not never_synced and not is_in_future,
        description=description,
        metadata=metadata,
    )


def _hours(age: timedelta) -> float:
    """The age in hours; 0 where Buildkite's clock is ahead of this machine's."""
    return max(round(age / timedelta(hours=1), 1), 0.0)


def _table(rows: list[tuple[str, datetime | None, datetime | None]]) -> str:
    columns = {
        "organization": pl.String,
        "last sync (UTC)": pl.Datetime,
        "newest build (UTC)": pl.Datetime,
    }
    return as_markdown(pl.DataFrame(rows, columns, orient="row"))


SYNCED_LATELY = Check(
    table=BUILDS,
    name="synced_lately",
    statement=(
        f"The last successful sync is at most {LONGEST_SYNC_AGE / timedelta(hours=1):.0f} hours "
        "old, in each organization that is listed.\n\nA sync is a change feed, or a full read of "
        "the newest known day. The age of the newest build is told beside it and never fails: "
        "nothing built is not nothing synced."
    ),
    remedy=(
        "look at the last runs of changes_job, and whether the schedule `follow_changes` is "
        "switched on; or run `buildkite-assets sync`."
    ),
    severity=WARN,
    evaluate=_synced_lately,
)
