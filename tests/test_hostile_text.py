"""Text that people wrote to do harm, from a served organization to all that shows it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from buildkite_assets.plain_text import BREAKS, UNSAFE
from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.sandbox.model import Step
from buildkite_assets.warehouse import connect

from .syncing import command, empty_sandbox, environment

LABEL = "\x1b[31mred\x00 and\ufffe \u202etests"
SHOWN_LABEL = "\ufffd[31mred\ufffd and\ufffd \ufffdtests"


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    """Serve a step of this label that failed and passed with the same commit."""
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    steps = [Step("script", name="build"), Step("script", name="lint"), Step("script", name=LABEL)]
    for hours, state in ((3, "failed"), (2, "passed")):
        at = clock() - timedelta(hours=hours)
        acme.create_build(
            "web", state=state, jobs=steps, commit="a" * 40, message=LABEL, created_at=at
        )
    with serve(sandbox) as server:
        yield server


def test_a_control_character_in_a_label_stops_neither_sync_nor_plots_nor_report(
    server: SandboxServer, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    today = server.sandbox.clock().date()
    settings = environment(server, path, BUILDKITE_START_DATE=f"{today - timedelta(days=1)}")
    done = command("sync", settings=settings, cwd=tmp_path, home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "could not be drawn" not in done.stderr
    with connect(path) as connection:
        assert connection.execute("SELECT step FROM flaky_steps").fetchall() == [(LABEL,)]
    page = (tmp_path / "w-ci-report.html").read_text()
    assert SHOWN_LABEL in unescape(page)
    assert not re.search(UNSAFE, re.sub(BREAKS, "", page))
