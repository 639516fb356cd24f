"""The connection doctor: one code and one message for each thing that can be wrong."""

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.responses import JSONResponse

from buildkite_assets.buildkite.connection import (
    Connection,
    OrganizationAccess,
    check_connection,
)
from buildkite_assets.sandbox import Sandbox, SandboxServer, Token, serve
from buildkite_assets.terminal import check_report

from .conftest import TOKEN, Connect, RawServe, http, unlimited

Json = Any
"""A JSON value; tests look into it without declaring its form."""

Check = Callable[..., Connection]


@pytest.fixture
def check(server: SandboxServer, connect: Connect) -> Check:
    """Return what checks a token, by default the administrator's, as the command line does."""

    def run(*wanted: str, token: Token | None = None) -> Connection:
        value = (token or server.sandbox.tokens.administrator).value
        return check_connection(connect(server.url, value, attempts=1), wanted)

    return run


def test_a_token_that_does_is_described(check: Check, sandbox: Sandbox) -> None:
    token = sandbox.tokens.administrator
    token.expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
    connection = check()
    assert (connection.ok, connection.code) == (True, None)
    assert connection.message == "The token can do everything that a sync needs."
    assert connection.user_email == token.user.email
    assert connection.expires_at == token.expires_at
    assert connection.scopes == sorted(token.scopes)
    assert connection.missing_scopes == []
    assert connection.organizations == [
        OrganizationAccess("acme", "Acme", pipelines=1, is_administrator=True)
    ]
    assert len(connection.rate_limits) == 2
    assert len(sandbox.requests) == 4


def test_a_member_is_no_administrator(check: Check, sandbox: Sandbox) -> None:
    (organization,) = check(token=sandbox.tokens.member).organizations
    assert organization.is_administrator is False


def test_whether_someone_administers_is_unknown_where_members_are_not_shown(
    raw_serve: RawServe, connect: Connect
) -> None:
    scopes = ["read_organizations", "read_pipelines", "read_builds", "read_clusters"]
    organization_id = "0190a9de-0000-7000-8000-000000000001"
    pipeline = {"id": organization_id, "slug": "web", "created_at": "2024-01-01T00:00:00Z"}
    server = raw_serve(
        http(200, {"uuid": "x", "scopes": scopes}),
        http(200, [{"id": organization_id, "slug": "acme"}]),
        http(200, [pipeline]),
        http(403, {"message": "Forbidden"}),
    )
    connection = check_connection(connect(server.url, attempts=1), ())
    assert connection.ok
    assert connection.organizations == [OrganizationAccess("acme", None, 1, None)]
    assert (connection.user_email, connection.expires_at) == (None, None)


# invalid_credentials


def test_an_expired_token_is_invalid(check: Check, sandbox: Sandbox) -> None:
    connection = check(token=sandbox.tokens.expired)
    assert (connection.ok, connection.code) == (False, "invalid_credentials")
    assert "wrong, revoked or expired" in connection.message
    assert len(sandbox.requests) == 1


def test_an_unknown_token_is_invalid(server: SandboxServer, connect: Connect) -> None:
    connection = check_connection(connect(server.url, "nobody", attempts=1), ())
    assert connection.code == "invalid_credentials"


def test_a_token_that_is_revoked_meanwhile_is_invalid(
    server: SandboxServer, check: Check, sandbox: Sandbox
) -> None:
    del server

    def revoke(request: object) -> None:
        del request
        if len(sandbox.requests) == 1:
            sandbox.tokens.revoke(sandbox.tokens.administrator)

    sandbox.faults = revoke
    assert check().code == "invalid_credentials"


# invalid_permissions


@pytest.mark.parametrize("scope", ["read_organizations", "read_pipelines", "read_builds"])
def test_a_scope_that_a_sync_cannot_do_without_is_named(
    scope: str, check: Check, sandbox: Sandbox
) -> None:
    token = sandbox.tokens.administrator
    token.scopes = tuple(one for one in token.scopes if one != scope)
    connection = check()
    assert (connection.ok, connection.code) == (False, "invalid_permissions")
    assert connection.missing_scopes == [scope]
    assert scope in connection.message


def test_a_scope_that_a_sync_can_do_without_is_named_and_does_not_fail(
    check: Check, sandbox: Sandbox
) -> None:
    connection = check(token=sandbox.tokens.without_read_clusters)
    assert (connection.ok, connection.code) == (True, None)
    assert connection.missing_scopes == ["read_clusters"]
    assert connection.message == (
        "The token lacks scopes, and with them tables: read_clusters (clusters, queues)."
    )


def test_what_an_allow_list_says_is_repeated(raw_serve: RawServe, connect: Connect) -> None:
    refusal = {"message": "Your IP address is not allowed"}
    connection = check_connection(connect(raw_serve(http(403, refusal)).url, attempts=1), ())
    assert connection.code == "invalid_permissions"
    assert "Your IP address is not allowed" in connection.message


def test_an_organization_that_refuses_is_named_beside_those_that_answer(connect: Connect) -> None:
    sandbox = unlimited(Sandbox.company(days=1, builds_per_day=1))
    sandbox.faults = lambda request: (
        JSONResponse({"message": "Forbidden"}, 403) if "/umbrella/" in request.url.path else None
    )
    with serve(sandbox) as server:
        client = connect(server.url, sandbox.tokens.administrator.value, attempts=1)
        connection = check_connection(client, ("acme", "umbrella"))
    assert (connection.ok, connection.code) == (False, "invalid_permissions")
    assert connection.message.startswith("umbrella: pipelines not read: invalid_permissions: ")
    assert [organization.slug for organization in connection.organizations] == ["acme"]


# no_resources


def test_a_wrong_slug_lists_the_slugs_that_are_seen(check: Check) -> None:
    connection = check("acmee")
    assert (connection.ok, connection.code) == (False, "no_resources")
    assert "does not see the organization acmee. It sees: acme." in connection.message


def test_a_token_of_another_organization_lists_its_own(connect: Connect) -> None:
    sandbox = unlimited(Sandbox.company(days=1, builds_per_day=1))
    sandbox.tokens.administrator.organizations = ("umbrella",)
    with serve(sandbox) as server:
        client = connect(server.url, sandbox.tokens.administrator.value, attempts=1)
        connection = check_connection(client, ("acme",))
    assert connection.code == "no_resources"
    assert "does not see the organization acme. It sees: umbrella." in connection.message


def test_an_empty_organization_has_nothing_to_sync(connect: Connect) -> None:
    sandbox = unlimited(Sandbox.company(days=1, builds_per_day=1))
    with serve(sandbox) as server:
        client = connect(server.url, sandbox.tokens.administrator.value, attempts=1)
        connection = check_connection(client, ("vacant",))
        both = check_connection(client, ("vacant", "umbrella"))
    assert (connection.ok, connection.code) == (False, "no_resources")
    assert "sees no pipeline in vacant" in connection.message
    assert [organization.pipelines for organization in connection.organizations] == [0]
    assert (both.ok, [one.pipelines for one in both.organizations]) == (True, [1, 0])


# unreachable, rate_limited


def test_a_refused_connection_is_unreachable(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v2"
        connection = check_connection(connect(url, attempts=1), ())
    assert (connection.ok, connection.code) == (False, "unreachable")
    assert "BUILDKITE_API_URL" in connection.message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http(502, b"<html>Bad Gateway</html>"), "unreachable"),
        (http(200, b"<html>Log in"), "unexpected_response"),
        (http(200, []), "unexpected_response"),
    ],
)
def test_an_answer_that_is_not_buildkites_is_reported_after_one_request(
    answer: bytes, code: str, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(answer)
    assert check_connection(connect(server.url, attempts=1), ()).code == code
    assert len(server.requests) == 1


@pytest.mark.parametrize("scope", ["rest", "rest_user"])
def test_an_allowance_that_others_used_up_is_told(
    scope: Any,  # noqa: ANN401 - one of the sandbox's two words
    check: Check,
    sandbox: Sandbox,
) -> None:
    sandbox.limits.organization_limit = 200
    sandbox.limits.user_limit = 50
    sandbox.limits.consume(300, scope)
    connection = check()
    assert (connection.ok, connection.code) == (False, "rate_limited")
    assert "You have exceeded your API rate limit" in connection.message
    assert len(sandbox.requests) == 1


# For scripts


def test_the_report_is_one_json_object(check: Check, sandbox: Sandbox) -> None:
    sandbox.limits.user_limit = 5000
    report: Json = json.loads(check_report(check(), ()))
    assert report["ok"] is True
    assert report["code"] is None
    assert report["missing_scopes"] == []
    assert report["organizations"] == [
        {"slug": "acme", "name": "Acme", "pipelines": 1, "is_administrator": True}
    ]
    assert [limit["limit"] for limit in report["rate_limits"]] == [1_000_000, 5000]
    assert set(report) == {
        "ok",
        "code",
        "message",
        "user_email",
        "expires_at",
        "scopes",
        "missing_scopes",
        "organizations",
        "rate_limits",
        "rules",
    }


def test_the_report_of_a_failure_has_the_same_keys(
    check: Check, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(http(401, {"message": f"{TOKEN} is unknown"}))
    text = check_report(check_connection(connect(server.url, attempts=1), ()), ())
    assert TOKEN not in text
    assert set(json.loads(text)) == set(json.loads(check_report(check(), ())))
