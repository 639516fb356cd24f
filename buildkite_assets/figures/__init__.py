"""Figures of CI and access: one function each, from a connection to an Altair chart.

Each takes what `buildkite_assets.connect` returns, asks the derived tables a small question, and
gives a chart that has a title and says what it stands on. Where there is nothing to show, or the
table is not there yet, the chart says so.
"""

from buildkite_assets.figures.access_changes import access_changes
from buildkite_assets.figures.active_durations import active_durations
from buildkite_assets.figures.build_outcomes import build_outcomes
from buildkite_assets.figures.cost_by_team import cost_by_team
from buildkite_assets.figures.flaky_steps import flaky_steps
from buildkite_assets.figures.main_strip import main_strip
from buildkite_assets.figures.pictures import png, svg, webp
from buildkite_assets.figures.queue_wait_heatmap import queue_wait_heatmap
from buildkite_assets.figures.renderer import RenderError
from buildkite_assets.figures.theme import Figure
from buildkite_assets.figures.time_decomposition import time_decomposition

__all__ = [
    "Figure",
    "RenderError",
    "access_changes",
    "active_durations",
    "build_outcomes",
    "cost_by_team",
    "flaky_steps",
    "main_strip",
    "png",
    "queue_wait_heatmap",
    "svg",
    "time_decomposition",
    "webp",
]
