"""Syncs a served sandbox, in this process or by the command line, and compares with its truth."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import msgspec
import stamina.instrumentation
from click.testing import CliRunner, Result

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.organizations import PipelineDirectory, visible_organizations
from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.cli import main
from buildkite_assets.days import Source, read_days
from buildkite_assets.runs import run_builds, run_catalog
from buildkite_assets.sandbox import Organization, Sandbox, SandboxServer, Token
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse

from . import truth


class StandingClock:
    """A clock that a test moves; it starts at the real minute, since partitions end today."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(second=0, microsecond=0)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def move(self, **by: float) -> None:
        """Let time pass, given like a timedelta's parts."""
        self.now += timedelta(**by)


def without_limits(sandbox: Sandbox) -> Sandbox:
    """The sandbox with its rate limits switched off."""
    sandbox.limits.organization_limit = None
    sandbox.limits.user_limit = None
    return sandbox


def empty_sandbox() -> tuple[Sandbox, StandingClock]:
    """A sandbox without builds and limits, and its clock."""
    clock = StandingClock()
    return without_limits(Sandbox.empty(clock=clock)), clock


def add_globex(sandbox: Sandbox, clock: StandingClock) -> Organization:
    """Add a second organization, which the administrator's token sees."""
    acme = sandbox.organization("acme")
    globex = Organization(
        "globex", "Globex", clock=clock, lock=sandbox.lock, created_at=acme.created_at
    )
    administrator = acme.members[0].user
    globex.add_member(administrator, role="admin")
    globex.add_pipeline("site", created_by=administrator, at=acme.created_at)
    sandbox.organizations["globex"] = globex
    sandbox.tokens.add(replace(sandbox.tokens.administrator, organizations=("acme", "globex")))
    return globex


def environment(
    server: SandboxServer, warehouse: Path, token: Token | None = None, **more: str
) -> dict[str, str]:
    """The variables that lead to the sandbox's organization acme."""
    return {
        "BUILDKITE_API_URL": server.url,
        "BUILDKITE_API_TOKEN": (token or server.sandbox.tokens.administrator).value,
        "BUILDKITE_ORGANIZATIONS": "acme",
        "BUILDKITE_WAREHOUSE": str(warehouse),
        **more,
    }


def sync(  # noqa: PLR0913 - what a sync is: where from and to, which days
    settings: Mapping[str, str],
    first: date,
    last: date,
    *,
    full: bool = False,
    with_catalog: bool = True,
    instance: dg.DagsterInstance | None = None,
) -> None:
    """Sync through Dagster, in this process."""
    session = Session(Settings.from_environment(settings))
    with instance or dg.DagsterInstance.ephemeral() as used:
        if with_catalog:
            run_catalog(session, used)
        run_builds(session, used, first, last, full=full)


def read(server: SandboxServer, path: Path, days: list[date], page_size: PageSize) -> None:
    """Read days of acme with this page size, without Dagster, and publish."""
    warehouse = Warehouse(path)
    token = server.sandbox.tokens.administrator.value
    session = Session(Settings.from_environment(environment(server, path)))
    with Client(server.url, token, rate_share=1, clock=server.sandbox.clock) as client:
        [organization], _ = visible_organizations(client, ["acme"])
        source = Source(
            client=client,
            session=session,
            organization=organization,
            pipelines=PipelineDirectory(client, organization.slug),
            page_size=page_size,
            failures=Failures(),
        )
        assert [day for day, _ in read_days([source], days, warehouse, None)]
    warehouse.publish()


def command(
    *arguments: str, settings: Mapping[str, str], cwd: Path, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `buildkite-assets` in a process of its own."""
    return subprocess.run(  # noqa: S603 - our own program
        command_line(*arguments),
        env=command_environment(settings, home),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def command_here(
    *arguments: str, settings: Mapping[str, str], cwd: Path, home: Path | None = None
) -> Result:
    """Run `buildkite-assets` in this process: a second less, and the definitions are at hand."""
    variables = {"DAGSTER_HOME": str(home) if home else None, **settings}
    try:
        with chdir(cwd):
            return CliRunner().invoke(main, arguments, env=variables)
    finally:
        # The command has retries told in its own way; tests that follow expect stamina's.
        stamina.instrumentation.set_on_retry_hooks(None)


_FORGETFUL = """
telemetry: {enabled: false}
event_log_storage: {module: dagster._core.storage.event_log, class: InMemoryEventLogStorage}
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


def forgetful_home(folder: Path) -> Path:
    """A Dagster home for when nobody looks at the events and the output of its runs.

    On disk each event takes 8 ms, and the output of each run four processes.
    """
    folder.mkdir()
    (folder / "dagster.yaml").write_text(_FORGETFUL)
    return folder


def command_line(*arguments: str) -> list[str]:
    """The command line of our own program."""
    return [sys.executable, "-c", "from buildkite_assets.cli import main; main()", *arguments]


def command_environment(settings: Mapping[str, str], home: Path | None = None) -> dict[str, str]:
    """This process's environment with these settings and this Dagster home, or the default's."""
    kept = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    return {**kept, **settings, **({"DAGSTER_HOME": str(home)} if home else {})}


def true_rows(sandbox: Sandbox, first: date, last: date) -> dict[str, list[truth.Row]]:
    """The rows that a sync of acme from `first` to `last` must leave."""
    acme = sandbox.organization("acme")
    with sandbox.lock:
        builds: list[truth.Body] = [
            body
            for body in msgspec.json.decode(msgspec.json.encode(list(acme.truth_builds())))
            if first.isoformat() <= body["created_at"][:10] <= last.isoformat()
        ]
    organization: Any = {
        "id": acme.id,
        "slug": acme.slug,
        "name": acme.name,
        "web_url": "https://buildkite.com/acme",
        "created_at": acme.created_at.isoformat(),
    }
    tables = {
        "organizations": [truth.organization_row(organization)],
        "pipelines": [truth.pipeline_row(body, acme.id) for body in acme.truth_pipelines()],
        "clusters": [truth.cluster_row(body, acme.id) for body in acme.truth_clusters()],
        "queues": [truth.queue_row(body, acme.id) for body in acme.truth_queues()],
        "builds": [truth.build_row(body, acme.id, body["pipeline"]["id"]) for body in builds],
        "jobs": [truth.job_row(job, body, acme.id) for body in builds for job in body["jobs"]],
    }
    return {table: truth.by_first_column(rows) for table, rows in tables.items()}


def assert_true(sandbox: Sandbox, path: Path, first: date, last: date, *tables: str) -> None:
    """Hold that the published tables are the sandbox's truth, row by row and column by column."""
    expected = true_rows(sandbox, first, last)
    for table in tables or expected:
        stored = truth.read_rows(path, table)
        assert len(stored) == len(expected[table]), table
        for row, true_row in zip(stored, expected[table], strict=True):
            assert row == true_row, table


_UNSOUND = {
    "a build twice": "SELECT build_id FROM builds GROUP BY ALL HAVING count(*) > 1",
    "a job twice": "SELECT job_id FROM jobs GROUP BY ALL HAVING count(*) > 1",
    "a day twice": "SELECT organization_id, day FROM sync_days GROUP BY ALL HAVING count(*) > 1",
    "a pipeline twice": "SELECT pipeline_id FROM pipelines GROUP BY ALL HAVING count(*) > 1",
    "a job without its build": "SELECT job_id FROM jobs ANTI JOIN builds USING (build_id)",
    "a build of a day that was not read": """
        SELECT build_id FROM builds WHERE created_at::DATE NOT IN (SELECT day FROM sync_days)
    """,
    "a day whose builds are not those that it found": """
        SELECT day FROM sync_days WHERE builds != (
            SELECT count(*) FROM builds WHERE created_at::DATE = day AND absent_since IS NULL
        )
    """,
    "a day whose jobs are not those that it found": """
        SELECT day FROM sync_days WHERE jobs != (
            SELECT count(*) FROM jobs WHERE build_created_at::DATE = day AND absent_since IS NULL
        )
    """,
}


def assert_sound(connection: duckdb.DuckDBPyConnection) -> None:
    """Hold that a warehouse of one organization contradicts itself nowhere."""
    found = {fault: connection.execute(query).fetchall() for fault, query in _UNSOUND.items()}
    assert not any(found.values()), found
