"""Everything Dagster sees."""

import dagster as dg

from buildkite_assets.assets.access import access
from buildkite_assets.assets.builds import builds_asset
from buildkite_assets.assets.catalog import catalog
from buildkite_assets.assets.session import Session
from buildkite_assets.partitions import daily_partitions
from buildkite_assets.settings import Settings


def definitions(session: Session) -> dg.Definitions:
    """The assets, jobs and resources for one session's settings."""
    builds = builds_asset(daily_partitions(session.settings))
    return dg.Definitions(
        assets=[catalog, access, builds],
        jobs=[
            dg.define_asset_job(
                "catalog_job",
                dg.AssetSelection.groups("catalog"),
                description="Lists organizations, pipelines, clusters and queues anew.",
            ),
            dg.define_asset_job(
                "access_job",
                dg.AssetSelection.groups("access"),
                description="Takes a snapshot of members, teams and what teams may do.",
            ),
            dg.define_asset_job(
                "builds_job",
                dg.AssetSelection.groups("builds"),
                description="Reads days of builds and jobs in full.",
            ),
        ],
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
