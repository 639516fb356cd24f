"""What follows where no build has changed: a sensor, stopped until it is switched on in the UI."""

from collections.abc import Sequence

import dagster as dg

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.automation import TICK_LOCK_SECONDS
from buildkite_assets.checks import CHECKS, HOURLY_CHECKS
from buildkite_assets.derived_tables import DerivedTable, derived_tables
from buildkite_assets.partitions import range_tags
from buildkite_assets.session import Session
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.derive import lagging_days, lagging_ranges, lagging_whole
from buildkite_assets.warehouse.errors import WarehouseBusyError

BY_DAY_JOB = "derived_by_day_job"
WHOLE_JOB = "derived_whole_job"

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def _recomputing(*, is_daily: bool) -> dg.AssetSelection:
    tables = [table for table in derived_tables() if table.is_daily == is_daily]
    keys = [asset_key(table) for table in tables]
    return dg.AssetSelection.assets(*keys) - dg.AssetSelection.checks(*HOURLY_CHECKS)


DERIVED_JOBS = [
    dg.define_asset_job(
        BY_DAY_JOB,
        _recomputing(is_daily=True),
        description="Recomputes the rows that stand on the builds of these UTC days.",
    ),
    dg.define_asset_job(
        WHOLE_JOB,
        _recomputing(is_daily=False),
        description="Recomputes tables that look across builds.",
    ),
]


@dg.sensor(
    name="catch_up",
    jobs=DERIVED_JOBS,
    minimum_interval_seconds=3600,
    description=(
        "Every hour: recompute the derived tables that lag, whatever the reason: another catalog, "
        "rules or SQL, a run that failed, a change that came before `derive` was switched on, or a "
        "feed that changed no build, after which `open_builds` and the like are measured again. "
        "Days come first, what looks across them an hour later. Costs no requests, and the CPU of "
        "what is recomputed."
    ),
)
def catch_up(
    context: dg.SensorEvaluationContext, session: dg.ResourceParam[Session]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Ask for the days that lag; where none does, for the tables recomputed whole that lag."""
    if _is_at_work(context.instance):
        return dg.SkipReason("Derived tables are being recomputed: a run is not finished.")
    settings = session.settings
    if not settings.warehouse.exists():
        return dg.SkipReason("Nothing is published yet: run `buildkite-assets sync`.")
    warehouse = Warehouse(settings.warehouse, settings.file_mode, lock_seconds=TICK_LOCK_SECONDS)
    try:
        with warehouse.published() as connection:
            by_day = lagging_days(connection, derived_tables(), session.parameters)
            whole = lagging_whole(connection, derived_tables(), session.parameters)
    except WarehouseBusyError as error:
        return dg.SkipReason(str(error))
    if by_day:
        return [
            _request(BY_DAY_JOB, tables, range_tags(first, last))
            for first, last, tables in lagging_ranges(by_day)
        ]
    if whole:
        return [_request(WHOLE_JOB, whole, {})]
    return dg.SkipReason("Nothing lags: every derived table is made of what its inputs are now.")


def _is_at_work(instance: dg.DagsterInstance) -> bool:
    return any(
        instance.get_runs(dg.RunsFilter(job_name=name, statuses=_UNFINISHED), limit=1)
        for name in (BY_DAY_JOB, WHOLE_JOB)
    )


def _request(job_name: str, tables: Sequence[DerivedTable], tags: dict[str, str]) -> dg.RunRequest:
    keys = [asset_key(table) for table in tables]
    # Named, since else a part of a job would take along checks that the job leaves out.
    checks = [key for each in CHECKS for key in each.check_keys if key.asset_key in keys]
    return dg.RunRequest(
        job_name=job_name, tags=tags, asset_selection=keys, asset_check_keys=checks
    )
