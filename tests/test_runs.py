"""Runs that are killed, that fail, and that are started at once."""

import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg

from buildkite_assets.runs import fail_orphaned_runs, prepare_home

from .at_once import finish_beside_a_notebook
from .kills import survive_kills


def test_kills_lose_nothing(tmp_path: Path) -> None:
    survive_kills(tmp_path, kills=3, seed=7)


def test_two_syncs_at_once_finish_beside_an_open_notebook(tmp_path: Path) -> None:
    finish_beside_a_notebook(tmp_path, [[], ["--full"]])


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
