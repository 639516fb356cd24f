"""Runs that are killed, that fail, and that are started at once."""

import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg

from buildkite_assets.runs import fail_orphaned_runs, prepare_home
from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.warehouse import connect

from .kills import survive_kills
from .syncing import (
    StandingClock,
    assert_sound,
    assert_true,
    command,
    command_environment,
    command_line,
    environment,
    without_limits,
)

NOTEBOOK = """
import sys
import duckdb
held = duckdb.connect(sys.argv[1], read_only=True)
print(held.sql("SELECT count(*) FROM builds").fetchall(), flush=True)
sys.stdin.readline()
print(held.sql("SELECT count(*) FROM builds").fetchall(), flush=True)
"""


def test_kills_lose_nothing(tmp_path: Path) -> None:
    survive_kills(tmp_path, kills=3, seed=7)


def test_four_syncs_at_once_all_finish_beside_an_open_notebook(tmp_path: Path) -> None:
    clock, path, home = StandingClock(), tmp_path / "w.duckdb", tmp_path / "dagster"
    company = without_limits(Sandbox.company(clock=clock, days=3, builds_per_day=30))
    last = clock().date()
    first = last - timedelta(days=3)
    with serve(company) as server:
        settings = environment(server, path)
        early = command("sync", "--from", f"{last}", settings=settings, cwd=tmp_path, home=home)
        assert early.returncode == 0, early.stderr
        notebook = subprocess.Popen(  # noqa: S603 - a program of this file
            [sys.executable, "-c", NOTEBOOK, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert notebook.stdout
        seen_first = notebook.stdout.readline()
        syncs = [
            subprocess.Popen(  # noqa: S603 - our own program
                command_line("sync", "--from", f"{first}", *again),
                env=command_environment(settings, home),
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for again in ([], [], ["--full"], ["--full"])
        ]
        said = [process.communicate(timeout=240)[0] for process in syncs]
        assert [process.returncode for process in syncs] == [0, 0, 0, 0], said
        seen_last, _ = notebook.communicate("go on\n", timeout=60)
    assert seen_last == seen_first
    assert_true(company, path, first, last)
    with connect(path) as connection:
        assert_sound(connection)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}


def test_a_run_whose_process_is_gone_is_marked_as_failed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    home = prepare_home(tmp_path / "dagster")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        created = {
            name: instance.create_run_for_job(empty_job, tags=tags, status=status)
            for name, tags, status in [
                ("killed", tags_of(gone.pid), dg.DagsterRunStatus.STARTED),
                ("killed before it began", tags_of(gone.pid), dg.DagsterRunStatus.NOT_STARTED),
                ("alive", tags_of(1), dg.DagsterRunStatus.STARTED),
                ("done", tags_of(gone.pid), dg.DagsterRunStatus.SUCCESS),
                ("of another host", tags_of(gone.pid, "elsewhere"), dg.DagsterRunStatus.STARTED),
                ("of the UI", {}, dg.DagsterRunStatus.STARTED),
            ]
        }
        assert fail_orphaned_runs(instance) == 2
        failed = {
            name
            for name, run in created.items()
            if (found := instance.get_run_by_id(run.run_id))
            and found.status is dg.DagsterRunStatus.FAILURE
        }
        assert failed == {"killed", "killed before it began"}
        assert fail_orphaned_runs(instance) == 0


def test_a_dagster_home_is_made_once_and_then_left_as_it_is(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "dagster")
    assert "telemetry" in (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    prepare_home(home)
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}"


@dg.job
def empty_job() -> None:
    """Do nothing."""


def tags_of(pid: int, host: str | None = None) -> dict[str, str]:
    """The tags by which a run's process is known."""
    return {
        "buildkite_assets/pid": str(pid),
        "buildkite_assets/host": host or socket.gethostname(),
    }
