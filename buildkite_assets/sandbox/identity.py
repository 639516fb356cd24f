"""Ids, secrets and dice of invented things: the same names always give the same values."""

import base64
import hashlib
import random
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def derived_id(at: datetime, *names: object) -> str:
    """Return a UUID that starts with the instant, like Buildkite's, and follows from the names."""
    rest = digest(*names)
    milliseconds = int((at - _EPOCH).total_seconds() * 1000)
    return (
        f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}"
        f"-7{rest[:3]}-8{rest[3:6]}-{rest[6:18]}"
    )


def digest(*names: object) -> str:
    """Return 40 hexadecimal digits that follow from the names; looks like a commit."""
    text = "/".join(map(str, names))
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def graphql_id(kind: str, uuid: str) -> str:
    """Return the id of an object of GraphQL's type `kind`."""
    return base64.b64encode(f"{kind}---{uuid}".encode()).decode()


def secret(*names: object) -> str:
    """Return a value that must never land anywhere; tests look for its beginning."""
    return f"sandbox-secret-{digest(*names)[:20]}"


def dice(*names: object) -> random.Random:
    """Return a random generator that always rolls the same for the same names."""
    return random.Random("/".join(map(str, names)))  # noqa: S311 - invented data, not a secret
