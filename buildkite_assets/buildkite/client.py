"""One request to Buildkite done right: authorization, limits, retries, redaction.

The token travels in the `Authorization` header alone, and only to the configured scheme and host.
It is cut out of everything that an error repeats. Requests to this machine never pass a proxy. A
response is bounded in time and in size, so that no server can hold a sync up or fill its memory.
Its date orders what is stored, so a date that is far from this machine's clock is refused.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
    BodyTooLargeError,
    BuildkiteError,
    RateLimitedError,
    ServerTroubleError,
    TransientError,
    UnexpectedResponseError,
    UnreachableError,
    UntrustedLinkError,
    WrongClockError,
    refusal,
)
from buildkite_assets.buildkite.rate_limit import WINDOW_SECONDS, Pacer, believable_reset
from buildkite_assets.buildkite.this_machine import direct_transport, usable_environment
from buildkite_assets.buildkite.watcher import Nobody, Watcher
from buildkite_assets.plain_text import one_line

T = TypeVar("T")
Query = Mapping[str, str | int | Sequence[str]]

_logger = logging.getLogger(__name__)

CLOCK_TOLERANCE = timedelta(minutes=30)
"""How far a response's date and this machine's clock are at most apart.

A slow response takes ten minutes, and clocks drift by minutes; a wrong time zone is further off.
"""

_LONGEST_MESSAGE = 300
_LARGEST_BODY = 256_000_000  # pages of builds aim at 8 MB, and the largest known build has 1 MB
_ENCODINGS = {"", "identity", "gzip"}
_NOT_BUILDKITE = (
    "Something else than Buildkite may have answered, such as a proxy's sign-in page: check "
    "BUILDKITE_API_URL, HTTPS_PROXY and NO_PROXY."
)


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


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
        watcher: what to notify of each response and each wait.
        clock: the clock that a response's date must agree with, within `CLOCK_TOLERANCE`.
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
        watcher: Watcher | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._token = token
        self._base = httpx.URL(base_url.rstrip("/") + "/")
        self._attempts = attempts
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._http = self._connected(timeout_seconds)
        self.pacer = Pacer(rate_share, _pace_file(base_url, token))
        self.watcher = watcher or Nobody()

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
                try:
                    return request()
                except TransientError as error:
                    if attempt.num < self._attempts:
                        self._report_retry(error, attempt.num, attempt.next_wait)
                    raise
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
        self.pacer.wait_turn(self._report_wait)
        try:
            response, content = self._fetch(url, query, request)
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
        self.watcher.answered(len(content), self.pacer.remaining)
        if not response.is_success:
            raise self._refusal(response, content, request)
        body = self._decoded(response, content, decode, request)
        return Response(
            body=body,
            at=self._date(response.headers, request),
            size_bytes=len(content),
            next_url=response.links.get("next", {}).get("url"),
            scopes=_words(response.headers.get("X-OAuth-Scopes", "")),
        )

    def _report_wait(self, seconds: float) -> None:
        self.watcher.waiting("for Buildkite's rate limit", seconds)

    def _report_retry(self, error: TransientError, attempt: int, wait_seconds: float) -> None:
        if isinstance(error, RateLimitedError):
            wait_seconds = max(wait_seconds, error.reset_seconds)
        self.watcher.waiting("to try again", wait_seconds)
        _logger.warning(
            "%s Retry %d of %d in about %.0f s.",
            error,
            attempt,
            self._attempts - 1,
            max(wait_seconds, 1),
        )

    def _connected(self, timeout_seconds: float) -> httpx.Client:
        """Return httpx's client for the base URL.

        Raises:
            ProxyError: the environment names a proxy that cannot be used.
            CertificatesError: it names certificates that cannot be read.
        """
        with usable_environment():
            return httpx.Client(
                headers={
                    "Authorization": f"Bearer {self._token}",
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip",
                    "User-Agent": f"buildkite-assets/{version('buildkite-assets')}",
                },
                timeout=httpx.Timeout(
                    timeout_seconds, connect=min(10.0, timeout_seconds), pool=None
                ),
                transport=direct_transport(self._base.host),
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

    def _fetch(
        self, url: httpx.URL, query: Query | None, request: str
    ) -> tuple[httpx.Response, bytes]:
        """Return the response and its unpacked body, both whole within the client's patience.

        Raises:
            BodyTooLargeError: the body is too large.
            httpx.HTTPError: the request failed, or took too long.
        """
        answer: Future[tuple[httpx.Response, bytes]] = Future()

        def fetch() -> None:
            try:
                answer.set_result(self._read(url, query, request))
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                answer.set_exception(error)

        # httpx bounds the silence between two bytes, and not the whole: headers or a body that
        # drip a byte a second would hold a sync up for days.
        threading.Thread(target=fetch, name=f"GET {url.path}", daemon=True).start()
        try:
            return answer.result(self._patience_seconds)
        except TimeoutError:
            raise httpx.ReadTimeout("the answer comes too slowly") from None

    def _read(
        self, url: httpx.URL, query: Query | None, request: str
    ) -> tuple[httpx.Response, bytes]:
        with self._http.stream("GET", url, params=query) as response:
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            if encoding not in _ENCODINGS:
                raise UnexpectedResponseError(
                    f"{request} answered in the encoding "
                    f"{self._clean(encoding)!r}, which was not asked for. {_NOT_BUILDKITE}"
                )
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _LARGEST_BODY:
                    raise BodyTooLargeError(
                        f"{request} answered with more than "
                        f"{_LARGEST_BODY / 1e6:.0f} MB: the rest was not read. {_NOT_BUILDKITE}"
                    )
        return response, bytes(body)

    def _decoded(
        self, response: httpx.Response, content: bytes, decode: Callable[[bytes], T], request: str
    ) -> T:
        """Return what the body says.

        Raises:
            UnexpectedResponseError: the body is not what the endpoint promises.
            ServerTroubleError: the body is not whole.
        """
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if (kind and "json" not in kind) or content.lstrip()[:1] == b"<":
            raise UnexpectedResponseError(
                f"{request} answered {response.status_code} with {self._clean(kind) or 'HTML'} "
                f"instead of JSON. {_NOT_BUILDKITE}"
            )
        try:
            return decode(content)
        except msgspec.ValidationError as error:
            raise UnexpectedResponseError(
                f"{request}: the body is not what Buildkite's API promises: "
                f"{self._clean(str(error))}. {_NOT_BUILDKITE}"
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ServerTroubleError(
                f"{request}: the body is not whole: {self._clean(str(error))}. Try again; if it "
                "stays, please report it."
            ) from None

    def _date(self, headers: httpx.Headers, request: str) -> datetime:
        """Return the server's clock when it answered.

        Raises:
            UnexpectedResponseError: the server does not say.
            WrongClockError: it is far from this machine's clock.
        """
        text = headers.get("Date", "")
        try:
            date = parsedate_to_datetime(text)
            # A date without a zone is in GMT too, and not in the zone of this machine.
            at = date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):
            raise UnexpectedResponseError(
                f"{request} answered without a date that can be read: {self._clean(text)!r}. "
                f"{_NOT_BUILDKITE}"
            ) from None
        now = self._clock()
        if abs(at - now) > CLOCK_TOLERANCE:
            raise WrongClockError(
                f"{request} answered with the date {at:%Y-%m-%d %H:%M:%S} UTC, but this machine's "
                f"clock says {now:%Y-%m-%d %H:%M:%S} UTC. One of the two is wrong, and nothing of "
                "the answer was stored. Check this machine's clock first, then a proxy that may "
                "have set the date."
            )
        return at

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
        """Text from outside as one plain line without the token, however it is cased."""
        line = " ".join(one_line(text).split())
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


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def _pace_file(base_url: str, token: str) -> Path:
    """The file that all processes of this user with this token share; its name tells nothing."""
    digest = hashlib.sha256(f"{base_url} {token}".encode()).hexdigest()[:16]
    folder = user_state_path("buildkite-assets")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise BuildkiteError(
            f"{folder} is to keep the pace of requests and cannot be made: {error.strerror}. "
            "Set XDG_STATE_HOME to a folder of your own that can be written."
        ) from error
    return folder / f"pace-{digest}.json"
