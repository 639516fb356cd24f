"""Who the agents worked for, and what it cost."""

import altair as alt

from buildkite_assets.figures.reading import named, read
from buildkite_assets.figures.theme import CATEGORIES, WIDTH, Figure, finished, no_data
from buildkite_assets.warehouse import Connection

_TITLE = "Agent cost by team"
_BARS = 12

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
)
SELECT
    organization,
    team_slug,
    queue,
    sum(cost) AS cost,
    sum(agent_minutes) / 60 AS hours,
    sum(unpriced_minutes) / 60 AS unpriced_hours,
    any_value(currency) AS currency
FROM days
JOIN shown USING (organization, team_slug)
GROUP BY organization, team_slug, queue, whole_cost, whole_minutes
ORDER BY whole_cost DESC NULLS LAST, whole_minutes DESC, organization, team_slug, queue
"""


def cost_by_team(connection: Connection, *, days: int = 30) -> Figure:
    """A bar per team: what its agents cost, by queue; their hours where nothing has a price.

    What several teams own is divided among them, so that nothing counts twice. Shown are the 12
    that cost most.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest local days.
    """
    rows = read(connection, _QUERY, days=days, bars=_BARS)
    if rows.is_empty():
        return no_data(_TITLE)
    rows = rows.with_columns(team=named(rows, "team_slug"), queue=named(rows, "queue"))
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
                scale=alt.Scale(range=CATEGORIES),
                legend=alt.Legend(symbolType="square"),
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
