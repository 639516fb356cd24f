"""What holds names and e-mail addresses is for its owner alone, whatever the umask is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buildkite_assets.buildkite.client import Client
from buildkite_assets.export.baton import export_baton
from buildkite_assets.export.review import export_review
from buildkite_assets.runs import prepare_home
from buildkite_assets.sandbox import serve
from buildkite_assets.warehouse import Warehouse

from .syncing import command_here, empty_sandbox, environment
from .unprivileged import unprivileged


@contextmanager
def open_to_all() -> Iterator[None]:
    """Have new files and folders be everybody's, unless they are given a mode."""
    mask = os.umask(0)
    try:
        yield
    finally:
        os.umask(mask)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def readable_by_others(folder: Path) -> list[Path]:
    """The files and folders in a folder that others may read or enter, and the folder itself."""
    return [path for path in (folder, *folder.rglob("*")) if mode(path) & 0o077]


def test_a_sync_writes_for_its_owner_alone(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    home, data, state = tmp_path / "home", tmp_path / "data", tmp_path / "state"
    state.mkdir(mode=0o700)
    with serve(sandbox) as server, open_to_all():
        settings = environment(server, data / "w.duckdb", XDG_STATE_HOME=str(state))
        done = command_here(
            *("sync", "--from", f"{clock().date()}"), settings=settings, cwd=tmp_path, home=home
        )
        assert done.exit_code == 0, done.stderr
        done = command_here(
            *("export", "review", "--organization", "acme", "--out", "a/b"),
            settings=settings,
            cwd=tmp_path,
        )
        assert done.exit_code == 0, done.stderr
        # The umask is the command's own.
        assert os.umask(0) == 0
    assert list(home.rglob("*.db"))
    for folder in (home, data, state, tmp_path / "a"):
        assert readable_by_others(folder) == []


def test_the_folders_of_a_published_file_are_for_those_who_may_read_it(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "a" / "b" / "w.duckdb", 0o640)
    with open_to_all(), warehouse.transaction():
        pass
    warehouse.publish()
    report = warehouse.publish_beside("w-ci-report.html", b"a page")
    assert (mode(warehouse.path), mode(report)) == (0o640, 0o640)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o750, 0o750)
    assert mode(warehouse.folder) == 0o700


def test_exports_are_private_also_where_an_earlier_one_was_not(
    month_file: Path, tmp_path: Path
) -> None:
    with open_to_all():
        # Nobody shares their home folder because they export into it.
        (tmp_path / "out").mkdir(mode=0o755)
        (tmp_path / "out" / "acme").mkdir()
        (tmp_path / "out" / "acme" / "baton.csv").touch()
        [baton] = export_baton(month_file, tmp_path / "out")
        review = export_review(month_file, "acme", tmp_path / "out")
    assert (review / "manifest.json").exists()
    assert readable_by_others(baton) == []
    assert readable_by_others(review) == []
    assert mode(tmp_path / "out") == 0o755


def test_a_hidden_folder_that_others_can_enter_is_closed_to_them(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with open_to_all():
        warehouse.folder.mkdir()
    with warehouse.transaction():
        assert mode(warehouse.folder) == 0o700


def test_a_hidden_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder of somebody else's")
    with open_to_all():
        (tmp_path / ".w.duckdb").mkdir()
    os.chown(tmp_path / ".w.duckdb", 65534, 65534)
    program = """
import sys
from pathlib import Path
from buildkite_assets.warehouse import Warehouse, WarehouseError
try:
    with Warehouse(Path(sys.argv[1])).transaction():
        pass
except WarehouseError as error:
    print(error)
"""
    said = subprocess.run(  # noqa: S603 - a program of this test
        unprivileged(sys.executable, "-c", program, str(tmp_path / "w.duckdb")),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"{tmp_path / '.w.duckdb'} could not be written: Operation not permitted" in said
    assert not list((tmp_path / ".w.duckdb").iterdir())


def test_a_dagster_home_of_ours_is_closed_to_others_and_that_of_others_is_left(
    tmp_path: Path,
) -> None:
    with open_to_all():
        made = prepare_home(tmp_path / "made")
        given = tmp_path / "given"
        given.mkdir()
        prepare_home(given)
        of_an_older_version = prepare_home(tmp_path / "older")
        of_an_older_version.chmod(0o755)
        prepare_home(of_an_older_version)
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o750)
        (theirs / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        prepare_home(theirs)
    assert [mode(home) for home in (made, given, of_an_older_version)] == [0o700] * 3
    assert mode(theirs) == 0o750


def test_the_pace_of_requests_is_kept_in_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "buildkite-assets"
    with open_to_all():
        folder.mkdir()
        with Client("http://127.0.0.1:9/v2", "bkua_word"):
            pass
    assert mode(folder) == 0o700
