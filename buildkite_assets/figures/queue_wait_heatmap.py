"""When agents are short: waits by weekday and hour."""

import altair as alt
import polars as pl

from buildkite_assets.figures.reading import named, read
from buildkite_assets.figures.theme import HEAT, Figure, finished, no_data
from buildkite_assets.warehouse import Connection

_TITLE = "Wait for an agent"
_QUEUES = 4
_LEAST_WAITS = 5
_MEDIAN = 0.5
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

# Percentiles come from the jobs themselves, never from those of single hours; `queue_hourly` tells
# which local hour a job came in.
_QUERY = """
WITH waits AS (
    SELECT
        organizations.slug AS organization,
        job_runs.queue,
        isodow(local_day) AS weekday,
        local_hour,
        queue_seconds
    FROM job_runs
    JOIN queue_hourly
        ON
            queue_hourly.organization_id = job_runs.organization_id
            AND queue_hourly.queue_id IS NOT DISTINCT FROM job_runs.queue_id
            AND queue_hourly.queue_key = job_runs.queue_key
            AND hour = date_trunc('hour', runnable_at)
    JOIN organizations ON organizations.organization_id = job_runs.organization_id
    WHERE queue_seconds IS NOT NULL AND day > (SELECT max(day) FROM job_runs) - $days
),
shown AS (
    SELECT organization, queue
    FROM waits
    GROUP BY ALL
    ORDER BY sum(queue_seconds) DESC, organization, queue
    LIMIT $queues
)
SELECT
    organization,
    queue,
    weekday,
    local_hour,
    count(*) AS waits,
    quantile_cont(queue_seconds, $quantile) / 60 AS wait_minutes
FROM waits
SEMI JOIN shown USING (organization, queue)
GROUP BY ALL
HAVING count(*) >= $least_waits
ORDER BY ALL
"""


def queue_wait_heatmap(connection: Connection, *, days: int = 28, quantile: float = 0.9) -> Figure:
    """A square per weekday and local hour in which jobs came: how long they waited for an agent.

    Shown are the 4 queues that jobs waited for longest. An hour in which fewer than 5 jobs came in
    all these weeks stays empty.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest UTC days of builds.
        quantile: of the waits, 0 to 1.
    """
    rows = read(
        connection,
        _QUERY,
        days=days,
        quantile=quantile,
        queues=_QUEUES,
        least_waits=_LEAST_WAITS,
    )
    if rows.is_empty():
        return no_data(_TITLE)
    weekday = pl.col("weekday").replace_strict(
        dict(enumerate(_WEEKDAYS, 1)), return_dtype=pl.String
    )
    squares = (
        alt.Chart(rows.with_columns(queue=named(rows, "queue"), weekday=weekday))
        .mark_rect()
        .encode(
            x=alt.X(
                "local_hour:O",
                title=None,
                scale=alt.Scale(domain=list(range(24))),
                axis=alt.Axis(values=[0, 6, 12, 18], labelAngle=0, domain=False),
            ),
            y=alt.Y(
                "weekday:O",
                title=None,
                scale=alt.Scale(domain=_WEEKDAYS),
                axis=alt.Axis(domain=False, ticks=False),
            ),
            color=alt.Color(
                "wait_minutes:Q",
                title="minutes",
                scale=alt.Scale(range=HEAT, type="sqrt"),
                legend=alt.Legend(gradientLength=240),
            ),
            tooltip=["queue", "weekday", "local_hour", "wait_minutes", "waits"],
        )
        .properties(width=alt.Step(11), height=alt.Step(15))
        .facet(facet=alt.Facet("queue:N", title=None), columns=2)
    )
    name = "median" if quantile == _MEDIAN else f"{quantile:.0%} percentile".replace("%", "th")
    return finished(
        squares,
        _TITLE,
        f"{name} by weekday and local hour, of {rows['waits'].sum():,} jobs in {days} days; "
        f"empty: fewer than {_LEAST_WAITS} jobs",
    )
