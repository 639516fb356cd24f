"""Which steps fail without a reason, and what it costs."""

import altair as alt
import polars as pl

from buildkite_assets.figures.reading import named, read
from buildkite_assets.figures.theme import FAILED, WIDTH, Figure, finished, no_data
from buildkite_assets.warehouse import Connection

_TITLE = "Flaky steps"
_STEPS = 10

_QUERY = """
SELECT
    organizations.slug AS organization,
    pipeline_slug,
    step,
    wasted_minutes,
    flake_rate,
    flaky_jobs,
    jobs,
    window_from,
    window_to
FROM flaky_steps
JOIN organizations USING (organization_id)
WHERE $pipeline IS NULL OR pipeline_slug = $pipeline
ORDER BY wasted_minutes DESC, flaky_jobs DESC, organization, pipeline_slug, step
LIMIT $steps
"""


def flaky_steps(connection: Connection, *, pipeline: str | None = None) -> Figure:
    """A bar per flaky step: the agent minutes that its flaky failures took, and how often.

    Shown are the 10 that took most.

    Args:
        connection: what `buildkite_assets.connect` returns.
        pipeline: the slug of the only one to show.
    """
    rows = read(connection, _QUERY, pipeline=pipeline, steps=_STEPS)
    if rows.is_empty():
        return no_data(_TITLE, "no flaky step is known")
    rows = rows.with_columns(pipeline=named(rows, "pipeline_slug")).with_columns(
        label=pl.format("{} · {}", "pipeline", "step"),
        rate=pl.format("{}% of {} jobs", (pl.col("flake_rate") * 100).round(1), pl.col("jobs")),
    )
    base = alt.Chart(rows).encode(
        x=alt.X("wasted_minutes:Q", title="agent minutes that flaky failures took"),
        y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260, ticks=False)),
    )
    bars = base.mark_bar(color=FAILED).encode(
        tooltip=["pipeline", "step", "wasted_minutes", "flaky_jobs", "jobs", "flake_rate"]
    )
    rates = base.mark_text(align="left", dx=5, fontSize=12).encode(text="rate:N")
    first, last = rows["window_from"][0], rows["window_to"][0]
    return finished(
        alt.layer(bars, rates).properties(width=WIDTH - 140, height=alt.Step(26)),
        _TITLE,
        f"builds from {first:%Y-%m-%d} to {last:%Y-%m-%d} (UTC)",
    )
