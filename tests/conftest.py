"""What every test needs: a state folder of its own, and nothing of the user's environment."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .month import synced_month


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the pace file and Dagster's home in a temporary folder, and the user's token out."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("BUILDKITE_"):
                patch.delenv(name)
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("DAGSTER_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def month_file(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The published file of a month of the sandbox, shared by all processes of one test run."""
    base = tmp_path_factory.getbasetemp()
    return synced_month((base if worker_id == "master" else base.parent) / "month")
