"""Everything Dagster sees."""

import dagster as dg

from buildkite_assets.alerts import ALERTS
from buildkite_assets.assets.access import access
from buildkite_assets.assets.builds import builds_asset
from buildkite_assets.assets.catalog import catalog
from buildkite_assets.assets.changes import build_changes
from buildkite_assets.assets.derived import derived_assets
from buildkite_assets.assets.report import ci_report
from buildkite_assets.assets.specs import stored_in
from buildkite_assets.automation import (
    ACCESS_JOB,
    BUILDS_JOB,
    CHANGES_JOB,
    CHECKS_JOB,
    DERIVE,
    SCHEDULES,
)
from buildkite_assets.checks import CHECKS
from buildkite_assets.freshness import with_freshness
from buildkite_assets.partitions import daily_partitions
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings


def definitions(session: Session) -> dg.Definitions:
    """The assets, jobs and resources for one session's settings."""
    partitions = daily_partitions(session.settings)
    builds = builds_asset(partitions)
    derived = derived_assets(partitions)
    return dg.Definitions(
        assets=with_freshness(
            [
                *stored_in(
                    [catalog, access, builds, build_changes, *derived], session.settings.warehouse
                ),
                ci_report,
            ],
            session.settings.rules.freshness_hours,
        ),
        asset_checks=CHECKS,
        jobs=[
            dg.define_asset_job(
                "catalog_job",
                dg.AssetSelection.groups("catalog"),
                description="Lists organizations, pipelines, clusters and queues anew.",
            ),
            dg.define_asset_job(
                "access_job",
                dg.AssetSelection.assets(access),
                description="Takes a snapshot of members, teams and what teams may do.",
            ),
            dg.define_asset_job(
                ACCESS_JOB,
                dg.AssetSelection.groups("catalog") | dg.AssetSelection.assets(access),
                description="Both of these, one after the other.",
            ),
            dg.define_asset_job(
                BUILDS_JOB,
                dg.AssetSelection.assets(builds),
                description="Reads days of builds and jobs in full.",
            ),
            dg.define_asset_job(
                CHANGES_JOB,
                dg.AssetSelection.assets(build_changes),
                description="Brings every known day of builds up to date.",
            ),
            *(
                dg.define_asset_job(
                    f"{each.node_def.name}_job",
                    dg.AssetSelection.assets(each),
                    description=each.node_def.description,
                )
                for each in derived
            ),
            dg.define_asset_job(
                CHECKS_JOB,
                dg.AssetSelection.all_asset_checks(),
                description="Checks what is published, without materializing anything.",
            ),
            dg.define_asset_job(
                "ci_report_job",
                dg.AssetSelection.assets(ci_report),
                description="Writes the report for people without Dagster.",
            ),
        ],
        schedules=SCHEDULES,
        sensors=[DERIVE, *ALERTS],
        resources={"session": session},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev` and Dagster+ load: the definitions for the environment's settings.

    Raises:
        SettingsError: a setting is wrong.
    """
    return definitions(Session(Settings.from_environment()))
