"""Reads UTC days of builds in full, several at once.

Days are committed as soon as they are whole, so that what interrupts a backfill costs only those
that were being read.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import count, islice
from threading import Event

import pyarrow as pa

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.decoding import RejectedBuild
from buildkite_assets.buildkite.failures import Failures
from buildkite_assets.buildkite.listings import Window, builds_of
from buildkite_assets.buildkite.organizations import PipelineDirectory, visible_organizations
from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.buildkite.records import Organization
from buildkite_assets.rows import Privacy, build_rows, record_rows, rejected_rows
from buildkite_assets.session import Session
from buildkite_assets.tables import PIPELINES
from buildkite_assets.warehouse import Connection, Warehouse, atomic
from buildkite_assets.warehouse.feed import log_late_changes, reopen_read_point
from buildkite_assets.warehouse.future import correct_future
from buildkite_assets.warehouse.ledger import DayRead, record_day
from buildkite_assets.warehouse.merge import (
    BuildWindow,
    count_builds,
    mark_absent_builds,
    merge_records,
    merge_staged,
    present_ids,
    stage_builds,
)
from buildkite_assets.warehouse.staging import Staging

_WINDOWS_AT_ONCE = 4
_BYTES_AT_ONCE = 40_000_000  # about 50,000 jobs: what one transaction takes costs memory
_MOST_STAGED = 12  # each holds two open files and room on the disk until it is committed


@dataclass(frozen=True)
class Source:
    """One organization to read builds from.

    Attributes:
        failures: where to note why it cannot be read.
        stopped: set when its days are given up.
        skipped_days: days that need not be read.
        page_numbers: of the pages of all its days, so that the later copy of a build is known.
    """

    client: Client
    session: Session
    organization: Organization
    pipelines: PipelineDirectory
    page_size: PageSize
    failures: Failures
    stopped: Event = field(default_factory=Event)
    skipped_days: AbstractSet[date] = frozenset()
    page_numbers: Iterator[int] = field(default_factory=count)


@dataclass(frozen=True)
class StagedDay:
    """A day's builds, read but not yet in the warehouse."""

    source: Source
    day: date
    builds: Staging
    jobs: Staging
    rejected: list[RejectedBuild]
    read_at: datetime
    requests: int
    size_bytes: int


def open_sources(client: Client, session: Session, failures: Failures) -> list[Source]:
    """Return the organizations to read from, with their pipelines.

    Args:
        client: the connection.
        session: which organizations, and the warehouse.
        failures: where to note those that cannot be read. Those noted already are left out.

    Raises:
        BuildkiteError: none can be read; see `buildkite.errors`.
    """
    wanted = session.settings.organizations
    visible, listed_at = visible_organizations(client, wanted, failures)
    organizations = [each for each in visible if not failures.concern(each.slug)]
    with session.warehouse.transaction() as connection:
        correct_future(connection, listed_at, session.latest_instant)
        known = {
            organization.id: present_ids(connection, PIPELINES, organization.id).get("", ())
            for organization in organizations
        }
    page_size = PageSize()
    sources = []
    for organization in organizations:
        with failures.of(organization.slug, "pipelines"):
            pipelines = PipelineDirectory(client, organization.slug, known[organization.id])
            sources.append(Source(client, session, organization, pipelines, page_size, failures))
    if not sources:
        failures.raise_first()
    return sources


class StoppedError(Exception):
    """A day was given up because another one of its organization failed."""


def read_days(
    sources: Sequence[Source],
    days: Sequence[date],
    warehouse: Warehouse,
    run_id: str | None,
    *,
    is_after_feed: bool = False,
) -> Iterator[tuple[date, list[DayRead]]]:
    """Read days in full and commit them; yields a day when every organization is done with it.

    An organization that fails is given up, and the others are read.

    Args:
        sources: the organizations.
        days: UTC days, in the order to begin them.
        warehouse: to merge into.
        run_id: the Dagster run, for the ledger.
        is_after_feed: whether a change feed has just ended, so that what differs nevertheless is
            a late change.

    Raises:
        BuildkiteError: every organization failed; the days yielded so far are committed.
        WarehouseError: the warehouse failed, likewise.
    """
    reads: defaultdict[date, list[DayRead]] = defaultdict(list)
    wanted = [(day, source) for day in days for source in sources if day not in source.skipped_days]
    lacking = _Lacking(wanted)
    to_read = ((day, source) for day, source in wanted if not source.stopped.is_set())
    futures: dict[Future[StagedDay], tuple[date, Source]] = {}
    with ThreadPoolExecutor(_WINDOWS_AT_ONCE, "day") as pool, ExitStack() as stack:
        stack.callback(_give_up, sources, futures)
        while True:
            for day, source in islice(to_read, _MOST_STAGED - len(futures)):
                futures[pool.submit(_read_day, source, day, warehouse)] = (day, source)
            if not futures:
                _raise_if_all_stopped(sources)
                return
            done = wait(futures, return_when=FIRST_COMPLETED).done
            failed = {future for future in done if future.exception()}
            # Whatever is ready is committed at once: to merge a small day alone costs most of what
            # a dozen cost together.
            ready = [future.result() for future in done - failed]
            with warehouse.connection() as connection:
                for batch in _batches(ready):
                    for read in _commit(batch, connection, run_id, is_after_feed=is_after_feed):
                        reads[read.day].append(read)
            warehouse.publish_if_due()
            for future in done - failed:
                lacking.discard(*futures.pop(future))
            yield from ((day, reads.pop(day)) for day in lacking.finished() if day in reads)
            for future in failed:
                _, source = futures.pop(future)
                _give_up_source(source, future)
                lacking.discard_all(source)
            yield from ((day, reads.pop(day)) for day in lacking.finished() if day in reads)


class _Lacking:
    """Which organizations each day lacks."""

    def __init__(self, wanted: Iterable[tuple[date, Source]]) -> None:
        self._sources: defaultdict[date, set[str]] = defaultdict(set)
        for day, source in wanted:
            self._sources[day].add(source.organization.id)

    def discard(self, day: date, source: Source) -> None:
        """Note that a day has an organization."""
        self._sources[day].discard(source.organization.id)

    def discard_all(self, source: Source) -> None:
        """Note that no day waits for an organization."""
        for organization_ids in self._sources.values():
            organization_ids.discard(source.organization.id)

    def finished(self) -> list[date]:
        """Return the days that lack nothing any more, each once."""
        days = [day for day, organization_ids in self._sources.items() if not organization_ids]
        for day in days:
            del self._sources[day]
        return days


def _raise_if_all_stopped(sources: Sequence[Source]) -> None:
    if sources and all(source.stopped.is_set() for source in sources):
        raise sources[0].failures.found[-1].error


def _give_up_source(source: Source, future: Future[StagedDay]) -> None:
    """Note why a day was not read, and give its organization up.

    Raises:
        BuildkiteError: no organization can be read.
    """
    with suppress(StoppedError), source.failures.of(source.organization.slug, "builds"):
        future.result()
    source.stopped.set()


def _give_up(sources: Sequence[Source], futures: Iterable[Future[StagedDay]]) -> None:
    for source in sources:
        source.stopped.set()
    for future in futures:
        future.cancel()


def _read_day(source: Source, day: date, warehouse: Warehouse) -> StagedDay:
    builds, jobs = Staging(warehouse.folder), Staging(warehouse.folder)
    rejected: list[RejectedBuild] = []
    read_at: datetime | None = None
    requests = size_bytes = 0
    window = Window.of_day(day)
    # The pipelines are known: without them, a body is smaller by 5 KB for each build.
    slim = {"exclude_pipeline": "true"}
    for page in builds_of(source.client, source.organization.slug, window, source.page_size, slim):
        if source.stopped.is_set():
            raise StoppedError
        read_at = read_at or page.at
        requests += 1
        size_bytes += page.size_bytes
        rows = build_rows(page.body, source.pipelines.id_of, page.at, source.session.privacy)
        number = next(source.page_numbers)
        builds.append(rows.builds, number)
        jobs.append(rows.jobs, number)
        rejected += rows.rejected
    if read_at is None:
        raise AssertionError("a window has at least one page")
    return StagedDay(source, day, builds, jobs, rejected, read_at, requests, size_bytes)


def _batches(days: Iterable[StagedDay]) -> Iterator[list[StagedDay]]:
    """Days to commit together: of one organization, and as many as memory is meant for."""
    batch: list[StagedDay] = []
    for day in sorted(days, key=lambda day: day.source.organization.id):
        size = sum(other.builds.size_bytes + other.jobs.size_bytes for other in (*batch, day))
        if batch and (day.source is not batch[0].source or size > _BYTES_AT_ONCE):
            yield batch
            batch = []
        batch.append(day)
    if batch:
        yield batch


def _commit(
    staged: Sequence[StagedDay],
    connection: Connection,
    run_id: str | None,
    *,
    is_after_feed: bool,
) -> list[DayRead]:
    """Merge days of one organization, in one transaction; what the ledger has of each."""
    source = staged[0].source
    organization_id = source.organization.id
    read_at = max(day.read_at for day in staged)
    with ExitStack() as stack, atomic(connection):
        builds = [stack.enter_context(day.builds) for day in staged]
        jobs = [stack.enter_context(day.jobs) for day in staged]
        pipelines = pipeline_rows(source.pipelines, organization_id, source.session.privacy)
        if pipelines is not None:
            merge_records(connection, PIPELINES, pipelines)
        stage_builds(connection, organization_id, builds, jobs)
        if is_after_feed:
            log_late_changes(connection, organization_id, read_at)
        merge_staged(connection, pa.concat_tables(map(_rejected_rows, staged)))
        reads = [_record(day, connection, run_id) for day in staged]
    source.session.progress.stored(
        sum(read.builds for read in reads), sum(read.jobs for read in reads)
    )
    return reads


def _rejected_rows(staged: StagedDay) -> pa.Table:
    """The builds that could not be read; one that tells no instant is of the day asked for."""
    begin = Window.of_day(staged.day).created_from
    rejected = [replace(build, created_at=build.created_at or begin) for build in staged.rejected]
    return rejected_rows(staged.source.organization.id, rejected, staged.read_at)


def _record(staged: StagedDay, connection: Connection, run_id: str | None) -> DayRead:
    """Mark what a merged day no longer has, and note that the day is known."""
    organization_id, window = staged.source.organization.id, Window.of_day(staged.day)
    build_window = BuildWindow(
        organization_id=organization_id,
        created_from=window.created_from,
        created_to=window.created_to,
        read_at=staged.read_at,
        visible_pipeline_ids=frozenset(p.id for p in staged.source.pipelines.pipelines),
    )
    mark_absent_builds(connection, build_window)
    builds, jobs = count_builds(connection, build_window)
    read = DayRead(
        organization_id=organization_id,
        day=staged.day,
        read_at=staged.read_at,
        builds=builds,
        jobs=jobs,
        rejected=len(staged.rejected),
        requests=staged.requests,
        size_bytes=staged.size_bytes,
        dagster_run_id=run_id,
    )
    record_day(connection, read)
    reopen_read_point(connection, organization_id, staged.read_at)
    return read


def pipeline_rows(
    directory: PipelineDirectory, organization_id: str, privacy: Privacy
) -> pa.Table | None:
    """The rows of `pipelines` for those listed, or None where the token may not list them."""
    if directory.listed_at is None:
        return None
    return record_rows(
        PIPELINES,
        directory.pipelines,
        directory.listed_at,
        privacy,
        organization_id=organization_id,
    )
