"""Which derived tables Dagster asks for when builds change: those of the days, and what follows."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from buildkite_assets.definitions import definitions
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=n) for n in range(6)]


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["buildkite", name])


def report(instance: dg.DagsterInstance, name: str, day: date | None = None) -> None:
    """Say that a table, or a day of it, was materialized."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(key(name), partition=day.isoformat() if day else None)
    )


def requested(result: dg.EvaluateAutomationConditionsResult) -> Mapping[str, set[str | None]]:
    """The partitions that are asked for, by table."""
    asked: dict[str, set[str | None]] = {}
    for name in ("job_runs", "build_runs", "pipeline_daily"):
        partitions = result.get_requested_partitions(key(name))
        if partitions:
            asked[name] = set(partitions)
    return asked


def test_a_late_change_asks_for_its_day_and_then_for_what_looks_across_days() -> None:
    """The oldest day's builds change: not the newest day's, as eager would have it.

    A catalog that is listed anew asks for nothing: `lagging_days` knows whether it has changed.
    """
    settings = Settings.from_environment({"BUILDKITE_START_DATE": DAYS[-1].isoformat()})
    defs = definitions(Session(settings))
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("organizations", "pipelines", "clusters", "queues"):
            report(instance, name)
        tables = [
            (node.key.path[-1], node.partitions_def is not None)
            for node in defs.resolve_asset_graph().asset_nodes
        ]
        for name, is_daily in tables:
            for day in DAYS[1:] if is_daily else [None]:
                report(instance, name, day)
        result = dg.evaluate_automation_conditions(defs, instance)
        assert requested(result) == {}

        report(instance, "builds", DAYS[-1])
        report(instance, "jobs", DAYS[-1])
        result = dg.evaluate_automation_conditions(defs, instance, cursor=result.cursor)
        oldest = {DAYS[-1].isoformat()}
        assert requested(result) == {"job_runs": oldest, "build_runs": oldest}

        for name, is_daily in tables:
            if is_daily and name not in {"builds", "jobs"}:
                report(instance, name, DAYS[-1])
        result = dg.evaluate_automation_conditions(defs, instance, cursor=result.cursor)
        assert requested(result) == {"pipeline_daily": {None}}

        for name, is_daily in tables:
            if not is_daily:
                report(instance, name)
        result = dg.evaluate_automation_conditions(defs, instance, cursor=result.cursor)
        report(instance, "pipelines")
        result = dg.evaluate_automation_conditions(defs, instance, cursor=result.cursor)
        assert requested(result) == {}
