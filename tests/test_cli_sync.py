"""`sync` and `demo`: which days they read, what they say, and how they exit."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result

from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect

from .other_programs import opened_for_writing
from .syncing import command, command_here, empty_sandbox, environment, forgetful_home


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    """Serve an organization with a build on each of the last four days."""
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    for days in range(4):
        at = clock().replace(hour=0, minute=0) - timedelta(days=days)
        acme.create_build("web", state="passed", jobs=2, created_at=at)
    with serve(sandbox) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a Dagster home that is quick."""
    return forgetful_home(tmp_path / "home")


def read_days(server: SandboxServer) -> list[str]:
    """The days whose builds were asked for since the log was cleared."""
    full_reads = [r for r in server.sandbox.requests if "exclude_pipeline" in r.query]
    server.sandbox.requests.clear()
    return sorted({request.query["created_from"][:10] for request in full_reads})


def test_sync_reads_the_days_asked_for_and_known_days_only_when_told(
    server: SandboxServer, tmp_path: Path, home: Path
) -> None:
    today = server.sandbox.clock().date()
    day = [f"{today - timedelta(days=n)}" for n in range(4)]
    settings = environment(server, tmp_path / "w.duckdb", BUILDKITE_START_DATE=day[2])
    server.sandbox.requests.clear()

    def sync(*arguments: str) -> list[str]:
        done = command_here("sync", *arguments, settings=settings, cwd=tmp_path, home=home)
        assert done.exit_code == 0, done.stdout + done.stderr
        assert "Writing the report" in done.stdout
        assert "What landed" in done.stdout
        assert f"Published to {tmp_path / 'w.duckdb'}" in done.stdout.replace("\n", "")
        return read_days(server)

    assert sync("--from", day[2], "--to", day[1]) == [day[2], day[1]]
    # All days from the first on; today is never done.
    assert sync() == [day[0]]
    # An earlier day moves the first day back, and is known from then on.
    assert sync("--from", day[3]) == [day[3], day[0]]
    assert sync() == [day[0]]
    assert sync("--full") == sorted(day)
    with connect(tmp_path / "w.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM builds").fetchall() == [(4,)]
        assert connection.execute("SELECT start_date::VARCHAR FROM warehouse_meta").fetchall() == [
            (day[3],)
        ]


def test_builds_are_read_before_access(server: SandboxServer, tmp_path: Path, home: Path) -> None:
    today = f"{server.sandbox.clock().date()}"
    settings = environment(server, tmp_path / "w.duckdb", BUILDKITE_START_DATE=today)
    server.sandbox.requests.clear()
    done = command_here("sync", settings=settings, cwd=tmp_path, home=home)
    assert done.exit_code == 0, done.stderr
    paths = [request.path for request in server.sandbox.requests]
    first_of_access = next(n for n, path in enumerate(paths) if "/teams" in path)
    assert not any(path.endswith("/builds") for path in paths[first_of_access:])
    assert any(path.endswith("/builds") for path in paths[:first_of_access])
    assert "1 of 1 teams" in done.stdout


def test_a_first_sync_of_a_few_days_does_not_make_them_all_there_is(
    server: SandboxServer, tmp_path: Path, home: Path
) -> None:
    today = server.sandbox.clock().date()
    settings = environment(server, tmp_path / "w.duckdb")
    done = command_here("sync", "--from", f"{today}", settings=settings, cwd=tmp_path, home=home)
    assert done.exit_code == 0, done.stderr
    with connect(tmp_path / "w.duckdb") as connection:
        rows = connection.execute("SELECT start_date FROM warehouse_meta").fetchall()
    assert rows == [(today - timedelta(days=90),)]


def test_sync_goes_on_while_another_program_holds_the_published_file(
    server: SandboxServer, tmp_path: Path, home: Path
) -> None:
    settings = environment(server, tmp_path / "w.duckdb")
    today = f"{server.sandbox.clock().date()}"

    def run(*arguments: str) -> Result:
        return command_here(*arguments, settings=settings, cwd=tmp_path, home=home)

    assert run("sync", "--from", today).exit_code == 0
    with opened_for_writing(tmp_path / "w.duckdb"):
        refused = run("export", "baton", "--out", "baton")
        assert refused.exit_code == 1
        [line] = refused.stderr.splitlines()
        assert "is open for writing in another program" in line
        assert not (tmp_path / "baton").exists()
        done = run("sync", "--from", today)
        assert done.exit_code == 0, done.stderr
        # What is published now is another file than the one that is held.
        assert run("export", "baton", "--out", "baton").exit_code == 0


def test_sync_collects_to_its_end_and_derives_nothing_when_a_check_blocks(
    server: SandboxServer, tmp_path: Path, home: Path
) -> None:
    settings = environment(server, tmp_path / "w.duckdb")
    today = f"{server.sandbox.clock().date()}"

    def sync() -> Result:
        arguments = ("--from", today, "--to", today, "--full")
        return command_here("sync", *arguments, settings=settings, cwd=tmp_path, home=home)

    assert sync().exit_code == 0
    warehouse = Session(Settings.from_environment(settings)).warehouse
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO jobs SELECT * REPLACE (uuid() AS job_id, uuid() AS build_id) FROM jobs"
        )
    done = sync()
    assert done.exit_code == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert "jobs_have_builds" in line
    assert "Following changes" in done.stdout
    assert "Recomputing" not in done.stdout


def test_sync_ends_with_one_line_when_buildkite_refuses(
    server: SandboxServer, tmp_path: Path
) -> None:
    expired = server.sandbox.tokens.expired
    settings = environment(server, tmp_path / "w.duckdb", expired)
    done = command("sync", settings=settings, cwd=tmp_path)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert line.startswith("Error: invalid_credentials: ")
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "w.duckdb").exists()


def test_the_demo_needs_nothing_and_says_how_to_go_on(tmp_path: Path) -> None:
    done = command_here("demo", settings={}, cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    report = tmp_path / "data" / "demo-ci-report.html"
    assert "All of this is invented" in report.read_text()
    for said in ("What landed", "make dev", "make notebook", "buildkite-assets check", str(report)):
        assert said in done.stdout
    with connect(tmp_path / "data" / "demo.duckdb") as connection:
        [(builds, days)] = connection.execute(
            "SELECT count(*), count(DISTINCT created_at::DATE) FROM builds"
        ).fetchall()
    assert builds > 1000
    landed = re.findall(r"│ ([a-z_]+) +│ +[0-9,]+ │", done.stdout)
    assert landed[:4] == ["organizations", "pipelines", "clusters", "queues"]
    assert landed[-2:] == ["builds", "jobs"]
    # The progress line and the table count the same builds.
    assert f" {builds:,} builds " in done.stdout.replace("\n", " ")
    assert done.stdout.count(f"{builds:,}") == 2
    assert days >= 28
    # Invented rows never mix with real ones.
    assert {entry.name for entry in tmp_path.iterdir()} == {"data", ".dagster-demo"}
    assert not (tmp_path / "data" / "buildkite.duckdb").exists()
