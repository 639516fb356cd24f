"""Days are read again in full when they are 2, 7 and 30 days old, by a sync or by the night."""

from datetime import timedelta
from pathlib import Path

import dagster as dg

from buildkite_assets.runs import run_builds, run_catalog, run_changes, run_derived
from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse, connect

from .syncing import (
    command_here,
    empty_sandbox,
    environment,
    forgetful_home,
)


def full_reads(server: SandboxServer) -> list[str]:
    """The days that were read in full since the last call."""
    reads = [r for r in server.sandbox.requests if "exclude_pipeline" in r.query]
    server.sandbox.requests.clear()
    return sorted({request.query["created_from"][:10] for request in reads})


def test_a_day_is_read_again_once_for_each_age_and_is_final_after_the_last(tmp_path: Path) -> None:
    """Built today; changes are followed after so many days, and not at all for days between."""
    sandbox, clock = empty_sandbox()
    sandbox.organization("acme").create_build("web", state="passed")
    path, today = tmp_path / "w.duckdb", clock().date()
    passed_days, settled_after = 0, []
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        session = Session(Settings.from_environment(environment(server, path)), clock=clock)
        run_catalog(session, instance)
        run_builds(session, instance, today, today, full=False)
        full_reads(server)
        for days in (0, 1, 2, 3, 6, 8, 9, 29, 30, 31):
            clock.move(days=days - passed_days)
            passed_days = days
            run_changes(session, instance)
            if f"{today}" in full_reads(server):
                settled_after.append(days)
            if days in {29, 30}:
                run_derived(session, instance)
                with connect(path) as connection:
                    [(is_final,)] = connection.execute("SELECT is_final FROM build_runs").fetchall()
                assert is_final == (days == 30)
    assert settled_after == [2, 8, 30]


def test_a_sync_reads_the_days_that_are_due_and_once_only(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    first = clock().date() - timedelta(days=2)
    path, home = tmp_path / "w.duckdb", forgetful_home(tmp_path / "home")
    with serve(sandbox) as served:
        settings = environment(served, path, BUILDKITE_START_DATE=f"{first}")

        def reads_first_day() -> bool:
            done = command_here("sync", settings=settings, cwd=tmp_path, home=home)
            assert done.exit_code == 0, done.stdout + done.stderr
            return f"{first}" in full_reads(served)

        assert reads_first_day()
        assert not reads_first_day()
        with Warehouse(path).transaction() as connection:
            connection.execute("UPDATE sync_days SET read_at = day + INTERVAL 1 DAY")
        assert reads_first_day()
        assert not reads_first_day()
