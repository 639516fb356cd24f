"""Red and green of the default branch, build by build."""

import altair as alt

from buildkite_assets.figures.reading import named, read
from buildkite_assets.figures.theme import FAILED, PASSED, WIDTH, Figure, colours, finished, no_data
from buildkite_assets.warehouse import Connection

_TITLE = "Default branch, red and green"
_PIPELINES = 12
_BUILDS = 300
_SHORT, _LONG = alt.value(9), alt.value(22)

# Failed builds come last, so that they are drawn over the others.
_QUERY = """
WITH verdicts AS (
    SELECT organizations.slug AS organization, pipeline_slug, number, build_runs.created_at,
        outcome AS kind
    FROM build_runs
    JOIN organizations USING (organization_id)
    WHERE
        is_default_branch
        AND is_verdict
        AND day > (SELECT max(day) FROM build_runs) - $days
        AND ($pipeline IS NULL OR pipeline_slug = $pipeline)
),
shown AS (
    SELECT organization, pipeline_slug
    FROM verdicts
    GROUP BY ALL
    ORDER BY count(*) FILTER (kind = 'failed') DESC, organization, pipeline_slug
    LIMIT $pipelines
)
SELECT verdicts.*
FROM verdicts
SEMI JOIN shown USING (organization, pipeline_slug)
QUALIFY $builds >= row_number() OVER (
    PARTITION BY organization, pipeline_slug ORDER BY created_at DESC, number DESC
)
ORDER BY kind DESC, created_at, number
"""


def main_strip(connection: Connection, *, days: int = 14, pipeline: str | None = None) -> Figure:
    """A row per pipeline and a mark per build of its default branch that passed or failed.

    Failed ones are longer as well as red. Shown are the 12 pipelines with most failures, and the
    newest 300 builds of each.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest UTC days of builds.
        pipeline: the slug of the only one to show.
    """
    rows = read(
        connection, _QUERY, days=days, pipeline=pipeline, pipelines=_PIPELINES, builds=_BUILDS
    )
    if rows.is_empty():
        return no_data(_TITLE)
    rows = rows.with_columns(pipeline=named(rows, "pipeline_slug"))
    strip = (
        alt.Chart(rows)
        .mark_tick(thickness=2, opacity=1)
        .encode(
            x=alt.X("created_at:T", title=None, scale=alt.Scale(type="utc")),
            y=alt.Y("pipeline:N", title=None, axis=alt.Axis(domain=False, ticks=False)),
            color=colours({"passed": PASSED, "failed": FAILED}),
            size=alt.when(alt.datum.kind == "failed").then(_LONG).otherwise(_SHORT),
            tooltip=["pipeline", "number", "created_at", "kind"],
        )
        .properties(width=WIDTH, height=alt.Step(28))
    )
    return finished(
        strip,
        _TITLE,
        f"{rows.height:,} builds that passed or failed, by creation (UTC), newest {days} days",
    )
