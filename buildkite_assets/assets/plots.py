"""Pictures on the assets where looking beats reading."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

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


def plans(
    context: dg.AssetExecutionContext, connection: Connection, table: DerivedTable
) -> dict[str, Figure]:
    """The table's figures and their data, not drawn yet; one that fails costs a warning.

    Args:
        context: to warn with.
        connection: to the tables as they are now, not within a transaction.
        table: which.
    """
    planned = {}
    for figure in PLOTS.get(table.name, ()):
        with _warning(context, table, figure.__name__):
            planned[figure.__name__] = figure(connection)
    return planned


def pictures(
    context: dg.AssetExecutionContext, planned: Mapping[str, Figure], table: DerivedTable
) -> dict[str, dg.MarkdownMetadataValue]:
    """What `plans` gave as pictures; one that cannot be drawn is left out, with a warning."""
    drawn = {}
    for name, figure in planned.items():
        with _warning(context, table, name):
            picture = b64encode(webp(figure)).decode()
            drawn[name] = dg.MetadataValue.md(f"![{name}](data:image/webp;base64,{picture})")
    return drawn


@contextmanager
def _warning(context: dg.AssetExecutionContext, table: DerivedTable, name: str) -> Iterator[None]:
    """Have what fails within cost a warning and nothing else."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a picture is not the data, whatever is wrong
        context.log.warning(
            "%s: the plot %s could not be drawn, the table is not affected: %s: %s",
            table.name,
            name,
            type(error).__name__,
            error,
        )
