"""Every build of a window, whatever happens while its pages are read."""

import gzip
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.errors import (
    DepthRefusedError,
    ServerTroubleError,
    UnexpectedResponseError,
    UnreachableError,
)
from buildkite_assets.buildkite.listings import Window, api_path, builds_of, every_item
from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.buildkite.records import Organization, Pipeline
from buildkite_assets.sandbox import Organization as SandboxOrganization
from buildkite_assets.sandbox import Sandbox, SandboxServer, serve
from buildkite_assets.sandbox.model import Build, Step

from .conftest import Connect, RawServe, http, unlimited
from .test_decoding import build_body, identifier

Json = Any
"""A JSON value; tests look into it without declaring its form."""

START = datetime(2026, 10, 1, 12, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(seconds=20))


def sized(largest: int) -> PageSize:
    """A page size that starts at `largest` and never exceeds it."""
    size = PageSize(first=largest)
    size.limit(largest)
    return size


def ids_of(client: Client, size: PageSize, window: Window = WINDOW) -> list[str]:
    """The ids of a window's builds as read, repeated where pages overlap."""
    pages = builds_of(client, "acme", window, size)
    return [build.id for page in pages for build in page.body.builds]


# Nothing is lost, whatever the builds and whatever happens meanwhile


@pytest.fixture(scope="module")
def shared() -> Iterator[SandboxServer]:
    """Serve a sandbox to all examples; each leaves it without builds."""
    with serve(unlimited(Sandbox.empty())) as server:
        yield server


@pytest.fixture(scope="module")
def shared_client(
    shared: SandboxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """Return a client of the shared sandbox."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with Client(shared.url, shared.sandbox.tokens.administrator.value) as client:
            yield client


instants = st.builds(
    lambda second, microsecond: START + timedelta(seconds=second, microseconds=microsecond),
    st.sampled_from([-1, 0, 1, 2, 2, 2, 7, 13, 19, 19, 20]),
    st.sampled_from([0, 0, 1, 500_000, 999_999]),
)
meanwhile = st.one_of(
    st.none(), instants, st.integers(0, 100)
)  # nothing; a build is created; the nth is deleted


@given(st.lists(instants, max_size=30), st.integers(1, 7), st.lists(meanwhile, max_size=12))
@settings(max_examples=120, deadline=None)
def test_every_build_that_exists_throughout_is_found(
    shared: SandboxServer,
    shared_client: Client,
    created: list[datetime],
    size: int,
    events: list[datetime | int | None],
) -> None:
    sandbox = shared.sandbox
    acme = sandbox.organization("acme")
    builds = [acme.create_build("web", jobs=0, created_at=at) for at in created]
    deleted: set[str] = set()
    upcoming = list(events)

    def happen(_: Request) -> None:
        event = upcoming.pop(0) if upcoming else None
        if isinstance(event, datetime):
            builds.append(acme.create_build("web", jobs=0, created_at=event))
        elif isinstance(event, int) and acme.builds:
            build = acme.builds[event % len(acme.builds)]
            deleted.add(build.id)
            acme.delete_build(build)

    throughout = list(builds)
    # As low as a second can still be paged through.
    most = max(Counter(at.replace(microsecond=0) for at in created).values(), default=0)
    room = most + sum(isinstance(event, datetime) for event in events)
    sandbox.depth_limit = max(1, -(-room // size)) * size
    sandbox.before_page = happen
    try:
        found = set(ids_of(shared_client, sized(size)))
    finally:
        sandbox.before_page = None
        for build in list(acme.builds):
            acme.delete_build(build)
    assert found >= {build.id for build in throughout if inside(build)} - deleted
    assert found <= {build.id for build in builds if inside(build)}


def inside(build: Build) -> bool:
    """Whether a build is of the window."""
    return WINDOW.created_from <= build.created_at < WINDOW.created_to


def test_a_build_that_deletions_shift_past_two_passes_is_found_by_a_third(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    created = [acme.create_build("web", jobs=0, created_at=START) for _ in range(24)]
    listed = sorted(created, key=lambda build: build.id, reverse=True)
    # Before the nth request: in pages of four the 13th build slips from the fourth page to the
    # third once that is read, and in the next pass to the second.
    window = Window(START, START + timedelta(seconds=1))
    requests_before_the_passes = 1
    doomed = {requests_before_the_passes + 4: listed[:1]}
    doomed[requests_before_the_passes + 6 + 3] = listed[1:5]

    def delete(_: Request) -> None:
        for build in doomed.get(len(sandbox.requests) + 1, []):
            acme.delete_build(build)

    sandbox.before_page = delete
    found = set(ids_of(client, sized(4), window))
    assert found >= {build.id for build in listed[5:]}
    assert len(acme.builds) == 24 - 5


def test_the_window_is_half_open(client: Client, acme: SandboxOrganization) -> None:
    edge = timedelta(microseconds=1)
    ends = (START - edge, START, WINDOW.created_to - edge, WINDOW.created_to)
    builds = [acme.create_build("web", jobs=0, created_at=at) for at in ends]
    assert sorted(ids_of(client, PageSize())) == sorted(b.id for b in builds[1:3])


def test_the_window_of_a_day_is_its_utc_day() -> None:
    window = Window.of_day(date(2026, 10, 1))
    assert window.created_from == datetime(2026, 10, 1, tzinfo=UTC)
    assert window.created_to == datetime(2026, 10, 2, tzinfo=UTC)


def test_an_empty_window_takes_one_request(client: Client, sandbox: Sandbox) -> None:
    assert ids_of(client, PageSize()) == []
    (request,) = sandbox.requests
    assert request.query == {
        "include_retried_jobs": "true",
        "created_from": "2026-10-01T12:00:00Z",
        "created_to": "2026-10-01T12:00:20Z",
        "per_page": "10",
    }


def test_builds_that_wait_in_a_paused_queue_are_listed(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    """Trap 23: `include_paused=false` would leave them out, so it is never sent."""
    queue = acme.add_queue(acme.clusters[0], "slow")
    queue.dispatch_paused = True
    step = Step("script", queue_key="slow")
    build = acme.create_build("web", jobs=[step], state="running", created_at=START)
    [page] = builds_of(client, "acme", WINDOW, PageSize())
    assert [(each.id, len(each.jobs)) for each in page.body.builds] == [(build.id, 1)]
    assert all("include_paused" not in request.query for request in sandbox.requests)


def test_further_filters_are_passed_on(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    for state in ("passed", "running", "failing"):
        acme.create_build("web", state=state, created_at=START)
    filters = {"state[]": ["running", "failing"]}
    pages = builds_of(client, "acme", WINDOW, PageSize(), filters)
    assert {build.state for page in pages for build in page.body.builds} == {"running", "failing"}
    assert len(sandbox.requests) == 1


# Requests are the cost that counts


def test_small_builds_cost_little_more_than_a_request_for_a_hundred(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    chance = random.Random(7)
    days = [START.replace(hour=0) + timedelta(days=day) for day in range(3)]
    for day in days:
        for _ in range(1500):
            acme.create_build("web", jobs=0, created_at=day + timedelta(
                microseconds=chance.randrange(86_400_000_000)))  # fmt: skip
    size = PageSize()
    found = {
        build_id for day in days for build_id in ids_of(client, size, Window.of_day(day.date()))
    }
    assert len(found) == 4500
    assert len(sandbox.requests) <= 1.05 * 45 + 3 * 3


def test_a_crowded_second_costs_two_passes(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    for _ in range(250):
        acme.create_build("web", jobs=0, created_at=START)
    assert len(set(ids_of(client, PageSize(first=100)))) == 250
    # Two go down to the second and tell that it is crowded; two passes have three pages each.
    assert len(sandbox.requests) == 2 + 2 * 3


# Page size


def gateway_timeout_above(largest: int, sandbox: Sandbox) -> None:
    """Let larger pages fail as behind a gateway."""

    def fault(request: Request) -> ASGIApp | None:
        if int(request.query_params.get("per_page", 0)) > largest:
            return HTMLResponse("<html><title>504 Gateway Time-out</title></html>", 504)
        return None

    sandbox.faults = fault


@pytest.mark.usefixtures("at_once")
def test_pages_shrink_where_the_gateway_gives_up_and_grow_back(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    for second in range(900):
        acme.create_build("web", jobs=0, created_at=START - timedelta(seconds=second))
    window = Window(START - timedelta(hours=1), START + timedelta(seconds=1))
    size = PageSize(first=100)
    gateway_timeout_above(30, sandbox)
    assert len(set(ids_of(client, size, window))) == 900
    statuses = Counter(request.status for request in sandbox.requests)
    assert statuses[504] <= statuses[200] / 3
    assert size.builds <= 50
    sandbox.faults = None
    ids_of(client, size, window)
    ids_of(client, size, window)
    assert size.builds == 100


@pytest.mark.usefixtures("at_once")
def test_pages_shrink_where_the_server_falls_silent(
    server: SandboxServer, connect: Connect, acme: SandboxOrganization
) -> None:
    sandbox = server.sandbox
    for second in range(20):
        acme.create_build("web", jobs=0, created_at=START + timedelta(seconds=second))

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        await anyio.sleep(2)

    def fault(request: Request) -> ASGIApp | None:
        return silent if int(request.query_params["per_page"]) > 10 else None

    sandbox.faults = fault
    client = connect(server.url, sandbox.tokens.administrator.value, timeout_seconds=0.4)
    size = PageSize(first=40)
    assert len(set(ids_of(client, size))) == 20


@pytest.mark.usefixtures("at_once")
def test_pages_shrink_also_within_a_crowded_second(
    server: SandboxServer, connect: Connect, acme: SandboxOrganization
) -> None:
    sandbox = server.sandbox
    for _ in range(40):
        acme.create_build("web", jobs=0, created_at=START)

    def fault(request: Request) -> ASGIApp | None:
        query = request.query_params
        is_heavy = query.get("page", "1") != "1" and int(query["per_page"]) > 3
        return HTMLResponse("<html>504</html>", 504) if is_heavy else None

    sandbox.faults = fault
    client = connect(server.url, sandbox.tokens.administrator.value, attempts=2)
    assert len(set(ids_of(client, sized(20)))) == 40


@pytest.mark.usefixtures("at_once")
def test_a_page_that_no_size_makes_possible_is_told_after_bounded_attempts(
    server: SandboxServer, connect: Connect
) -> None:
    sandbox = server.sandbox
    gateway_timeout_above(0, sandbox)
    client = connect(server.url, sandbox.tokens.administrator.value, attempts=4)
    with pytest.raises(ServerTroubleError, match="answered 504"):
        ids_of(client, PageSize(first=100))
    assert [int(request.query["per_page"]) for request in sandbox.requests] == [100, 50, 25, 12]


@pytest.mark.usefixtures("at_once")
def test_a_server_that_is_not_there_makes_no_page_smaller(connect: Connect) -> None:
    size = PageSize(first=40)
    with pytest.raises(UnreachableError):
        ids_of(connect("http://127.0.0.1:1/v2", attempts=2), size)
    assert size.builds == 40


def test_a_page_size_aims_at_comfortable_bodies() -> None:
    size = PageSize(first=10, target_bytes=1000)
    size.fit(10, 100)
    assert size.builds == 40  # ten bytes each: 100 would fit, but it grows fourfold at most
    size.fit(40, 400)
    assert size.builds == 100
    size.fit(100, 20_000)
    assert size.builds == 5
    size.fit(5, 50_000)
    assert size.builds == 1
    size.fit(0, 2)
    assert size.builds == 1


def test_a_page_size_that_is_refused_is_never_asked_for_again() -> None:
    size = PageSize(first=40)
    size.limit(20)
    size.limit(30)
    for _ in range(10):
        size.fit(size.builds, size.builds)
    assert size.builds == 20


# Depth


def test_a_depth_below_the_page_size_makes_pages_smaller(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    for second in range(20):
        acme.create_build("web", jobs=0, created_at=START + timedelta(seconds=second))
    sandbox.depth_limit = 3
    assert len(set(ids_of(client, PageSize()))) == 20
    assert [r.query["per_page"] for r in sandbox.requests if r.status == 400] == ["10", "5"]


def test_a_second_beyond_the_depth_is_an_error_not_a_loss(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    for _ in range(20):
        acme.create_build("web", jobs=0, created_at=START)
    sandbox.depth_limit = 12
    with pytest.raises(DepthRefusedError, match="this deep is not supported"):
        ids_of(client, sized(4))


# What a server may say


def sent(request: bytes) -> dict[str, str]:
    """The query of a request's head."""
    target = request.split(b" ")[1].decode()
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}


def test_the_window_moves_in_utc_whatever_the_offset_of_the_builds(
    raw_serve: RawServe, connect: Connect
) -> None:
    builds = [
        build_body(1, created_at="2026-10-01T14:00:19+02:00"),
        build_body(2, created_at="2026-10-01T05:00:05.5-07:00"),
    ]
    server = raw_serve(
        http(200, builds, 'Link: </v2/x?page=2>; rel="next"'), http(200, [build_body(3)])
    )
    assert len(ids_of(connect(server.url), sized(2))) == 3
    assert sent(server.requests[1])["created_to"] == "2026-10-01T12:00:06Z"


def test_a_build_that_claims_another_day_does_not_end_the_window(
    raw_serve: RawServe, connect: Connect
) -> None:
    builds = [
        build_body(1, created_at="1970-01-01T00:00:00Z"),
        build_body(2, created_at="2026-10-01T12:00:05Z"),
    ]
    server = raw_serve(
        http(200, builds, 'Link: </v2/x?page=2>; rel="next"'), http(200, [build_body(3)])
    )
    assert ids_of(connect(server.url), sized(2)) == [identifier(n) for n in (1, 2, 3)]
    assert sent(server.requests[1])["created_to"] == "2026-10-01T12:00:06Z"


def test_a_page_that_tells_no_time_is_followed_by_its_link(
    raw_serve: RawServe, connect: Connect
) -> None:
    link = 'Link: </v2/x?page=2>; rel="next"'
    server = raw_serve(
        http(200, [build_body(1) | {"created_at": None}], link), http(200, [build_body(2)])
    )
    pages = list(builds_of(connect(server.url), "acme", WINDOW, sized(1)))
    assert [len(page.body) for page in pages] == [1, 1]
    assert server.requests[1].startswith(b"GET /v2/x?page=2 ")


@pytest.mark.parametrize("body", [[], [build_body(1, created_at="2026-10-01T12:00:19.5Z")]])
def test_links_that_lead_in_a_circle_are_not_followed_for_ever(
    body: Json, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(http(200, body, 'Link: </v2/x?page=2>; rel="next"'))
    with pytest.raises(UnexpectedResponseError, match="circle"):
        ids_of(connect(server.url), sized(1))
    assert len(server.requests) <= 4


def test_a_list_that_never_ends_is_given_up(raw_serve: RawServe, connect: Connect) -> None:
    answers = [http(200, [], f'Link: </v2/x?page={n}>; rel="next"') for n in range(2, 1_100)]
    server = raw_serve(*answers)
    with pytest.raises(UnexpectedResponseError, match="goes on after 1,000 pages"):
        list(every_item(connect(server.url), "x", Organization))
    assert len(server.requests) == 1_001


def test_a_page_that_is_too_large_is_asked_for_with_fewer_builds(
    client: Client, sandbox: Sandbox, acme: SandboxOrganization
) -> None:
    for second in range(20):
        acme.create_build("web", jobs=0, created_at=START + timedelta(seconds=second))
    huge = gzip.compress(b" " * 257_000_000, 1)

    def fault(request: Request) -> Response | None:
        is_huge = int(request.query_params["per_page"]) > 5
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return Response(huge, headers=headers) if is_huge else None

    sandbox.faults = fault
    assert len(set(ids_of(client, PageSize(first=10)))) == 20


# Other lists


def test_every_page_of_a_list_is_read(client: Client, acme: SandboxOrganization) -> None:
    for number in range(230):
        acme.add_pipeline(f"p{number}")
    path = api_path("organizations", "acme", "pipelines")
    pages = list(every_item(client, path, Pipeline))
    assert [len(page.body) for page in pages] == [100, 100, 31]
    assert {pipeline.slug for page in pages for pipeline in page.body} == set(acme.pipelines)


def test_names_are_encoded_in_paths() -> None:
    assert api_path("organizations", "a/b ?#ü") == "organizations/a%2Fb%20%3F%23%C3%BC"


def test_a_list_of_one_page_takes_one_request(client: Client, sandbox: Sandbox) -> None:
    (page,) = every_item(client, "organizations", Organization)
    assert [organization.slug for organization in page.body] == ["acme"]
    assert len(sandbox.requests) == 1
