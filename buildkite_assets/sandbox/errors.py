"""Refusals with the bodies that Buildkite sends."""

from typing import Any

UNAUTHENTICATED = (
    "Authentication required. Please supply a valid API Access Token: "
    "https://buildkite.com/docs/apis/rest-api#authentication"
)
TOO_DEEP = (
    "Listing builds this deep is not supported. "
    "Please narrow your query using filters such as branch or created_from."
)


class ApiError(Exception):
    """A request is refused with this status and body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body["message"])
        self.status = status
        self.body = body


def unauthorized() -> ApiError:
    """Refuse a missing, unknown or expired token."""
    return ApiError(401, {"message": UNAUTHENTICATED})


def missing_scope(scope: str) -> ApiError:
    """Refuse a token without the scope."""
    return ApiError(403, {"message": f"Your access token doesn't have the {scope} scope"})


def not_found(kind: str) -> ApiError:
    """Refuse the name of something that does not exist or is not visible."""
    return ApiError(404, {"message": f"No {kind} found"})


def invalid(field: str) -> ApiError:
    """Refuse a parameter whose value makes no sense."""
    return ApiError(
        422, {"message": "Validation Failed", "errors": [{"field": field, "code": "invalid"}]}
    )


def bad_request(message: str) -> ApiError:
    """Refuse a request that asks for too much or the impossible."""
    return ApiError(400, {"message": message})
