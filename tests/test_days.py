"""Reading many days ahead of a slow warehouse takes bounded room."""

import resource
from datetime import timedelta
from pathlib import Path

from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.sandbox import serve
from buildkite_assets.warehouse import connect

from .syncing import empty_sandbox, read


def test_more_days_than_files_may_be_open_are_read(tmp_path: Path) -> None:
    sandbox, clock = empty_sandbox()
    today = clock().date()
    days = [today - timedelta(days=n) for n in range(100)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serve(sandbox) as server:
        # An empty day is read far faster than committed; each one staged holds two open files.
        open_files = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files + 70, hard))
        try:
            read(server, tmp_path / "w.duckdb", days, PageSize())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with connect(tmp_path / "w.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM sync_days").fetchall() == [(100,)]
