"""What can go wrong with Buildkite's REST API, as one tree.

    BuildkiteError
    ├── InvalidCredentialsError    401: the token is unknown, revoked or expired
    ├── InvalidPermissionsError    403: the user or an IP allow-list forbids it
    │   └── MissingScopeError      403: the token lacks a scope, which the error names
    ├── NotFoundError              404: not there, or not visible to this token
    │   └── NoResourcesError       the organization asked for is not among those visible
    ├── DepthRefusedError          400: a list of builds was paged too deep
    ├── RequestRefusedError        every other 3xx and 4xx
    ├── UntrustedLinkError         a `next` link led to another scheme or host
    ├── UnexpectedResponseError    the answer is not one of Buildkite's REST API
    │   └── BodyTooLargeError      the body is larger than any that is read
    ├── WrongClockError            the answer's date is far from this machine's clock
    ├── ProxyError                 a proxy setting cannot be used, or the proxy wants a password
    ├── CertificatesError          the environment names certificates that cannot be read
    └── TransientError             worth another try
        ├── RateLimitedError       429: an allowance is used up
        └── ServerTroubleError     5xx, timeouts, resets, truncated or invalid JSON
            └── UnreachableError   no connection could be made

`code` is the word that `buildkite-assets check` reports and scripts can rely on. Messages name
the request by method and path alone: a query string may hold a secret.
"""

import re

_SCOPE = re.compile(r"access token doesn'?t have the (\w+) scope")


class BuildkiteError(Exception):
    """Anything that Buildkite, or the way to it, refused."""

    code = "unexpected_response"


class InvalidCredentialsError(BuildkiteError):
    """The token is missing, unknown, revoked or expired (401)."""

    code = "invalid_credentials"


class InvalidPermissionsError(BuildkiteError):
    """The token's user may not do this, or an IP allow-list forbids it (403)."""

    code = "invalid_permissions"


class MissingScopeError(InvalidPermissionsError):
    """The token lacks `scope` (403)."""

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        self.scope = scope

    def __reduce__(self) -> tuple[type["MissingScopeError"], tuple[str, str]]:
        """Pickle with both arguments, which the default would drop."""
        return type(self), (str(self), self.scope)


class NotFoundError(BuildkiteError):
    """It is not there, or the token does not see it: Buildkite answers both with a 404."""

    code = "no_resources"


class NoResourcesError(NotFoundError):
    """The token sees no organization, or not the one asked for."""


class DepthRefusedError(BuildkiteError):
    """A list of builds was paged deeper than Buildkite supports (400)."""


class RequestRefusedError(BuildkiteError):
    """Buildkite refused the request for a reason that another try does not change."""


class UntrustedLinkError(BuildkiteError):
    """A `next` link left the configured scheme and host; the token was not sent there."""


class UnexpectedResponseError(BuildkiteError):
    """The answer is not one of Buildkite's REST API, such as a proxy's sign-in page."""


class BodyTooLargeError(UnexpectedResponseError):
    """The body is larger than any that is read."""


class WrongClockError(BuildkiteError):
    """The answer's `Date` is far from this machine's clock: one of the two is wrong."""

    code = "wrong_clock"


class ProxyError(BuildkiteError):
    """A proxy setting cannot be used, or the proxy wants a password."""

    code = "unreachable"


class CertificatesError(BuildkiteError):
    """The environment names certificates that cannot be read."""

    code = "unreachable"


class TransientError(BuildkiteError):
    """It may work on another try."""


class RateLimitedError(TransientError):
    """An allowance is used up (429); it is renewed in `reset_seconds`."""

    code = "rate_limited"

    def __init__(self, message: str, reset_seconds: float) -> None:
        super().__init__(message)
        self.reset_seconds = reset_seconds

    def __reduce__(self) -> tuple[type["RateLimitedError"], tuple[str, float]]:
        """Pickle with both arguments, which the default would drop."""
        return type(self), (str(self), self.reset_seconds)


class ServerTroubleError(TransientError):
    """The server failed, stalled, hung up, or sent something that is not whole JSON."""

    code = "unreachable"


class UnreachableError(ServerTroubleError):
    """No connection could be made at all."""


def refusal(status: int, request: str, message: str) -> BuildkiteError:
    """The error for a response with this status.

    Args:
        status: HTTP status, 300 or above, 429 excepted (see `RateLimitedError`).
        request: the request's method and path, for the message.
        message: what Buildkite said, free of secrets.
    """
    said = f"{request} answered {status}: {message.rstrip('.')}"
    if status == 401:
        return InvalidCredentialsError(
            f"{said}. The API token is wrong, revoked or expired: create one at "
            "https://buildkite.com/user/api-access-tokens and set BUILDKITE_API_TOKEN."
        )
    if status == 403:
        return _forbidden(said)
    if status == 404:
        return NotFoundError(
            f"{said}. It does not exist, or this token cannot see it: check the spelling, and "
            "that the token was given access to the organization."
        )
    if status == 400 and "this deep is not supported" in message:
        return DepthRefusedError(
            f"{said}. Narrow the window of the list: ask for fewer builds at once."
        )
    if status >= 500:
        return ServerTroubleError(
            f"{said}. Buildkite is in trouble: see https://www.buildkitestatus.com and try again."
        )
    return _refused(status, said)


def _refused(status: int, said: str) -> BuildkiteError:
    if status == 407:
        return ProxyError(
            f"{said}. The proxy wants a user and a password: check HTTPS_PROXY and NO_PROXY."
        )
    return RequestRefusedError(f"{said}. Another try will not help: please report it.")


def _forbidden(said: str) -> InvalidPermissionsError:
    scope = _SCOPE.search(said)
    if scope:
        return MissingScopeError(
            f"{said}. Add the scope {scope[1]} to the token, or create one that has it.", scope[1]
        )
    return InvalidPermissionsError(
        f"{said}. The token's user lacks a permission, or an IP allow-list keeps this machine "
        "out: ask an administrator of the organization."
    )
