"""The checks in real runs: with their assets, blocking, alone, and before there is a warehouse."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from buildkite_assets.assets.unread import EVERYTHING_WAS_READ
from buildkite_assets.checks import CHECKS, HOURLY_CHECKS, NIGHTLY_CHECKS
from buildkite_assets.definitions import definitions
from buildkite_assets.runs import BlockedError, run_builds, run_catalog, run_changes
from buildkite_assets.sandbox import serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from tests.syncing import empty_sandbox, environment

BUILDS = dg.AssetKey(["buildkite", "builds"])
JOBS = dg.AssetKey(["buildkite", "jobs"])
BUILD_RUNS = dg.AssetKey(["buildkite", "build_runs"])
JOB_RUNS = dg.AssetKey(["buildkite", "job_runs"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def evaluations(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """Of each check its last outcome, by `asset.check`."""
    found = {}
    for run in reversed(list(instance.get_runs())):
        for entry in instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ):
            assert entry.dagster_event
            evaluation = entry.dagster_event.asset_check_evaluation_data
            found[f"{evaluation.asset_key.path[-1]}.{evaluation.check_name}"] = evaluation
    return found


def checks_alone(session: Session, *checks: dg.AssetChecksDefinition) -> dg.JobDefinition:
    """A job of these checks, in which nothing is materialized."""
    job = dg.define_asset_job("alone", dg.AssetSelection.checks(*checks))
    merged = dg.Definitions.merge(definitions(session), dg.Definitions(jobs=[job]))
    return merged.resolve_job_def("alone")


@pytest.mark.parametrize("is_missed", [False, True])
def test_a_change_that_no_feed_brought_fails_the_check_after_a_full_read(
    tmp_path: Path, instance: dg.DagsterInstance, *, is_missed: bool
) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    today = clock().date()
    build = acme.create_build("web", state="passed", created_at=clock())
    with serve(sandbox) as server:
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
        found = evaluations(instance)
        late = found.pop("late_changes.no_late_changes")
        assert late.passed == (not is_missed)
        assert late.severity == dg.AssetCheckSeverity.ERROR
        assert late.metadata["rows"].value == (1 if is_missed else 0)
        if is_missed:
            assert "meta_data" in str(late.metadata["preview"].value)
        assert all(evaluation.passed for evaluation in found.values())


def test_a_build_that_cannot_be_read_fails_the_check_until_it_can(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    today = clock().date()
    acme.create_build("web", state="passed")

    def odd(request: Request) -> ASGIApp | None:
        if not request.url.path.endswith("acme/builds"):
            return None
        (body,) = acme.truth_builds()
        return JSONResponse([{**body, "number": "many"}])

    with serve(sandbox) as server:
        session = Session(Settings.from_environment(environment(server, tmp_path / "w.duckdb")))
        run_catalog(session, instance)
        sandbox.faults = odd
        run_builds(session, instance, today, today, full=False)
        assert not evaluations(instance)["builds.no_rejected_builds"].passed
        sandbox.faults = None
        clock.move(minutes=1)
        run_builds(session, instance, today, today, full=False)
        assert evaluations(instance)["builds.no_rejected_builds"].passed


def test_a_check_that_blocks_keeps_derived_tables_from_being_made(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    sandbox, clock = empty_sandbox()
    today = clock().date()
    sandbox.organization("acme").create_build("web", state="passed")
    with serve(sandbox) as server:
        session = Session(Settings.from_environment(environment(server, tmp_path / "w.duckdb")))
        run_catalog(session, instance)
        job = definitions(session).resolve_implicit_global_asset_job_def()
        day = today.isoformat()
        chosen = [BUILDS, JOBS, BUILD_RUNS, JOB_RUNS]

        def materialize() -> dg.ExecuteInProcessResult:
            return job.execute_in_process(
                instance=instance, asset_selection=chosen, partition_key=day, raise_on_error=False
            )

        assert materialize().success
        assert instance.get_latest_materialization_event(BUILD_RUNS)
        instance.wipe_assets([BUILD_RUNS, JOB_RUNS])

        with session.warehouse.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs SELECT * REPLACE (uuid() AS job_id, uuid() AS build_id) FROM jobs"
            )
        result = materialize()
        assert not result.success
        assert not evaluations(instance)["jobs.jobs_have_builds"].passed
        assert not instance.get_latest_materialization_event(BUILD_RUNS)
        assert instance.get_latest_materialization_event(JOBS)

        with pytest.raises(BlockedError, match=r"buildkite/jobs: .*jobs_have_builds.* the UI"):
            run_builds(session, instance, today, today, full=False)


def test_checks_run_alone_and_say_what_to_do_before_there_is_a_warehouse(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    session = Session(
        Settings.from_environment({"BUILDKITE_WAREHOUSE": str(tmp_path / "w.duckdb")})
    )
    job = checks_alone(session, *CHECKS, *HOURLY_CHECKS, *NIGHTLY_CHECKS)
    assert job.execute_in_process(instance=instance).success
    found = evaluations(instance)
    assert found.keys() == {
        f"{key.asset_key.path[-1]}.{key.name}"
        for key in definitions(session).resolve_asset_graph().asset_check_keys
        if key.name != EVERYTHING_WAS_READ
    }
    for evaluation in found.values():
        assert evaluation.metadata["evaluated"].value is False
        assert "run `buildkite-assets sync`" in (evaluation.description or "")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_fails_the_run_with_one_line(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    path = tmp_path / "w.duckdb"
    path.write_bytes(b"this is no database" * 1000)
    settings = Settings.from_environment(
        {"BUILDKITE_WAREHOUSE": str(path), "BUILDKITE_START_DATE": "2026-01-01"}
    )
    [catalog_checks] = [checks for checks in CHECKS if checks.node_def.name == "catalog_checks"]
    defs = dg.Definitions(
        asset_checks=[catalog_checks],
        resources={"session": Session(settings)},
        executor=dg.in_process_executor,
    )
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    [failure] = result.get_step_failure_events()
    said = failure.step_failure_data.user_failure_data
    assert said
    assert "Move it away" in (said.description or "")
    assert evaluations(instance) == {}


def test_each_job_runs_the_checks_of_its_assets_and_none_that_cost_or_wait_for_time(
    tmp_path: Path,
) -> None:
    session = Session(
        Settings.from_environment({"BUILDKITE_WAREHOUSE": str(tmp_path / "w.duckdb")})
    )
    loaded = definitions(session)
    own = {key for checks in CHECKS for key in checks.check_keys}
    apart = {key for each in (*HOURLY_CHECKS, *NIGHTLY_CHECKS) for key in each.check_keys}
    assert own.isdisjoint(apart)
    in_steps = {
        dg.AssetCheckKey(dg.AssetKey(["buildkite", table]), EVERYTHING_WAS_READ)
        for table in ("organizations", "access_syncs", "builds", "build_changes")
    }
    assert own | apart | in_steps == set(loaded.resolve_asset_graph().asset_check_keys)

    jobs = ["catalog_job", "access_job", "builds_job", "changes_job"]
    jobs += ["derived_by_day_job", "derived_whole_job"]
    run = {
        name: set(loaded.resolve_job_def(name).asset_layer.asset_graph.asset_check_keys)
        for name in jobs
    }
    assert set().union(*run.values()) == own | in_steps
    assert {key.to_user_string() for key in run["changes_job"]} == {
        "buildkite/build_changes:everything_was_read",
        "buildkite/build_changes:unique_key",
        "buildkite/late_changes:unique_key",
        "buildkite/late_changes:no_late_changes",
    }
