"""CI health: what the notebook and the HTML page have in common, in the order in which people ask.

Each function takes a connection that `narrow` has narrowed to a scope, and asks the derived tables,
which define what a figure means. Percentiles come from builds and jobs themselves, never from those
of single days.
"""

from buildkite_assets.figures import (
    Figure,
    active_durations,
    build_outcomes,
    cost_by_team,
    main_strip,
    queue_wait_heatmap,
    time_decomposition,
)
from buildkite_assets.report.build_listings import (
    dora,
    incidents,
    main_builds,
    open_builds,
    pipelines,
)
from buildkite_assets.report.listing import Listing
from buildkite_assets.report.scope import Scope
from buildkite_assets.report.step_listings import (
    failing_steps,
    flaky_steps,
    queues,
    slowest_steps,
    soft_failing_steps,
)
from buildkite_assets.warehouse import Connection


def figures(connection: Connection, scope: Scope) -> list[Figure]:
    """The plots, in the order in which people ask."""
    return [
        main_strip(connection, days=scope.days),
        build_outcomes(connection, days=scope.days),
        active_durations(connection, days=scope.days),
        time_decomposition(connection, days=scope.days),
        queue_wait_heatmap(connection, days=scope.days),
        cost_by_team(connection, days=scope.days),
    ]


def listings(connection: Connection) -> list[Listing]:
    """The tables, in the order in which people ask."""
    return [
        pipelines(connection),
        main_builds(connection),
        incidents(connection),
        open_builds(connection),
        queues(connection),
        slowest_steps(connection),
        failing_steps(connection),
        soft_failing_steps(connection),
        flaky_steps(connection),
        dora(connection),
    ]
