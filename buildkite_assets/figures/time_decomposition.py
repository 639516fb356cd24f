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

# A build's critical path reaches without a break from its creation to its end. Time before a retry
# is nobody's work: a build that is retried a day later would be one long gap. Each build has the
# same weight, whatever its length, so that no single build carries the mean.
_QUERY = """
WITH paths AS (
    SELECT
        path.build_id,
        sum(path.queue_seconds) AS queue,
        sum(path.run_seconds) AS run,
        coalesce(sum(gap_before_seconds) FILTER (attempt_no = 1), 0) AS still,
        coalesce(sum(gap_before_seconds) FILTER (attempt_no > 1), 0) AS before_retries
    FROM build_critical_path AS path
    JOIN job_runs USING (job_id)
    WHERE path.day > (SELECT max(day) FROM build_critical_path) - $days
    GROUP BY path.build_id
),
builds AS (
    SELECT
        organizations.slug AS organization,
        pipeline_slug,
        agent_seconds,
        paths.queue + paths.run + paths.still AS seconds,
        before_retries,
        queue,
        run,
        least(blocked_seconds, still) AS block,
        still - block AS gap
    FROM paths
    JOIN build_runs USING (build_id)
    JOIN organizations USING (organization_id)
    WHERE NOT is_open AND NOT is_blocked AND seconds > 0
),
pipelines AS (
    SELECT
        organization,
        pipeline_slug,
        count(*) AS builds,
        count(*) FILTER (before_retries > 60) AS late_retries,
        median(seconds) / 60 AS minutes,
        avg(queue / seconds) AS queue,
        avg(run / seconds) AS run,
        avg(block / seconds) AS block,
        avg(gap / seconds) AS gap
    FROM builds
    GROUP BY ALL
    ORDER BY sum(agent_seconds) DESC, organization, pipeline_slug
    LIMIT $pipelines
)
SELECT organization, pipeline_slug, builds, late_retries, minutes, kind, share
FROM (UNPIVOT pipelines ON queue, run, block, gap INTO NAME kind VALUE share)
"""


def time_decomposition(connection: Connection, *, days: int = 30) -> Figure:
    """Show how a typical build of a pipeline spends its time, as shares of it.

    On the critical path a build waits for agents (queue) or runs (run). Between its jobs it stands
    at a block (block) or waits for something without an agent, such as a triggered build (gap). A
    bar is the mean of the builds' own shares, so each build has the same weight. The label has the
    median length. Time before a retry is left out, and so are builds that are open or blocked. The
    plot shows the 12 pipelines that used most agent time.

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
                "share:Q",
                title=None,
                stack="zero",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=5),
            ),
            y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=320, ticks=False)),
            color=colours(_KINDS),
            order="place:O",
            tooltip=["pipeline", "kind", "share", "minutes", "builds", "late_retries"],
        )
        .properties(width=WIDTH - 180, height=alt.Step(26))
    )
    late = rows.unique("pipeline")["late_retries"].sum()
    return finished(
        bars,
        _TITLE,
        f"mean of the builds' shares and median length, newest {days} days; without unfinished "
        f"builds and the time before retries ({late:,} builds)",
    )


def _length(minutes: float) -> str:
    """Minutes as people say them."""
    if minutes < _MINUTES_PER_HOUR:
        return f"{minutes:.1f} min"
    return f"{minutes / _MINUTES_PER_HOUR:.1f} h"
