"""How access changed, day by day."""

import altair as alt
import polars as pl

from buildkite_assets.figures.reading import read
from buildkite_assets.figures.theme import WIDTH, Figure, colours, finished, newest_days, no_data
from buildkite_assets.warehouse import Connection

_TITLE = "Changes of access"
_KINDS = {
    "granted": "#e8a33d",
    "raised": "#f3cf8e",
    "revoked": "#4c8fd6",
    "lowered": "#9cc4ec",
    "other": "#8d93a1",
}
_PANELS = {False: "members, teams and grants", True: "what follows for levels on pipelines"}

_QUERY = """
SELECT
    changed_at::DATE AS day,
    object_type = 'effective_pipeline_access' AS is_effective,
    if(change_type IN ('granted', 'raised', 'revoked', 'lowered'), change_type, 'other') AS kind,
    count(*) AS changes,
    sum(if(change_type IN ('revoked', 'lowered'), -1, 1))::BIGINT AS height
FROM access_changes
WHERE changed_at::DATE > (SELECT max(changed_at)::DATE FROM access_changes) - $days
GROUP BY ALL
ORDER BY ALL
"""


def access_changes(connection: Connection, *, days: int = 90) -> Figure:
    """Changes on each UTC day on which a snapshot first saw them: more access up, less down.

    Changes of members, teams and grants stand apart from the levels on pipelines that follow.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many days, to the newest change.
    """
    rows = read(connection, _QUERY, days=days)
    if rows.is_empty():
        return no_data(_TITLE, "no change between two snapshots yet")
    day = newest_days(rows, "day", days)
    panels = [
        _panel(rows.filter(pl.col("is_effective") == is_effective), day, title)
        for is_effective, title in _PANELS.items()
    ]
    return finished(
        alt.vconcat(*panels).resolve_scale(x="shared"),
        _TITLE,
        f"{rows['changes'].sum():,} changes, by the UTC day of the snapshot that first saw them; "
        "less access points down",
    )


def _panel(rows: pl.DataFrame, day: alt.X, title: str) -> alt.Chart:
    panel: alt.Chart = (
        alt.Chart(rows, title=alt.Title(title, fontSize=12))
        .mark_bar()
        .encode(
            x=day,
            y=alt.Y("height:Q", title="changes", axis=alt.Axis(tickMinStep=1, tickCount=4)),
            color=colours(_KINDS),
            tooltip=["day", "kind", "changes"],
        )
        .properties(width=WIDTH, height=110)
    )
    return panel
