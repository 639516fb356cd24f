"""Partitions of builds and jobs: single days, ranges, failures, and what the UI tells of them."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from buildkite_assets.buildkite.errors import RequestRefusedError
from buildkite_assets.runs import run_builds
from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse, connect
from tests.syncing import assert_sound, empty_sandbox, environment

KEYS = [dg.AssetKey(["buildkite", "builds"]), dg.AssetKey(["buildkite", "jobs"])]
DAYS = 5


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    """Serve an organization with n builds of two jobs on the n-th day before today."""
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    for days in range(1, DAYS + 1):
        for minute in range(days):
            at = clock().replace(hour=0, minute=minute) - timedelta(days=days)
            acme.create_build("web", state="passed", jobs=2, created_at=at)
    with serve(sandbox) as server:
        yield server


def test_a_range_logs_each_day_with_its_row_counts(server: SandboxServer, tmp_path: Path) -> None:
    today = server.sandbox.clock().date()
    first, last = today - timedelta(days=DAYS), today - timedelta(days=1)
    with dg.DagsterInstance.ephemeral() as instance:
        run_range(server, tmp_path, instance, first, last)
        counted = [counts(instance, key) for key in KEYS]
        [newest] = instance.fetch_materializations(KEYS[0], limit=1).records
    builds = {f"{today - timedelta(days=n)}": n for n in range(1, DAYS + 1)}
    assert counted == [builds, {day: 2 * rows for day, rows in builds.items()}]
    assert newest.partition_key == f"{last}"
    assert newest.asset_materialization
    glance = newest.asset_materialization.metadata["preview"].value
    assert "](https://buildkite.com/acme/web/builds/" in str(glance)


def test_a_failed_range_keeps_the_days_that_it_finished(
    server: SandboxServer, tmp_path: Path
) -> None:
    today = server.sandbox.clock().date()
    refused = today - timedelta(days=2)
    first = today - timedelta(days=DAYS)

    def refuse_a_day(request: Request) -> ASGIApp | None:
        if request.query_params.get("created_from", "").startswith(f"{refused}"):
            return JSONResponse({"message": "created_from is invalid"}, 422)
        return None

    server.sandbox.faults = refuse_a_day
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(RequestRefusedError, match="422"):
            run_range(server, tmp_path, instance, first, today - timedelta(days=1))
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE
        kept = counts(instance, KEYS[0])
        assert f"{refused}" not in kept
        with Warehouse(tmp_path / "w.duckdb").transaction() as connection:
            assert_sound(connection)
            known = connection.execute("SELECT day::VARCHAR, builds FROM sync_days").fetchall()
        assert dict(known) == kept
        # The next one reads only what is missing.
        server.sandbox.faults = None
        server.sandbox.requests.clear()
        run_range(server, tmp_path, instance, first, today - timedelta(days=1))
        read = {
            r.query["created_from"][:10]
            for r in server.sandbox.requests
            if r.path.endswith("/acme/builds")
        }
        assert f"{refused}" in read
        assert read.isdisjoint(kept)
        # Days that were known show their row counts still.
        assert counts(instance, KEYS[0]) == {
            f"{today - timedelta(days=n)}": n for n in range(1, DAYS + 1)
        }


def test_a_single_day_is_always_read_in_full(server: SandboxServer, tmp_path: Path) -> None:
    day = server.sandbox.clock().date() - timedelta(days=3)
    acme = server.sandbox.organization("acme")
    with dg.DagsterInstance.ephemeral() as instance:
        run_range(server, tmp_path, instance, day, day)
        acme.delete_build(next(build for build in acme.builds if build.created_at.date() == day))
        server.sandbox.clock.move(minutes=1)  # type: ignore[attr-defined] # ours stands
        run_range(server, tmp_path, instance, day, day)
        assert counts(instance, KEYS[0]) == {f"{day}": 2}
    with connect(tmp_path / "w.duckdb") as connection:
        rows = connection.execute(
            "SELECT absent_since IS NOT NULL, count(*) FROM builds GROUP BY ALL ORDER BY 1"
        ).fetchall()
    assert rows == [(False, 2), (True, 1)]


def test_a_build_that_cannot_be_read_costs_no_other_build(
    server: SandboxServer, tmp_path: Path
) -> None:
    day = server.sandbox.clock().date() - timedelta(days=3)
    acme = server.sandbox.organization("acme")
    odd, *_ = [build for build in acme.builds if build.created_at.date() == day]
    number, odd.number = odd.number, "many"  # type: ignore[assignment] # what is to be refused
    with dg.DagsterInstance.ephemeral() as instance:
        run_range(server, tmp_path, instance, day, day)
        with connect(tmp_path / "w.duckdb") as connection:
            assert connection.execute("SELECT count(*) FROM builds").fetchall() == [(2,)]
            assert connection.execute(
                "SELECT reference, created_day, path, error FROM rejected_builds"
            ).fetchall() == [(odd.id, day, "$.number", "Expected `int`, got `str`")]
        odd.number = number
        server.sandbox.clock.move(minutes=1)  # type: ignore[attr-defined] # ours stands
        run_range(server, tmp_path, instance, day, day)
    with connect(tmp_path / "w.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM builds").fetchall() == [(3,)]
        assert connection.execute("FROM rejected_builds").fetchall() == []


def run_range(
    server: SandboxServer, folder: Path, instance: dg.DagsterInstance, first: date, last: date
) -> None:
    """Read a range of days as a backfill does."""
    settings = Settings.from_environment(environment(server, folder / "w.duckdb"))
    run_builds(Session(settings), instance, first, last, full=False)


def counts(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, int]:
    """The row count that the UI shows for each partition."""
    records = instance.fetch_materializations(key, limit=100).records
    found = {}
    for record in reversed(records):
        materialization = record.asset_materialization
        assert materialization
        assert materialization.partition
        rows = materialization.metadata["dagster/partition_row_count"].value
        assert isinstance(rows, int)
        found[materialization.partition] = rows
    return found
