"""Runs of the project's jobs in this process, recorded in the Dagster instance."""

import logging
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import date
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError  # exported nowhere else
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError
from yaml import YAMLError

from buildkite_assets.assets.failures import ExpectedFailure
from buildkite_assets.assets.specs import asset_key
from buildkite_assets.assets.unread import unread_lines
from buildkite_assets.automation import CHANGES_JOB, SETTLE
from buildkite_assets.catch_up import BY_DAY_JOB, WHOLE_JOB
from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.interruption import before_interruption
from buildkite_assets.partitions import first_day, range_tags
from buildkite_assets.private_files import private_folder, writing_to
from buildkite_assets.session import Session
from buildkite_assets.warehouse import ledger
from buildkite_assets.warehouse.derive import lagging_days, lagging_ranges, lagging_whole
from buildkite_assets.warning_lines import WarningLines

_PID = "buildkite_assets/pid"
_HOST = "buildkite_assets/host"
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_WRONG_SETTINGS = (YAMLError, UnicodeDecodeError, dg.DagsterInvalidConfigError)
_LONGEST_REASON = 300


class BlockedError(Exception):
    """A check that blocks has failed: nothing was made of the data that it looked at."""


class HomeError(Exception):
    """Dagster's home cannot be used: its databases are damaged, or its settings are wrong."""


@dg.logger({}, description="Warnings of assets, for the command line.")
def _warnings(_: dg.InitLoggerContext) -> logging.Logger:
    # As Dagster's own do, of a run and not of the process: a global one would keep the run alive.
    logger = logging.getLoggerClass()("buildkite_assets", logging.WARNING)
    logger.addHandler(WarningLines())
    return logger


def prepare_home(folder: Path) -> Path:
    """Make a folder a Dagster home with this project's instance settings; existing ones stay.

    One that we made, now or before, only its owner can enter. Another is its owner's business.

    Raises:
        UnwritableError: it cannot be made.
    """
    ours = files("buildkite_assets").joinpath("dagster.yaml").read_bytes()
    settings = folder / "dagster.yaml"
    with writing_to(folder):
        is_missing = not settings.exists()
        if is_missing or settings.read_bytes().startswith(ours.partition(b"\n")[0]):
            private_folder(folder)
        if is_missing:
            settings.write_bytes(ours)
    return folder


@contextmanager
def open_home(folder: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a folder, which becomes a Dagster home if it is none.

    One process at a time: of two that make Dagster's databases at once, one fails. If this program
    is interrupted, its runs are marked as canceled.

    Raises:
        HomeError: the home's databases or its settings cannot be used.
        UnwritableError: the home cannot be made.
    """
    folder = prepare_home(folder.absolute())
    with (
        _usable_home(folder, SQLAlchemyError, *_WRONG_SETTINGS),
        writing_to(folder),
        FileLock(folder / ".opening"),
    ):
        opened = dg.DagsterInstance.from_config(str(folder))
    with (
        _usable_home(folder, SQLAlchemyError),
        opened as instance,
        before_interruption(lambda: _cancel_own_runs(instance)),
    ):
        yield instance


@contextmanager
def _usable_home(folder: Path, *errors: type[Exception]) -> Iterator[None]:
    """Have one of these errors mean that the Dagster home cannot be used.

    Raises:
        HomeError: one of them was raised within the block.
    """
    try:
        yield
    except errors as error:
        raise HomeError(_home_trouble(folder, error)) from None


def fail_orphaned_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs of this host whose process is gone; how many there were."""
    runs = instance.get_runs(
        dg.RunsFilter(statuses=_UNFINISHED, tags={_HOST: socket.gethostname()})
    )
    orphaned = [run for run in runs if _PID in run.tags and not _is_alive(int(run.tags[_PID]))]
    for run in orphaned:
        instance.report_run_failed(run, "The process that executed this run is gone.")
    return len(orphaned)


def run_catalog(session: Session, instance: dg.DagsterInstance) -> list[str]:
    """List organizations, pipelines, clusters and queues; return what could not be read.

    Raises:
        BuildkiteError: nothing could be read.
        WarehouseError: the warehouse failed.
        BlockedError: a check that blocks has failed, as in every other run.
    """
    return _run(session, instance, "catalog_job", {}, {})


def run_access(session: Session, instance: dg.DagsterInstance) -> list[str]:
    """Take a snapshot of members and teams of the organizations listed last.

    Return what could not be read.

    Raises:
        BuildkiteError: nothing could be read; nothing was changed.
        WarehouseError: the warehouse failed, likewise.
    """
    return _run(session, instance, "access_job", {}, {})


def unread_days(session: Session, first: date, last: date) -> list[date]:
    """The days of a range that some organization needs read in full before a change feed.

    Call it after `run_catalog`, which tells the organizations.

    Raises:
        WarehouseError: the warehouse failed.
    """
    with session.warehouse.transaction() as connection:
        organizations = ledger.organization_ids(connection, session.settings.organizations)
        return ledger.unread_days(connection, organizations, first, last)


def run_builds(
    session: Session, instance: dg.DagsterInstance, first: date, last: date, *, full: bool
) -> list[str]:
    """Read the builds of a range of days, those known already only when `full`.

    A range that begins before the first daily partition moves that back. Return what could not be
    read.

    Raises:
        BuildkiteError: no organization could be read to the end; days read before stay.
        WarehouseError: the warehouse failed, likewise.
    """
    if first < first_day(session.settings):
        session = replace(session, settings=replace(session.settings, start_date=first))
    config = {"ops": {"builds": {"config": {"full": full}}}}
    return _run(session, instance, "builds_job", range_tags(first, last), config)


def run_derived(session: Session, instance: dg.DagsterInstance) -> None:
    """Recompute the derived tables that lag behind what they are made of.

    Raises:
        DefinitionError: a SQL file contradicts itself.
        WarehouseError: the warehouse failed; tables recomputed before stay.
    """
    with session.warehouse.transaction() as connection:
        by_day = lagging_days(connection, derived_tables(), session.parameters)
    for first, last, tables in lagging_ranges(by_day):
        keys = [asset_key(table) for table in tables]
        _run(session, instance, BY_DAY_JOB, range_tags(first, last), {}, keys)
    with session.warehouse.transaction() as connection:
        whole = lagging_whole(connection, derived_tables(), session.parameters)
    if whole:
        keys = [asset_key(table) for table in whole]
        _run(session, instance, WHOLE_JOB, {}, {}, keys)


def run_report(session: Session, instance: dg.DagsterInstance) -> None:
    """Write the report anew.

    Raises:
        WarehouseError: the warehouse failed; the old page stays.
    """
    _run(session, instance, "ci_report_job", {}, {})


def run_changes(session: Session, instance: dg.DagsterInstance) -> list[str]:
    """Bring every known day up to date, then read those that are due for settling again in full.

    Return what could not be read.

    Raises:
        BuildkiteError: no organization could be read.
        WarehouseError: the warehouse failed.
    """
    return _run(session, instance, CHANGES_JOB, {}, SETTLE)


def _run(  # noqa: PLR0913, PLR0917 - what a run is made of
    session: Session,
    instance: dg.DagsterInstance,
    job_name: str,
    tags: Mapping[str, str],
    config: Mapping[str, object],
    selection: Sequence[dg.AssetKey] | None = None,
) -> list[str]:
    """Run a job, and return what it could not read while it read the rest."""
    # Whoever waits for this run decides whether to begin anew.
    session = replace(session, patience=replace(session.patience, retries=0))
    shown = _definitions(session, first_day(session.settings))
    job = shown.resolve_job_def(job_name)
    if selection is not None:
        # Named, since else a part of a job would take along checks that the job leaves out.
        checks = job.asset_layer.asset_graph.asset_check_keys
        job = job.get_subset(
            asset_selection=set(selection),
            asset_check_selection={key for key in checks if key.asset_key in selection},
        )
    try:
        result = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"warnings": {}}, **config},
            tags={**tags, _PID: str(os.getpid()), _HOST: socket.gethostname()},
        )
    except ExpectedFailure as failure:
        raise failure.error from None
    except DagsterAssetCheckFailedError as error:
        raise BlockedError(
            f"{' '.join(str(error).split())}. Nothing was made of this data. The asset's checks in "
            "the UI (`buildkite-assets dev`) show the rows, and what to do."
        ) from error
    return unread_lines(result.get_asset_check_evaluations())


def _cancel_own_runs(instance: dg.DagsterInstance) -> None:
    tags = {_HOST: socket.gethostname(), _PID: str(os.getpid())}
    with suppress(SQLAlchemyError):  # the next sync will see that this process is gone
        for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags=tags)):
            instance.report_run_canceled(run, "The program was interrupted.")


def _home_trouble(folder: Path, error: Exception) -> str:
    """What is wrong with a Dagster home, and what to do."""
    for database in sorted(folder.rglob("*.db")):
        try:
            with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
                connection.execute("PRAGMA quick_check").fetchall()
        except sqlite3.OperationalError:
            continue  # no damage, but what keeps it from being opened
        except sqlite3.DatabaseError as damage:
            return (
                f"{database} is damaged ({damage}): move the Dagster home {folder} away and run "
                "again. What is lost is the history of runs; the warehouse has all the data."
            )
    reason = " ".join(str(getattr(error, "orig", error)).split())[:_LONGEST_REASON]
    return (
        f"The Dagster home {folder} cannot be used: {reason}. Free disk space, correct its "
        "permissions or its dagster.yaml, and run again."
    )


@lru_cache(maxsize=1)
def _definitions(session: Session, _: date) -> dg.Definitions:
    """The definitions, made once for all runs of a sync unless their first day has moved."""
    return dg.Definitions.merge(
        definitions(session), dg.Definitions(loggers={"warnings": _warnings})
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and somebody else's
        return True
    return True
