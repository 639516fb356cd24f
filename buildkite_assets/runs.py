"""Runs of the project's jobs in this process, recorded in the Dagster instance."""

import os
import socket
from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from pathlib import Path

import dagster as dg

from buildkite_assets.assets.session import Session
from buildkite_assets.definitions import definitions

_PID = "buildkite_assets/pid"
_HOST = "buildkite_assets/host"
_QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def prepare_home(folder: Path) -> Path:
    """Make a folder a Dagster home with this project's instance settings; existing ones stay."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(files("buildkite_assets").joinpath("dagster.yaml").read_text())
    return folder


def fail_orphaned_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs of this host whose process is gone; how many there were."""
    runs = instance.get_runs(
        dg.RunsFilter(statuses=_UNFINISHED, tags={_HOST: socket.gethostname()})
    )
    orphaned = [run for run in runs if _PID in run.tags and not _is_alive(int(run.tags[_PID]))]
    for run in orphaned:
        instance.report_run_failed(run, "The process that executed this run is gone.")
    return len(orphaned)


def run_catalog(session: Session, instance: dg.DagsterInstance) -> None:
    """List organizations, pipelines, clusters and queues.

    Raises:
        BuildkiteError: Buildkite failed.
        WarehouseError: the warehouse failed.
    """
    _run(session, instance, "catalog_job", {}, {})


def run_access(session: Session, instance: dg.DagsterInstance) -> None:
    """Take a snapshot of members and teams of the organizations listed last.

    Raises:
        BuildkiteError: Buildkite failed; nothing was changed.
        WarehouseError: the warehouse failed, likewise.
    """
    _run(session, instance, "access_job", {}, {})


def run_builds(
    session: Session, instance: dg.DagsterInstance, first: date, last: date, *, full: bool
) -> None:
    """Read the builds of a range of days, those known already only when `full`.

    Raises:
        BuildkiteError: Buildkite failed; days read before stay.
        WarehouseError: the warehouse failed, likewise.
    """
    tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    _run(session, instance, "builds_job", tags, {"ops": {"builds": {"config": {"full": full}}}})


def _run(
    session: Session,
    instance: dg.DagsterInstance,
    job_name: str,
    tags: Mapping[str, str],
    config: Mapping[str, object],
) -> None:
    definitions(session).resolve_job_def(job_name).execute_in_process(
        instance=instance,
        run_config={**_QUIET, **config},
        tags={**tags, _PID: str(os.getpid()), _HOST: socket.gethostname()},
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and somebody else's
        return True
    return True
