"""What came of builds, day by day."""

import altair as alt

from buildkite_assets.figures.reading import read
from buildkite_assets.figures.theme import (
    OUTCOMES,
    WIDTH,
    Figure,
    colours,
    finished,
    newest_days,
    no_data,
)
from buildkite_assets.warehouse import Connection

_TITLE = "Builds by outcome"

_QUERY = """
WITH days AS (
    SELECT
        local_day,
        sum(passed_builds) AS passed,
        sum(failed_builds) AS failed,
        sum(canceled_builds) AS canceled,
        sum(not_run_builds) AS not_run,
        sum(builds - passed_builds - failed_builds - canceled_builds - not_run_builds) AS unfinished
    FROM pipeline_daily
    WHERE
        local_day > (SELECT max(local_day) FROM pipeline_daily) - $days
        AND ($pipeline IS NULL OR pipeline_slug = $pipeline)
    GROUP BY local_day
)
SELECT local_day, kind, builds::BIGINT AS builds
FROM (UNPIVOT days ON passed, failed, canceled, not_run, unfinished INTO NAME kind VALUE builds)
WHERE builds > 0
ORDER BY local_day
"""


def build_outcomes(
    connection: Connection, *, days: int = 30, pipeline: str | None = None
) -> Figure:
    """Builds created on each local day, stacked by outcome.

    Args:
        connection: what `buildkite_assets.connect` returns.
        days: how many of the newest local days.
        pipeline: the slug of the only one to count.
    """
    rows = read(connection, _QUERY, days=days, pipeline=pipeline)
    if rows.is_empty():
        return no_data(_TITLE)
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=newest_days(rows, "local_day", days),
            y=alt.Y("builds:Q", title="builds"),
            color=colours(OUTCOMES),
            tooltip=["local_day", "kind", "builds"],
        )
        .properties(width=WIDTH, height=200)
    )
    return finished(bars, _TITLE, f"{rows['builds'].sum():,} builds, by local day of creation")
