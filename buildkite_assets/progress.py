"""What a sync tells of itself while it works."""

from threading import Lock


class Progress:
    """Counts what a sync has done so far; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.days = 0
        self.days_read = 0
        self.requests = 0
        self.builds = 0
        self.jobs = 0
        self.bytes = 0
        self.remaining: int | None = None

    def expect_days(self, days: int) -> None:
        """Say how many more days are to be read."""
        with self._lock:
            self.days += days

    def page_read(self, builds: int, jobs: int, size_bytes: int, remaining: int | None) -> None:
        """Count a page of builds; builds on the seam of two pages count twice.

        Args:
            builds: rows of `builds` on it.
            jobs: rows of `jobs` on it.
            size_bytes: of its body.
            remaining: requests left in the smaller allowance of this minute, where it is told.
        """
        with self._lock:
            self.requests += 1
            self.builds += builds
            self.jobs += jobs
            self.bytes += size_bytes
            self.remaining = remaining

    def day_read(self) -> None:
        """Count a day as read and committed."""
        with self._lock:
            self.days_read += 1
