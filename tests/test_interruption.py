"""A sync that is interrupted ends at once, wherever it waits, and its run is canceled."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock

from buildkite_assets.sandbox import Sandbox, SandboxServer, serve

from .syncing import (
    command_environment,
    command_line,
    empty_sandbox,
    environment,
)

_AT_ONCE_SECONDS = 10
"""Much less than any of the waits below, on a machine that is busy."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    """Serve an organization with a build of today."""
    sandbox, _ = empty_sandbox()
    sandbox.organization("acme").create_build("web", state="passed", jobs=1)
    with serve(sandbox) as server:
        yield server


@contextmanager
def hanging_requests(sandbox: Sandbox, _: Path) -> Iterator[Callable[[], bool]]:
    """Have Buildkite take its time to answer; tells whether the sync waits for it."""
    sandbox.latency_seconds = 15
    yield lambda: len(sandbox.requests) > 0
    sandbox.latency_seconds = 0


@contextmanager
def used_up_allowance(sandbox: Sandbox, _: Path) -> Iterator[Callable[[], bool]]:
    """Have nothing left of the allowance for a minute."""
    sandbox.limits.user_limit = 1
    yield lambda: len(sandbox.requests) > 0
    sandbox.limits.user_limit = None


@contextmanager
def busy_warehouse(sandbox: Sandbox, data: Path) -> Iterator[Callable[[], bool]]:
    """Hold the warehouse's lock, as another sync that merges."""
    folder = data / ".w.duckdb"
    folder.mkdir(mode=0o700, parents=True)
    with FileLock(folder / "lock"):
        yield lambda: len(sandbox.requests) > 0


def interrupt(
    number: signal.Signals,
    waiting: AbstractContextManager[Callable[[], bool]],
    arguments: Sequence[str],
    settings: Mapping[str, str],
    home: Path,
) -> tuple[int, str]:
    """Send a signal to a command once it waits; its code, and what it said."""
    with (
        waiting as is_waiting,
        subprocess.Popen(  # noqa: S603 - our own program
            command_line(*arguments),
            env=command_environment(settings, home),
            cwd=home.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        while not is_waiting():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - begun < _AT_ONCE_SECONDS
    return process.returncode, said


@pytest.mark.parametrize(
    ("number", "code", "waiting"),
    [
        (signal.SIGINT, 130, hanging_requests),
        (signal.SIGTERM, 143, used_up_allowance),
        (signal.SIGINT, 130, busy_warehouse),
    ],
)
def test_a_sync_that_waits_ends_at_once(
    number: signal.Signals,
    code: int,
    waiting: Callable[[Sandbox, Path], AbstractContextManager[Callable[[], bool]]],
    server: SandboxServer,
    tmp_path: Path,
) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    settings = environment(server, data / "w.duckdb")
    ended, said = interrupt(number, waiting(server.sandbox, data), ["sync"], settings, home)
    assert ended == code
    assert said.splitlines()[-1] == (
        f"Stopped by {number.name}. What was committed stays: run it again."
    )
    assert "Traceback" not in said
    with dg.DagsterInstance.from_config(str(home)) as instance:
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.CANCELED
