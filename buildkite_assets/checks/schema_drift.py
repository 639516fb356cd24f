"""Fields of builds and jobs that Buildkite sends and nobody has decided about yet."""

from typing import Any

import dagster as dg
import polars as pl

from buildkite_assets.buildkite.spot_checks import newest_builds_looked_into
from buildkite_assets.checks.asking import ApiEvidence, asking
from buildkite_assets.checks.check import WARN, Check, Finding, NotEvaluatedError
from buildkite_assets.tables import BUILDS
from buildkite_assets.warehouse.preview import as_markdown


@asking
def _no_unknown_field(evidence: ApiEvidence) -> Finding:
    answers = evidence.ask_each(
        lambda organization: newest_builds_looked_into(evidence.client, organization.slug)
    )
    pages = answers.by_organization
    builds = sum(page.builds for page in pages)
    if not builds:
        raise NotEvaluatedError("Buildkite has no finished build to look into.")
    found = {field.path: field for page in pages for field in page.unknown}
    metadata: dict[str, Any] = {**answers.metadata, "builds": builds, "fields": len(found)}
    if not found:
        return Finding(passed=True, description="No unknown field.", metadata=metadata)
    rows = [(field.path, field.json_type, field.example) for field in found.values()]
    table = as_markdown(pl.DataFrame(rows, ["field", "JSON type", "example"], orient="row"))
    return Finding(
        passed=False,
        description=f"Unknown are {', '.join(sorted(found))}.",
        metadata={**metadata, "table": dg.MetadataValue.md(table)},
    )


NO_UNKNOWN_FIELD = Check(
    table=BUILDS,
    name="no_unknown_field",
    statement=(
        "Builds and jobs have no field that is neither kept nor left out on purpose.\n\nLooked at "
        "are the ten newest finished builds of each organization with their jobs; the fields of "
        "what else is read, such as pipelines, members and teams, are not. Of a field its place, "
        "its JSON type and a build that has it are told, and never its value, which may be a "
        "secret. Costs one request for each organization."
    ),
    remedy=(
        "nothing is wrong with what is stored. Upgrade buildkite-assets; if it stays, please "
        "report the field."
    ),
    severity=WARN,
    evaluate=_no_unknown_field,
)
