"""From records to Arrow columns, as `tables` declares them, in bulk.

Values that fit no column (an id that is not a UUID, a number too large) make the records they
stand in unreadable; those are set aside one by one, never a whole page.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Any

import pyarrow as pa

from buildkite_assets.buildkite.decoding import BuildPage, RejectedBuild
from buildkite_assets.buildkite.records import Body, Build
from buildkite_assets.tables import BUILDS, JOBS, Column, Table

_ARROW_TYPES = {
    "UUID": pa.uuid(),
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "MAP(VARCHAR, VARCHAR)": pa.map_(pa.string(), pa.string()),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
}


class UnfitValueError(ValueError):
    """A value fits no column; `path` says where in the record, `reason` why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{reason} at {path}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Privacy:
    """What of people and meta-data is kept, by the user's settings.

    Attributes:
        email_key: e-mail addresses are hashed with it (HMAC-SHA256); None keeps them plain.
        meta_data_keys: the meta-data keys to keep; None keeps all.
    """

    email_key: bytes | None = None
    meta_data_keys: frozenset[str] | None = None

    def email(self, address: str | None) -> str | None:
        """The address as it is stored."""
        if self.email_key is None or address is None:
            return address
        return hmac.digest(self.email_key, address.lower().encode(), hashlib.sha256).hex()

    def meta_data(
        self, values: dict[str, str | None] | None
    ) -> list[tuple[str, str | None]] | None:
        """The meta-data as it is stored."""
        if values is None:
            return None
        kept = self.meta_data_keys
        return [(key, value) for key, value in values.items() if kept is None or key in kept]


@dataclass(frozen=True)
class BuildRows:
    """A page of builds as rows, and the builds that could not be read."""

    builds: pa.Table
    jobs: pa.Table
    rejected: list[RejectedBuild]


PipelineOf = Callable[[Build], str | None]


def build_rows(
    page: BuildPage, pipeline_of: PipelineOf, synced_at: datetime, privacy: Privacy
) -> BuildRows:
    """The rows of `builds` and `jobs` for a page; the warehouse adds `organization_id`.

    Args:
        page: what one response held.
        pipeline_of: the id of a build's pipeline, or None where it is unknown.
        synced_at: the response's date.
        privacy: what of people and meta-data is kept.
    """
    rejected = list(page.rejected)
    try:
        builds, jobs = _columns(page.builds, pipeline_of, privacy)
    except UnfitValueError:
        readable = []
        for build in page.builds:
            try:
                _columns([build], pipeline_of, privacy)
            except UnfitValueError as error:
                rejected.append(
                    RejectedBuild(build.id, build.url, build.created_at, error.path, error.reason)
                )
            else:
                readable.append(build)
        builds, jobs = _columns(readable, pipeline_of, privacy)
    return BuildRows(_stamped(builds, synced_at), _stamped(jobs, synced_at), rejected)


def record_rows(
    table: Table, records: Sequence[Body], synced_at: datetime, privacy: Privacy, **ids: str
) -> pa.Table:
    """The rows of a catalog table.

    Args:
        table: which.
        records: one for each row.
        synced_at: the date of the response that they came in.
        privacy: what of people and meta-data is kept.
        ids: UUID columns that are the same in every row, such as `organization_id`.

    Raises:
        UnfitValueError: a value fits no column.
    """
    rows = _record_columns(table, records, privacy, "$")
    for name, value in ids.items():
        rows = rows.append_column(name, _array("UUID", [value] * len(records)))
    return _stamped(rows, synced_at)


def rejected_rows(
    organization_id: str, rejected: Sequence[RejectedBuild], seen_at: datetime
) -> pa.Table:
    """The rows of `rejected_builds` for builds that could not be read."""
    days = [build.created_at and _utc_day(build.created_at) for build in rejected]
    return pa.table(
        {
            "organization_id": _array("UUID", [organization_id] * len(rejected)),
            "reference": pa.array(
                [build.build_id or build.url or "unknown" for build in rejected], pa.string()
            ),
            "url": pa.array([build.url for build in rejected], pa.string()),
            "created_day": pa.array(days, pa.date32()),
            "path": pa.array([build.path for build in rejected], pa.string()),
            "error": pa.array([build.error for build in rejected], pa.string()),
            "seen_at": pa.array([seen_at] * len(rejected), pa.timestamp("us")),
        }
    )


def _utc_day(instant: datetime) -> date | None:
    """The UTC day of an instant, or None where it lies beyond the calendar."""
    try:
        return instant.astimezone(UTC).date()
    except OverflowError:
        return None


def _columns(
    builds: Sequence[Build], pipeline_of: PipelineOf, privacy: Privacy
) -> tuple[pa.Table, pa.Table]:
    build_table = _record_columns(BUILDS, builds, privacy, "$")
    build_table = build_table.append_column(
        "pipeline_id", _array("UUID", [pipeline_of(build) for build in builds])
    )
    jobs = [job for build in builds for job in build.jobs]
    job_table = _record_columns(JOBS, jobs, privacy, "$.jobs[*]")
    owners = [build for build in builds for _ in build.jobs]
    job_table = job_table.append_column("build_id", _array("UUID", [b.id for b in owners]))
    job_table = job_table.append_column(
        "build_created_at", _array("TIMESTAMP", [b.created_at for b in owners])
    )
    return build_table, job_table


def _record_columns(table: Table, records: Sequence[Body], privacy: Privacy, root: str) -> pa.Table:
    parents: dict[str, list[Any]] = {}
    arrays = {}
    for column in table.record_columns:
        try:
            values = _values(records, column.path or "", parents)
            arrays[column.name] = _array(column.type, _kept(column, values, privacy))
        except (ValueError, OverflowError) as error:
            raise UnfitValueError(f"{root}.{column.path}", str(error)) from error
    return pa.table(arrays)


def _values(records: Sequence[Body], path: str, parents: dict[str, list[Any]]) -> list[Any]:
    """What each record has at a path of one or two parts; `parents` keeps the objects between."""
    parent, _, name = path.rpartition(".")
    if not parent:
        return list(map(attrgetter(name), records))
    if parent not in parents:
        parents[parent] = list(map(attrgetter(parent), records))
    get = attrgetter(name)
    return [None if owner is None else get(owner) for owner in parents[parent]]


def _kept(column: Column, values: list[Any], privacy: Privacy) -> list[Any]:
    if column.is_email:
        return [privacy.email(value) for value in values]
    if column.name == "meta_data":
        return [privacy.meta_data(value) for value in values]
    return values


def _array(type_name: str, values: list[Any]) -> pa.Array:
    if values.count(None) == len(values):
        return pa.nulls(len(values), _ARROW_TYPES[type_name])
    if type_name == "UUID":
        return _uuids(values)
    return pa.array(values, _ARROW_TYPES[type_name])


def _uuids(values: list[str | None]) -> pa.Array:
    """UUIDs from their text of 36 characters, many times faster than one by one.

    Raises:
        ValueError: one of them is no UUID.
    """
    present = [value for value in values if value is not None]
    joined = "".join(present)
    if any(joined[at::36].count("-") != len(present) for at in (8, 13, 18, 23)):
        raise ValueError("an id is not a UUID")
    packed = bytes.fromhex(joined.replace("-", ""))
    if len(packed) != 16 * len(present):
        raise ValueError("an id is not a UUID")
    array = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(present), [None, pa.py_buffer(packed)]
    )
    if len(present) < len(values):
        positions = iter(range(len(present)))
        array = array.take(
            pa.array([None if value is None else next(positions) for value in values], pa.int32())
        )
    return pa.ExtensionArray.from_storage(pa.uuid(), array)


def _stamped(table: pa.Table, synced_at: datetime) -> pa.Table:
    stamps = pa.repeat(pa.scalar(synced_at, pa.timestamp("us")), len(table))
    return table.append_column("synced_at", stamps)
