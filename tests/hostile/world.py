"""A company whose people typed nothing but harm, synced by the command line."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from buildkite_assets.sandbox import Sandbox
from buildkite_assets.session import Patience, Session
from buildkite_assets.settings import Settings
from tests.syncing import StandingClock, command, environment, without_limits

from .server import HostileApp, serve_hostile

DAYS = 2


@dataclass(frozen=True)
class World:
    """A served company and the warehouse that it was synced to.

    Attributes:
        sandbox: what is true, before any text of it was replaced.
        app: what is served instead.
        folder: all that may be written to lies in it.
        settings: the variables that lead to both.
        synced: how the sync ended.
    """

    sandbox: Sandbox
    app: HostileApp
    folder: Path
    settings: Mapping[str, str]
    synced: subprocess.CompletedProcess[str]

    @property
    def session(self) -> Session:
        """The session of these settings."""
        return Session(Settings.from_environment(self.settings), patience=Patience(1, 0, 0))

    @property
    def warehouse(self) -> Path:
        """The published file."""
        return self.session.settings.warehouse

    @property
    def home(self) -> Path:
        """The Dagster home."""
        return self.folder / "home"


@contextmanager
def hostile_world(folder: Path, seed: int, *, is_nonsense: bool = False) -> Iterator[World]:
    """Serve a company with the texts of a seed, and sync it once.

    Args:
        folder: made; what leads out of it by `..` lies in its parent.
        seed: which texts.
        is_nonsense: whether some states and instants are texts, too.
    """
    folder.mkdir(parents=True)
    sandbox = without_limits(
        Sandbox.company(clock=StandingClock(), days=DAYS, builds_per_day=10, jobs_per_build=4)
    )
    app = HostileApp(sandbox, seed)
    app.is_nonsense = is_nonsense
    first = sandbox.clock().date() - timedelta(days=DAYS)
    with serve_hostile(sandbox, app) as server:
        settings = environment(
            server,
            folder / "w.duckdb",
            BUILDKITE_ORGANIZATIONS="",
            BUILDKITE_START_DATE=f"{first}",
            BUILDKITE_RULES=f"{_rules(folder)}",
        )
        synced = command("sync", settings=settings, cwd=folder, home=folder / "home")
        yield World(sandbox, app, folder, settings, synced)


def _rules(folder: Path) -> Path:
    """Write rules that fit whatever things are called."""
    path = folder / "rules.toml"
    path.write_text('[[deployments]]\nenvironment = "production"\npipeline = "*"\n')
    return path
