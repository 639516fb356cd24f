"""Builds in few words, as the pages of a read."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import msgspec

from buildkite_assets.buildkite.decoding import BuildPage, RejectedBuild
from buildkite_assets.buildkite.records import Build
from buildkite_assets.rows import Privacy, build_rows, rejected_rows
from buildkite_assets.warehouse.merge import merge_staged, stage_builds
from buildkite_assets.warehouse.staging import Staging

ORGANIZATION_ID = "00000000-0000-4000-8000-0000000000aa"
PIPELINE_ID = "00000000-0000-4000-8000-0000000000bb"
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def build_id(number: int) -> str:
    """The id of the build with this number."""
    return f"00000000-0000-4000-8000-{number:012d}"


def job_id(build: int, job: int) -> str:
    """The id of a build's job."""
    return f"00000000-0000-4000-9000-{build * 1000 + job:012d}"


def at(minute: float) -> datetime:
    """So many minutes into the day."""
    return MIDNIGHT + timedelta(minutes=minute)


@dataclass(frozen=True)
class Seen:
    """A build as one page showed it; created in the first seconds of the day."""

    number: int
    state: str = "running"
    jobs: Sequence[int] = ()
    slug: str = "web"

    def record(self) -> Build:
        """The build as decoded from a response."""
        url = f"https://api.buildkite.com/v2/organizations/acme/pipelines/{self.slug}/builds/"
        body = {
            "id": build_id(self.number),
            "url": f"{url}{self.number}",
            "number": self.number,
            "state": self.state,
            "created_at": at(self.number / 60).isoformat(),
            "jobs": [{"id": job_id(self.number, job), "type": "script"} for job in self.jobs],
        }
        return msgspec.convert(body, Build, strict=False)


@dataclass(frozen=True)
class Page:
    """One page of builds and when Buildkite answered with it, in minutes."""

    minute: float
    builds: Sequence[Seen] = ()
    rejected: Sequence[RejectedBuild] = field(default=())


def merge(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    *pages: Page,
    pipeline_id: str | None = PIPELINE_ID,
) -> None:
    """Merge the pages of two reads that took turns."""
    rejected = [build for page in pages for build in page.rejected]
    with ExitStack() as stack:
        builds = [stack.enter_context(Staging(folder)) for _ in range(2)]
        jobs = [stack.enter_context(Staging(folder)) for _ in range(2)]
        for number, page in enumerate(pages):
            records = BuildPage([seen.record() for seen in page.builds], [])
            rows = build_rows(records, lambda _: pipeline_id, at(page.minute), Privacy())
            builds[number % 2].append(rows.builds, number)
            jobs[number % 2].append(rows.jobs, number)
        unread = rejected_rows(ORGANIZATION_ID, rejected, at(pages[0].minute))
        stage_builds(connection, ORGANIZATION_ID, builds, jobs)
        merge_staged(connection, unread)


def stored_builds(connection: duckdb.DuckDBPyConnection) -> dict[int, tuple[str, bool]]:
    """Of each stored build its state, and whether it is marked as absent."""
    rows = connection.execute(
        "SELECT number, state, absent_since IS NOT NULL FROM builds"
    ).fetchall()
    stored = {number: (state, is_absent) for number, state, is_absent in rows}
    assert len(stored) == len(rows)
    return stored


def stored_jobs(connection: duckdb.DuckDBPyConnection) -> dict[tuple[int, int], bool]:
    """Of each stored job, by build and number, whether it is marked as absent."""
    rows = connection.execute("SELECT job_id, absent_since IS NOT NULL FROM jobs").fetchall()
    stored = {divmod(int(UUID(str(key)).hex[20:]), 1000): is_absent for key, is_absent in rows}
    assert len(stored) == len(rows)
    return stored
