"""Both of Buildkite's ways to cut lists into pages: by number with `Link`, and by cursor."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request

from .errors import bad_request
from .model import Job

PER_PAGE_DEFAULT = 30
PER_PAGE_MAXIMUM = 100

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """One page of a list, and the `Link` header that goes with it ("" for none)."""

    items: Sequence[_Item]
    link: str


def requested_page(request: Request) -> tuple[int, int]:
    """Return `page` and `per_page`; more than 100 per page become 100 without a word."""
    page = _positive(request.query_params.get("page"), 1)
    per_page = _positive(request.query_params.get("per_page"), PER_PAGE_DEFAULT)
    return page, min(per_page, PER_PAGE_MAXIMUM)


def numbered_page(request: Request, items: Sequence[_Item]) -> Page[_Item]:
    """Cut out the requested page. An empty page is no error."""
    page, per_page = requested_page(request)
    last = max(1, -(-len(items) // per_page))
    return Page(items[(page - 1) * per_page : page * per_page], _link(request, page, last))


def _link(request: Request, page: int, last: int) -> str:
    """Return what was recorded: the last page has only `last`, a single page has nothing."""
    if last == 1 and page == 1:
        return ""
    targets = {}
    if page < last:
        if page > 1:
            targets["first"] = 1
            targets["prev"] = page - 1
        targets["next"] = page + 1
    targets["last"] = last
    return ", ".join(
        f'<{_url(request, page=str(number))}>; rel="{relation}"'
        for relation, number in targets.items()
    )


def cursor_page(request: Request, jobs: Sequence[Job]) -> dict[str, Any]:
    """Return the requested jobs as `items` with `links`; items are not rendered yet.

    Raises:
        ApiError: 400, `per_page` or the cursor makes no sense.
    """
    query = request.query_params
    text = query.get("per_page", str(PER_PAGE_DEFAULT))
    if not text.isdigit() or not 1 <= int(text) <= PER_PAGE_MAXIMUM:
        raise bad_request(f"per_page must be between 1 and {PER_PAGE_MAXIMUM}")
    per_page = int(text)
    if "after" in query and "before" in query:
        raise bad_request("after and before are mutually exclusive")
    start = 0
    if "after" in query:
        start = _cursor_position(jobs, query["after"]) + 1
    elif "before" in query:
        start = max(0, _cursor_position(jobs, query["before"]) - per_page)
    shown = jobs[start : start + per_page]
    links = {"self": str(request.url), "first": _url(request, per_page=text)}
    if start + per_page < len(jobs):
        links["next"] = _url(request, after=_cursor(shown[-1]), per_page=text)
    if start > 0:
        links["prev"] = _url(request, before=_cursor(jobs[start]), per_page=text)
    return {"items": shown, "links": links}


def _cursor(job: Job) -> str:
    return base64.urlsafe_b64encode(job.id.encode()).decode()


def _cursor_position(jobs: Sequence[Job], cursor: str) -> int:
    try:
        job_id = base64.urlsafe_b64decode(cursor).decode()
    except (binascii.Error, UnicodeDecodeError):
        job_id = ""
    for position, job in enumerate(jobs):
        if job.id == job_id:
            return position
    raise bad_request("cursor is invalid")


def _url(request: Request, **changes: str) -> str:
    """Return the request's address with all its filters, and these parameters instead of its."""
    replaced = {"page", "after", "before"} | changes.keys()
    kept = [item for item in request.query_params.multi_items() if item[0] not in replaced]
    query = urlencode(sorted([*kept, *changes.items()], key=lambda item: item[0]))
    return str(request.url.replace(query=query))


def _positive(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() and int(text) > 0 else default
