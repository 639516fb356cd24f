"""What the command line shows: progress while it works, tables when it is done."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from buildkite_assets.alerts import ALERTS
from buildkite_assets.assets.failures import EXPECTED
from buildkite_assets.automation import DERIVE, SCHEDULES
from buildkite_assets.buildkite.connection import Connection
from buildkite_assets.catch_up import catch_up
from buildkite_assets.plain_text import one_line
from buildkite_assets.private_files import UnwritableError
from buildkite_assets.progress import Progress
from buildkite_assets.runs import BlockedError, HomeError
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.rule_fits import RuleFit, Status

_WHAT_LANDED = """
SELECT 1 AS place, 'organizations' AS "table", count(*) AS "rows", min(created_at), max(created_at)
FROM organizations
UNION ALL SELECT 2, 'pipelines', count(*), min(created_at), max(created_at) FROM pipelines
UNION ALL SELECT 3, 'clusters', count(*), min(created_at), max(created_at) FROM clusters
UNION ALL SELECT 4, 'queues', count(*), min(created_at), max(created_at) FROM queues
UNION ALL SELECT 5, 'organization_members', count(*), NULL, NULL FROM organization_members
UNION ALL SELECT 6, 'teams', count(*), min(created_at), max(created_at) FROM teams
UNION ALL SELECT 7, 'team_members', count(*), min(created_at), max(created_at) FROM team_members
UNION ALL SELECT 8, 'team_pipelines', count(*), min(created_at), max(created_at) FROM team_pipelines
UNION ALL SELECT 9, 'builds', count(*), min(created_at), max(created_at) FROM builds
UNION ALL SELECT 10, 'jobs', count(*), min(created_at), max(created_at) FROM jobs
ORDER BY place
"""
_SECONDS_PER_MINUTE = 60


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What is expected to go wrong becomes one line with its code, if any, and exit code 1."""
    try:
        yield
    except (*EXPECTED, BlockedError, HomeError, UnwritableError) as error:
        code = getattr(error, "code", None)
        message = f"{code}: {error}" if code else str(error)
        raise click.ClickException(one_line(message)) from None


def say(line: str) -> None:
    """Print a line that may have text from outside, such as a name or a path."""
    click.echo(one_line(line))


@contextmanager
def progress_line(console: Console, progress: Progress, step: str) -> Iterator[None]:
    """Show one line that follows a step of the sync until the block ends."""
    progress.begin(step)
    started_at = time.monotonic()
    with Live(
        get_renderable=lambda: _progress_text(progress, time.monotonic() - started_at),
        console=console,
        refresh_per_second=4,
    ):
        yield
    if not console.is_terminal:
        console.print()  # which ends the line only on a terminal


def landed_table(warehouse: Warehouse) -> Table:
    """The tables of the warehouse with their row counts and times."""
    table = Table(title="What landed")
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("first created")
    table.add_column("last created")
    with warehouse.transaction() as connection:
        for _, name, rows, first, last in connection.execute(_WHAT_LANDED).fetchall():
            times = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (first, last)]
            table.add_row(name, f"{rows:,}", *times)
    return table


def connection_table(connection: Connection) -> Table:
    """The doctor's report."""
    table = Table(show_header=False, title="Connection to Buildkite")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("result", "ok" if connection.ok else Text(f"{connection.code}", style="red"))
    table.add_row("", _plain(connection.message))
    if connection.user_email:
        table.add_row("user", _plain(connection.user_email))
    expires_at = connection.expires_at
    table.add_row("expires", f"{expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "not told")
    table.add_row("scopes", _plain(", ".join(connection.scopes) or "not told"))
    if connection.missing_scopes:
        table.add_row("missing", ", ".join(connection.missing_scopes))
    for organization in connection.organizations:
        administrator = {True: "administrator", False: "member", None: "role not told"}
        table.add_row(
            "organization",
            _plain(
                f"{organization.slug}: {organization.pipelines} pipelines, "
                f"{administrator[organization.is_administrator]}"
            ),
        )
    for window in connection.rate_limits:
        table.add_row("allowance", f"{window.remaining:.0f} of {window.limit:.0f} a minute left")
    return table


def rules_table(fits: Sequence[RuleFit]) -> Table:
    """The rules that fit nothing known or could not be evaluated, and how many do fit."""
    table = Table(show_header=False, title="Rules")
    table.add_column(style="bold")
    table.add_column()
    fitting = sum(fit.status is Status.FITS for fit in fits)
    table.add_row("fit", f"{fitting} of {len(fits)}")
    for fit in fits:
        if fit.status is not Status.FITS:
            table.add_row(fit.status.replace("_", " "), _plain(f"{fit.rule}: {fit.message}"))
    return table


def check_report(connection: Connection, fits: Sequence[RuleFit]) -> str:
    """Return what `check` says as one JSON object, in ASCII: a terminal shows it as it is."""
    return json.dumps(msgspec.to_builtins(connection) | {"rules": msgspec.to_builtins(fits)})


def automation_table() -> Table:
    """What can be switched on in the UI, and what it costs."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for schedule in SCHEDULES:
        table.add_row(schedule.name, schedule.description)
    for sensor in (DERIVE, catch_up, *ALERTS):
        table.add_row(sensor.name, sensor.description)
    return table


def _plain(text: str) -> Text:
    """Return text from outside as a cell without markup."""
    return Text(one_line(text))


def _progress_text(progress: Progress, elapsed_seconds: float) -> Text:
    left = progress.parts - progress.parts_read
    parts = [progress.step]
    if progress.parts:
        parts.append(f"{progress.parts_read} of {progress.parts} {progress.unit}")
    if progress.builds:
        parts += [f"{progress.builds:,} builds", f"{progress.jobs:,} jobs"]
    if progress.requests:
        parts += [f"{progress.requests:,} requests", f"{progress.bytes / 1e6:,.0f} MB"]
    if progress.remaining is not None:
        parts.append(f"allowance {progress.remaining:,} left")
    if wait := progress.wait:
        reason, wait_seconds = wait
        parts.append(f"waiting {_duration(wait_seconds)} {reason}")
    if progress.parts_read and left:
        parts.append(f"about {_duration(elapsed_seconds * left / progress.parts_read)} to go")
    else:
        parts.append(_duration(elapsed_seconds))
    return Text(" · ".join(parts))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
