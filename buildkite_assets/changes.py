"""Reads every build that changed since a read point, over all known days at once.

A build may be listed in more than one of the steps; its later copy counts. Whatever changes after
the step that would have listed it changes after the feed began, and is the next feed's.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property

from buildkite_assets.buildkite.client import Client, Query, Response
from buildkite_assets.buildkite.decoding import BuildPage, RejectedBuild, decode_build
from buildkite_assets.buildkite.errors import NotFoundError
from buildkite_assets.buildkite.listings import Window, api_path, builds_of, instant_text
from buildkite_assets.buildkite.organizations import PipelineDirectory
from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.buildkite.records import Build, Organization
from buildkite_assets.days import pipeline_rows
from buildkite_assets.rows import build_rows, rejected_rows
from buildkite_assets.session import Session
from buildkite_assets.tables import PIPELINES
from buildkite_assets.warehouse.compare import OPEN_STATES
from buildkite_assets.warehouse.feed import (
    FeedRead,
    FeedStart,
    OpenBuild,
    TouchedDay,
    feed_start,
    merge_feed,
    open_builds,
)
from buildkite_assets.warehouse.future import correct_future
from buildkite_assets.warehouse.merge import known_pipeline_ids, merge_records
from buildkite_assets.warehouse.staging import Staging


@dataclass(frozen=True)
class Feed:
    """What a change feed found in one organization.

    Attributes:
        touched: the days that have unfinished builds, or builds that changed.
        requests: how many it took, the list of organizations left out.
        rejected: builds that could not be read.
    """

    touched: list[TouchedDay]
    requests: int
    rejected: int


class FeedReader:
    """One organization's change feed while it is being read.

    Args:
        client: the connection.
        organization: its slug.
        start: where to begin.
        started_at: Buildkite's clock before the first request.
        open_builds: those not final as far as the warehouse knows, by id.
        known_pipelines: the ids of the pipelines that an earlier listing had.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - where to read, and what is known already
        self,
        client: Client,
        organization: str,
        start: FeedStart,
        started_at: datetime,
        open_builds: Mapping[str, OpenBuild],
        known_pipelines: Collection[str],
    ) -> None:
        self._client = client
        self._organization = organization
        self._start = start
        self._started_at = started_at
        self._unseen = dict(open_builds)
        self._known_pipelines = known_pipelines
        self._page_size = PageSize()
        self.gone: list[str] = []

    def pages(self) -> Iterator[Response[BuildPage]]:
        """The pages of the feed, in the order that makes it miss nothing.

        Raises:
            BuildkiteError: see `buildkite.errors`.
        """
        first_day = datetime.combine(self._start.first_day, time.min, UTC)
        since = self._start.read_point.replace(microsecond=0)
        yield from self._listed(first_day, {"state[]": OPEN_STATES})
        yield from self._listed(first_day, {"finished_from": instant_text(since)})
        yield from self._listed(max(since, first_day), {})
        for build in self._unseen.values():
            page = self._by_number(build)
            if page is not None:
                yield page

    @cached_property
    def pipelines(self) -> PipelineDirectory:
        """The organization's pipelines, listed when first asked for."""
        return PipelineDirectory(self._client, self._organization, self._known_pipelines)

    def _listed(self, created_from: datetime, filters: Query) -> Iterator[Response[BuildPage]]:
        end = self._started_at.replace(microsecond=0) + timedelta(days=1)
        window = Window(created_from, end)
        for page in builds_of(self._client, self._organization, window, self._page_size, filters):
            for build_id in page.body.ids:
                self._unseen.pop(build_id, None)
            yield page

    def _by_number(self, build: OpenBuild) -> Response[BuildPage] | None:
        """A build that no list brought; None where it is gone, or its pipeline out of sight."""
        page = self._get(build.pipeline_slug, build)
        if page is None:
            slug = self.pipelines.slug_of(build.pipeline_id)
            if slug is None:
                return None
            page = self._get(slug, build) if slug != build.pipeline_slug else None
        if page is None:
            self.gone.append(build.build_id)
        return page

    def _get(self, pipeline_slug: str, build: OpenBuild) -> Response[BuildPage] | None:
        """The build of that number, unless another one has its pipeline's slug and number now."""
        path = api_path("organizations", self._organization, "pipelines", pipeline_slug)
        path = f"{path}/builds/{build.number}"
        try:
            page = self._client.get(path, {"include_retried_jobs": "true"}, decode_build)
        except NotFoundError:
            return None
        return page if build.build_id in page.body.ids else None


def read_changes(
    client: Client,
    organization: Organization,
    started_at: datetime,
    session: Session,
    run_id: str | None,
) -> Feed | None:
    """Bring an organization's known days up to date; None while none is known.

    Args:
        client: the connection.
        organization: whose builds.
        started_at: Buildkite's clock in a response received before this call.
        session: the warehouse to merge into, in one transaction, and what is kept of people.
        run_id: the Dagster run, for the ledger.

    Raises:
        BuildkiteError: Buildkite failed; nothing was changed.
        WarehouseError: the warehouse failed; nothing was changed.
    """
    warehouse, privacy = session.warehouse, session.privacy
    with warehouse.transaction() as connection:
        correct_future(connection, started_at, session.latest_instant)
        start = feed_start(connection, organization.id)
        unfinished = open_builds(connection, organization.id)
        known_pipelines = known_pipeline_ids(connection, organization.id)
    if start is None:
        return None
    reader = FeedReader(client, organization.slug, start, started_at, unfinished, known_pipelines)
    rejected: list[RejectedBuild] = []
    pipeline_ids: set[str] = set()
    requests, finished_at = 0, started_at
    with Staging(warehouse.folder) as builds, Staging(warehouse.folder) as jobs:
        for page in reader.pages():
            requests += 1
            finished_at = max(finished_at, page.at)
            rows = build_rows(page.body, _pipeline_id, page.at, privacy)
            builds.append(rows.builds, requests)
            jobs.append(rows.jobs, requests)
            rejected += rows.rejected
            pipeline_ids.update(id_ for id_ in map(_pipeline_id, page.body.builds) if id_)
        new_pipelines = (
            pipeline_rows(reader.pipelines, organization.id, privacy)
            if pipeline_ids - known_pipelines
            else None
        )
        read = FeedRead(
            organization_id=organization.id,
            read_point=start.read_point,
            started_at=started_at,
            finished_at=finished_at,
            requests=requests + len(reader.gone),
            dagster_run_id=run_id,
            gone=reader.gone,
        )
        with warehouse.transaction() as connection:
            if new_pipelines is not None:
                merge_records(connection, PIPELINES, new_pipelines)
            odd = rejected_rows(organization.id, rejected, finished_at)
            touched = merge_feed(connection, read, builds, jobs, odd)
    return Feed(touched, read.requests, len(rejected))


def _pipeline_id(build: Build) -> str | None:
    return build.pipeline.id if build.pipeline else None
