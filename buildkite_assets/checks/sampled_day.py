"""One day a night, build by build, against Buildkite's own list."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from buildkite_assets.buildkite.listings import Window
from buildkite_assets.buildkite.records import Organization
from buildkite_assets.buildkite.spot_checks import listed_builds
from buildkite_assets.checks.asking import ApiEvidence, asking
from buildkite_assets.checks.check import ERROR, Check, Finding, NotEvaluatedError
from buildkite_assets.tables import BUILDS
from buildkite_assets.warehouse.preview import as_markdown

_LAST_DAYS = 30
_SHOWN = 5
_SHOWN_PIPELINES = 20

_STORED = """
SELECT build_id::VARCHAR, pipeline_slug, absent_since IS NULL
FROM builds
WHERE organization_id = $organization_id
    AND created_at >= $day::DATE AND created_at < $day::DATE + INTERVAL 1 DAY
"""
_SET_ASIDE = """
SELECT reference FROM rejected_builds
WHERE organization_id = $organization_id AND created_day = $day::DATE
"""


def sampled(days: list[date], tonight: date) -> date:
    """The day whose turn it is: another one every night, until all had theirs."""
    return days[tonight.toordinal() % len(days)]


@dataclass(frozen=True)
class _Comparison:
    """A day's builds by pipeline: listed there, stored here as present, only there, only here."""

    title: str
    listed: Counter[str]
    stored: Counter[str]
    lost: Counter[str]
    gone: Counter[str]
    addresses: list[str]

    def table(self) -> str:
        """The pipelines as Markdown; those that differ first, and not all of many."""
        pipelines = sorted(
            self.listed | self.stored,
            key=lambda slug: (-self.lost[slug], -self.gone[slug], slug),
        )[:_SHOWN_PIPELINES]
        counts = {
            "listed": self.listed,
            "stored": self.stored,
            "lost": self.lost,
            "gone": self.gone,
        }
        columns = {name: [count[slug] for slug in pipelines] for name, count in counts.items()}
        return as_markdown(pl.DataFrame({self.title: pipelines, **columns}))


@asking
def _sampled_day_agrees(evidence: ApiEvidence) -> Finding:
    answers = evidence.ask_each(partial(_compare, evidence))
    compared = [comparison for comparison in answers.by_organization if comparison]
    if not compared:
        raise NotEvaluatedError(
            "no day is known that ended two days ago or earlier and that Buildkite still has."
        )
    lost = [address for comparison in compared for address in comparison.addresses]
    metadata: dict[str, Any] = {
        **answers.metadata,
        "listed": sum(comparison.listed.total() for comparison in compared),
        "stored": sum(comparison.stored.total() for comparison in compared),
        "lost": len(lost),
        "gone": sum(comparison.gone.total() for comparison in compared),
        "days": dg.MetadataValue.md("\n\n".join(comparison.table() for comparison in compared)),
    }
    if lost:
        return Finding(
            passed=False,
            description=f"Buildkite has {len(lost)} builds that are not here.",
            metadata={**metadata, "examples": lost[:_SHOWN]},
        )
    return Finding(
        passed=True, description="Every build that Buildkite lists is here.", metadata=metadata
    )


def _compare(evidence: ApiEvidence, organization: Organization) -> _Comparison | None:
    """A day's builds here and there; None where no day is settled, or it is gone at Buildkite."""
    days = evidence.settled_days(organization)[-_LAST_DAYS:]
    if not days:
        return None
    day = sampled(days, evidence.now.date())
    there = listed_builds(evidence.client, organization.slug, Window.of_day(day))
    values = {"organization_id": organization.id, "day": day}
    stored = evidence.connection.execute(_STORED, values).fetchall()
    here = {build_id: slug for build_id, slug, _ in stored}
    present = {build_id for build_id, _, is_present in stored if is_present}
    if present and not there:
        return None
    set_aside = {
        reference for (reference,) in evidence.connection.execute(_SET_ASIDE, values).fetchall()
    }
    lost = there.keys() - here.keys() - set_aside
    return _Comparison(
        title=f"{organization.slug}, {day}",
        listed=Counter(str(build.pipeline_slug) for build in there.values()),
        stored=Counter(here[build_id] for build_id in present),
        lost=Counter(str(there[build_id].pipeline_slug) for build_id in lost),
        gone=Counter(here[build_id] for build_id in present - there.keys()),
        addresses=sorted(there[build_id].address for build_id in lost),
    )


SAMPLED_DAY_AGREES = Check(
    table=BUILDS,
    name="sampled_day_agrees",
    statement=(
        "Every build that Buildkite lists for one day is here.\n\n"
        "Another day of the last 30 known ones every night, in each organization. Told by pipeline "
        "are the builds listed there, those stored here as present, those lost (there, but not "
        "here) and those gone (here, but no longer there: deleted since, which the next full read "
        "marks). Costs one request per 100 builds of that day, and one for the organizations."
    ),
    remedy=(
        "read that day again with `buildkite-assets sync --full --from DAY --to DAY`, and please "
        "report it."
    ),
    severity=ERROR,
    evaluate=_sampled_day_agrees,
)
