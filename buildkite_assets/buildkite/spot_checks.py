"""Questions to Buildkite about builds that cost little: is this one there, is that all of them?"""

from datetime import datetime

import msgspec

from buildkite_assets.buildkite.client import Client, Query
from buildkite_assets.buildkite.decoding import mend_text
from buildkite_assets.buildkite.errors import DepthRefusedError, NotFoundError
from buildkite_assets.buildkite.left_out import LookedInto, look_into_builds
from buildkite_assets.buildkite.listings import Window, api_path, following_pages, instant_text
from buildkite_assets.buildkite.page_size import LARGEST
from buildkite_assets.buildkite.records import ListedBuild

_SLIM = {"exclude_jobs": "true", "exclude_pipeline": "true"}
_LOOKED_INTO = 10


def listed_builds(client: Client, organization: str, window: Window) -> dict[str, ListedBuild]:
    """The builds of a window by id; one request per 100, without their jobs.

    Pages are followed by number, so a build that is deleted meanwhile may hide another one.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    query: Query = {
        **_SLIM,
        "per_page": LARGEST,
        "created_from": instant_text(window.created_from),
        "created_to": instant_text(window.created_to),
    }
    try:
        first = client.get(_builds(organization), query, _decode)
        pages = [first, *following_pages(client, first, _decode)]
    except DepthRefusedError:
        middle = (window.created_from + (window.created_to - window.created_from) / 2).replace(
            microsecond=0
        )
        if middle == window.created_from:
            raise
        return listed_builds(
            client, organization, Window(window.created_from, middle)
        ) | listed_builds(client, organization, Window(middle, window.created_to))
    return {build.id: build for page in pages for build in page.body}


def has_builds_before(client: Client, organization: str, instant: datetime) -> bool:
    """Whether Buildkite still has any build created before an instant; one request.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    query: Query = {**_SLIM, "per_page": 1, "created_to": instant_text(instant)}
    return bool(client.get(_builds(organization), query, _decode).body)


def build_of_number(
    client: Client, organization: str, pipeline_slug: str, number: int
) -> ListedBuild | None:
    """The build that has this number now, or None where there is none in sight; one request.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    path = api_path("organizations", organization, "pipelines", pipeline_slug)
    try:
        page = client.get(f"{path}/builds/{number}", _SLIM, lambda body: _decode(b"[%b]" % body))
    except NotFoundError:
        return None
    return page.body[0]


def newest_builds_looked_into(client: Client, organization: str) -> LookedInto:
    """The unknown fields of the newest finished builds and their jobs.

    One request, for ten builds; pipelines are left out of it.

    Raises:
        BuildkiteError: see `buildkite.errors`.
    """
    query: Query = {
        "state": "finished",
        "per_page": _LOOKED_INTO,
        "include_retried_jobs": "true",
        "exclude_pipeline": "true",
    }
    return client.get(_builds(organization), query, look_into_builds).body


def _builds(organization: str) -> str:
    return api_path("organizations", organization, "builds")


def _decode(body: bytes) -> list[ListedBuild]:
    return msgspec.json.decode(mend_text(body), type=list[ListedBuild])
