"""What Buildkite has is what the warehouse has, row by row and column by column."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from starlette.requests import Request

from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.sandbox import Sandbox, SandboxServer, serve
from buildkite_assets.warehouse import connect
from tests.syncing import (
    StandingClock,
    assert_true,
    empty_sandbox,
    environment,
    read,
    sync,
    without_limits,
)

DAYS = 30


@pytest.fixture(scope="module")
def clock() -> StandingClock:
    """Return the clock of the company."""
    return StandingClock()


@pytest.fixture(scope="module")
def company(clock: StandingClock) -> Iterator[SandboxServer]:
    """Serve a company's month, which no test changes."""
    sandbox = without_limits(Sandbox.company(clock=clock, days=DAYS, builds_per_day=40))
    with serve(sandbox) as server:
        yield server


def test_thirty_days_land_completely_and_exactly(
    company: SandboxServer, clock: StandingClock, tmp_path: Path
) -> None:
    path, today = tmp_path / "w.duckdb", clock().date()
    first = today - timedelta(days=DAYS)
    sync(environment(company, path), first, today)
    assert_true(company.sandbox, path, first, today)
    with connect(path) as connection:
        states = connection.execute("SELECT DISTINCT state FROM builds").fetchall()
        types = connection.execute("SELECT DISTINCT type FROM jobs").fetchall()
        [(retried,)] = connection.execute("SELECT count(*) FROM jobs WHERE retried").fetchall()
    # The comparison shows something only if the month has all of these.
    assert {state for (state,) in states} >= {"passed", "failed", "canceled", "skipped"}
    assert {kind for (kind,) in types} == {"script", "waiter", "manual", "trigger"}
    assert retried


def test_a_second_sync_changes_nothing(
    company: SandboxServer, clock: StandingClock, tmp_path: Path
) -> None:
    path, today = tmp_path / "w.duckdb", clock().date()
    first = today - timedelta(days=3)
    settings = environment(company, path)
    sync(settings, first, today)
    before = contents(path)
    sync(settings, first, today, full=True)
    assert contents(path) == before


def test_pages_of_two_or_three_builds_lose_nothing(
    company: SandboxServer, clock: StandingClock, tmp_path: Path
) -> None:
    path, today = tmp_path / "w.duckdb", clock().date()
    days = [today - timedelta(days=n) for n in range(4)]
    company.sandbox.requests.clear()
    read(company, path, days, PageSize(first=2, target_bytes=60_000))
    pages = [r for r in company.sandbox.requests if r.path.endswith("/acme/builds")]
    assert {int(page.query["per_page"]) for page in pages} >= {2, 3}
    assert_true(company.sandbox, path, days[-1], today, "builds", "jobs")


def test_a_low_depth_limit_loses_nothing(
    company: SandboxServer, clock: StandingClock, tmp_path: Path
) -> None:
    path, today = tmp_path / "w.duckdb", clock().date()
    first = today - timedelta(days=3)
    company.sandbox.depth_limit = 7
    company.sandbox.requests.clear()
    try:
        sync(environment(company, path), first, today)
    finally:
        company.sandbox.depth_limit = 10_000
    assert 400 in {request.status for request in company.sandbox.requests}
    assert_true(company.sandbox, path, first, today)


@pytest.mark.parametrize("seed", range(3))
def test_builds_created_and_deleted_between_pages_cost_no_other_build(
    seed: int, tmp_path: Path
) -> None:
    random = Random(seed)
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    clock.now = clock().replace(hour=12) - timedelta(days=1)
    today = clock().date()
    midnight = clock().replace(hour=0, minute=0)
    for n in range(60):
        at = midnight + timedelta(seconds=random.choice([1, 2, 2, 2, 3, 40, 41]))
        acme.create_build("web", state="passed", jobs=2, created_at=at, number=n + 1)
    deleted = set()

    def disturb(_: Request) -> None:
        """Delete a build anywhere, and create one where Buildkite would: at the end."""
        clock.move(seconds=1)
        if len(acme.builds) > 30:
            build = random.choice(acme.builds[:40])
            deleted.add(build.id)
            acme.delete_build(build)
        acme.create_build("web", jobs=1)

    path = tmp_path / "w.duckdb"
    with serve(sandbox) as server:
        before = {build.id for build in acme.builds}
        sandbox.before_page = disturb
        read(server, path, [today], PageSize(first=3, target_bytes=9_000))
        sandbox.before_page = None
        assert len(deleted) > 10
        assert before - deleted <= stored_ids(path)
        # Once it is quiet, another read gets everything, and notices who has gone.
        clock.move(seconds=1)
        read(server, path, [today], PageSize(first=3, target_bytes=9_000))
    assert_true(sandbox, path, today, today, "builds", "jobs")
    with connect(path) as connection:
        gone = connection.execute(
            "SELECT build_id::VARCHAR FROM builds WHERE absent_since IS NOT NULL"
        ).fetchall()
    assert {build_id for (build_id,) in gone} <= deleted


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the published file, but for when it was read."""
    queries = {
        "organizations": "SELECT * EXCLUDE (synced_at) FROM organizations ORDER BY 1",
        "pipelines": "SELECT * EXCLUDE (synced_at) FROM pipelines ORDER BY 1",
        "clusters": "SELECT * EXCLUDE (synced_at) FROM clusters ORDER BY 1",
        "queues": "SELECT * EXCLUDE (synced_at) FROM queues ORDER BY 1",
        "builds": "SELECT * EXCLUDE (synced_at) FROM builds ORDER BY 1",
        "jobs": "SELECT * EXCLUDE (synced_at) FROM jobs ORDER BY 1",
        "rejected_builds": "FROM rejected_builds ORDER BY 1",
        "days": "SELECT organization_id, day, builds, jobs, rejected FROM sync_days ORDER BY 2",
        "meta": "FROM warehouse_meta",
    }
    with connect(path) as connection:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}


def stored_ids(path: Path) -> set[str]:
    """The ids of the published builds."""
    with connect(path) as connection:
        rows = connection.execute("SELECT build_id::VARCHAR FROM builds").fetchall()
    return {build_id for (build_id,) in rows}
