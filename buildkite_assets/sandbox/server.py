"""Serves a sandbox over HTTP on this machine only."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from .app import SandboxApp
from .sandbox import Sandbox

_LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 5


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """A sandbox that is being served; `url` is the base of its API, ending in /v2."""

    sandbox: Sandbox
    url: str


@contextmanager
def serve(sandbox: Sandbox, port: int = 0) -> Iterator[SandboxServer]:
    """Serve in a background thread until the block ends; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    with _listening_socket(port) as listening:
        server = _uvicorn(sandbox)
        thread = threading.Thread(
            target=server.run,
            kwargs={"sockets": [listening]},
            name="buildkite-sandbox",
            daemon=True,
        )
        thread.start()
        try:
            # Connections wait in the socket's backlog until uvicorn accepts them.
            yield SandboxServer(sandbox, f"http://{_LOOPBACK}:{listening.getsockname()[1]}/v2")
        finally:
            server.should_exit = True
            thread.join()


def run(port: int, sandbox: Sandbox) -> None:
    """Serve until the process is interrupted.

    Raises:
        OSError: the port is taken.
        KeyboardInterrupt: Ctrl-C was pressed; the server has stopped by then.
    """
    with _listening_socket(port) as listening:
        _uvicorn(sandbox).run(sockets=[listening])


def _listening_socket(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_LOOPBACK, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def _uvicorn(sandbox: Sandbox) -> uvicorn.Server:
    config = uvicorn.Config(
        SandboxApp(sandbox),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,  # the app sends its own: the clock's
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return uvicorn.Server(config)
