"""Serving, and the hooks of tests."""

import socket
import time

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from buildkite_assets.sandbox import Organization, Sandbox, serve

from .conftest import Api, StandingClock


def test_only_this_machine_can_connect(api: Api) -> None:
    assert api.url.startswith("http://127.0.0.1:")
    assert api.url.endswith("/v2")
    port = int(api.url.split(":")[2].split("/")[0])
    # The whole of 127.0.0.0/8 is this machine, but only 127.0.0.1 is bound: nothing wider is.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=2)


def test_a_taken_port_is_reported(sandbox: Sandbox, api: Api) -> None:
    port = int(api.url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="in use"), serve(sandbox, port):
        pass


def test_two_sandboxes_are_served_side_by_side(clock: StandingClock) -> None:
    with serve(Sandbox.empty(clock=clock)) as one, serve(Sandbox.empty(clock=clock)) as two:
        one.sandbox.organization("acme").create_build("web")
        headers = {"Authorization": f"Bearer {two.sandbox.tokens.administrator.value}"}
        assert len(httpx.get(f"{one.url}/builds", headers=headers).json()) == 1
        assert httpx.get(f"{two.url}/builds", headers=headers).json() == []


def test_the_date_is_the_clocks(api: Api, clock: StandingClock) -> None:
    assert api.get("/user").headers.get_list("Date") == ["Thu, 19 Nov 2026 12:00:00 GMT"]
    clock.move(hours=1)
    response = api.get("/user")
    assert response.headers["Date"] == "Thu, 19 Nov 2026 13:00:00 GMT"
    assert response.headers["X-Request-Id"]
    assert "Server" not in response.headers


def test_large_bodies_are_compressed(api: Api, acme: Organization) -> None:
    acme.create_build("web", jobs=20)
    assert api.get("/builds").headers["Content-Encoding"] == "gzip"


def test_requests_are_recorded(api: Api, sandbox: Sandbox, clock: StandingClock) -> None:
    api.get("/builds", state="passed")
    api.get("/nowhere")
    first, second = sandbox.requests
    assert (first.at, first.method, first.path) == (clock(), "GET", "/v2/builds")
    assert (first.query, first.status, first.bytes_sent) == ({"state": "passed"}, 200, 2)
    assert second.status == 404
    sandbox.requests.clear()
    assert len(sandbox.requests) == 0


def test_answers_can_be_slow(api: Api, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 0.2
    started = time.monotonic()
    api.get("/user")
    assert time.monotonic() - started >= 0.2


def test_a_fault_answers_instead(api: Api, sandbox: Sandbox) -> None:
    def bad_gateway(request: Request) -> ASGIApp | None:
        if request.url.path == "/v2/builds":
            return HTMLResponse("<html>502 Bad Gateway</html>", 502)
        return None

    sandbox.faults = bad_gateway
    assert api.get("/builds").text == "<html>502 Bad Gateway</html>"
    assert api.get("/user").status_code == 200
    assert [request.status for request in sandbox.requests] == [502, 200]


def test_a_fault_can_break_off_a_body(api: Api, sandbox: Sandbox) -> None:
    async def broken_off(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"[{"})

    sandbox.faults = lambda _: broken_off
    with pytest.raises(httpx.RemoteProtocolError):
        api.get("/builds")
    sandbox.faults = None
    assert api.get("/builds").status_code == 200
