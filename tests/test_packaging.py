"""A wheel, installed elsewhere, runs without the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))

pytestmark = pytest.mark.skipif(UV is None, reason="uv is not on the PATH")


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with no way back to the checkout."""
    # Bytecode is kept, whatever is usual here: the second command need not compile it again.
    names = ("VIRTUAL_ENV", "PYTHONPATH", "DAGSTER_HOME", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(  # noqa: S603 - commands of this test
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_wheel_runs_the_demo_outside_of_the_checkout(tmp_path: Path) -> None:
    assert UV
    built = run(UV, "build", "--wheel", "--out-dir", str(tmp_path), str(PROJECT), folder=tmp_path)
    if built.returncode:
        pytest.skip(f"no wheel can be built here: {built.stderr[-200:]}")
    [wheel] = tmp_path.glob("*.whl")
    python = tmp_path / "venv" / "bin" / "python"
    assert run(UV, "venv", "--python", sys.executable, "venv", folder=tmp_path).returncode == 0
    locked = run(
        *(UV, "export", "--frozen", "--no-dev", "--no-emit-project", "--group", "default"),
        *("--project", str(PROJECT), "--output-file", "locked.txt"),
        folder=tmp_path,
    )
    assert locked.returncode == 0, locked.stderr
    target = ("--python", str(python))
    packages = run(UV, "pip", "install", *target, "-r", "locked.txt", folder=tmp_path)
    if packages.returncode:
        pytest.skip(f"the packages of uv.lock cannot be had here: {packages.stderr[-200:]}")
    installed = run(UV, "pip", "install", "--offline", *target, str(wheel), folder=tmp_path)
    assert installed.returncode == 0, installed.stderr
    program = str(python.with_name("buildkite-assets"))
    helped = run(program, "--help", folder=tmp_path)
    assert helped.returncode == 0, helped.stderr
    for command in ("demo", "sync", "check", "sandbox"):
        assert command in helped.stdout
    demo = run(program, "demo", folder=tmp_path)
    assert demo.returncode == 0, demo.stderr
    assert (tmp_path / "data" / "demo.duckdb").exists()
    assert (tmp_path / ".dagster-demo" / "dagster.yaml").exists()
