"""The notebooks run from top to bottom, and show what stands in the published file."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import marimo
import pytest

from buildkite_assets.demo import RULES
from buildkite_assets.report import access_review, ci_health
from buildkite_assets.report.headlines import headlines
from buildkite_assets.report.opening import opened
from buildkite_assets.report.scope import known_pipelines, narrow, newest_days
from buildkite_assets.settings import Settings
from tests.syncing import command_environment

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = ("ci_health", "access_review")


@pytest.fixture
def shown(month_file: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Have the notebooks of this process read the month; return its settings."""
    monkeypatch.setenv("BUILDKITE_WAREHOUSE", str(month_file))
    monkeypatch.setenv("BUILDKITE_RULES", str(RULES))
    monkeypatch.syspath_prepend(FOLDER)
    return Settings.from_environment()


def run(name: str, **chosen: object) -> str:
    """Run a notebook in this process; the HTML that it shows.

    Args:
        name: of the notebook.
        chosen: of controls the values, instead of those that they begin with.
    """
    app: marimo.App = import_module(name).app
    choices: dict[str, Any] = {
        control: SimpleNamespace(value=value) for control, value in chosen.items()
    }
    outputs, _ = app.run(defs=choices)
    return "".join(marimo.as_html(output).text for output in outputs)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_as_a_script(name: str, month_file: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own notebook
        [sys.executable, FOLDER / f"{name}.py"],
        env=command_environment({"BUILDKITE_WAREHOUSE": str(month_file)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_ci_health_shows_headlines_plots_and_tables(shown: Settings) -> None:
    html = run("ci_health")
    with opened(shown) as connection:
        narrow(connection, newest_days(connection, 30))
        for headline in headlines(connection):
            assert headline.name in html
            assert headline.value in html
        for listing in ci_health.listings(connection):
            assert listing.title in html
    assert "acme: synced 2025-11-20 12:00 UTC" in html
    assert "invented" not in html
    assert html.count("vega") >= 6


def test_ci_health_shows_the_pipeline_and_the_days_that_are_chosen(shown: Settings) -> None:
    with opened(shown) as connection:
        [web] = [each for each in known_pipelines(connection) if each.label == "web"]
        narrow(connection, newest_days(connection, 7, web))
        values = [headline.value for headline in headlines(connection)]
    html = run("ci_health", pipeline=web, days=7)
    assert "web, 2025-11-14 to 2025-11-20 (UTC)" in html
    assert all(value in html for value in values)


def test_the_access_review_tells_its_coverage_before_anything_else(shown: Settings) -> None:
    html = run("access_review")
    with opened(shown) as connection:
        [acme] = access_review.organizations(connection).values()
        access_review.narrow_to_organization(connection, acme)
        sentence, is_whole = access_review.coverage(connection)
    assert is_whole
    assert "2 snapshots" in sentence
    assert html.index(sentence[:40]) < html.index("Findings")
    for title in ("Findings", "Effective access", "Unused access", "Changes"):
        assert title in html


@pytest.mark.parametrize("slug", ["--", "all pipelines"])
def test_a_pipeline_can_be_chosen_whatever_it_is_called(
    slug: str, shown: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "odd.duckdb"
    shutil.copyfile(shown.warehouse, path)
    with duckdb.connect(path) as connection:
        connection.execute(
            "UPDATE build_runs SET pipeline_slug = ? WHERE pipeline_slug = 'web'", [slug]
        )
    monkeypatch.setenv("BUILDKITE_WAREHOUSE", str(path))
    html = unescape(run("ci_health"))
    options = re.search(r"data-options='(\[\"all pipelines\".*?\])'", html)
    assert options
    assert {"all pipelines", f'"{slug}"', "api"} <= set(
        json.loads(options[1].replace("&#92;", "\\"))
    )


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_without_a_file_it_says_how_to_make_one(
    name: str, shown: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown
    monkeypatch.setenv("BUILDKITE_WAREHOUSE", str(tmp_path / "none.duckdb"))
    html = run(name)
    assert "none.duckdb does not exist: run `buildkite-assets sync`" in html
    assert "Main red" not in html
