"""The fields of builds and jobs that are left out on purpose, and those that nobody has named yet.

A field that is neither kept by `records` nor named here is new: someone should decide about it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from msgspec import inspect

from buildkite_assets.buildkite.decoding import mend_text
from buildkite_assets.buildkite.records import (
    Agent,
    Build,
    BuildReference,
    Job,
    Person,
    PipelineReference,
    Step,
)

_LINKS = {"graphql_id", "url", "web_url", "cluster_url", "cluster_queue_url"}
"""They follow from ids and from the build's own `web_url`."""

LEFT_OUT: dict[type, set[str]] = {
    Build: _LINKS
    | {
        "env",  # may hold secrets
        "job_state_counts",  # follows from the jobs
        "test_engine",  # another product's, and told only where asked for
    },
    Job: _LINKS
    | {
        "build_url",
        "log_url",
        "raw_log_url",
        "artifacts_url",
        "unblock_url",
        "fields",  # what a block asks people for: may hold secrets
        "script_path",  # the oldest bodies' name for the command
    },
    Agent: _LINKS
    | {
        "access_token",  # a secret, in the oldest bodies
        "ip_address",
        "build",  # what it does now, not what it did then
        "job",
        "connection_state",
        "last_job_finished_at",
        "paused",
        "paused_at",
        "paused_by",
        "paused_note",
        "paused_timeout_in_minutes",
        "priority",
        "creator",
        "created_at",
        "version",  # `user_agent` has it
    },
    Person: {"graphql_id", "avatar_url", "created_at"},
    Step: {"signature"},  # of the step's content, for the agent
    BuildReference: _LINKS,
}

_NOT_LOOKED_INTO = {PipelineReference}  # pipelines have a list of their own

_TYPES = {b"{": "object", b"[": "array", b'"': "string", b"t": "boolean", b"f": "boolean"}
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]{0,59}")


@dataclass(frozen=True)
class UnknownField:
    """A field that is neither kept nor left out on purpose; never its value, which may be secret.

    Attributes:
        path: such as `jobs[].agent.color`.
        json_type: object, array, string, number, boolean or null.
        example: the page at Buildkite of a build that has it.
    """

    path: str
    json_type: str
    example: str | None


@dataclass(frozen=True)
class LookedInto:
    """How many builds were looked into, and their unknown fields in the order of their paths."""

    builds: int
    unknown: list[UnknownField]


def look_into_builds(body: bytes) -> LookedInto:
    """Find the unknown fields of a page of builds, each once.

    Nothing is decoded that is not looked into: values stay bytes.

    Raises:
        msgspec.DecodeError: the body is not a JSON array.
    """
    found: dict[str, UnknownField] = {}
    build_type = inspect.type_info(Build)
    builds = msgspec.json.decode(mend_text(body), type=list[msgspec.Raw])
    for build in builds:
        example = _web_url(build)
        for path, json_type in _unknown(build, build_type, ""):
            if path not in found or found[path].json_type == "null":
                found[path] = UnknownField(path, json_type, example)
    return LookedInto(len(builds), [found[path] for path in sorted(found)])


def _unknown(value: msgspec.Raw, type_: inspect.Type, path: str) -> Iterator[tuple[str, str]]:
    """The paths and JSON types of unknown fields within a value of which the type is known."""
    options = type_.types if isinstance(type_, inspect.UnionType) else (type_,)
    kind = _json_type(value)
    for option in options:
        if isinstance(option, inspect.ListType) and kind == "array":
            for item in msgspec.json.decode(value, type=list[msgspec.Raw]):
                yield from _unknown(item, option.item_type, f"{path}[]")
        elif (
            isinstance(option, inspect.StructType)
            and kind == "object"
            and option.cls not in _NOT_LOOKED_INTO
        ):
            yield from _unknown_of_object(value, option, f"{path}." if path else "")


def _unknown_of_object(
    value: msgspec.Raw, type_: inspect.StructType, prefix: str
) -> Iterator[tuple[str, str]]:
    kept = {field.encode_name: field.type for field in type_.fields}
    left_out = LEFT_OUT.get(type_.cls, set())
    for key, field in msgspec.json.decode(value, type=dict[str, msgspec.Raw]).items():
        if key in kept:
            yield from _unknown(field, kept[key], prefix + key)
        elif key not in left_out:
            shown = key if _PLAIN_KEY.fullmatch(key) else "(a key that is no word)"
            yield prefix + shown, _json_type(field)


def _json_type(value: msgspec.Raw) -> str:
    first = bytes(value).lstrip()[:1]
    return "null" if first == b"n" else _TYPES.get(first, "number")


class _Addressed(msgspec.Struct):
    web_url: str | None = None


def _web_url(build: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(build, type=_Addressed).web_url
    except msgspec.ValidationError:
        return None
