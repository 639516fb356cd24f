"""What a sync works with: the settings, and the connections that follow from them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from buildkite_assets.buildkite.client import CLOCK_TOLERANCE, Client, utc_now
from buildkite_assets.progress import Progress
from buildkite_assets.rows import Privacy
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse


@dataclass(frozen=True)
class Patience:
    """How often is tried again what may pass by itself.

    Attributes:
        attempts: how often a request is sent at most.
        retries: how often a step that failed is begun anew; what it had committed stays.
        wait_seconds: how long to wait before the first of these, and twice as long each time.
    """

    attempts: int = 8
    retries: int = 3
    wait_seconds: float = 60


@dataclass(frozen=True)
class Session:
    """One run's way to Buildkite and to the warehouse.

    Attributes:
        settings: what the environment says.
        progress: where to show what was read.
        patience: how often to try again.
        clock: this machine's clock, which Buildkite's must agree with.
    """

    settings: Settings
    progress: Progress = field(default_factory=Progress)
    patience: Patience = Patience()
    clock: Callable[[], datetime] = utc_now

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A connection to Buildkite.

        Raises:
            SettingsError: no token is set.
        """
        settings = self.settings
        with Client(
            settings.api_url,
            settings.token,
            rate_share=settings.rate_share,
            attempts=self.patience.attempts,
            watcher=self.progress,
            clock=self.clock,
        ) as client:
            yield client

    @property
    def latest_instant(self) -> datetime:
        """The latest instant that Buildkite's clock may show now."""
        return self.clock() + CLOCK_TOLERANCE

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse that the settings name."""
        return Warehouse(self.settings.warehouse, self.settings.file_mode)

    @property
    def privacy(self) -> Privacy:
        """What of people and meta-data is kept."""
        return Privacy(self.settings.email_key, self.settings.meta_data_keys)

    @property
    def parameters(self) -> dict[str, object]:
        """The values that queries of derived tables are given by name."""
        return self.settings.rules.parameters()
