"""One look for all figures.

Colours of data are of medium lightness, so that they stand out on white and on near black, and
differ in lightness where they differ in meaning (after Okabe and Ito), so that they can be told
apart without seeing red and green. Colours of text, axes and background are left to where a
figure is shown: a notebook has its own theme, and `pictures` brings one.
"""

import altair as alt
import polars as pl

Figure = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart

PASSED = "#35b597"
FAILED = "#d9412b"
CANCELED = "#8d93a1"
NOT_RUN = "#c3a5d6"
UNFINISHED = "#4c8fd6"

OUTCOMES = {
    "passed": PASSED,
    "failed": FAILED,
    "canceled": CANCELED,
    "not_run": NOT_RUN,
    "unfinished": UNFINISHED,
}

QUEUE = "#e8a33d"
RUN = "#4c8fd6"
BLOCK = "#a877c5"
GAP = "#8d93a1"

CATEGORIES = ["#4c8fd6", "#e8a33d", "#35b597", "#a877c5", "#d9412b", "#8d93a1", "#c9b458"]
"""For kinds without a meaning of their own, such as queues."""

HEAT = ["#4b678f", "#8b8a80", "#d1b45a", "#ffe14d"]
"""From little to much: lightness grows all the way, and blue to yellow is seen by all."""

WIDTH = 640
_MOST_DATES = 8
_DAY_MILLISECONDS = 86_400_000
_LOOK = alt.Config(
    font="system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
    title=alt.TitleConfig(
        anchor="start",
        frame="bounds",
        fontSize=15,
        subtitleFontSize=12,
        subtitlePadding=5,
        offset=12,
    ),
    view=alt.ViewConfig(stroke=None),
    axis=alt.AxisConfig(
        labelFontSize=12, labelPadding=6, titleFontSize=12, titleFontWeight="normal", grid=False
    ),
    # Drawing is measuring text above all, and where there is a limit each label is measured anew to
    # see whether it must be cut. Names may have to be, numbers and days never.
    axisQuantitative=alt.AxisConfig(labelLimit=0),
    axisTemporal=alt.AxisConfig(labelLimit=0),
    header=alt.HeaderConfig(labelFontSize=12, labelFontWeight="bold", titleFontSize=12),
    legend=alt.LegendConfig(
        orient="bottom", labelFontSize=12, titleFontSize=12, titleFontWeight="normal"
    ),
)


def finished(chart: Figure, title: str, subtitle: str) -> Figure:
    """The chart with its title and the common look; the last step of each figure."""
    figure: Figure = chart.properties(
        title=alt.Title(title, subtitle=subtitle), description=title, config=_LOOK
    )
    return figure


def no_data(title: str, reason: str = "no data yet") -> Figure:
    """A chart that says that there is nothing to show, and why."""
    text = alt.Chart(pl.DataFrame({"reason": [reason]})).mark_text(fontSize=14)
    return finished(text.encode(text="reason:N").properties(width=WIDTH, height=60), title, "")


def newest_days(rows: pl.DataFrame, column: str, days: int, *, is_labelled: bool = True) -> alt.X:
    """An axis of the newest days, as wide as asked for, however few of them are known.

    Args:
        rows: what is drawn.
        column: the day, as an instant of UTC.
        days: how many, to the newest of the rows.
        is_labelled: whether it has ticks and dates.
    """
    newest = rows[column].dt.epoch("ms").sort()[-1]
    domain = [newest - (days - 1) * _DAY_MILLISECONDS, newest + _DAY_MILLISECONDS]
    return alt.X(
        f"utcyearmonthdate({column}):T",
        title=None,
        bandPosition=0.5,
        scale=alt.Scale(type="utc", domain=domain),
        axis=alt.Axis(
            labels=is_labelled,
            ticks=is_labelled,
            format="%d %b",
            labelFlush=False,
            tickCount=min(days, _MOST_DATES),
            labelOverlap="greedy",
            labelSeparation=8,
        ),
    )


def colours(meanings: dict[str, str]) -> alt.Color:
    """A colour for each value of a column named `kind`, with a legend in that order."""
    return alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(meanings), range=list(meanings.values())),
        legend=alt.Legend(symbolType="square", symbolSize=100),
    )
