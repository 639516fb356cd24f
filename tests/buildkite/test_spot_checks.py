"""Cheap questions about builds: is this one there, is that all of them?"""

from datetime import UTC, datetime, timedelta

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.listings import Window
from buildkite_assets.buildkite.spot_checks import (
    build_of_number,
    has_builds_before,
    listed_builds,
)
from buildkite_assets.sandbox import Organization, Sandbox, SandboxServer

DAY = datetime(2026, 10, 1, tzinfo=UTC)
WINDOW = Window(DAY, DAY + timedelta(days=1))


def test_the_builds_of_a_window_come_with_their_addresses(
    acme: Organization, client: Client, server: SandboxServer
) -> None:
    builds = [
        acme.create_build("web", state="passed", created_at=DAY + timedelta(minutes=n))
        for n in range(101)
    ]
    acme.create_build("web", state="passed", created_at=WINDOW.created_to)
    listed = listed_builds(client, "acme", WINDOW)
    assert listed.keys() == {build.id for build in builds}
    assert listed[builds[0].id].pipeline_slug == "web"
    assert listed[builds[0].id].web_url == "https://buildkite.com/acme/web/builds/1"
    assert len(server.sandbox.requests) == 2
    assert all(
        "jobs" not in str(request.query) or request.query["exclude_jobs"] == "true"
        for request in server.sandbox.requests
    )


def test_a_day_that_is_too_deep_to_list_is_listed_in_parts(
    acme: Organization, client: Client, sandbox: Sandbox
) -> None:
    builds = [
        acme.create_build("web", state="passed", created_at=DAY + timedelta(minutes=n))
        for n in range(230)
    ]
    sandbox.depth_limit = 100
    assert listed_builds(client, "acme", WINDOW).keys() == {build.id for build in builds}


def test_a_build_is_found_by_its_number_or_not(acme: Organization, client: Client) -> None:
    build = acme.create_build("web", state="passed")
    found = build_of_number(client, "acme", "web", build.number)
    assert found is not None
    assert found.id == build.id
    assert build_of_number(client, "acme", "web", build.number + 1) is None
    assert build_of_number(client, "acme", "no such pipeline", 1) is None


def test_whether_there_is_any_build_before_an_instant(acme: Organization, client: Client) -> None:
    acme.create_build("web", state="passed", created_at=DAY)
    assert has_builds_before(client, "acme", DAY + timedelta(seconds=1))
    assert not has_builds_before(client, "acme", DAY)
