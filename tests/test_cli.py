"""The command line: what `check` and `sandbox` say, and how wrong settings and uses exit."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkite_assets.sandbox import SandboxServer, serve

from .syncing import (
    command,
    command_environment,
    command_here,
    command_line,
    empty_sandbox,
    environment,
)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    """Serve an organization with one pipeline."""
    with serve(empty_sandbox()[0]) as server:
        yield server


@pytest.fixture
def served(server: SandboxServer, tmp_path: Path) -> tuple[SandboxServer, Path]:
    """Return the server and an empty folder to work in."""
    return server, tmp_path


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
    done = command_here("sync", *arguments, settings=settings, cwd=tmp_path)
    assert done.exit_code == 2
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
    done = command_here(name, settings=settings, cwd=tmp_path)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"Error: {said}")
    assert not list(tmp_path.iterdir())


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
    done = command_here("check", "--json", settings=settings, cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (report["ok"], report["code"]) == (code is None, code)
    assert said in report["message"]
    assert done.exit_code == (0 if code is None else 1)
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
        done = command_here("check", "--json", settings=settings, cwd=tmp_path)
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["code"] == "no_resources"
    assert "sees no pipeline in acme" in report["message"]


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
