"""Where the time of builds goes: waiting, running, standing still."""

import altair as alt
import polars as pl

from buildkite_assets.figures.reading import named, read
from buildkite_assets.figures.theme import (
    BLOCK,
    GAP,
    QUEUE,
    RUN,
    WIDTH,
    Figure,
    colours,
    finished,
    no_data,
)
from buildkite_assets.warehouse import Connection

_TITLE = "Where the time of builds goes"
_PIPELINES = 12
_MINUTES_PER_HOUR = 60
_KINDS = {"queue": QUEUE, "run": RUN, "block": BLOCK, "gap": GAP}

# A build's critical path reaches without a break from its creation to its end.
_QUERY = """
WITH paths AS (
    SELECT
        build_id,
        sum(queue_seconds) AS queue,
        sum(run_seconds) AS run,
        sum(gap_before_seconds) AS still
    FROM build_critical_path
    WHERE day > (SELECT max(day) FROM build_critical_path) - $days
    GROUP BY build_id
),
pipelines AS (
    SELECT
        organizations.slug AS organization,
        pipeline_slug,
        count(*) AS builds,
        avg(queue + run + still) / 60 AS minutes,
        avg(queue) / 60 AS queue,
        avg(run) / 60 AS run,
        avg(least(blocked_seconds, still)) / 60 AS block,
        avg(still - least(blocked_seconds, still)) / 60 AS gap
    FROM paths
    JOIN build_runs USING (build_id)
    JOIN organizations USING (organization_id)
    WHERE NOT is_open AND NOT is_blocked
    GROUP BY ALL
    ORDER BY sum(agent_seconds) DESC, organization, pipeline_slug
    LIMIT $pipelines
)
SELECT organization, pipeline_slug, builds, minutes, kind, kind_minutes
FROM (UNPIVOT pipelines ON queue, run, block, gap INTO NAME kind VALUE kind_minutes)
"""


def time_decomposition(connection: Connection, *, days: int = 30) -> Figure:
    """The way of a pipeline's builds from creation to end, on average, as shares of it.

    On the critical path a build waits for agents (queue) or runs (run); between its jobs it stands
    at a block (block), or waits for a triggered build or a late retry (gap). Builds that are open
    are left out. Shown are the 12 pipelines that agents worked for longest.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest UTC days of builds.
    """
    rows = read(connection, _QUERY, days=days, pipelines=_PIPELINES)
    if rows.is_empty():
        return no_data(_TITLE)
    rows = rows.with_columns(pipeline=named(rows, "pipeline_slug"))
    labels = pl.format(
        "{} · {} · n {}", "pipeline", pl.col("minutes").map_elements(_length, pl.String), "builds"
    )
    places = {kind: place for place, kind in enumerate(_KINDS)}
    bars = (
        alt.Chart(rows.with_columns(label=labels, place=pl.col("kind").replace_strict(places)))
        .mark_bar()
        .encode(
            x=alt.X(
                "kind_minutes:Q",
                title=None,
                stack="normalize",
                axis=alt.Axis(format="%", tickCount=5),
            ),
            y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=320, ticks=False)),
            color=colours(_KINDS),
            order="place:O",
            tooltip=["pipeline", "kind", "kind_minutes", "minutes", "builds"],
        )
        .properties(width=WIDTH - 180, height=alt.Step(26))
    )
    return finished(
        bars,
        _TITLE,
        f"shares of the mean time from creation to end, newest {days} days",
    )


def _length(minutes: float) -> str:
    """Minutes as people say them."""
    if minutes < _MINUTES_PER_HOUR:
        return f"{minutes:.1f} min"
    return f"{minutes / _MINUTES_PER_HOUR:.1f} h"
