"""The report: CI health as one HTML page, for people who have no Dagster."""

from collections.abc import Iterator

import dagster as dg

from buildkite_assets.assets.failures import told_in_one_line
from buildkite_assets.assets.specs import OWNER, PREFIX, code_references
from buildkite_assets.automation import follow_all
from buildkite_assets.session import Session

_SHOWN = (
    "agent_cost_daily",
    "branch_incidents",
    "build_critical_path",
    "build_runs",
    "deployments",
    "dora_weekly",
    "flaky_steps",
    "job_runs",
    "open_builds",
    "pipeline_daily",
    "queue_backlog",
    "queue_hourly",
    "soft_failing_steps",
    "step_failures",
)

_ON_THE_HOUR: dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey] = (
    dg.AutomationCondition.cron_tick_passed("0 * * * *")
)
# At most once an hour, and only if something that it shows has changed since it was written.
_HOURLY_IF_CHANGED = follow_all(is_behind_days=True) & _ON_THE_HOUR.since_last_handled()


@dg.asset(
    key=[PREFIX, "ci_report"],
    description=(
        "One page in HTML with the figures of the notebook `ci_health`, over 30 days.\n\n"
        "It lies beside the warehouse, needs no server and makes no request. It is written anew at "
        "most once an hour, when something that it shows has changed."
    ),
    group_name="metrics",
    owners=[OWNER],
    kinds={"html"},
    deps=[dg.AssetKey([PREFIX, name]) for name in _SHOWN],
    automation_condition=_HOURLY_IF_CHANGED,
    metadata={"dagster/code_references": code_references(__file__)},
)
@told_in_one_line
def ci_report(
    context: dg.AssetExecutionContext,  # noqa: ARG001 - for `told_in_one_line`
    session: dg.ResourceParam[Session],
) -> Iterator[dg.MaterializeResult[None]]:
    """Render the published file's figures, and replace the page."""
    # Altair takes a while to load: only the run that draws should wait for it.
    from buildkite_assets.report.page import render  # noqa: PLC0415

    # Publish again if another program has the file open for writing.
    session.warehouse.published().close()
    page = render(session.settings).encode()
    path = session.warehouse.publish_beside(session.settings.report.name, page)
    yield dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(path), "bytes": len(page)},
    )
