"""The command line: `demo`, `sync`, `check`, `dev`, `export`, `purge` and `sandbox`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import click
import stamina.instrumentation
from rich.console import Console

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.connection import check_connection
from buildkite_assets.buildkite.errors import BuildkiteError
from buildkite_assets.buildkite.failures import CONCERNS_ALL
from buildkite_assets.demo import (
    DAGSTER_HOME,
    ORGANIZATION,
    demo_sandbox,
    first_demo_day,
    served_demo,
)
from buildkite_assets.export.commands import export
from buildkite_assets.export.review import export_review
from buildkite_assets.interruption import interruptible
from buildkite_assets.partitions import first_day
from buildkite_assets.plain_text import one_line
from buildkite_assets.purging import purge
from buildkite_assets.runs import (
    BlockedError,
    fail_orphaned_runs,
    open_home,
    prepare_home,
    run_access,
    run_builds,
    run_catalog,
    run_changes,
    run_derived,
    run_report,
    unread_days,
)
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.terminal import (
    automation_table,
    check_report,
    connection_table,
    landed_table,
    one_line_errors,
    progress_line,
    rules_table,
    say,
)
from buildkite_assets.warehouse.rule_fits import published_rule_fits
from buildkite_assets.warning_lines import print_warnings

_SANDBOX_PORT = 8765
_UI_PORT = 3000
_PARTIAL = 3
_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
@click.version_option(package_name="buildkite-assets")
@click.pass_context
def main(context: click.Context) -> None:
    """A Buildkite organization as Dagster assets in a DuckDB file."""
    # Names and e-mail addresses are for nobody else, in Dagster's files and those of its processes
    # neither; the published file has the mode that BUILDKITE_FILE_MODE says.
    mask = os.umask(0o077)
    context.call_on_close(lambda: os.umask(mask))
    # The client says in one line what it tries again, and when.
    stamina.instrumentation.set_on_retry_hooks([])
    print_warnings()


@main.command()
@interruptible
def demo() -> None:
    """Sync an invented organization, without a token."""
    console = Console()
    with one_line_errors(), served_demo() as environment:
        session = Session(Settings.from_environment(environment))
        console.print("A sandbox plays Buildkite: the organization acme and its last month.")
        today = datetime.now(UTC).date()
        unread = _sync(console, session, DAGSTER_HOME, first_demo_day(), today, full=False)
        path = session.settings.warehouse
        console.print(landed_table(session.warehouse))
        review = export_review(path, ORGANIZATION, path.parent / "demo-review")
    console.print(
        f"""
Published to {path}

  look around    make dev, then open http://localhost:{_UI_PORT}
  report         one page, for people without Dagster:
                   {session.settings.report}
  notebooks      make notebook, for CI health and an access review in the browser
                 in Python, IPython or Jupyter:
                   >>> import buildkite_assets
                   >>> con = buildkite_assets.connect("{path}")
                   >>> con.sql("SELECT state, count(*) FROM builds GROUP BY ALL")
  access review  who can do what through which team, since when, and whether they use it:
                   {review}
  your own data  export BUILDKITE_API_TOKEN=…   a token with read_organizations, read_pipelines,
                   read_builds, read_clusters and read_teams, from
                   https://buildkite.com/user/api-access-tokens
                 buildkite-assets check         does the token do?
                 buildkite-assets sync          brings data/buildkite.duckdb up to date
""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    _exit_if_partial(unread)


@main.command()
@click.option("--from", "first", type=_DAY, help="First UTC day; the default is all days.")
@click.option("--to", "last", type=_DAY, help="Last UTC day; the default is today.")
@click.option("--full", is_flag=True, help="Read days again although they are known.")
@interruptible
def sync(first: datetime | None, last: datetime | None, *, full: bool) -> None:
    """Bring the warehouse up to date; read days that became 2, 7 or 30 days old again in full."""
    console = Console()
    with one_line_errors():
        session = Session(Settings.from_environment())
        session.settings.token  # noqa: B018 - said before anything starts
        today = datetime.now(UTC).date()
        first_date = first.date() if first else first_day(session.settings)
        last_date = last.date() if last else today
        if not first_date <= last_date <= today:
            raise click.UsageError("--from must not be after --to, nor --to after today (UTC).")
        home = session.settings.dagster_home
        unread = _sync(console, session, home, first_date, last_date, full=full)
        console.print(landed_table(session.warehouse))
    say(f"Published to {session.settings.warehouse}")
    say(f"Report       {session.settings.report}")
    _exit_if_partial(unread)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
@interruptible
def check(*, as_json: bool) -> None:
    """Say whether the token can do what a sync needs; exits 0 if so, else 1.

    It also lists the rules of the rules file that fit nothing known. These do not change the exit
    code.
    """
    with one_line_errors():
        settings = Settings.from_environment()
        # The doctor tells of trouble at once; a sync would try again.
        with Client(settings.api_url, settings.token, attempts=1, timeout_seconds=20) as client:
            connection = check_connection(client, settings.organizations)
        fits = published_rule_fits(settings.warehouse, settings.rules, settings.organizations)
    if as_json:
        say(check_report(connection, fits))
    else:
        Console().print(connection_table(connection))
        if fits:
            Console().print(rules_table(fits))
    sys.exit(0 if connection.ok else 1)


@main.command()
@click.option("--port", default=_UI_PORT, show_default=True, help="Where the UI listens.")
def dev(port: int) -> None:
    """Open the Dagster UI; without a token on the sandbox and the demo's warehouse."""
    with one_line_errors(), ExitStack() as stack:
        environment = dict(os.environ)
        settings = Settings.from_environment()
        home = settings.dagster_home
        if not settings.api_token:
            environment |= stack.enter_context(served_demo())
            home = DAGSTER_HOME
            click.echo("BUILDKITE_API_TOKEN is not set: this is the sandbox's organization.")
        environment["DAGSTER_HOME"] = str(prepare_home(home).absolute())
        # Dagster's own advice to use another command, which is not installed here.
        environment.setdefault("PYTHONWARNINGS", "ignore:Function `dev_command` is superseded")
        environment.setdefault("BUILDKITE_DAGSTER_URL", f"http://localhost:{port}")
        click.echo(
            f"Nothing runs by itself until you switch it on, at http://localhost:{port}/automation:"
        )
        Console().print(automation_table())
        command = [sys.executable, "-m", "dagster", "dev", "--port", str(port)]
        command += ["--module-name", "buildkite_assets.definitions"]
        # In a group of its own: a terminal's Ctrl-C would reach it twice, and end it half way.
        with subprocess.Popen(  # noqa: S603 - a fixed command
            command, env=environment, process_group=0
        ) as dagster:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, lambda *_: dagster.terminate())
            sys.exit(dagster.wait())


@main.command()
@click.option("--port", default=_SANDBOX_PORT, show_default=True, help="On loopback only.")
def sandbox(port: int) -> None:
    """Serve a simulated Buildkite until stopped."""
    from buildkite_assets.sandbox import run as run_sandbox  # noqa: PLC0415 - as in `demo`

    simulated = demo_sandbox()
    click.echo(f"export BUILDKITE_API_URL=http://127.0.0.1:{port}/v2")
    click.echo(f"export BUILDKITE_API_TOKEN={simulated.tokens.administrator.value}")
    run_sandbox(port, simulated)


main.add_command(export)
main.add_command(purge)


def _sync(  # noqa: PLR0913 - a sync is this: where, what, which days
    console: Console, session: Session, home: Path, first: date, last: date, *, full: bool
) -> list[str]:
    """Run the jobs one after the other, showing progress; return what could not be read.

    Builds come first: a snapshot of access takes a while where an organization has many teams.
    """
    with open_home(home) as instance:
        orphaned = fail_orphaned_runs(instance)
        if orphaned:
            console.print(f"Marked {orphaned} interrupted runs as failed; this one goes on.")
        blocked: list[BlockedError] = []
        unread: list[str] = []

        @contextmanager
        def step(text: str) -> Iterator[None]:
            with _held_back(blocked), progress_line(console, session.progress, text):
                yield

        with step("Listing organizations, pipelines, clusters and queues"):
            unread += run_catalog(session, instance)
        days = [first, last] if full else unread_days(session, first, last)
        if days:
            with _noted(unread), step(f"Reading builds from {days[0]} to {days[-1]}"):
                unread += run_builds(session, instance, days[0], days[-1], full=full)
        with _noted(unread), step("Following changes, and settling the days that are due"):
            unread += run_changes(session, instance)
        with _noted(unread), step("Listing members, teams and what teams may do"):
            unread += run_access(session, instance)
        if blocked:
            raise blocked[0]
        with step("Recomputing the derived tables that lag"):
            run_derived(session, instance)
        # It says when the last sync was, even if nothing else has changed.
        with step("Writing the report"):
            run_report(session, instance)
    return unread


@contextmanager
def _held_back(blocked: list[BlockedError]) -> Iterator[None]:
    """Let collecting go on after a check that blocks has failed: it stops what is derived."""
    try:
        yield
    except BlockedError as error:
        blocked.append(error)


@contextmanager
def _noted(unread: list[str]) -> Iterator[None]:
    """Let a sync go on after a failure that concerns one kind of data only.

    Raises:
        BuildkiteError: no kind of data can be read.
    """
    try:
        yield
    except CONCERNS_ALL:
        raise
    except BuildkiteError as error:
        unread.append(f"{error.code}: {error}")
        click.echo(one_line(f"Warning: {unread[-1]}"), err=True)


def _exit_if_partial(unread: list[str]) -> None:
    """Exit with a code of its own if a sync could not read everything."""
    for line in unread:
        click.echo(one_line(f"Error: {line}"), err=True)
    if unread:
        click.echo("The rest was read and published.", err=True)
        sys.exit(_PARTIAL)
