"""Starts several syncs of one warehouse at once, while somebody has it open."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg

from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.warehouse import connect

from .syncing import (
    StandingClock,
    assert_sound,
    assert_true,
    command_environment,
    command_line,
    environment,
    sync,
    without_limits,
)

_NOTEBOOK = """
import sys
import duckdb
held = duckdb.connect(sys.argv[1], read_only=True)
print(held.sql("SELECT count(*) FROM builds").fetchall(), flush=True)
sys.stdin.readline()
print(held.sql("SELECT count(*) FROM builds").fetchall(), flush=True)
"""


def finish_beside_a_notebook(folder: Path, arguments: list[list[str]]) -> None:
    """Start a sync for each of these, and hold that all end well and the notebook saw none."""
    clock, path, home = StandingClock(), folder / "w.duckdb", folder / "dagster"
    company = without_limits(Sandbox.company(clock=clock, days=3, builds_per_day=30))
    last = clock().date()
    first = last - timedelta(days=3)
    with serve(company) as server:
        settings = environment(server, path)
        sync(settings, last, last)
        notebook = subprocess.Popen(  # noqa: S603 - a program of this file
            [sys.executable, "-c", _NOTEBOOK, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert notebook.stdout
        seen_first = notebook.stdout.readline()
        syncs = [
            subprocess.Popen(  # noqa: S603 - our own program
                command_line("sync", "--from", f"{first}", *more),
                env=command_environment(settings, home),
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for more in arguments
        ]
        said = [process.communicate(timeout=240)[0] for process in syncs]
        assert {process.returncode for process in syncs} == {0}, said
        seen_last, _ = notebook.communicate("go on\n", timeout=60)
    assert seen_last == seen_first
    assert_true(company, path, first, last)
    with connect(path) as connection:
        assert_sound(connection)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
