"""The commands in processes of their own: what they say, and how they exit."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect

from .syncing import (
    command,
    command_environment,
    command_line,
    empty_sandbox,
    environment,
)

BUILDS = "/v2/organizations/acme/builds"


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
def served(server: SandboxServer, tmp_path: Path) -> tuple[SandboxServer, Path]:
    """Return the server and an empty folder to work in."""
    return server, tmp_path


def read_days(server: SandboxServer) -> list[str]:
    """The days whose builds were asked for since the log was cleared."""
    full_reads = [r for r in server.sandbox.requests if "exclude_pipeline" in r.query]
    server.sandbox.requests.clear()
    return sorted({request.query["created_from"][:10] for request in full_reads})


def test_sync_reads_the_days_asked_for_and_known_days_only_when_told(
    server: SandboxServer, tmp_path: Path
) -> None:
    today = server.sandbox.clock().date()
    day = [f"{today - timedelta(days=n)}" for n in range(4)]
    settings = environment(server, tmp_path / "w.duckdb", BUILDKITE_START_DATE=day[2])
    server.sandbox.requests.clear()

    def sync(*arguments: str) -> list[str]:
        done = command("sync", *arguments, settings=settings, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
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


def test_a_first_sync_of_a_few_days_does_not_make_them_all_there_is(
    server: SandboxServer, tmp_path: Path
) -> None:
    today = server.sandbox.clock().date()
    settings = environment(server, tmp_path / "w.duckdb")
    done = command("sync", "--from", f"{today}", settings=settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with connect(tmp_path / "w.duckdb") as connection:
        rows = connection.execute("SELECT start_date FROM warehouse_meta").fetchall()
    assert rows == [(today - timedelta(days=90),)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2026-02-30"), "does not match the format"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "--from must not be after --to"),
        (("--to", "2999-01-01"), "nor --to after today"),
    ],
)
def test_days_that_make_no_sense_are_a_wrong_use(
    arguments: tuple[str, ...], said: str, server: SandboxServer, tmp_path: Path
) -> None:
    settings = environment(server, tmp_path / "w.duckdb")
    done = command("sync", *arguments, settings=settings, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("sync", "BUILDKITE_API_TOKEN=", "BUILDKITE_API_TOKEN is not set"),
        ("check", "BUILDKITE_API_TOKEN=", "BUILDKITE_API_TOKEN is not set"),
        ("sync", "BUILDKITE_RATE_SHARE=2", "BUILDKITE_RATE_SHARE='2' is wrong: a number above 0"),
        ("check", "BUILDKITE_API_URL=http://a.example", "BUILDKITE_API_URL='http://a.example'"),
    ],
)
def test_a_wrong_setting_is_one_line(name: str, setting: str, said: str, tmp_path: Path) -> None:
    settings = {"BUILDKITE_API_TOKEN": "bkua_word", **dict([setting.split("=", 1)])}
    done = command(name, settings=settings, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"Error: {said}")
    assert not list(tmp_path.iterdir())


def test_sync_collects_to_its_end_and_derives_nothing_when_a_check_blocks(
    server: SandboxServer, tmp_path: Path
) -> None:
    settings = environment(server, tmp_path / "w.duckdb")
    today = f"{server.sandbox.clock().date()}"

    def sync() -> subprocess.CompletedProcess[str]:
        arguments = ("--from", today, "--to", today, "--full")
        return command("sync", *arguments, settings=settings, cwd=tmp_path)

    assert sync().returncode == 0
    warehouse = Session(Settings.from_environment(settings)).warehouse
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO jobs SELECT * REPLACE (uuid() AS job_id, uuid() AS build_id) FROM jobs"
        )
    done = sync()
    assert done.returncode == 1
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


@pytest.mark.parametrize(
    ("token", "organizations", "code", "said"),
    [
        ("administrator", "acme", None, "everything"),
        ("without_read_clusters", "acme", None, "read_clusters"),
        ("expired", "acme", "invalid_credentials", "expired"),
        ("administrator", "acmee", "no_resources", "It sees: acme"),
        ("unknown", "acme", "invalid_credentials", "revoked"),
    ],
)
def test_check_says_what_is_wrong_and_exits_with_it(
    token: str,
    organizations: str,
    code: str | None,
    said: str,
    served: tuple[SandboxServer, Path],
) -> None:
    server, tmp_path = served
    known = getattr(server.sandbox.tokens, token, None)
    settings = {
        **environment(server, tmp_path / "w.duckdb", known),
        "BUILDKITE_ORGANIZATIONS": organizations,
        **({} if known else {"BUILDKITE_API_TOKEN": "bkua_nobody_knows_it"}),
    }
    done = command("check", "--json", settings=settings, cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (report["ok"], report["code"]) == (code is None, code)
    assert said in report["message"]
    assert done.returncode == (0 if code is None else 1)
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_check_prints_a_table_for_people(server: SandboxServer, tmp_path: Path) -> None:
    settings = environment(server, tmp_path / "w.duckdb")
    done = command("check", settings=settings, cwd=tmp_path)
    assert done.returncode == 0
    for said in ("ok", "read_builds", "acme: 1 pipelines, administrator"):
        assert said in done.stdout


def test_check_tells_a_refused_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    settings = {
        "BUILDKITE_API_TOKEN": "bkua_word",
        "BUILDKITE_API_URL": f"http://127.0.0.1:{port}/v2",
    }
    done = command("check", "--json", settings=settings, cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "unreachable"


def test_check_tells_an_empty_organization(tmp_path: Path) -> None:
    sandbox, _ = empty_sandbox()
    acme = sandbox.organization("acme")
    acme.delete_pipeline("web")
    with serve(sandbox) as server:
        settings = environment(server, tmp_path / "w.duckdb")
        done = command("check", "--json", settings=settings, cwd=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["code"] == "no_resources"
    assert "sees no pipeline in acme" in report["message"]


def test_the_demo_needs_nothing_and_says_how_to_go_on(tmp_path: Path) -> None:
    done = command("demo", settings={}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = tmp_path / "data" / "demo-ci-report.html"
    assert "All of this is invented" in report.read_text()
    for said in ("What landed", "make dev", "make notebook", "buildkite-assets check", str(report)):
        assert said in done.stdout
    with connect(tmp_path / "data" / "demo.duckdb") as connection:
        [(builds, days)] = connection.execute(
            "SELECT count(*), count(DISTINCT created_at::DATE) FROM builds"
        ).fetchall()
    assert builds > 1000
    assert days >= 28
    # Invented rows never mix with real ones.
    assert {entry.name for entry in tmp_path.iterdir()} == {"data", ".dagster-demo"}
    assert not (tmp_path / "data" / "buildkite.duckdb").exists()


def test_the_sandbox_says_how_to_use_it_and_can_be_used_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with subprocess.Popen(  # noqa: S603 - our own program
        command_line("sandbox", "--port", str(port)),
        env={**command_environment({}), "PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as sandbox:
        assert sandbox.stdout
        try:
            exports = [sandbox.stdout.readline(), sandbox.stdout.readline()]
            settings = dict(re.findall(r"export (\w+)=(\S+)", "".join(exports)))
            assert settings.keys() == {"BUILDKITE_API_URL", "BUILDKITE_API_TOKEN"}
            # The port may open a moment after the lines were printed.
            for _ in range(20):
                done = command("check", "--json", settings=settings, cwd=tmp_path)
                if done.returncode == 0:
                    break
            assert json.loads(done.stdout)["ok"], done.stdout
        finally:
            sandbox.terminate()
