"""Who the agents worked for, and what it cost."""

import altair as alt
import polars as pl

from buildkite_assets.figures.reading import named, read
from buildkite_assets.figures.theme import CANCELED, CATEGORIES, WIDTH, Figure, finished, no_data
from buildkite_assets.warehouse import Connection

_TITLE = "Agent cost by team"
_BARS = 12
_QUEUES = 6
_OTHER = "other queues"
_LEGEND_COLUMNS = 4

_QUERY = """
WITH days AS (
    SELECT
        organizations.slug AS organization,
        coalesce(
            team_slug, if(attribution = 'none', '(no team owns it)', '(teams are not known)')
        ) AS team_slug,
        agent_cost_daily.* EXCLUDE (team_slug)
    FROM agent_cost_daily
    JOIN organizations USING (organization_id)
    WHERE local_day > (SELECT max(local_day) FROM agent_cost_daily) - $days
),
shown AS (
    SELECT organization, team_slug, sum(cost) AS whole_cost, sum(agent_minutes) AS whole_minutes
    FROM days
    GROUP BY ALL
    ORDER BY whole_cost DESC NULLS LAST, whole_minutes DESC, organization, team_slug
    LIMIT $bars
),
-- A legend of dozens of queues would leave no room for the bars.
queues AS (
    SELECT organization, queue
    FROM days
    GROUP BY ALL
    ORDER BY sum(cost) DESC NULLS LAST, sum(agent_minutes) DESC, organization, queue
    LIMIT $queues
)
SELECT
    days.organization,
    team_slug,
    coalesce(queues.queue, $other) AS queue,
    sum(cost) AS cost,
    sum(agent_minutes) / 60 AS hours,
    sum(unpriced_minutes) / 60 AS unpriced_hours,
    any_value(currency) AS currency
FROM days
JOIN shown USING (organization, team_slug)
LEFT JOIN queues ON queues.organization = days.organization AND queues.queue = days.queue
GROUP BY days.organization, team_slug, queues.queue, whole_cost, whole_minutes
ORDER BY
    whole_cost DESC NULLS LAST,
    whole_minutes DESC,
    days.organization,
    team_slug,
    queues.queue NULLS LAST
"""


def cost_by_team(connection: Connection, *, days: int = 30) -> Figure:
    """A bar per team: what its agents cost, by queue; their hours where nothing has a price.

    What several teams own is divided among them, so that nothing counts twice. The plot shows the
    12 teams that cost most; queues beyond the 6 most expensive ones share one colour.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest local days.
    """
    rows = read(connection, _QUERY, days=days, bars=_BARS, queues=_QUEUES, other=_OTHER)
    if rows.is_empty():
        return no_data(_TITLE)
    is_other = pl.col("queue") == _OTHER
    rows = rows.with_columns(
        team=named(rows, "team_slug"),
        queue=pl.when(is_other).then("queue").otherwise(named(rows, "queue")),
    )
    is_priced = rows["cost"].count() > 0
    value, unit = ("cost", rows["currency"][0]) if is_priced else ("hours", "agent hours")
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X(f"{value}:Q", title=unit),
            y=alt.Y("team:N", title=None, sort=None, axis=alt.Axis(ticks=False)),
            color=alt.Color(
                "queue:N",
                scale=_colours(rows),
                legend=alt.Legend(symbolType="square", columns=_LEGEND_COLUMNS, labelLimit=160),
            ),
            tooltip=["team", "queue", "cost", "hours"],
        )
        .properties(width=WIDTH - 80, height=alt.Step(26))
    )
    return finished(
        bars,
        _TITLE,
        f"newest {days} days, {rows['hours'].sum():,.0f} agent hours; "
        f"{rows['unpriced_hours'].sum():,.0f} of them have no price",
    )


def _colours(rows: pl.DataFrame) -> alt.Scale:
    """A colour per queue in the order of their cost, and grey for the other queues."""
    ranked = rows.group_by("queue", maintain_order=True).agg(pl.sum("cost"), pl.sum("hours"))
    ranked = ranked.sort("cost", "hours", descending=True, nulls_last=True)
    named_queues = [name for name in ranked["queue"] if name != _OTHER]
    coloured = [colour for colour in CATEGORIES if colour != CANCELED]
    return alt.Scale(
        domain=[*named_queues, _OTHER] if _OTHER in ranked["queue"] else named_queues,
        range=[*coloured[: len(named_queues)], CANCELED],
    )
