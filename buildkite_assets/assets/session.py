"""What every asset works with: the settings, and the connections that follow from them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from buildkite_assets.buildkite.client import Client
from buildkite_assets.progress import Progress
from buildkite_assets.rows import Privacy
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse


@dataclass(frozen=True)
class Session:
    """One run's way to Buildkite and to the warehouse."""

    settings: Settings
    progress: Progress = field(default_factory=Progress)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A connection to Buildkite.

        Raises:
            SettingsError: no token is set.
        """
        settings = self.settings
        with Client(settings.api_url, settings.token, rate_share=settings.rate_share) as client:
            yield client

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
        return {}
