"""Servers to be a client of: the sandbox, and one that says any bytes at all."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
import stamina

from buildkite_assets.buildkite.client import Client, utc_now
from buildkite_assets.sandbox import Organization, Sandbox, SandboxServer, serve

TOKEN = "bkua_Secret/0123+456"

Answer = Callable[[socketserver.StreamRequestHandler, bytes], None]
"""Answers one request, given its head, on a connection that stays open unless it is closed."""


class RawServer:
    """A loopback server that answers each request in turn; the last answer repeats.

    Bytes without a date are sent with the present one.

    Attributes:
        url: the base of its API.
        requests: the head of every request, in order.
        connections: how many were opened.
    """

    def __init__(self, *answers: Answer | bytes) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.is_closing = threading.Event()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                while head := _read_head(self):
                    outer.requests.append(head)
                    answer = answers[min(len(outer.requests), len(answers)) - 1]
                    if isinstance(answer, bytes):
                        self.wfile.write(dated(answer))
                    else:
                        answer(self, head)
                        return

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing: clients of broken answers hang up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v2"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self.is_closing.set()
        self._server.shutdown()
        self._server.server_close()


def _read_head(handler: socketserver.StreamRequestHandler) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = handler.rfile.readline()
        if not line:
            return b""
        head += line
    return head


def http(status: int, body: object = b"", *headers: str) -> bytes:
    """The bytes of a response; what is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def dated(answer: bytes) -> bytes:
    """The response with the present date, unless it has one."""
    status_line, end, rest = answer.partition(b"\r\n")
    now = format_datetime(datetime.now(UTC), usegmt=True).encode()
    date = b"" if b"\r\nDate:" in answer else b"Date: " + now + end
    return status_line + end + date + rest


RawServe = Callable[..., RawServer]
Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the file of the pace away from the user's own."""
    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def at_once() -> Iterator[None]:
    """Let retries come without the wait between them, as many as the client wants."""
    stamina.set_testing(True, attempts=1000, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
def raw_serve() -> Iterator[RawServe]:
    """Return what starts a server that gives these answers."""
    servers: list[RawServer] = []

    def start(*answers: Answer | bytes) -> RawServer:
        servers.append(RawServer(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return what makes a client of a server's URL."""
    clients: list[Client] = []

    def make(  # noqa: PLR0913 - a client has that many limits
        url: str,
        token: str = TOKEN,
        *,
        rate_share: float = 0.8,
        attempts: int = 8,
        patience_seconds: float = 600.0,
        timeout_seconds: float = 60.0,
        clock: Callable[[], datetime] = utc_now,
    ) -> Client:
        client = Client(
            url,
            token,
            rate_share=rate_share,
            attempts=attempts,
            patience_seconds=patience_seconds,
            timeout_seconds=timeout_seconds,
            clock=clock,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


def unlimited(sandbox: Sandbox) -> Sandbox:
    """The sandbox without rate limits."""
    sandbox.limits.organization_limit = None
    sandbox.limits.user_limit = None
    return sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    """Return a sandbox without builds and without limits."""
    return unlimited(Sandbox.empty())


@pytest.fixture
def acme(sandbox: Sandbox) -> Organization:
    """Return the sandbox's organization."""
    return sandbox.organization("acme")


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[SandboxServer]:
    """Serve the sandbox."""
    with serve(sandbox) as served:
        yield served


@pytest.fixture
def client(server: SandboxServer) -> Iterator[Client]:
    """Return a client of the sandbox."""
    token = server.sandbox.tokens.administrator.value
    with Client(server.url, token) as client:
        yield client
