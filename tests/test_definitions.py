"""What Dagster loads: by its own loader, as its configuration files name it."""

import re
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from io import StringIO
from pathlib import Path

import dagster as dg
import yaml
from rich.console import Console

from buildkite_assets.definitions import definitions
from buildkite_assets.runs import prepare_home
from buildkite_assets.sandbox import serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.terminal import automation_table
from buildkite_assets.warehouse import connect

from .syncing import command_environment, empty_sandbox, environment

PROJECT = Path(__file__).parents[1]


def dagster(*arguments: str, settings: dict[str, str], home: Path) -> str:
    """Run Dagster's own command, which must succeed; what it printed."""
    done = subprocess.run(  # noqa: S603 - Dagster's command
        [sys.executable, "-m", "dagster", *arguments],
        env=command_environment(settings, home),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_table_is_an_asset_that_says_what_a_row_is(tmp_path: Path) -> None:
    session = Session(
        Settings.from_environment({"BUILDKITE_WAREHOUSE": str(tmp_path / "w.duckdb")})
    )
    loaded = definitions(session)
    dg.Definitions.validate_loadable(loaded)
    specs = {spec.key.path[-1]: spec for spec in loaded.resolve_all_asset_specs()}
    assert specs.keys() >= {"organizations", "pipelines", "clusters", "queues", "builds", "jobs"}
    for name, spec in specs.items():
        assert spec.key.path == ["buildkite", name]
        assert spec.description
        assert spec.owners
        assert spec.group_name
    page = specs.pop("ci_report")
    assert page.description
    assert page.description.startswith("One page")
    for name, spec in specs.items():
        assert spec.description
        assert spec.description.startswith("One row per")
        assert spec.metadata["dagster/table_name"] == name
        assert all(column.description for column in spec.metadata["dagster/column_schema"].columns)


def test_nothing_runs_by_itself_and_all_that_could_says_what_it_costs(tmp_path: Path) -> None:
    settings = Settings.from_environment({"BUILDKITE_WAREHOUSE": str(tmp_path / "w.duckdb")})
    repository = definitions(Session(settings)).get_repository_def()
    switches = {switch.name: switch for switch in repository.schedule_defs}
    assert switches.keys() == {
        "follow_changes",
        "today",
        "settle",
        "access",
        "checks",
        "nightly_checks",
    }
    for schedule in switches.values():
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        assert re.search(r"\bCosts? .*requests?\b", schedule.description or "", re.DOTALL)
        assert repository.has_job(schedule.job_name)
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "derive",
        "alert_on_failed_runs",
        "alert_on_failed_checks",
        "catch_up",
    }
    for sensor in repository.sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
        assert "Costs no requests" in (sensor.description or "")
    # `make dev` prints all of them.
    console = Console(file=StringIO(), record=True, width=200)
    console.print(automation_table())
    printed = console.export_text()
    for name in [*switches, *(sensor.name for sensor in repository.sensor_defs)]:
        assert f"│ {name} " in printed


def test_every_asset_is_fresh_for_as_long_as_the_rules_say_of_its_group(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[freshness_hours]\nbuilds = 3\naccess = 48\n")
    settings = Settings.from_environment(
        {"BUILDKITE_WAREHOUSE": str(tmp_path / "w.duckdb"), "BUILDKITE_RULES": str(rules)}
    )
    others = ("catalog", "build_details", "metrics", "access_review")
    hours = {"builds": 3, "access": 48, **dict.fromkeys(others, 26)}
    specs = definitions(Session(settings)).resolve_all_asset_specs()
    assert {spec.group_name for spec in specs} == hours.keys()
    for spec in specs:
        assert spec.freshness_policy == dg.FreshnessPolicy.time_window(
            fail_window=timedelta(hours=hours[spec.group_name or ""])
        )


def test_the_workspace_file_is_valid_for_dagster(tmp_path: Path) -> None:
    said = dagster(
        *("definitions", "validate", "--workspace", "workspace.yaml"),
        settings={"BUILDKITE_WAREHOUSE": str(tmp_path / "w.duckdb")},
        home=prepare_home(tmp_path / "home"),
    )
    assert "Validation successful for code location buildkite_assets" in said


def test_the_file_for_dagster_plus_names_the_same_code_location() -> None:
    [location] = yaml.safe_load((PROJECT / "dagster_cloud.yaml").read_text())["locations"]
    workspace = yaml.safe_load((PROJECT / "workspace.yaml").read_text())
    [opened] = [entry["python_module"] for entry in workspace["load_from"]]
    assert location["code_source"]["module_name"] == opened["module_name"]
    assert location["location_name"] == opened["location_name"]
    assert (PROJECT / location["build"]["directory"] / "pyproject.toml").exists()
    assert import_module(opened["module_name"]).defs


def test_the_instance_settings_are_the_same_in_the_project_and_in_the_package() -> None:
    settings = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    assert not settings["telemetry"]["enabled"]
    assert not settings["nux"]["enabled"]
    assert settings["run_monitoring"]["enabled"]
    packaged = (PROJECT / "buildkite_assets" / "dagster.yaml").read_text()
    assert packaged == (PROJECT / "dagster.yaml").read_text()


def test_dagsters_own_command_materializes_partitions_and_ranges(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    day = [clock().date() - timedelta(days=n) for n in range(4)]
    for days in range(1, 4):
        at = clock().replace(hour=0, minute=0) - timedelta(days=days)
        acme.create_build("web", state="passed", created_at=at)
    home = prepare_home(tmp_path / "home")
    with serve(sandbox) as server:
        settings = environment(server, tmp_path / "w.duckdb")
        chosen = ("asset", "materialize", "-m", "buildkite_assets.definitions", "--select")
        dagster(
            *(*chosen, "key:buildkite/builds or key:buildkite/jobs", "--partition", f"{day[1]}"),
            settings=settings,
            home=home,
        )
        assert published_days(tmp_path / "w.duckdb") == [f"{day[1]}"]
        dagster(
            *(*chosen, "key:buildkite/builds or key:buildkite/jobs"),
            *("--partition-range", f"{day[3]}...{day[1]}"),
            settings=settings,
            home=home,
        )
    assert published_days(tmp_path / "w.duckdb") == [f"{d}" for d in (day[3], day[2], day[1])]


def published_days(path: Path) -> list[str]:
    """The days that have builds."""
    with connect(path) as connection:
        rows = connection.execute("SELECT created_at::DATE::VARCHAR FROM builds ORDER BY 1")
        return [day for (day,) in rows.fetchall()]
