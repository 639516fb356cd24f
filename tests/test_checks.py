"""The checks of the data: what makes each fail, and that it passes otherwise."""

from pathlib import Path

import dagster as dg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from buildkite_assets.runs import run_builds, run_catalog, run_changes
from buildkite_assets.sandbox import serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings

from .syncing import empty_sandbox, environment


def outcomes(instance: dg.DagsterInstance) -> dict[str, bool]:
    """Of each check its last outcome."""
    found = {}
    for run in reversed(list(instance.get_runs())):
        for entry in instance.all_logs(run.run_id):
            event = entry.dagster_event
            if event and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                evaluation = event.asset_check_evaluation_data
                found[evaluation.check_name] = evaluation.passed
    return found


@pytest.mark.parametrize("is_missed", [False, True])
def test_a_change_that_no_feed_brought_fails_the_check_after_a_full_read(
    tmp_path: Path, *, is_missed: bool
) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    today = clock().date()
    build = acme.create_build("web", state="passed", created_at=clock())
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        session = Session(Settings.from_environment(environment(server, tmp_path / "w.duckdb")))
        run_catalog(session, instance)
        run_builds(session, instance, today, today, full=False)
        clock.move(minutes=10)
        run_changes(session, instance)
        if is_missed:
            # No list of Buildkite's tells that a finished build's meta-data changed.
            acme.set_meta_data(build, "release", "7")
        clock.move(minutes=10)
        run_builds(session, instance, today, today, full=True)
        run_changes(session, instance)
        assert outcomes(instance) == {"no_late_changes": not is_missed, "no_rejected_builds": True}


def test_a_build_that_cannot_be_read_fails_the_check_until_it_can(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    today = clock().date()
    build = acme.create_build("web", state="passed")

    def odd(request: Request) -> ASGIApp | None:
        if not request.url.path.endswith("acme/builds"):
            return None
        (body,) = acme.truth_builds()
        return JSONResponse([{**body, "number": "many"}])

    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        session = Session(Settings.from_environment(environment(server, tmp_path / "w.duckdb")))
        run_catalog(session, instance)
        sandbox.faults = odd
        run_builds(session, instance, today, today, full=False)
        assert outcomes(instance) == {"no_rejected_builds": False}
        sandbox.faults = None
        clock.move(minutes=1)
        run_builds(session, instance, today, today, full=False)
        assert outcomes(instance) == {"no_rejected_builds": True}
    assert build.number == 1
