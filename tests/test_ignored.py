"""What holds names, builds or a token stays out of commits and images."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

from buildkite_assets import demo
from buildkite_assets.export.commands import export
from buildkite_assets.settings import Settings

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def default_folders() -> set[str]:
    """The folders that exports write to by default, or where the README shows how."""
    defaults = {
        str(option.default)
        for command in export.commands.values()
        for option in command.params
        if option.name == "out" and isinstance(option.default, Path)
    }
    return defaults | set(re.findall(r"--out (\S+)", README))


def private_files() -> set[str]:
    """One file of each place in a checkout that the project or Dagster writes to by default."""
    settings = Settings.from_environment({})
    beside = {settings.warehouse, settings.report, settings.warehouse.with_name(".w.duckdb") / "x"}
    return {
        *(path.relative_to(Path.cwd()).as_posix() for path in beside),
        *(f"{folder}/acme/manifest.json" for folder in default_folders()),
        demo.WAREHOUSE.as_posix(),
        f"{demo.WAREHOUSE.parent}/demo-review/acme/manifest.json",
        f"{settings.dagster_home.relative_to(Path.cwd())}/history/runs.db",
        f"{demo.DAGSTER_HOME}/history/runs.db",
        ".tmp_dagster_home_x1/history/runs.db",
        "elsewhere/acme.duckdb",
        "elsewhere/.acme.duckdb/working.duckdb",
        "elsewhere/acme-ci-report.html",
        "notebooks/__marimo__/session/ci_health.py.json",
        ".env",
        "deploy/buildkite-assets.env",
    }


def test_the_places_that_exports_write_to_are_found() -> None:
    assert default_folders() == {"review", "baton"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_ignores_what_is_private_and_nothing_of_the_project(tmp_path: Path) -> None:
    shutil.copy(PROJECT / ".gitignore", tmp_path)
    kept = {"README.md", "buildkite_assets/export/review.py", "deploy/compose.yaml"}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)  # noqa: S607
    ignored = subprocess.run(
        ["git", "check-ignore", "--stdin"],  # noqa: S607
        cwd=tmp_path,
        input="\n".join(private_files() | kept),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(ignored.stdout.splitlines()) == private_files()


@pytest.mark.parametrize("path", sorted(private_files()))
def test_an_image_is_built_without_what_is_private(path: str) -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    patterns = {line for line in lines if line and not line.startswith("#")}
    patterns |= {pattern.removeprefix("**/") for pattern in patterns}
    places = [path, *(str(parent) for parent in PurePosixPath(path).parents)]
    assert any(fnmatch(place, pattern) for place in places for pattern in patterns)
