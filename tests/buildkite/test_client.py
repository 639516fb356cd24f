"""One request done right: where the token goes, what is tried again, what is said."""

import gzip
import json
import logging
import pickle
import re
import socket
import socketserver
import struct
import time
import traceback
from contextlib import suppress
from pathlib import Path

import pytest

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.decoding import decode_list, decode_one
from buildkite_assets.buildkite.errors import (
    BodyTooLargeError,
    BuildkiteError,
    CertificatesError,
    DepthRefusedError,
    InvalidCredentialsError,
    InvalidPermissionsError,
    MissingScopeError,
    NotFoundError,
    ProxyError,
    RateLimitedError,
    RequestRefusedError,
    ServerTroubleError,
    UnexpectedResponseError,
    UnreachableError,
    UntrustedLinkError,
)
from buildkite_assets.buildkite.listings import every_item
from buildkite_assets.buildkite.records import Organization, Person

from .conftest import TOKEN, Answer, Connect, RawServe, dated, http

ID = "0190a9de-0000-7000-8000-000000000001"
PEOPLE = [{"id": ID, "name": "Ada"}]
WHOLE = http(200, PEOPLE)
HTML_504 = b"<html>\r\n<head><title>504 Gateway Time-out</title></head></html>"
TOO_DEEP = (
    "Listing builds this deep is not supported. "
    "Please narrow your query using filters such as branch or created_from."
)

Handler = socketserver.StreamRequestHandler


def people(client: Client) -> list[str | None]:
    """Ask for a list of people and return their names."""
    page = client.get("people", None, lambda body: decode_list(body, Person))
    return [person.name for person in page.body]


# Where the token goes


def test_the_token_travels_in_the_authorization_header_alone(
    raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(WHOLE)
    assert people(connect(server.url)) == ["Ada"]
    (head,) = server.requests
    lines = head.decode().split("\r\n")
    assert lines[0] == "GET /v2/people HTTP/1.1"
    assert [line for line in lines if TOKEN in line] == [f"Authorization: Bearer {TOKEN}"]
    assert "Accept-Encoding: gzip" in lines
    assert any(line.startswith("User-Agent: buildkite-assets/") for line in lines)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 422, 429, 500])
def test_a_token_that_the_server_repeats_is_cut_out(
    status: int, raw_serve: RawServe, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = raw_serve(http(status, {"message": f"No {TOKEN}\n or {TOKEN.upper()} here"}))
    client = connect(server.url, attempts=1)
    with pytest.raises(BuildkiteError) as raised:
        people(client)
    told = "".join(traceback.format_exception(raised.value)) + repr(client) + caplog.text
    assert TOKEN.lower() not in told.lower()
    assert "No [token] or [token] here" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("status", [403, 429, 500])
def test_what_a_server_says_is_one_plain_line(
    status: int, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(http(status, {"message": "No\r\n\x1b[31mentry\x00\u2028\u202e!"}))
    with pytest.raises(BuildkiteError, match=re.escape("No \ufffd[31mentry\ufffd \ufffd!")):
        people(connect(server.url, attempts=1))


def test_retries_are_told_without_the_token(
    raw_serve: RawServe,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    server = raw_serve(http(500, {"message": TOKEN}), WHOLE)
    assert people(connect(server.url)) == ["Ada"]
    # Structured or not, by whichever logger is installed.
    told = "".join([*(str(vars(record)) for record in caplog.records), *capsys.readouterr()])
    assert "answered 500: [token]" in told
    assert TOKEN not in told


def test_errors_can_be_pickled(raw_serve: RawServe, connect: Connect) -> None:
    refusals = [
        http(403, {"message": "Your access token doesn't have the read_builds scope"}),
        http(429, {"message": "Wait", "reset": 7}),
    ]
    for refusal in refusals:
        client = connect(raw_serve(refusal).url, attempts=1)
        with pytest.raises(BuildkiteError) as raised:
            people(client)
        copy = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own bytes
        assert (type(copy), str(copy)) == (type(raised.value), str(raised.value))
        assert vars(copy) == vars(raised.value)


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.2:{port}/v2/organizations?page=2",
        "http://localhost:{port}/v2/organizations?page=2",
        "http://127.0.0.1:{other_port}/v2/organizations?page=2",
        "https://127.0.0.1:{port}/v2/organizations?page=2",
        "//127.0.0.1:{other_port}/v2/organizations?page=2",
        "http://someone:else@127.0.0.1:{port}/v2/organizations?page=2",
        "http://127.0.0.1:port/v2/organizations?page=2",
        "http://{token_host}.example/v2/organizations?page=2",
        "http://127.0.0.1:{port}/v2/organizations?access_token={token}",
        "http://127.0.0.1:{port}/v2/{token}",
        "file:///etc/passwd",
    ],
)
def test_the_token_is_not_sent_where_a_link_leads_astray(
    link: str, raw_serve: RawServe, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other = raw_serve(http(200, []))
    pages: list[bytes] = []
    server = raw_serve(lambda handler, _: handler.wfile.write(dated(pages[0])) and None)
    target = link.format(
        port=server.port, other_port=other.port, token=TOKEN, token_host="bkua_secret-0123"
    )
    body = [{"id": ID, "slug": "acme"}]
    pages.append(http(200, body, f'Link: <{target}>; rel="next"', "Connection: close"))
    client = connect(server.url)
    with pytest.raises(UntrustedLinkError) as raised:
        list(every_item(client, "organizations", Organization))
    assert (len(server.requests), len(other.requests)) == (1, 0)
    assert TOKEN not in "".join(traceback.format_exception(raised.value)) + caplog.text


def test_a_relative_link_is_followed(raw_serve: RawServe, connect: Connect) -> None:
    first = http(200, [{"id": ID, "slug": "a"}], 'Link: </v2/organizations?page=2>; rel="next"')
    server = raw_serve(first, http(200, [{"id": ID, "slug": "b"}]))
    pages = list(every_item(connect(server.url), "organizations", Organization))
    assert [page.body[0].slug for page in pages] == ["a", "b"]
    assert server.requests[1].startswith(b"GET /v2/organizations?page=2 HTTP/1.1")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int, raw_serve: RawServe, connect: Connect) -> None:
    other = raw_serve(WHOLE)
    server = raw_serve(http(status, b"", f"Location: {other.url}/people"))
    with pytest.raises(RequestRefusedError, match=f"GET /v2/people answered {status}"):
        people(connect(server.url))
    assert (len(server.requests), len(other.requests)) == (1, 0)


# What is refused for good


@pytest.mark.parametrize(
    ("status", "message", "error", "code", "advice"),
    [
        (401, "Authentication required", InvalidCredentialsError, "invalid_credentials", "create"),
        (403, "Forbidden", InvalidPermissionsError, "invalid_permissions", "administrator"),
        (
            403,
            "Your access token doesn't have the read_builds scope",
            MissingScopeError,
            "invalid_permissions",
            "Add the scope read_builds",
        ),
        (404, "No organization found", NotFoundError, "no_resources", "check the spelling"),
        (400, TOO_DEEP, DepthRefusedError, "unexpected_response", "Narrow the window"),
        (400, "per_page is wrong", RequestRefusedError, "unexpected_response", "report it"),
        (422, "Validation Failed", RequestRefusedError, "unexpected_response", "report it"),
    ],
)
def test_a_refusal_is_told_at_once(  # noqa: PLR0913 - one row of the table, and the server
    *,
    status: int,
    message: str,
    error: type[BuildkiteError],
    code: str,
    advice: str,
    raw_serve: RawServe,
    connect: Connect,
) -> None:
    server = raw_serve(http(status, {"message": message}))
    with pytest.raises(BuildkiteError) as raised:
        people(connect(server.url))
    assert type(raised.value) is error
    assert raised.value.code == code
    assert f"GET /v2/people answered {status}: {message.rstrip('.')}. " in str(raised.value)
    assert advice in str(raised.value)
    assert len(server.requests) == 1


def test_a_missing_scope_is_named(raw_serve: RawServe, connect: Connect) -> None:
    body = {"message": "Your access token doesn't have the read_clusters scope"}
    with pytest.raises(MissingScopeError) as raised:
        people(connect(raw_serve(http(403, body)).url))
    assert raised.value.scope == "read_clusters"


@pytest.mark.parametrize("body", [HTML_504, b"", b"\xff\xfe", b'{"message": 5}', b"[]", b"null"])
def test_a_refusal_need_not_be_json(body: bytes, raw_serve: RawServe, connect: Connect) -> None:
    with pytest.raises(NotFoundError, match="answered 404: Said"):
        people(connect(raw_serve(http(404, body)).url))


# What is tried again


def closed(handler: Handler, head: bytes) -> None:
    """Hang up without a word."""
    del handler, head


def reset(handler: Handler, head: bytes) -> None:
    """Break the connection in the middle of a response."""
    del head
    handler.wfile.write(WHOLE[:-4])
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def truncated(handler: Handler, head: bytes) -> None:
    """Close before the whole of the announced length came."""
    del head
    handler.wfile.write(WHOLE[:-4])


def stalled(handler: Handler, head: bytes) -> None:
    """Say half and fall silent until the client hangs up."""
    del head
    handler.wfile.write(WHOLE[:-4])
    handler.rfile.read(1)


def silent(handler: Handler, head: bytes) -> None:
    """Say nothing until the client hangs up."""
    del head
    handler.rfile.read(1)


_PACKED = gzip.compress(json.dumps(PEOPLE).encode())
_GZIP = "Content-Encoding: gzip"

TROUBLES: dict[str, Answer | bytes] = {
    "500": http(500, {"message": "Oops"}),
    "502 in HTML": http(502, b"<html>Bad Gateway</html>"),
    "503 with nothing": http(503),
    "504 in HTML": http(504, HTML_504),
    "hang-up": closed,
    "reset": reset,
    "truncated": truncated,
    "stall in the body": stalled,
    "silence": silent,
    "truncated gzip": http(200, _PACKED[:-20], _GZIP),
    "broken gzip": http(200, b"no gzip at all", _GZIP),
    "truncated JSON": http(200, json.dumps(PEOPLE).encode()[:-3]),
    "invalid JSON": http(200, b"[{]"),
    "invalid UTF-8 in JSON's place": http(200, b"\xff\xff"),
    "empty": http(200),
    "204": http(204),
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
}

UNEXPECTED: dict[str, bytes] = {
    "a sign-in page": http(200, b"<html>Sign in</html>", "Content-Type: text/html; charset=utf-8"),
    "a sign-in page without its type": http(200, b"\r\n <!doctype html><title>Sign in</title>"),
    "JSON that says it is text": http(200, PEOPLE, "Content-Type: text/plain"),
    "an object for a list": http(200, {"message": "try later"}),
    "null for a list": http(200, None),
    "depth beyond all measure": http(200, b"[" * 100_000 + b"]" * 100_000),
    "an encoding that was not asked for": http(200, PEOPLE, "Content-Encoding: gzip, gzip"),
}


@pytest.mark.parametrize("answer", UNEXPECTED)
def test_what_buildkite_would_not_say_is_told_at_once(
    answer: str, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(UNEXPECTED[answer])
    with pytest.raises(UnexpectedResponseError, match="GET /v2/people") as raised:
        people(connect(server.url))
    assert raised.value.code == "unexpected_response"
    for advice in ("BUILDKITE_API_URL", "HTTPS_PROXY"):
        assert advice in str(raised.value)
    assert len(server.requests) == 1


def test_a_sign_in_page_is_named_by_its_content_type(raw_serve: RawServe, connect: Connect) -> None:
    server = raw_serve(UNEXPECTED["a sign-in page"])
    with pytest.raises(UnexpectedResponseError, match="200 with text/html instead of JSON"):
        people(connect(server.url))


def test_a_body_that_unpacks_beyond_all_measure_is_not_read(
    raw_serve: RawServe, connect: Connect
) -> None:
    """Little more than a megabyte of gzip holds 300 MB of blanks."""
    bomb = gzip.compress(b" " * 300_000_000, 1)
    server = raw_serve(http(200, bomb, _GZIP))
    with pytest.raises(BodyTooLargeError, match="more than 256 MB"):
        people(connect(server.url))
    assert len(server.requests) == 1


def test_headers_that_drip_end_with_the_patience(raw_serve: RawServe, connect: Connect) -> None:
    def drip(handler: Handler, head: bytes) -> None:
        del head
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.02)

    server = raw_serve(drip)
    with pytest.raises(ServerTroubleError, match="too slowly"):
        people(connect(server.url, attempts=5, patience_seconds=0.5))
    assert len(server.requests) == 1


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_requests_to_this_machine_never_pass_a_proxy(
    variable: str, raw_serve: RawServe, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = raw_serve(WHOLE), raw_serve(WHOLE)
    monkeypatch.setenv(variable, proxy.url.removesuffix("/v2"))
    assert people(connect(server.url)) == ["Ada"]
    assert not proxy.requests


@pytest.mark.parametrize(
    "host",
    ["127.0.0.2", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"],  # noqa: S104 - nothing listens there
)
def test_no_name_of_this_machine_leads_through_a_proxy(
    host: str, raw_serve: RawServe, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = raw_serve(WHOLE), raw_serve(WHOLE)
    monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v2"))
    # Some of these names do not lead to a server that listens on 127.0.0.1 alone.
    with suppress(UnreachableError):
        people(connect(f"http://{host}:{server.port}/v2", attempts=1))
    assert not proxy.requests


@pytest.mark.parametrize("no_proxy", ["", "buildkite.invalid", ".invalid", "*"])
def test_requests_elsewhere_pass_the_proxy_unless_told_otherwise(
    no_proxy: str, raw_serve: RawServe, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = raw_serve(http(502))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/v2"))
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with pytest.raises(UnreachableError):
        people(connect("https://buildkite.invalid/v2", attempts=1))
    asked = [head.split(b"\r\n")[0] for head in proxy.requests]
    assert asked == ([] if no_proxy else [b"CONNECT buildkite.invalid:443 HTTP/1.1"])
    assert TOKEN.encode() not in b"".join(proxy.requests)


def test_certificates_that_cannot_be_read_are_told(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(CertificatesError, match=r"SSL_CERT_FILE .*: No such file"):
        connect("https://api.example.com/v2")


@pytest.mark.parametrize(
    "proxy", ["http://me:hunter2@proxy:port", "gopher://me:hunter2@proxy", "me:hunter2"]
)
def test_a_wrong_proxy_is_told_without_its_password(
    proxy: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ProxyError, match="HTTPS_PROXY") as raised:
        connect("https://api.example.com/v2")
    told = "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in told


def test_a_proxy_that_wants_a_password_is_named(raw_serve: RawServe, connect: Connect) -> None:
    server = raw_serve(http(407, b"<html>Proxy Authentication Required</html>"))
    with pytest.raises(ProxyError, match="answered 407"):
        people(connect(server.url))


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.usefixtures("at_once")
def test_trouble_is_tried_again(trouble: str, raw_serve: RawServe, connect: Connect) -> None:
    def answer_once(handler: Handler, head: bytes) -> None:
        fault = TROUBLES[trouble]
        if isinstance(fault, bytes):
            handler.wfile.write(fault)
        else:
            fault(handler, head)

    server = raw_serve(answer_once, WHOLE)
    assert people(connect(server.url, timeout_seconds=1)) == ["Ada"]
    assert len(server.requests) == 2


@pytest.mark.parametrize("trouble", ["502 in HTML", "truncated", "invalid JSON"])
@pytest.mark.usefixtures("at_once")
def test_lasting_trouble_is_told_after_as_many_attempts_as_allowed(
    trouble: str, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(TROUBLES[trouble])
    with pytest.raises(ServerTroubleError, match="GET /v2/people") as raised:
        people(connect(server.url, attempts=3))
    assert raised.value.code == "unreachable"
    assert "ry again" in str(raised.value)
    assert len(server.requests) == 3


def test_trouble_is_told_when_patience_ends(raw_serve: RawServe, connect: Connect) -> None:
    server = raw_serve(http(500))
    with pytest.raises(ServerTroubleError):
        people(connect(server.url, attempts=1000, patience_seconds=0.5))
    # One at once, one after at most 1.5 s of waiting, which is beyond the patience.
    assert len(server.requests) <= 3


def test_a_body_that_dribbles_ends_with_the_patience(raw_serve: RawServe, connect: Connect) -> None:
    def dribble(handler: Handler, head: bytes) -> None:
        del head
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            handler.wfile.write(b" ")
            time.sleep(0.02)

    server = raw_serve(dribble)
    with pytest.raises(ServerTroubleError, match="too slowly"):
        people(connect(server.url, attempts=5, patience_seconds=0.5))
    assert len(server.requests) == 1


@pytest.mark.usefixtures("at_once")
def test_a_refused_connection_says_so(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v2"
        with pytest.raises(UnreachableError, match=r"no connection to 127\.0\.0\.1") as raised:
            people(connect(url, attempts=2))
    assert "BUILDKITE_API_URL" in str(raised.value)


# 429


def limited(body: object, *headers: str) -> bytes:
    """A 429."""
    return http(429, body, *headers)


_ORGANIZATION_RESET = "RateLimit-Reset: 7"
_USER_RESET = "RateLimit-User-Reset: 42"


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (limited({"scope": "rest", "reset": 3}, _ORGANIZATION_RESET, _USER_RESET), 7),
        (limited({"scope": "rest_user", "reset": 3}, _ORGANIZATION_RESET, _USER_RESET), 42),
        (limited({"scope": "rest", "reset": 3}), 3),
        (limited({"scope": "rest_user", "reset": 3}, _ORGANIZATION_RESET), 3),
        (limited({"scope": "rest", "reset": 3}, "RateLimit-Reset: -5"), 3),
        (limited({"scope": "rest", "reset": 3}, "RateLimit-Reset: 100000"), 3),
        (limited({"scope": "rest", "reset": 3}, "RateLimit-Reset: soon"), 3),
        (limited({"scope": "rest", "reset": 3}, "RateLimit-Reset: nan"), 3),
        (limited({"scope": "rest", "reset": "3"}), 3),
        (limited({"scope": "rest", "reset": -3}, "Retry-After: 9"), 9),
        (limited({"scope": "rest", "reset": None}, "Retry-After: 9"), 9),
        (limited({"message": "slow down"}, "Retry-After: 9"), 9),
        (limited({}, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"), 60),
        (limited({"scope": "rest", "reset": 1e300}), 60),
        (limited({"scope": ["rest"], "reset": 3}), 60),
        (limited(b"<html>Too Many Requests</html>"), 60),
        (limited(b""), 60),
    ],
)
def test_a_429_says_how_long_to_wait(
    answer: bytes, seconds: float, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(answer)
    with pytest.raises(RateLimitedError) as raised:
        people(connect(server.url, attempts=1))
    assert raised.value.reset_seconds == seconds
    assert raised.value.code == "rate_limited"
    assert f"Waiting {seconds:.0f} s" in str(raised.value)
    assert "BUILDKITE_RATE_SHARE" in str(raised.value)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("at_once")
def test_a_429_is_waited_for(raw_serve: RawServe, connect: Connect) -> None:
    times: list[float] = []

    def refuse(handler: Handler, head: bytes) -> None:
        del head
        times.append(time.monotonic())
        handler.wfile.write(limited({"scope": "rest", "reset": 1}))

    def answer(handler: Handler, head: bytes) -> None:
        del head
        times.append(time.monotonic())
        handler.wfile.write(dated(WHOLE))

    assert people(connect(raw_serve(refuse, answer).url)) == ["Ada"]
    assert times[1] - times[0] >= 1


# What comes back


def test_connections_are_kept_alive(raw_serve: RawServe, connect: Connect) -> None:
    server = raw_serve(WHOLE)
    client = connect(server.url)
    for _ in range(5):
        people(client)
    assert (len(server.requests), server.connections) == (5, 1)


def test_a_refusal_leaves_the_connection_open(raw_serve: RawServe, connect: Connect) -> None:
    server = raw_serve(http(404, {"message": "No"}), WHOLE)
    client = connect(server.url)
    with pytest.raises(NotFoundError):
        people(client)
    assert people(client) == ["Ada"]
    assert server.connections == 1


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_of_any_length_needs_no_length(
    raw_serve: RawServe, connect: Connect, *, is_chunked: bool
) -> None:
    body = json.dumps([{"id": ID, "name": "x" * 20_000_000}]).encode()

    def answer(handler: Handler, head: bytes) -> None:
        del head
        if is_chunked:
            handler.wfile.write(dated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
            handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            handler.wfile.write(dated(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n") + body)

    client = connect(raw_serve(answer).url)
    page = client.get("people", None, lambda content: decode_list(content, Person))
    assert page.size_bytes == len(body)
    assert len(page.body[0].name or "") == 20_000_000


def test_the_size_is_that_of_the_unpacked_body(raw_serve: RawServe, connect: Connect) -> None:
    client = connect(raw_serve(http(200, _PACKED, _GZIP)).url)
    page = client.get("people", None, lambda body: decode_list(body, Person))
    assert page.size_bytes == len(json.dumps(PEOPLE))


def test_the_scopes_are_the_servers(raw_serve: RawServe, connect: Connect) -> None:
    client = connect(raw_serve(http(200, PEOPLE[0], "X-OAuth-Scopes: read_builds, read_user")).url)
    answer = client.get("user", None, lambda body: decode_one(body, Person))
    assert answer.scopes == {"read_builds", "read_user"}


@pytest.mark.parametrize(
    "link",
    ["", "nonsense", '<>; rel="last"', '<http://127.0.0.1/v2/organizations?page=2>; rel="prev"'],
)
def test_only_a_next_link_goes_on(link: str, raw_serve: RawServe, connect: Connect) -> None:
    server = raw_serve(http(200, [], f"Link: {link}"))
    pages = list(every_item(connect(server.url), "organizations", Organization))
    assert len(pages) == len(server.requests) == 1


def test_a_state_folder_that_cannot_be_made_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildkiteError, match="Set XDG_STATE_HOME"):
        Client("http://127.0.0.1:1/v2", TOKEN)
