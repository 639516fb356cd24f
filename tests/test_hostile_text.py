"""Text that people wrote to do harm, from a served organization to all that shows it."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.assets.specs import PREFIX
from buildkite_assets.plain_text import BREAKS, UNSAFE
from buildkite_assets.runs import open_home
from buildkite_assets.sandbox import serve
from buildkite_assets.sandbox.model import Step
from buildkite_assets.warehouse import connect

from .buildkite.conftest import RawServer, http
from .syncing import command, empty_sandbox, environment

LABEL = "\x1b[31mred\x00 and\ufffe \u202e![](//a.example/p.png)"
SHOWN_LABEL = "\ufffd[31mred\ufffd and\ufffd \ufffd![](//a.example/p.png)"
TITLE = "\x1b]0;owned\x07"
"""What sets the title of a terminal's window."""


@dataclass(frozen=True)
class Synced:
    """How a sync in a process of its own ended, and where its files are."""

    done: subprocess.CompletedProcess[str]
    path: Path
    home: Path


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Synced:
    """Sync a step of this label that failed and passed with the same commit."""
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / "[/bold]" / "w.duckdb"
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    steps = [Step("script", name="build"), Step("script", name="lint"), Step("script", name=LABEL)]
    for hours, state in ((3, "failed"), (2, "passed")):
        at = clock() - timedelta(hours=hours)
        acme.create_build(
            "web", state=state, jobs=steps, commit="a" * 40, message=LABEL, created_at=at
        )
    start = f"{clock().date() - timedelta(days=1)}"
    with serve(sandbox) as server:
        settings = environment(server, path, BUILDKITE_START_DATE=start)
        home = folder / "home"
        return Synced(command("sync", settings=settings, cwd=folder, home=home), path, home)


@pytest.fixture
def refusing() -> Iterator[RawServer]:
    """Serve a refusal of everything whose message is meant for the terminal."""
    server = RawServer(http(403, {"message": f"Forbidden {TITLE}\n[/bold]\x9b2J"}))
    yield server
    server.close()


def test_a_control_character_in_a_label_stops_neither_sync_nor_plots_nor_report(
    synced: Synced,
) -> None:
    assert synced.done.returncode == 0, synced.done.stdout + synced.done.stderr
    assert "could not be drawn" not in synced.done.stderr
    with connect(synced.path) as connection:
        assert connection.execute("SELECT step FROM flaky_steps").fetchall() == [(LABEL,)]
    page = synced.path.with_name("w-ci-report.html").read_text()
    assert SHOWN_LABEL in unescape(page)
    assert not re.search(UNSAFE, re.sub(BREAKS, "", page))


def test_brackets_in_a_path_are_no_markup(synced: Synced) -> None:
    assert f"Published to {synced.path}\n" in synced.done.stdout
    assert "Traceback" not in synced.done.stderr


def test_markdown_in_a_label_is_code_in_the_metadata_of_a_table(synced: Synced) -> None:
    with open_home(synced.home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([PREFIX, "flaky_steps"]))
    assert event
    assert event.asset_materialization
    glance = str(event.asset_materialization.metadata["preview"].value)
    assert f"| `{SHOWN_LABEL}` |" in glance


@pytest.mark.parametrize("arguments", [("check",), ("check", "--json"), ("sync",)])
def test_a_refusal_moves_no_terminal(
    refusing: RawServer, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    settings = {"BUILDKITE_API_URL": refusing.url, "BUILDKITE_API_TOKEN": "bkua_word"}
    done = command(*arguments, settings=settings, cwd=tmp_path, home=tmp_path / "home")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in said
    assert "Forbidden" in said
    assert "owned" in said
    assert not re.search(UNSAFE, said.replace("\n", ""))


def test_an_address_of_a_person_is_no_markup(tmp_path: Path) -> None:
    sandbox, _ = empty_sandbox()
    sandbox.organization("acme").members[0].user.email = f"me[/bold]{TITLE}\u202e@a.example"
    with serve(sandbox) as server:
        settings = environment(server, tmp_path / "w.duckdb")
        done = command("check", settings=settings, cwd=tmp_path)
        told = command("check", "--json", settings=settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "me[/bold]\ufffd]0;owned\ufffd\ufffd@a.example" in done.stdout
    assert not re.search(UNSAFE, done.stdout.replace("\n", ""))
    assert json.loads(told.stdout)["user_email"] == f"me[/bold]{TITLE}\u202e@a.example"
