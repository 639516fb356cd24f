"""What a client reports while it works, so that somebody can show it."""

from typing import Protocol


class Watcher(Protocol):
    """Follow the requests of a client; called from several threads."""

    def expect(self, parts: int, unit: str) -> None:
        """Take note that so many more parts are to be read, such as 60 `teams`."""

    def part_read(self) -> None:
        """Count a part as read."""

    def answered(self, size_bytes: int, remaining: int | None) -> None:
        """Count a response: its unpacked size, and the requests left in this minute if known."""

    def waiting(self, reason: str, seconds: float) -> None:
        """Take note that a request waits: what for, and for how long."""


class Nobody:
    """Watch nothing."""

    def expect(self, parts: int, unit: str) -> None:
        """Do nothing."""

    def part_read(self) -> None:
        """Do nothing."""

    def answered(self, size_bytes: int, remaining: int | None) -> None:
        """Do nothing."""

    def waiting(self, reason: str, seconds: float) -> None:
        """Do nothing."""
