"""Every item of a list; every build of a window.

Lists of builds are newest first, and pages shift when builds are created or deleted meanwhile. So
builds are not paged by number: the window's end moves down to the oldest second seen, which is read
again, and nothing between two pages can be missed. Only where one second holds more builds than a
page does are its pages followed, over and over until two passes in a row bring the same builds.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Generic, TypeVar
from urllib.parse import quote

from buildkite_assets.buildkite.client import Client, Query, Response
from buildkite_assets.buildkite.decoding import BuildPage, decode_builds, decode_list
from buildkite_assets.buildkite.errors import (
    BodyTooLargeError,
    DepthRefusedError,
    ServerTroubleError,
    UnexpectedResponseError,
    UnreachableError,
)
from buildkite_assets.buildkite.page_size import LARGEST, PageSize
from buildkite_assets.buildkite.records import Body

R = TypeVar("R", bound=Body)
T = TypeVar("T")

_SECOND = timedelta(seconds=1)
_WHOLE = {"include_retried_jobs": "true"}
_MOST_PASSES = 5
_MOST_PAGES = 1_000  # 100,000 items: more than any organization has of anything but builds


@dataclass(frozen=True)
class Window:
    """Builds created in `[created_from, created_to)`, UTC, in whole seconds."""

    created_from: datetime
    created_to: datetime

    @classmethod
    def of_day(cls, day: date) -> "Window":
        """The window of one UTC day."""
        start = datetime.combine(day, time.min, UTC)
        return cls(start, start + timedelta(days=1))


def api_path(*parts: str) -> str:
    """A path below the API's base, each part encoded."""
    return "/".join(quote(part, safe="") for part in parts)


def every_item(client: Client, path: str, record: type[R]) -> Iterator[Response[list[R]]]:
    """The pages of a list other than builds, in the order sent.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """

    def decode(body: bytes) -> list[R]:
        return decode_list(body, record)

    first = client.get(path, {"per_page": LARGEST}, decode)
    yield first
    yield from following_pages(client, first, decode)


@dataclass(frozen=True)
class WholeList(Generic[R]):
    """Every item of a list, each once.

    Attributes:
        items: as the last pass brought them; if the list is not settled, also what only earlier
            passes brought.
        started_at: Buildkite's clock in the first response.
        ended_at: Buildkite's clock in the last response.
        requests: the number of requests.
        is_settled: whether an item that is missing is really gone. False if the list changed in
            every pass.
    """

    items: list[R]
    started_at: datetime
    ended_at: datetime
    requests: int
    is_settled: bool


def whole_list(
    client: Client,
    path: str,
    record: type[R],
    id_of: Callable[[R], str],
    known_ids: Collection[str] = (),
) -> WholeList[R]:
    """Read a list that is paged by number without losing an item between two pages.

    An item that is removed from a page already read shifts the rest, and the first item of the next
    page is missed. A list of one page cannot lose anything. A list of several pages is complete if
    it has every item that was known before. Otherwise it is read again until two passes in a row
    bring the same items: the removed item is in the first of them and missing from the second.

    Args:
        client: the connection.
        path: of the list.
        record: what an item is decoded to.
        id_of: returns an item's id.
        known_ids: the ids of the items that an earlier read brought.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    found: dict[str, R] = {}
    passes: list[list[Response[list[R]]]] = []
    previous: set[str] | None = None
    is_settled = False
    while not is_settled and len(passes) < _MOST_PASSES:
        passes.append(list(every_item(client, path, record)))
        items = {id_of(item): item for page in passes[-1] for item in page.body}
        is_settled = (
            len(passes[-1]) == 1
            or items.keys() == previous
            or (bool(known_ids) and items.keys() >= set(known_ids))
        )
        found = items if is_settled else found | items
        previous = set(items)
    responses = [page for pages in passes for page in pages]
    return WholeList(
        items=list(found.values()),
        started_at=responses[0].at,
        ended_at=max(page.at for page in responses),
        requests=len(responses),
        is_settled=is_settled,
    )


def builds_of(
    client: Client,
    organization: str,
    window: Window,
    page_size: PageSize,
    filters: Query | None = None,
) -> Iterator[Response[BuildPage]]:
    """The pages with every build of a window, all attempts included.

    A build that lies on the seam of two pages comes twice; its later copy is the newer one.

    Args:
        client: the connection.
        organization: its slug.
        window: by the builds' `created_at`.
        page_size: read and adapted.
        filters: further parameters of Buildkite's lists of builds.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    path = api_path("organizations", organization, "builds")
    query = {**_WHOLE, **(filters or {}), "created_from": instant_text(window.created_from)}
    end = window.created_to
    while end > window.created_from:
        page = _first_page(client, path, {**query, "created_to": instant_text(end)}, page_size)
        yield page
        oldest = page.body.oldest_within(window.created_from, end)
        following = following_pages(client, page, decode_builds)
        while page.next_url and oldest is None:
            page = next(following)
            yield page
            oldest = page.body.oldest_within(window.created_from, end)
        if page.next_url is None or oldest is None:
            return
        seam = oldest.replace(microsecond=0) + _SECOND
        if seam >= end:
            seam = end - _SECOND
            second = {**query, "created_from": instant_text(seam), "created_to": instant_text(end)}
            yield from _crowded_second(client, path, second, page_size)
        end = seam


def _crowded_second(
    client: Client, path: str, query: Query, page_size: PageSize
) -> Iterator[Response[BuildPage]]:
    """A second with more builds than a page holds.

    A deletion meanwhile shifts a build from a page to come to one that was read. But then the next
    pass lacks the deleted build: passes that are alike prove that the first of them was complete.
    Where a later page is too heavy for the server, the pass begins anew with smaller pages.
    """
    seen: set[str] | None = None
    while True:
        page = _first_page(client, path, query, page_size)
        yield page
        if page.next_url is None:
            return
        ids = page.body.ids
        try:
            for following in following_pages(client, page, decode_builds):
                yield following
                ids |= following.body.ids
        except (ServerTroubleError, BodyTooLargeError):
            if page_size.builds == 1:
                raise
            page_size.shrink()
            continue
        if ids == seen:
            return
        seen = ids


def following_pages(
    client: Client, page: Response[T], decode: Callable[[bytes], T]
) -> Iterator[Response[T]]:
    """The pages after a page, by their `next` links, at the size of that page.

    Raises:
        UnexpectedResponseError: the list does not end.
        BuildkiteError: see `buildkite.errors`.
    """
    followed: set[str] = set()
    while url := page.next_url:
        if url in followed:
            raise UnexpectedResponseError(
                "The next links of a list lead round in a circle. Please report it."
            )
        if len(followed) >= _MOST_PAGES:
            raise UnexpectedResponseError(
                f"A list goes on after {_MOST_PAGES:,} pages: the rest was not read. Check "
                "BUILDKITE_API_URL and the proxy: something else than Buildkite may answer."
            )
        followed.add(url)
        page = client.get(url, None, decode)
        yield page


def _first_page(
    client: Client, path: str, query: Query, page_size: PageSize
) -> Response[BuildPage]:
    """The first page of a list, with fewer builds where the server cannot answer with more."""

    def request() -> Response[BuildPage]:
        builds = page_size.builds
        try:
            return client.send(path, {**query, "per_page": builds}, decode_builds)
        except UnreachableError:
            raise
        except ServerTroubleError:
            page_size.shrink()
            raise
        except (DepthRefusedError, BodyTooLargeError):
            if builds == 1:
                raise
            page_size.limit(builds // 2)
            return request()

    page = client.retrying(request)
    page_size.fit(len(page.body), page.size_bytes)
    return page


def instant_text(instant: datetime) -> str:
    """An instant in the form that Buildkite's filters take: UTC, in whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
