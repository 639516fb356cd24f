"""Everything Dagster sees."""

import dagster as dg

from buildkite_assets.alerts import ALERTS
from buildkite_assets.assets.access import access
from buildkite_assets.assets.builds import builds_asset
from buildkite_assets.assets.catalog import catalog
from buildkite_assets.assets.changes import build_changes
from buildkite_assets.assets.derived import derived_assets
from buildkite_assets.assets.report import ci_report
from buildkite_assets.assets.specs import asset_key, stored_in
from buildkite_assets.assets.unread import EVERYTHING_WAS_READ
from buildkite_assets.automation import (
    ACCESS_JOB,
    BUILDS_JOB,
    CHANGES_JOB,
    CHECKS_JOB,
    DERIVE,
    NIGHTLY_CHECKS_JOB,
    SCHEDULES,
)
from buildkite_assets.catch_up import DERIVED_JOBS, catch_up
from buildkite_assets.checks import CHECKS, HOURLY_CHECKS, NIGHTLY_CHECKS
from buildkite_assets.freshness import with_freshness
from buildkite_assets.partitions import daily_partitions
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.tables import ORGANIZATIONS

# These run on their own, and not with what they look at.
_ON_THEIR_OWN = dg.AssetSelection.checks(*HOURLY_CHECKS, *NIGHTLY_CHECKS)


def definitions(session: Session) -> dg.Definitions:
    """The assets, jobs and resources for one session's settings."""
    partitions = daily_partitions(session.settings)
    builds = builds_asset(partitions)
    derived = derived_assets(partitions)
    listed = dg.AssetSelection.groups("catalog")
    unread = dg.AssetSelection.checks(
        dg.AssetCheckKey(asset_key(ORGANIZATIONS), EVERYTHING_WAS_READ)
    )
    snapshot = dg.AssetSelection.assets(access)
    tables = stored_in(
        [catalog, access, builds, build_changes, *derived], session.settings.warehouse
    )
    jobs = [
        ("catalog_job", listed, "Lists organizations, pipelines, clusters and queues anew."),
        ("access_job", snapshot, "Takes a snapshot of members, teams and what teams may do."),
        # Without the catalog's checks, one of which could keep the snapshot from being taken: it
        # exists nowhere else. The checks of every hour look at the catalog too.
        (
            ACCESS_JOB,
            (listed - dg.AssetSelection.checks_for_assets(catalog)) | unread | snapshot,
            "Both of these, one after the other, without the checks of what was listed.",
        ),
        (
            BUILDS_JOB,
            dg.AssetSelection.assets(builds),
            "Reads days of builds and jobs in full.",
        ),
        (
            CHANGES_JOB,
            dg.AssetSelection.assets(build_changes),
            "Brings every known day of builds up to date.",
        ),
        (
            "ci_report_job",
            dg.AssetSelection.assets(ci_report),
            "Writes the report for people without Dagster.",
        ),
    ]
    return dg.Definitions(
        assets=with_freshness([*tables, ci_report], session.settings.rules.freshness_hours),
        asset_checks=[*CHECKS, *HOURLY_CHECKS, *NIGHTLY_CHECKS],
        jobs=[
            *(
                dg.define_asset_job(name, selection - _ON_THEIR_OWN, description=description)
                for name, selection, description in jobs
            ),
            *DERIVED_JOBS,
            dg.define_asset_job(
                CHECKS_JOB,
                dg.AssetSelection.checks(*CHECKS, *HOURLY_CHECKS),
                description="Checks what is published, without materializing anything.",
            ),
            dg.define_asset_job(
                NIGHTLY_CHECKS_JOB,
                dg.AssetSelection.checks(*NIGHTLY_CHECKS),
                description="Checks what is published against Buildkite itself.",
            ),
        ],
        schedules=SCHEDULES,
        sensors=[DERIVE, catch_up, *ALERTS],
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
