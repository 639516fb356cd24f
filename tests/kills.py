"""Kills a sync at random moments, over and over, and holds that nothing is ever lost by it."""

import signal
import subprocess
import time
from collections.abc import Sized
from datetime import timedelta
from pathlib import Path
from random import Random

import dagster as dg

from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.warehouse import Warehouse, connect

from .syncing import (
    StandingClock,
    assert_sound,
    assert_true,
    command_environment,
    command_here,
    command_line,
    environment,
    sync,
    without_limits,
)

_DAYS = 8
_REQUESTS = 22  # about as many as a backfill of all days takes


def survive_kills(folder: Path, kills: int, seed: int) -> None:
    """Kill backfills with SIGKILL, look at both files each time, then let one end."""
    random = Random(seed)
    clock, path, home = StandingClock(), folder / "w.duckdb", folder / "dagster"
    company = Sandbox.company(clock=clock, days=_DAYS, builds_per_day=40)
    last = clock().date()
    first = last - timedelta(days=_DAYS)
    with serve(without_limits(company)) as server:
        settings = environment(server, path)
        sync(settings, last - timedelta(days=2), last)
        company.latency_seconds = 0.05
        killed = 0
        while killed < kills:
            # Half of the backfills go on where the last one stopped, half read all days again.
            again = ["--full"] if random.random() < 0.5 else []
            company.requests.clear()
            killed += kill_one(
                [*command_line("sync", "--from", f"{first}", *again)],
                command_environment(settings, home),
                folder,
                company.requests,
                (random.randint(5, _REQUESTS), random.uniform(0, 0.6)),
            )
            with connect(path) as published:
                assert_sound(published)
            with Warehouse(path).transaction() as working:
                assert_sound(working)
        company.latency_seconds = 0
        done = command_here("sync", "--from", f"{first}", settings=settings, cwd=folder, home=home)
        assert done.exit_code == 0, done.output
    assert_true(company, path, first, last)
    with connect(path) as published:
        assert_sound(published)
    assert {entry.name for entry in (folder / ".w.duckdb").iterdir()} <= {
        "working.duckdb",
        "lock",
        "first_day",
    }
    with dg.DagsterInstance.from_config(str(home)) as instance:
        # A kill after the last event of a run finds it finished; all others are told as failed.
        states = [run.status for run in instance.get_runs()]
    assert set(states) <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}


def kill_one(
    command: list[str],
    environment: dict[str, str],
    folder: Path,
    requests: Sized,
    moment: tuple[int, float],
) -> bool:
    """Start a sync and kill it so many requests and seconds later; whether it was still at work."""
    after_requests, after_seconds = moment
    with (
        (folder / "said").open("w+") as said,
        subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, cwd=folder, stdout=said, stderr=said
        ) as process,
    ):
        while process.poll() is None and len(requests) < after_requests:
            time.sleep(0.005)
        time.sleep(after_seconds)
        process.kill()
        process.wait()
        assert process.returncode in {0, -signal.SIGKILL}, (folder / "said").read_text()
        return process.returncode != 0
