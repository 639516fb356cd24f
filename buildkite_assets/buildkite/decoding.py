"""From response bodies to records: a whole page at once, or build by build where one is odd.

A build that cannot be read is set aside with its place and fault, and costs no other build.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from buildkite_assets.buildkite.records import Build, Instant

T = TypeVar("T")


@dataclass(frozen=True)
class RejectedBuild:
    """A build that could not be read: what is known of it, and where the fault lies.

    Its body is not kept: it may hold secrets.
    """

    build_id: str | None
    url: str | None
    created_at: datetime | None
    path: str
    error: str


@dataclass(frozen=True)
class BuildPage:
    """The builds of one page, in the order sent, and those set aside."""

    builds: list[Build]
    rejected: list[RejectedBuild]

    @property
    def oldest_created_at(self) -> datetime | None:
        """The earliest `created_at` on the page, or None where no build tells one."""
        known = [build.created_at for build in self.builds]
        known += [build.created_at for build in self.rejected if build.created_at]
        return min(known, default=None)

    @property
    def ids(self) -> set[str]:
        """The ids of all builds on the page, as far as they are known."""
        ids = {build.id for build in self.builds}
        return ids | {build.build_id for build in self.rejected if build.build_id}

    def __len__(self) -> int:
        return len(self.builds) + len(self.rejected)


_page_decoder = msgspec.json.Decoder(list[Build])
_items_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_build_decoder = msgspec.json.Decoder(Build)

_OLD_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)(?: UTC)?")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half a pair
    rb"|.)",
    re.DOTALL,
)


def decode_list(body: bytes, record: type[T]) -> list[T]:
    """The records of one page of a list other than builds.

    Raises:
        msgspec.DecodeError: the body is not a JSON array of such records.
    """
    fields = msgspec.json.decode(mend_surrogates(body), type=list[dict[str, Any]])
    return [msgspec.convert(_mended(item), record, strict=False) for item in fields]


def decode_one(body: bytes, record: type[T]) -> T:
    """The record that a body holds.

    Raises:
        msgspec.DecodeError: the body is not such a record.
    """
    return msgspec.convert(_mended(msgspec.json.decode(body)), record, strict=False)


def decode_builds(body: bytes) -> BuildPage:
    """The builds of one page of a list.

    Raises:
        msgspec.DecodeError: the body is not a JSON array.
    """
    try:
        return BuildPage(_page_decoder.decode(body), [])
    except msgspec.DecodeError:
        return _decode_one_by_one(mend_surrogates(body))


def decode_build(body: bytes) -> BuildPage:
    """A single build, as a page that holds only it.

    Raises:
        msgspec.DecodeError: the body is not JSON.
    """
    return decode_builds(b"[" + body + b"]")


def mend_surrogates(body: bytes) -> bytes:
    """Replace escaped halves of surrogate pairs, which commit messages hold, by U+FFFD."""
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], body)


def _decode_one_by_one(body: bytes) -> BuildPage:
    builds: list[Build] = []
    rejected: list[RejectedBuild] = []
    for item in _items_decoder.decode(body):
        try:
            builds.append(_build_decoder.decode(item))
        except msgspec.ValidationError:
            fields = msgspec.json.decode(item)
            try:
                builds.append(msgspec.convert(_mended(fields), Build, strict=False))
            except msgspec.ValidationError as error:
                rejected.append(_rejected(fields, str(error)))
    return BuildPage(builds, rejected)


def _mended(fields: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A build's JSON with what is odd but clear in the form that `Build` expects."""
    if not isinstance(fields, dict):
        return fields
    mended: dict[str, Any] = {key: _mended_value(key, value) for key, value in fields.items()}
    if isinstance(mended.get("jobs"), list):
        mended["jobs"] = [_mended(job) for job in mended["jobs"]]
    if isinstance(mended.get("meta_data"), dict):
        mended["meta_data"] = {
            key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for key, value in mended["meta_data"].items()
        }
    if "matrix" in mended:
        mended["matrix"] = msgspec.Raw(msgspec.json.encode(mended["matrix"]))
    return mended


def _mended_value(key: str, value: object) -> object:
    """`2015-04-23 16:55:52 UTC`, which old bodies hold, as an ISO instant."""
    if key.endswith("_at") and isinstance(value, str):
        old = _OLD_INSTANT.fullmatch(value)
        if old:
            return f"{old[1]}T{old[2]}Z"
    return value


def _rejected(fields: object, error: str) -> RejectedBuild:
    known = fields if isinstance(fields, dict) else {}
    message, _, path = error.partition(" - at ")
    return RejectedBuild(
        build_id=_text(known.get("id")),
        url=_text(known.get("url")),
        created_at=_instant(known.get("created_at")),
        path=path.strip("`") or "$",
        error=message,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _instant(value: object) -> datetime | None:
    try:
        return msgspec.convert(_mended_value("created_at", value), Instant)
    except msgspec.ValidationError:
        return None
