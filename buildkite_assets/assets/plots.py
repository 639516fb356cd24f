"""Pictures on the assets where looking beats reading."""

from base64 import b64encode
from collections.abc import Callable

import dagster as dg

from buildkite_assets import figures
from buildkite_assets.derived_tables import DerivedTable
from buildkite_assets.figures import Figure, webp
from buildkite_assets.warehouse import Connection

PLOTS: dict[str, tuple[Callable[[Connection], Figure], ...]] = {
    "access_changes": (figures.access_changes,),
    "agent_cost_daily": (figures.cost_by_team,),
    "branch_incidents": (figures.main_strip,),
    "flaky_steps": (figures.flaky_steps,),
    "pipeline_daily": (figures.active_durations, figures.time_decomposition),
    "queue_hourly": (figures.queue_wait_heatmap,),
}
"""The figures of each derived table that has some."""


def plots(
    context: dg.AssetExecutionContext, connection: Connection, table: DerivedTable
) -> dict[str, dg.MarkdownMetadataValue]:
    """The table's plots as pictures; one that cannot be drawn is left out, with a warning.

    Args:
        context: to warn with.
        connection: to the tables as they are now, not within a transaction.
        table: which.
    """
    drawn = {}
    for figure in PLOTS.get(table.name, ()):
        name = figure.__name__
        try:
            picture = b64encode(webp(figure(connection))).decode()
        except Exception as error:  # noqa: BLE001 - a picture is not the data, whatever is wrong
            context.log.warning(
                "%s: the plot %s could not be drawn, the table is not affected: %s: %s",
                table.name,
                name,
                type(error).__name__,
                error,
            )
        else:
            drawn[name] = dg.MetadataValue.md(f"![{name}](data:image/webp;base64,{picture})")
    return drawn
