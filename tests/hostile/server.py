"""A sandbox behind a server that replaces the texts in its answers by some that do harm."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from urllib.parse import quote, unquote

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from buildkite_assets.sandbox import Sandbox, SandboxServer
from buildkite_assets.sandbox.app import SandboxApp

from .texts import hostile

Json = Any
"""A JSON value, of whatever form."""

_FAMILIES = {
    "default_branch": "branch",
    "base_branch": "branch",
    "base": "branch",
    "user_name": "person",
    "username": "person",
    "label": "name",
}
"""The keys whose values name the same things as another key's: what is equal must stay equal."""
_IDENTIFYING = {"id", "uuid", "graphql_id", "scopes"}
_ENUMERATED = {
    "access_level", "blocked_state", "broken_reason", "privacy", "retry_type", "role", "signal",
    "signal_reason", "source", "sso_mode", "state", "type", "visibility",
}  # fmt: skip
_TEXTS_AS_KEYS = {"meta_data", "matrix"}
_PIPELINE = re.compile("(?<=/pipelines/)[^/]+")
_LONGEST_SLUG = 300
_NONSENSE_RATE = 0.03


class HostileApp:
    """Answers as the sandbox does, with other texts; what is the same stays the same.

    Ids, numbers and the slugs of organizations stay as they are. So do enumerated values and
    instants, unless some of them are to be nonsense.

    Args:
        sandbox: what is served.
        seed: which texts.

    Attributes:
        is_nonsense: whether a few enumerated values, and a few instants of builds and jobs, are
            texts like any other.
    """

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self._inner: ASGIApp = SandboxApp(sandbox)
        self._seed = seed
        self._slugs: dict[str, str] = {}
        self.is_nonsense = False
        self._refused: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = self._true_path(scope["raw_path"].decode())
        if self._refused and path.endswith(self._refused):
            reason = {"message": f"\x1b[31m{hostile(self._seed, 'message', path)}"}
            await _response(403, reason)(scope, receive, send)
            return
        headers = [item for item in scope["headers"] if item[0] != b"accept-encoding"]
        asked = {**scope, "path": unquote(path), "raw_path": path.encode(), "headers": headers}
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            start = start or message
            body += message.get("body", b"")

        await self._inner(asked, receive, collect)
        response = _response(start["status"], self.rewritten(json.loads(body), path))
        for name, value in start["headers"]:
            response.headers.setdefault(name.decode(), value.decode())
        await response(scope, receive, send)

    @contextmanager
    def refusing(self, end: str) -> Iterator[None]:
        """Refuse what has a path with this end, with a text as the reason, until the block ends."""
        self._refused = end
        try:
            yield
        finally:
            self._refused = None

    def rewritten(self, body: Json, path: str = "") -> Json:
        """Return a body with other texts, as the answer to a path."""
        return self._value("", body, in_builds="/builds" in path)

    def slug(self, slug: str) -> str:
        """Return the text that replaces a pipeline's slug, unique to that pipeline."""
        if slug not in self._slugs:
            text = hostile(self._seed, "slug", slug)[:_LONGEST_SLUG]
            text = text.encode(errors="replace").decode()  # an address cannot hold half a character
            is_usable = text not in {"", ".", "..", *self._slugs.values()}
            self._slugs[slug] = text if is_usable else f"{text}{slug}"
        return self._slugs[slug]

    def _true_path(self, path: str) -> str:
        true = {text: slug for slug, text in self._slugs.items()}
        return _PIPELINE.sub(lambda match: quote(true.get(unquote(match[0]), match[0])), path)

    def _value(self, key: str, value: Json, *, in_builds: bool) -> Json:
        if isinstance(value, list):
            return [self._value(key, each, in_builds=in_builds) for each in value]
        if isinstance(value, dict):
            return {
                self._text(key, name) if key in _TEXTS_AS_KEYS else name: (
                    self._slug_of(value)
                    if name == "slug"
                    else self._value(name, each, in_builds=in_builds)
                )
                for name, each in value.items()
            }
        if not isinstance(value, str) or key in _IDENTIFYING or key.endswith("_id"):
            return value
        if key in _ENUMERATED or key.endswith("_at"):
            return self._perhaps_nonsense(key, value, in_builds=in_builds)
        return self._text(key, value)

    def _text(self, key: str, text: str) -> str:
        if key == "build_pipeline_slug":
            return self.slug(text)
        if key == "url" or (key.endswith("_url") and key != "web_url"):
            return _PIPELINE.sub(lambda match: quote(self.slug(match[0]), safe=""), text)
        return hostile(self._seed, _FAMILIES.get(key, key), text)

    def _slug_of(self, fields: dict[str, Json]) -> str:
        """Return the other slug of an object: an organization's is part of every address."""
        slug: str = fields["slug"]
        if "pipelines_url" in fields:
            return slug
        return self.slug(slug) if "repository" in fields else hostile(self._seed, "team", slug)

    def _perhaps_nonsense(self, key: str, value: str, *, in_builds: bool) -> str:
        is_safe = key.endswith("_at") and not in_builds
        random = Random(f"{self._seed} nonsense {key} {value}")
        if not self.is_nonsense or is_safe or random.random() > _NONSENSE_RATE:
            return value
        return hostile(self._seed, key, value)


def _response(status: int, body: Json) -> Response:
    """Return an answer in ASCII: its escapes can stand for halves of characters, too."""
    return Response(json.dumps(body), status, media_type="application/json; charset=utf-8")


@contextmanager
def serve_hostile(sandbox: Sandbox, app: HostileApp) -> Iterator[SandboxServer]:
    """Serve it on this machine until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, lifespan="off", date_header=False
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield SandboxServer(sandbox, f"http://127.0.0.1:{listening.getsockname()[1]}/v2")
        finally:
            server.should_exit = True
            thread.join()
