"""Days that Buildkite may remove before they are known for good."""

from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import dagster as dg
import polars as pl

from buildkite_assets.buildkite.records import Organization
from buildkite_assets.buildkite.spot_checks import has_builds_before
from buildkite_assets.checks.asking import ApiEvidence, asking
from buildkite_assets.checks.check import WARN, Check, Finding
from buildkite_assets.tables import BUILDS
from buildkite_assets.warehouse.coverage import unsettled_days
from buildkite_assets.warehouse.preview import as_markdown

LEAST_MARGIN_DAYS = 7

_DAYS_WITH_BUILDS = """
SELECT DISTINCT builds.created_at::DATE AS day
FROM builds LEFT JOIN pipelines USING (pipeline_id)
WHERE builds.organization_id = $organization_id AND pipelines.absent_since IS NULL
ORDER BY day
"""


def kept_from(evidence: ApiEvidence, organization: Organization) -> date | None:
    """The first known day of which Buildkite still has builds; None if that is the very first.

    Where it has older ones than any that are known, or none was ever removed, no horizon shows.
    The days with builds are bisected: about seven requests for 90 days.
    """
    values = {"organization_id": organization.id}
    rows = evidence.connection.execute(_DAYS_WITH_BUILDS, values).fetchall()
    days: list[date] = [day for (day,) in rows]

    def is_kept(day: date) -> bool:
        end = datetime.combine(day + timedelta(days=1), time.min, UTC)
        return has_builds_before(evidence.client, organization.slug, end)

    place = bisect_left(days, x=True, key=is_kept)
    if place == 0:
        return None
    return days[place] if place < len(days) else days[-1] + timedelta(days=1)


@asking
def _unsettled_days_are_kept(evidence: ApiEvidence) -> Finding:
    evidence.require_days()
    answers = evidence.ask_each(partial(_margin, evidence))
    margins = answers.by_organization
    least = min((margin for *_, margin in margins if margin is not None), default=None)
    columns = {
        "organization": pl.String,
        "kept from": pl.Date,
        "oldest unsettled day": pl.Date,
        "days between": pl.Int64,
    }
    metadata = {
        **answers.metadata,
        "organizations": dg.MetadataValue.md(
            as_markdown(pl.DataFrame(margins, columns, orient="row"))
        ),
    }
    if least is None:
        return Finding(
            passed=True,
            description="No day is unsettled, or Buildkite has removed none of the known ones yet.",
            metadata=metadata,
        )
    return Finding(
        passed=least >= LEAST_MARGIN_DAYS,
        description=(
            f"The oldest unsettled day is removed in {least} days."
            if least >= 0
            else f"The oldest unsettled day is {-least} days beyond what Buildkite still has."
        ),
        metadata=metadata,
    )


def _margin(
    evidence: ApiEvidence, organization: Organization
) -> tuple[str, date | None, date | None, int | None]:
    """Return the slug, the first day kept there, the oldest unsettled day, and the days between."""
    unsettled = unsettled_days(evidence.connection, organization.id, evidence.now.date())
    horizon = kept_from(evidence, organization)
    margin = (unsettled[0] - horizon).days if unsettled and horizon else None
    return organization.slug, horizon, unsettled[0] if unsettled else None, margin


UNSETTLED_DAYS_ARE_KEPT = Check(
    table=BUILDS,
    name="unsettled_days_are_kept",
    statement=(
        f"No day is about to be removed at Buildkite, in less than {LEAST_MARGIN_DAYS} days, "
        "before it is known for good.\n\nBuildkite keeps builds for 30, 90 or 365 days, by plan, "
        "and does not tell which. So the horizon is looked for: it is the first known day of which "
        "Buildkite still has builds, once it has none of an earlier one. Unsettled is a day that a "
        "sync has still to read, or that has open builds. Costs one request, and about seven more "
        "for 90 days of builds in each organization."
    ),
    remedy="run `buildkite-assets sync` now, before these days are gone.",
    severity=WARN,
    evaluate=_unsettled_days_are_kept,
)
