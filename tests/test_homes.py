"""A Dagster home that cannot be used: one line says which file, and what to do."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.private_files import UnwritableError
from buildkite_assets.runs import HomeError, fail_orphaned_runs, open_home, prepare_home

from .syncing import command_here
from .unprivileged import unprivileged

_OPEN = """
import sys
from pathlib import Path
from buildkite_assets.runs import open_home
from buildkite_assets.terminal import one_line_errors
with one_line_errors(), open_home(Path(sys.argv[1])) as instance:
    instance.get_runs()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a Dagster home that was used."""
    with open_home(tmp_path / "home") as instance:
        fail_orphaned_runs(instance)
    return tmp_path / "home"


def use(home: Path) -> str:
    """Open a home that cannot be used; the error."""

    def look() -> None:
        with open_home(home) as instance:
            fail_orphaned_runs(instance)
            instance.get_latest_materialization_event(dg.AssetKey("builds"))

    with pytest.raises(HomeError) as caught:
        look()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("database", ["history/runs.db", "history/runs/index.db"])
def test_a_damaged_database_is_named_with_the_way_out(home: Path, database: str) -> None:
    (home / database).write_bytes(os.urandom(40_000))
    said = use(home)
    assert said.startswith(f"{home / database} is damaged")
    assert f"move the Dagster home {home} away" in said
    home.rename(home.with_name("away"))
    with open_home(home) as instance:
        assert fail_orphaned_runs(instance) == 0


@pytest.mark.parametrize("settings", [b"{{{", b"unknown: 1", b"\xff\xfe"])
def test_wrong_instance_settings_are_told(home: Path, settings: bytes) -> None:
    (home / "dagster.yaml").write_bytes(settings)
    said = use(home)
    assert said.startswith(f"The Dagster home {home} cannot be used")
    assert len(said) < 600


def test_the_command_line_says_it_in_one_line(home: Path, tmp_path: Path) -> None:
    (home / "history" / "runs.db").write_bytes(os.urandom(40_000))
    settings = {
        "BUILDKITE_API_TOKEN": "bkua_word",
        "BUILDKITE_API_URL": "http://127.0.0.1:9/v2",
        "BUILDKITE_WAREHOUSE": str(tmp_path / "w.duckdb"),
    }
    done = command_here("sync", settings=settings, cwd=tmp_path, home=home)
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"Error: {home / 'history' / 'runs.db'} is damaged")


def test_a_full_disk_is_not_called_damage(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - a program of this file
        [sys.executable, "-c", _OPEN, str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)),
    )
    assert done.returncode == 1
    assert "Free disk space" in done.stderr
    assert "damaged" not in done.stderr


@pytest.mark.parametrize("folder", [".", "home/history"])
def test_a_home_that_may_not_be_written_is_told(home: Path, folder: str) -> None:
    if folder == ".":
        home.rename(home.with_name("away"))
    place = home.parent / folder
    place.chmod(0o500)
    done = subprocess.run(  # noqa: S603 - a program of this file
        unprivileged(sys.executable, "-c", _OPEN, str(home)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    place.chmod(0o700)
    assert done.returncode == 1
    assert "correct" in done.stderr
    assert "permissions" in done.stderr
    assert "damaged" not in done.stderr


def test_a_file_in_place_of_a_home_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(UnwritableError, match=r"home could not be written: File exists"):
        prepare_home(tmp_path / "home")
