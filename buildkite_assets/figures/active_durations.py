"""How long builds take, day by day."""

import altair as alt
import polars as pl

from buildkite_assets.figures.reading import named, read
from buildkite_assets.figures.theme import (
    CANCELED,
    QUEUE,
    RUN,
    WIDTH,
    Figure,
    finished,
    newest_days,
    no_data,
)
from buildkite_assets.warehouse import Connection

_TITLE = "Active time of passed builds"
_PIPELINES = 4

_QUERY = """
WITH days AS (
    SELECT organizations.slug AS organization, pipeline_daily.*
    FROM pipeline_daily
    JOIN organizations USING (organization_id)
    WHERE
        green_builds > 0
        AND local_day > (SELECT max(local_day) FROM pipeline_daily) - $days
        AND ($pipeline IS NULL OR pipeline_slug = $pipeline)
),
shown AS (
    SELECT organization, pipeline_slug
    FROM days
    GROUP BY ALL
    ORDER BY sum(agent_hours) DESC, organization, pipeline_slug
    LIMIT $pipelines
)
SELECT
    organization,
    pipeline_slug,
    local_day,
    green_builds,
    green_p50_seconds / 60 AS p50_minutes,
    green_p90_seconds / 60 AS p90_minutes
FROM days
SEMI JOIN shown USING (organization, pipeline_slug)
ORDER BY sum(agent_hours) OVER (PARTITION BY organization, pipeline_slug) DESC, local_day
"""


def active_durations(
    connection: Connection, *, days: int = 30, pipeline: str | None = None
) -> Figure:
    """The median and the 90th percentile of a local day's passed builds, and how many they were.

    Shown are the 4 pipelines that agents worked for longest.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest local days.
        pipeline: the slug of the only one to show.
    """
    rows = read(connection, _QUERY, days=days, pipeline=pipeline, pipelines=_PIPELINES)
    if rows.is_empty():
        return no_data(_TITLE)
    parts = rows.with_columns(pipeline=named(rows, "pipeline_slug")).partition_by("pipeline")
    panels = [
        _panel(part, newest_days(rows, "local_day", days, is_labelled=part is parts[-1]))
        for part in parts
    ]
    return finished(
        alt.vconcat(*panels, spacing=6).resolve_scale(x="shared"),
        _TITLE,
        "minutes per local day: median (line) and 90th percentile (dashed); bars: passed builds",
    )


def _panel(rows: pl.DataFrame, day: alt.X) -> alt.LayerChart:
    """One pipeline's days: lines over the bars that tell what they stand on."""
    base = alt.Chart(rows).encode(x=day)
    builds = base.mark_bar(color=CANCELED, opacity=0.35).encode(
        alt.Y("green_builds:Q", axis=alt.Axis(title="builds", orient="right", tickCount=3))
    )
    lines = (
        base.transform_fold(["p50_minutes", "p90_minutes"], as_=["line", "minutes"])
        # A line of a single day has no length: only a point shows it.
        .mark_line(point=alt.OverlayMarkDef(size=36) if rows.height == 1 else False)
        .encode(
            y=alt.Y("minutes:Q", axis=alt.Axis(tickCount=3)),
            color=alt.Color("line:N", scale=alt.Scale(range=[RUN, QUEUE]), legend=None),
            strokeDash=alt.StrokeDash("line:N", scale=alt.Scale(range=[[], [5, 3]]), legend=None),
            strokeWidth=alt.StrokeWidth("line:N", scale=alt.Scale(range=[2.5, 2]), legend=None),
        )
    )
    panel: alt.LayerChart = (
        alt.layer(builds, lines)
        .resolve_scale(y="independent")
        .properties(width=WIDTH, height=80, title=alt.Title(rows["pipeline"][0], fontSize=12))
    )
    return panel
