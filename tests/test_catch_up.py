"""The sensor that asks for derived tables which lag, ticked and run as Dagster does."""

from datetime import timedelta
from pathlib import Path

import dagster as dg

from buildkite_assets.catch_up import catch_up
from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.runs import run_access, run_builds, run_catalog, run_changes
from buildkite_assets.sandbox import serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect
from buildkite_assets.warehouse.lag import lags

from .other_programs import opened_for_writing
from .syncing import empty_sandbox, environment

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def tick(session: Session, instance: dg.DagsterInstance) -> tuple[list[dg.RunRequest], str]:
    """What the sensor asks for, and why for nothing."""
    context = dg.build_sensor_context(
        instance=instance,
        repository_def=definitions(session).get_repository_def(),
        resources={"session": session},
    )
    data = catch_up.evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message or ""


def execute(session: Session, instance: dg.DagsterInstance, request: dg.RunRequest) -> set[str]:
    """Run what was asked for as the daemon does; the checks that ran along."""
    assert request.job_name
    assert request.asset_selection
    job = definitions(session).get_repository_def().get_job(request.job_name)
    result = job.get_subset(
        asset_selection=set(request.asset_selection),
        asset_check_selection=set(request.asset_check_keys or []),
    ).execute_in_process(instance=instance, tags=dict(request.tags))
    assert result.success
    return {check.check_name for check in result.get_asset_check_evaluations()}


def test_what_lags_is_asked_for_until_nothing_does(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    today = clock().date()
    days = [today - timedelta(days=n) for n in (4, 2, 1)]
    for day in days:
        at = clock() - (today - day)
        acme.create_build("web", state="passed", jobs=1, created_at=at)
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        start = {"BUILDKITE_START_DATE": days[0].isoformat()}
        settings = environment(server, tmp_path / "w.duckdb") | start
        session = Session(Settings.from_environment(settings), clock=clock)
        assert "Nothing is published yet" in tick(session, instance)[1]

        run_catalog(session, instance)
        run_access(session, instance)
        run_builds(session, instance, days[0], days[0], full=False)
        run_builds(session, instance, days[1], days[2], full=False)
        # The file that others read does not matter, even if another program has it locked.
        with opened_for_writing(session.settings.warehouse):
            by_day, _ = tick(session, instance)
        assert {request.job_name for request in by_day} == {"derived_by_day_job"}
        asked = [tuple(request.tags[tag] for tag in RANGE) for request in by_day]
        assert asked == [(f"{days[0]}", f"{days[0]}"), (f"{days[1]}", f"{days[2]}")]
        for request in by_day:
            execute(session, instance, request)
        [whole], _ = tick(session, instance)
        assert whole.job_name == "derived_whole_job"
        assert "caught_up" not in execute(session, instance, whole)
        assert "Nothing lags" in tick(session, instance)[1]
        with connect(session.settings.warehouse) as connection:
            assert lags(connection, derived_tables(), session.parameters) == []

        # A feed that finds nothing leaves all but what takes the time from feeds.
        clock.move(minutes=15)
        run_changes(session, instance)
        [whole], _ = tick(session, instance)
        asked_for = {key.path[-1] for key in whole.asset_selection or []}
        assert asked_for >= {"open_builds", "queue_backlog"}
        assert asked_for.isdisjoint({"queue_hourly", "flaky_steps", "pipeline_weekly"})
        execute(session, instance, whole)
        assert "Nothing lags" in tick(session, instance)[1]

        # A new pipeline changes no build, so that `derive` would ask for nothing.
        acme.add_pipeline("api")
        clock.move(minutes=1)
        run_catalog(session, instance)
        requests, _ = tick(session, instance)
        assert requests

        # While a run is not finished, nothing more is asked for.
        job = definitions(session).resolve_job_def("derived_whole_job")
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert "not finished" in tick(session, instance)[1]
