"""Schedules, and how derived tables follow; all stopped until it is switched on in the UI."""

from datetime import date, timedelta

import dagster as dg

from buildkite_assets.assets.specs import asset_key
from buildkite_assets.partitions import first_day, range_tags
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.tables import BUILD_CHANGES, BUILDS, JOBS
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.errors import WarehouseBusyError
from buildkite_assets.warehouse.ledger import known_days, organization_ids

CHANGES_JOB = "changes_job"
BUILDS_JOB = "builds_job"
ACCESS_JOB = "catalog_and_access_job"
CHECKS_JOB = "checks_job"
NIGHTLY_CHECKS_JOB = "nightly_checks_job"

SETTLE_AGES_DAYS = [2, 7, 30]
"""When a day is read again in full: after most retries, after long blocks, before it is gone."""

SETTLE = {"ops": {"build_changes": {"config": {"settle_ages_days": SETTLE_AGES_DAYS}}}}
"""The configuration of a change feed that then settles the days that are due."""

Condition = dg.AutomationCondition[dg.AssetKey]

TICK_LOCK_SECONDS = 20
"""How long a schedule or a sensor waits for who writes: Dagster gives a tick a minute."""

_LOOK_BACK = timedelta(days=7)

# A catalog that was listed anew asks for nothing: most often nothing in it has changed, and where
# it has, `lagging_days` knows.
_CATALOG = dg.AssetSelection.groups("catalog")
_BUILDS = dg.AssetSelection.assets(*map(asset_key, (BUILDS, JOBS, BUILD_CHANGES)))


@dg.schedule(
    name="today",
    job_name=BUILDS_JOB,
    cron_schedule="5 * * * *",
    execution_timezone="UTC",
    description=(
        "Every hour: read today in full, and those of the last seven days that were not read to "
        "their end. Costs about one request per 100 builds of today, and two for each "
        "organization. It is for those who do not use follow_changes, which costs less."
    ),
)
def today(
    context: dg.ScheduleEvaluationContext, session: dg.ResourceParam[Session]
) -> dg.RunRequest | dg.SkipReason:
    """Ask for today, and for what of the last week is not known; the run leaves known days."""
    last = context.scheduled_execution_time.date()
    try:
        first = first_day_to_read(session.settings, last)
    except WarehouseBusyError as error:
        return dg.SkipReason(str(error))
    return dg.RunRequest(tags=range_tags(first, last))


def first_day_to_read(settings: Settings, last: date) -> date:
    """The first day of the week up to `last` that was not read to its end, else `last` itself.

    Raises:
        WarehouseError: the working file cannot be read.
    """
    first = max(first_day(settings), last - _LOOK_BACK)
    if not settings.warehouse.exists():
        return first
    warehouse = Warehouse(settings.warehouse, settings.file_mode, lock_seconds=TICK_LOCK_SECONDS)
    with warehouse.transaction() as connection:
        organizations = organization_ids(connection, settings.organizations)
        known = [known_days(connection, organization) for organization in organizations]
    known_to_all = set.intersection(*known) if known else set()
    days = (first + timedelta(days=n) for n in range((last - first).days))
    return next((day for day in days if day not in known_to_all), last)


SCHEDULES: list[dg.ScheduleDefinition] = [
    dg.ScheduleDefinition(
        name="follow_changes",
        job_name=CHANGES_JOB,
        cron_schedule="*/15 * * * *",
        execution_timezone="UTC",
        description=(
            "Every 15 minutes: bring all known days up to date. Costs 4 requests for each "
            "organization when nothing happened, and one more per 100 changed builds."
        ),
    ),
    today,
    dg.ScheduleDefinition(
        name="settle",
        job_name=CHANGES_JOB,
        cron_schedule="30 2 * * *",
        execution_timezone="UTC",
        run_config=SETTLE,
        description=(
            "Every night: a change feed, then the days that have become 2, 7 or 30 days old since "
            "they were last read, again in full. Costs what a feed does and about one request per "
            "100 builds of those days: three days a night. What the feed missed goes to "
            "late_changes, what vanished is marked. A sync from the command line does the same."
        ),
    ),
    dg.ScheduleDefinition(
        name="access",
        job_name=ACCESS_JOB,
        cron_schedule="40 */6 * * *",
        execution_timezone="UTC",
        description=(
            "Every 6 hours: list pipelines, clusters and queues, and take a snapshot of members, "
            "teams and what teams may do. Costs two requests per team and one per cluster, about "
            "8 for each organization, and one more per further 100 rows of a list."
        ),
    ),
    dg.ScheduleDefinition(
        name="checks",
        job_name=CHECKS_JOB,
        cron_schedule="20 * * * *",
        execution_timezone="UTC",
        description=(
            "Every hour: all checks that read the published file alone, without materializing "
            "anything. Costs no requests."
        ),
    ),
    dg.ScheduleDefinition(
        name="nightly_checks",
        job_name=NIGHTLY_CHECKS_JOB,
        cron_schedule="30 4 * * *",
        execution_timezone="UTC",
        description=(
            "Every night: compare a sampled day with Buildkite, look for fields that are not "
            "known, for lost builds, and how long token, allowance and old days last. Costs about "
            "20 requests for each organization, and one per 100 builds of the sampled day."
        ),
    ),
]


def follow_days() -> Condition:
    """When days of a table recomputed by day are asked for: those whose builds have changed."""
    return _follow(_CATALOG) & ~dg.AutomationCondition.any_deps_missing().ignore(_CATALOG)


def follow_all(*, is_behind_days: bool) -> Condition:
    """When a table recomputed whole is asked for; days that were never read do not hold it back.

    Args:
        is_behind_days: whether it is made of tables recomputed by day, at whatever distance. Those
            follow builds and jobs first, so that it waits for them even if it reads these itself.
    """
    return _follow(_CATALOG | _BUILDS if is_behind_days else _CATALOG)


def _follow(ignored: dg.AssetSelection) -> Condition:
    """An input that is not ignored has changed, and nobody is at work on it.

    No input at all, ignored or not, may have failed a check that blocks.

    Dagster's own `eager` forgets a change that it sees together with the end of what it asked for
    before. Here a change counts until a request or a materialization that came after it: the two
    are compared by their times, which works as long as neither side is combined with others.
    """
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
    is_behind = changed.since(dg.AutomationCondition.newly_requested()) & changed.since(
        dg.AutomationCondition.newly_updated()
    )
    with_inputs = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested())
    is_blocked = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.any_checks_match(
            dg.AutomationCondition.check_failed(), blocking_only=True
        )
    )
    return (
        (is_behind | with_inputs)
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).ignore(ignored) & ~is_blocked


DERIVE = dg.AutomationConditionSensorDefinition(
    name="derive",
    target=dg.AssetSelection.all(),
    description=(
        "Every 30 seconds: look which days of builds have changed, recompute the derived tables "
        "of these days, then those that look across days. Costs no requests, and the CPU of "
        "what is recomputed. What changed before it was switched on, catch_up recomputes."
    ),
)
