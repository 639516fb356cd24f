"""Who the agents worked for, and what it cost."""

import altair as alt

from buildkite_assets.figures.reading import read
from buildkite_assets.figures.theme import CATEGORIES, WIDTH, Figure, finished, no_data
from buildkite_assets.warehouse import Connection

_TITLE = "Agent cost by pipeline"
_BARS = 12

# One line decides whom the minutes are counted for: the column called `who`.
_QUERY = """
WITH days AS (
    SELECT organizations.slug AS organization, pipeline_slug, agent_cost_daily.*
    FROM agent_cost_daily
    JOIN organizations USING (organization_id)
    WHERE local_day > (SELECT max(local_day) FROM agent_cost_daily) - $days
),
shown AS (
    SELECT organization, pipeline_slug, sum(cost) AS cost, sum(agent_minutes) AS minutes
    FROM days
    GROUP BY ALL
    ORDER BY cost DESC NULLS LAST, minutes DESC, organization, pipeline_slug
    LIMIT $bars
)
SELECT
    organization,
    pipeline_slug,
    queue_key,
    shown.cost AS whole_cost,
    shown.minutes AS whole_minutes,
    sum(days.cost) AS cost,
    sum(agent_minutes) AS minutes,
    sum(unpriced_minutes) AS unpriced_minutes,
    any_value(currency) AS currency
FROM days
JOIN shown USING (organization, pipeline_slug)
GROUP BY ALL
ORDER BY whole_cost DESC NULLS LAST, whole_minutes DESC, pipeline_slug, queue_key
"""


def cost_by_team(connection: Connection, *, days: int = 30) -> Figure:
    """A bar per pipeline: what its agents cost, by queue; their hours where nothing has a price.

    Shown are the 12 that cost most.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest local days.
    """
    rows = read(connection, _QUERY, days=days, bars=_BARS)
    if rows.is_empty():
        return no_data(_TITLE)
    is_priced = rows["cost"].count() > 0
    hours = rows["minutes"].sum() / 60
    unpriced = rows["unpriced_minutes"].sum() / 60
    rows = rows.with_columns(hours=rows["minutes"] / 60)
    value, unit = ("cost", rows["currency"][0]) if is_priced else ("hours", "agent hours")
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X(f"{value}:Q", title=unit),
            y=alt.Y("pipeline:N", title=None, sort=None, axis=alt.Axis(ticks=False)),
            color=alt.Color(
                "queue_key:N",
                title="queue",
                scale=alt.Scale(range=CATEGORIES),
                legend=alt.Legend(symbolType="square"),
            ),
            tooltip=["pipeline", "queue_key", "cost", "hours"],
        )
        .properties(width=WIDTH - 60, height=alt.Step(26))
    )
    return finished(
        bars,
        _TITLE,
        f"newest {days} days, {hours:,.0f} agent hours; {unpriced:,.0f} of them have no price",
    )
