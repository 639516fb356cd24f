"""Numbers that are missing between known builds of a pipeline."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from buildkite_assets.buildkite.records import ListedBuild, Organization
from buildkite_assets.buildkite.spot_checks import build_of_number
from buildkite_assets.checks.asking import ApiEvidence, asking
from buildkite_assets.checks.check import ERROR, Check, Finding, NotEvaluatedError
from buildkite_assets.tables import BUILDS

ASKED = 10

# Between two builds of one unbroken range of known days, every build should be known. A range is
# told by what stays the same when the day and its place in the order grow together.
_GAPS = """
WITH days AS (
    SELECT day, day - row_number() OVER (ORDER BY day)::INTEGER AS island
    FROM (SELECT unnest($days::DATE[]) AS day)
),

neighbours AS (
    SELECT
        pipeline_id, number, created_at::DATE AS day,
        lead(number) OVER later AS next_number,
        lead(created_at::DATE) OVER later AS next_day
    FROM builds
    WHERE organization_id = $organization_id AND pipeline_id IS NOT NULL
    WINDOW later AS (PARTITION BY pipeline_id ORDER BY number)
),

gaps AS (
    SELECT
        pipelines.slug, neighbours.number + 1 AS first_missing,
        neighbours.next_number - neighbours.number - 1 AS missing
    FROM neighbours
    JOIN pipelines USING (pipeline_id)
    JOIN days AS days_before ON neighbours.day = days_before.day
    JOIN days AS days_after ON neighbours.next_day = days_after.day
    WHERE neighbours.next_number > neighbours.number + 1
        AND days_before.island = days_after.island
        AND pipelines.absent_since IS NULL
        AND NOT EXISTS (
            FROM rejected_builds AS rejected
            WHERE rejected.organization_id = $organization_id
                AND rejected.created_day BETWEEN
                    least(neighbours.day, neighbours.next_day)
                    AND greatest(neighbours.day, neighbours.next_day)
        )
)

SELECT
    slug, (first_missing + hash(slug, first_missing, $tonight::DATE) % missing)::BIGINT,
    count(*) OVER (), sum(missing) OVER ()::BIGINT
FROM gaps
ORDER BY hash($tonight::DATE, slug, first_missing)
LIMIT $asked
"""


@asking
def _missing_numbers_are_gone(evidence: ApiEvidence) -> Finding:
    answers = evidence.ask_each(partial(_sample, evidence))
    samples = [sample for sample in answers.by_organization if sample]
    if not samples:
        raise NotEvaluatedError("no day is known that ended two days ago or earlier.")
    found = [build for sample in samples for build in sample.found]
    lost = [build.address for build in found if not _is_stored(evidence, build.id)]
    missing = sum(sample.missing for sample in samples)
    asked = sum(sample.asked for sample in samples)
    metadata: dict[str, Any] = {
        **answers.metadata,
        "missing_numbers": missing,
        "gaps": sum(sample.gaps for sample in samples),
        "asked": asked,
        "lost": len(lost),
    }
    if lost:
        return Finding(
            passed=False,
            description=f"Of {asked} missing numbers Buildkite has {len(lost)}.",
            metadata={**metadata, "examples": lost},
        )
    return Finding(
        passed=True,
        description=f"{missing:,} numbers are missing; of {asked} asked for Buildkite has none.",
        metadata=metadata,
    )


@dataclass(frozen=True)
class _Sample:
    """An organization's gaps, and what Buildkite has of the missing numbers that were asked for."""

    gaps: int
    missing: int
    asked: int
    found: list[ListedBuild]


def _sample(evidence: ApiEvidence, organization: Organization) -> _Sample | None:
    """Ask for some missing numbers; None while no day is settled."""
    days = evidence.settled_days(organization)
    if not days:
        return None
    rows = evidence.connection.execute(
        _GAPS,
        {
            "organization_id": organization.id,
            "days": days,
            "tonight": evidence.now.date(),
            "asked": ASKED,
        },
    ).fetchall()
    [*_, gaps, missing] = rows[0] if rows else [0, 0]
    found = [
        build
        for slug, number, *_ in rows
        if (build := build_of_number(evidence.client, organization.slug, slug, number))
    ]
    return _Sample(gaps, missing, len(rows), found)


def _is_stored(evidence: ApiEvidence, build_id: str) -> bool:
    """Whether a build is here after all, with a pipeline that was not known when it was read."""
    query = "FROM builds WHERE build_id = $build_id::UUID"
    return bool(evidence.connection.execute(query, {"build_id": build_id}).fetchall())


MISSING_NUMBERS_ARE_GONE = Check(
    table=BUILDS,
    name="missing_numbers_are_gone",
    statement=(
        "Numbers that are missing between two known builds of a pipeline are missing at Buildkite "
        "too.\n\nNumbers have gaps: builds are deleted before a sync sees them. A gap is explained "
        "where a day between its two builds is not known or had builds that could not be read, or "
        "where the pipeline is gone. Of all others, which are counted, up to "
        f"{ASKED} are asked for every night, one number each; an answer means that a build was "
        f"lost. Costs up to {ASKED} requests for each organization."
    ),
    remedy=(
        "read the days of these builds again with `buildkite-assets sync --full --from DAY --to "
        "DAY`. If the token came to see the pipeline only lately that is all; else please report "
        "it."
    ),
    severity=ERROR,
    evaluate=_missing_numbers_are_gone,
)
