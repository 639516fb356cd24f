"""One request to Buildkite done right: authorization, limits, retries, redaction.

The token travels in the `Authorization` header alone, and only to the configured scheme and host.
It is cut out of everything that an error repeats.
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar
from urllib.parse import unquote

import httpx
import msgspec
import stamina
from platformdirs import user_state_path

from buildkite_assets.buildkite.errors import (
    BuildkiteError,
    RateLimitedError,
    ServerTroubleError,
    TransientError,
    UnreachableError,
    UntrustedLinkError,
    refusal,
)
from buildkite_assets.buildkite.rate_limit import WINDOW_SECONDS, Pacer, believable_reset

T = TypeVar("T")
Query = Mapping[str, str | int | Sequence[str]]

_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class Response(Generic[T]):
    """What came back: the decoded body and what the headers said about it.

    Attributes:
        body: what `decode` made of the body.
        at: the server's clock when it answered, UTC.
        size_bytes: of the body, unpacked.
        next_url: the list's next page, or None on its last.
        scopes: what the token may do, where the server says so.
    """

    body: T
    at: datetime
    size_bytes: int
    next_url: str | None
    scopes: frozenset[str]


class Client:
    """A connection to one Buildkite REST API with one token.

    Args:
        base_url: such as `https://api.buildkite.com/v2`.
        token: the API access token.
        rate_share: the part of the allowance to use, above 0 and at most 1.
        attempts: how often a request is tried before its trouble is reported.
        patience_seconds: how long a request is tried at most, waits for an allowance included.
        timeout_seconds: how long the server may be silent.
    """

    def __init__(  # noqa: PLR0913 - one request has that many limits, each with a default
        self,
        base_url: str,
        token: str,
        *,
        rate_share: float = 0.8,
        attempts: int = 8,
        patience_seconds: float = 600.0,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._token = token
        self._base = httpx.URL(base_url.rstrip("/") + "/")
        self._attempts = attempts
        self._patience_seconds = patience_seconds
        self._http = httpx.Client(
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "User-Agent": f"buildkite-assets/{version('buildkite-assets')}",
            },
            timeout=httpx.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds), pool=None),
        )
        self.pacer = Pacer(rate_share, _pace_file(base_url, token))

    def __repr__(self) -> str:
        return f"Client({str(self._base)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, query: Query | None, decode: Callable[[bytes], T]) -> Response[T]:
        """`send`, with retries.

        Raises:
            BuildkiteError: see `buildkite.errors`; transient ones only after retries.
        """
        return self.retrying(lambda: self.send(path, query, decode))

    def retrying(self, request: Callable[[], T]) -> T:
        """Call `request` until it stops raising `TransientError`, within this client's patience.

        Raises:
            TransientError: the last one, when the attempts or the patience are used up.
        """
        for attempt in stamina.retry_context(
            on=TransientError,
            attempts=self._attempts,
            timeout=self._patience_seconds,
            wait_initial=0.5,
            wait_max=30.0,
        ):
            with attempt:
                return request()
        raise AssertionError("the last attempt returns or raises")

    def send(self, path: str, query: Query | None, decode: Callable[[bytes], T]) -> Response[T]:
        """Send one GET, once, when the rate limit allows it.

        Args:
            path: below the base URL, or a whole `next` URL.
            query: the query string; None leaves that of a `next` URL as it is.
            decode: from body to value; its `msgspec.DecodeError` means that the body is not whole.

        Raises:
            BuildkiteError: see `buildkite.errors`.
        """
        url, request = self._address(path)
        self.pacer.wait_turn()
        try:
            response, content = self._fetch(url, query)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise UnreachableError(
                f"{request}: no connection to {url.host}: {self._clean(str(error))}. Check "
                "BUILDKITE_API_URL, the network and its proxy."
            ) from None
        except httpx.HTTPError as error:
            raise ServerTroubleError(
                f"{request}: {type(error).__name__}: {self._clean(str(error))}. The connection "
                "was lost or stalled: try again."
            ) from None
        self.pacer.learn(response.headers)
        if not response.is_success:
            raise self._refusal(response, content, request)
        try:
            body = decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ServerTroubleError(
                f"{request}: the body is not what it should be: {self._clean(str(error))}. Try "
                "again; if it stays, please report it."
            ) from None
        return Response(
            body=body,
            at=_date(response.headers),
            size_bytes=len(content),
            next_url=response.links.get("next", {}).get("url"),
            scopes=_words(response.headers.get("X-OAuth-Scopes", "")),
        )

    def _address(self, path: str) -> tuple[httpx.URL, str]:
        """The URL of a path or link, if the token may go there, and the request's name."""
        try:
            url = self._base.join(path)
        except httpx.InvalidURL:
            raise UntrustedLinkError(
                "A list goes on at an address that cannot be read. Please report it."
            ) from None
        request = self._clean(f"GET {url.path}")
        if (url.scheme, url.netloc, url.userinfo) != (self._base.scheme, self._base.netloc, b""):
            raise UntrustedLinkError(
                f"{request}: the list goes on at {self._clean(f'{url.scheme}://{url.host}')}, "
                f"port {url.port}, which is not {self._base.scheme}://{self._base.host}, port "
                f"{self._base.port}. The token was not sent there: set BUILDKITE_API_URL to the "
                "address that the server uses for itself."
            )
        if self._token and self._token in unquote(str(url)):
            raise UntrustedLinkError(
                f"{request}: the list goes on at an address that holds the token itself, where "
                "logs would show it. Please report it."
            )
        return url, request

    def _fetch(self, url: httpx.URL, query: Query | None) -> tuple[httpx.Response, bytes]:
        """The response and its unpacked body, which must be whole before the patience is over."""
        until = time.monotonic() + self._patience_seconds
        with self._http.stream("GET", url, params=query) as response:
            chunks = []
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the body comes too slowly")
        return response, b"".join(chunks)

    def _refusal(self, response: httpx.Response, content: bytes, request: str) -> BuildkiteError:
        body = _error_body(content)
        message = self._clean(body.message or response.reason_phrase)[:_LONGEST_MESSAGE]
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            return refusal(response.status_code, request, message)
        reset_seconds = _reset_seconds(response.headers, body)
        self.pacer.pause(reset_seconds)
        return RateLimitedError(
            f"{request} answered 429: {message} Waiting {reset_seconds:.0f} s; if this happens "
            "often, others use the same allowance: lower BUILDKITE_RATE_SHARE.",
            reset_seconds,
        )

    def _clean(self, text: str) -> str:
        """Text from outside as one line without the token, however it is cased."""
        line = " ".join(text.split())
        return (
            re.sub(re.escape(self._token), "[token]", line, flags=re.IGNORECASE)
            if self._token
            else line
        )


class _ErrorBody(msgspec.Struct):
    message: str = ""
    scope: str | None = None
    reset: object = None


def _error_body(content: bytes) -> _ErrorBody:
    """What a refusal says, as far as it is JSON: gateways answer in HTML, some in nothing."""
    try:
        return msgspec.json.decode(content, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ErrorBody()


def _reset_seconds(headers: httpx.Headers, body: _ErrorBody) -> float:
    """How long to wait after a 429: what was said of the scope that ran out, else a window."""
    matching = "RateLimit-User-Reset" if body.scope == "rest_user" else "RateLimit-Reset"
    said = (headers.get(matching), body.reset, headers.get("Retry-After"))
    told = (believable_reset(text) for text in said)
    return next((seconds for seconds in told if seconds is not None), WINDOW_SECONDS)


def _date(headers: httpx.Headers) -> datetime:
    try:
        return parsedate_to_datetime(headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC).replace(microsecond=0)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def _pace_file(base_url: str, token: str) -> Path:
    """The file that all processes of this user with this token share; its name tells nothing."""
    digest = hashlib.sha256(f"{base_url} {token}".encode()).hexdigest()[:16]
    folder = user_state_path("buildkite-assets")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildkiteError(
            f"{folder} is to keep the pace of requests and cannot be made: {error.strerror}. "
            "Set XDG_STATE_HOME to a folder that can be written."
        ) from error
    return folder / f"pace-{digest}.json"
