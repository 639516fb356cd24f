"""Targets of the Makefile: who can open the notebooks, and what an audit needs."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import pytest

from tests.syncing import command_environment

PROJECT = Path(__file__).parents[1]
UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
_PATIENCE_SECONDS = 120

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make with the packages that are installed."""
    return subprocess.run(  # noqa: S603 - targets of ours
        ["make", "--no-print-directory", "--old-file", ".venv/.ready", *arguments],  # noqa: S607
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )


# The notebooks


def browser() -> OpenerDirector:
    """What keeps cookies, as a browser does."""
    return build_opener(HTTPCookieProcessor(CookieJar()))


@contextmanager
def notebooks(folder: Path) -> Iterator[str]:
    """Serve the notebooks as `make notebook` does; yields the address that it prints."""
    recipe = make("--just-print", "notebook", f"RUN={Path(sys.executable).parent}").stdout
    printed = folder / "printed"
    with (
        printed.open("w") as output,
        subprocess.Popen(  # noqa: S603 - a target of ours
            ["/bin/sh", "-c", f"{recipe.strip()} --headless"],
            cwd=PROJECT,
            env=command_environment({"BUILDKITE_WAREHOUSE": str(folder / "w.duckdb")}),
            stdout=output,
            start_new_session=True,
        ) as server,
    ):
        try:
            yield _address(printed, server)
        finally:
            os.killpg(server.pid, signal.SIGINT)


def _listens(address: str) -> bool:
    parts = urlsplit(address)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname or "", parts.port or 0)) == 0


def _address(printed: Path, server: subprocess.Popen[bytes]) -> str:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while server.poll() is None and time.monotonic() < give_up_at:
        # The address is printed before anything listens there.
        if (found := re.search(r"http://\S+", printed.read_text())) and _listens(found[0]):
            return found[0]
        time.sleep(0.1)
    pytest.fail(f"no address is printed: {printed.read_text()}")


def test_the_notebooks_open_with_the_printed_token_alone(tmp_path: Path) -> None:
    with notebooks(tmp_path) as address:
        url, _, token = address.partition("?access_token=")
        assert len(token) > 40
        for wrong in (url, f"{url}?access_token={token[:-1]}"):
            assert "/auth/login" in browser().open(wrong).url
        with pytest.raises(HTTPError, match="401"):
            browser().open(f"{url}/api/status")
        assert "/auth/login" not in browser().open(address).url


# The audit


@pytest.mark.parametrize("target", ["test", "lint"])
def test_neither_tests_nor_lint_need_the_advisory_database(target: str) -> None:
    assert " audit " not in make("--just-print", target).stdout
    assert " audit --locked" in make("--just-print", "audit").stdout


@pytest.mark.skipif(UV is None, reason="uv is not on the PATH")
def test_an_audit_without_the_advisory_database_says_that_it_knows_nothing() -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    run = Path(sys.executable).parent
    done = make("audit", f"UV={UV}", f"RUN={run}", **nowhere)
    assert done.returncode != 0
    assert "Nothing was looked up: https://api.osv.dev is out of reach" in done.stderr
