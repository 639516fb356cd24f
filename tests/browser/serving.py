"""Programs of ours that serve a page, for as long as a test looks at it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.syncing import command_environment

PROJECT = Path(__file__).parents[2]
NOTEBOOKS = ("notebooks/ci_health.py", "notebooks/access_review.py")
_PATIENCE_SECONDS = 180


@contextmanager
def serving_notebooks(warehouse: Path) -> Iterator[str]:
    """Serve both notebooks as apps on a published file; yields their address."""
    settings = command_environment({"BUILDKITE_WAREHOUSE": str(warehouse)})
    with serving(_notebooks, "/health", settings, PROJECT) as url:
        yield url


def _notebooks(port: int) -> list[str]:
    marimo = [sys.executable, "-m", "marimo", "run"]
    return [*marimo, *NOTEBOOKS, "--headless", "--port", f"{port}"]


@contextmanager
def serving(
    command: Callable[[int], Sequence[str]], health: str, environment: Mapping[str, str], cwd: Path
) -> Iterator[str]:
    """Run a server on a free port, with all that it starts; yields its address.

    Args:
        command: its command line, given the port.
        health: a path that answers once it is ready.
        environment: all variables.
        cwd: where it runs.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(  # noqa: S603 - a command of ours
        command(port),
        env=environment,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:
        try:
            _wait_for(f"{url}{health}", server)
            yield url
        finally:
            os.killpg(server.pid, signal.SIGINT)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while server.poll() is None and time.monotonic() < give_up_at:
        try:
            with urlopen(url, timeout=5):  # noqa: S310 - on this machine
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer")
