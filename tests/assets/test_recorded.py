"""Builds that Buildkite really sent land completely and exactly."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.sandbox import Sandbox, SandboxServer, serve
from buildkite_assets.warehouse import connect
from tests import truth
from tests.syncing import empty_sandbox, read

RECORDED = Path(__file__).parents[2] / "../shared/recorded"

SETS = {
    "segment": ("segment-analytics-next/builds_page_clean.json", date(2024, 7, 22), 3, 45),
    "buildkiterb": ("buildkiterb-vcr/build_list_org.json", date(2023, 8, 20), 3, 12),
    "shopify": ("shopify-buildkit-vcr/organization_builds.json", date(2015, 4, 23), 2, 39),
    "shopify, one pipeline": (
        "shopify-buildkit-vcr/pipeline_builds.json",
        date(2015, 4, 23),
        2,
        76,
    ),
}

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="the recorded responses are not here")


@pytest.mark.parametrize("name", SETS)
def test_recorded_builds_land_completely_and_exactly(name: str, tmp_path: Path) -> None:
    file, day, builds, jobs = SETS[name]
    path, recorded = tmp_path / "w.duckdb", bodies(file)
    with served(recorded) as server:
        organization_id = server.sandbox.organization("acme").id
        # Pages of one build: the two builds of a page must not be taken for the whole list.
        for page_size in (PageSize(first=1, target_bytes=1), PageSize()):
            read(server, path, [day], page_size)
            expected = truth.by_first_column(
                truth.build_row(body, organization_id, body["pipeline"]["id"]) for body in recorded
            )
            assert truth.read_rows(path, "builds") == expected
            assert len(expected) == builds
            expected = truth.by_first_column(
                truth.job_row(job, body, organization_id)
                for body in recorded
                for job in body["jobs"]
            )
            assert truth.read_rows(path, "jobs") == expected
            assert len(expected) == jobs
    with connect(path) as connection:
        assert connection.execute("FROM rejected_builds").fetchall() == []


def test_recorded_instants_are_kept_to_the_millisecond(tmp_path: Path) -> None:
    file, day, _, _ = SETS["segment"]
    path = tmp_path / "w.duckdb"
    with served(bodies(file)) as server:
        read(server, path, [day], PageSize())
    with connect(path) as connection:
        [times] = connection.execute(
            "SELECT created_at, scheduled_at, finished_at FROM builds WHERE number = 50302"
        ).fetchall()
    assert times == (
        datetime(2024, 7, 22, 17, 34, 53, 501_000),  # noqa: DTZ001 - UTC without saying so
        datetime(2024, 7, 22, 17, 34, 53, 449_000),  # noqa: DTZ001
        datetime(2024, 7, 22, 17, 39, 58, 132_000),  # noqa: DTZ001
    )


def bodies(file: str) -> list[dict[str, Any]]:
    """The builds of a recorded page, which may stand within its request and response."""
    page = json.loads((RECORDED / file).read_text())
    if "response" in page[0]:
        page = page[0]["response"]["body"]
        page = json.loads(page) if isinstance(page, str) else page
    builds: list[dict[str, Any]] = page
    return builds


@contextmanager
def served(builds: list[dict[str, Any]]) -> Iterator[SandboxServer]:
    """Serve recorded builds as the lists of a sandbox's organization."""
    sandbox, _ = empty_sandbox()
    sandbox.faults = recorded_answers(sandbox, builds)
    with serve(sandbox) as server:
        yield server


def recorded_answers(sandbox: Sandbox, builds: list[dict[str, Any]]) -> Any:  # noqa: ANN401
    """Answer lists of builds and pipelines like Buildkite; the rest is the sandbox's."""
    newest_first = sorted(builds, key=in_iso, reverse=True)
    headers = {"Date": sandbox.clock().strftime("%a, %d %b %Y %H:%M:%S GMT")}

    def answer(request: Request) -> ASGIApp | None:
        if request.url.path == "/v2/organizations/acme/pipelines":
            pipelines = {body["pipeline"]["id"]: body["pipeline"] for body in builds}
            known = [
                {"created_at": "2014-01-01 00:00:00 UTC", **pipeline}
                for pipeline in pipelines.values()
            ]
            return JSONResponse(known, headers=headers)
        if request.url.path != "/v2/organizations/acme/builds":
            return None
        query = request.query_params
        matching = [
            {key: value for key, value in body.items() if key != "pipeline"}
            for body in newest_first
            if query["created_from"] <= in_iso(body) < query["created_to"]
        ]
        page, per_page = int(query.get("page", 1)), int(query["per_page"])
        more = dict(headers)
        if len(matching) > page * per_page:
            following = request.url.include_query_params(page=page + 1)
            more["Link"] = f'<{following}>; rel="next"'
        return JSONResponse(matching[(page - 1) * per_page : page * per_page], headers=more)

    return answer


def in_iso(body: dict[str, Any]) -> str:
    """When a build was created, comparable with a query's `…Z` as text."""
    at = truth.instant(body["created_at"])
    assert at
    return at.isoformat(timespec="milliseconds") + "Z"
