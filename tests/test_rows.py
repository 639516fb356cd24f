"""From records to columns: exact, private, and odd ones set aside."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from buildkite_assets.buildkite.decoding import RejectedBuild, decode_builds, decode_list
from buildkite_assets.buildkite.records import Build, Pipeline
from buildkite_assets.rows import (
    BuildRows,
    Privacy,
    UnfitValueError,
    build_rows,
    record_rows,
    rejected_rows,
)
from buildkite_assets.tables import BUILDS, JOBS, PIPELINES

Json = Any
"""A JSON value; tests look into it without declaring its form."""

PIPELINE_ID = "0190a9de-0000-7000-8000-0000000000aa"
SYNCED_AT = datetime(2026, 11, 19, 13, tzinfo=UTC)
SECRET = "hunter2"
KEY = b"a key of enough length"


def identifier(number: int) -> str:
    """The nth invented id."""
    return f"0190a9de-0000-7000-8000-{number:012x}"


def build_body(number: int = 1, **changes: Json) -> dict[str, Json]:
    """A build with one job, as Buildkite sends it."""
    return {
        "id": identifier(number),
        "url": f"https://api.buildkite.com/v2/organizations/acme/pipelines/web/builds/{number}",
        "number": number,
        "state": "passed",
        "created_at": "2026-11-19T12:00:00.123Z",
        "jobs": [{"id": identifier(1000 + number), "type": "script", "state": "passed"}],
    } | changes


def of_web(build: Build) -> str | None:
    """The id of the one pipeline there is."""
    return PIPELINE_ID if build.pipeline_slug == "web" else None


def rows(
    *builds: Json,
    privacy: Privacy | None = None,
    pipeline_of: Callable[[Build], str | None] = of_web,
) -> BuildRows:
    """The rows of a page of these builds."""
    page = decode_builds(json.dumps(builds).encode())
    return build_rows(page, pipeline_of, SYNCED_AT, privacy or Privacy())


def first(table: pa.Table) -> dict[str, Json]:
    """The first row."""
    row: dict[str, Json] = table.slice(0, 1).to_pylist()[0]
    return row


def stored(table: pa.Table) -> list[dict[str, Json]]:
    """The rows as DuckDB has them."""
    with duckdb.connect() as connection:
        connection.register("incoming", table)
        result = connection.execute("FROM incoming")
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_every_column_that_a_record_or_the_page_fills_is_there() -> None:
    page = rows(build_body())
    for table, declared in ((page.builds, BUILDS), (page.jobs, JOBS)):
        added_by_the_warehouse = {"organization_id", "absent_since"}
        assert (
            set(table.column_names) == {c.name for c in declared.columns} - added_by_the_warehouse
        )


def test_values_are_exact() -> None:
    agent = {"id": identifier(7), "name": "a-1", "meta_data": ["queue=default", "os=linux"]}
    job = {
        "id": identifier(2),
        "type": "script",
        "state": "failed",
        "exit_status": -1,
        "agent": agent,
        "priority": {"number": 5},
        "retry_source": {"job_id": identifier(8), "retry_type": "manual"},
        "matrix": {"os": "linux"},
        "runnable_at": "2026-11-19T13:00:00.000001+01:00",
        "started_at": "2015-04-23 16:55:52 UTC",
        "concurrency_wait_time_ms": 1500,
    }
    page = rows(build_body(jobs=[job], meta_data={"a": "1", "b": ""}, rebuilt_from=None))
    build, attempt = stored(page.builds)[0], stored(page.jobs)[0]
    assert build["build_id"] == UUID(identifier(1))
    assert build["pipeline_id"] == UUID(PIPELINE_ID)
    assert (build["pipeline_slug"], build["number"], build["state"]) == ("web", 1, "passed")
    assert build["created_at"] == datetime(2026, 11, 19, 12, 0, 0, 123_000)  # noqa: DTZ001 - UTC
    assert build["synced_at"] == datetime(2026, 11, 19, 13)  # noqa: DTZ001 - UTC
    assert build["meta_data"] == {"a": "1", "b": ""}
    assert build["rebuilt_from_build_id"] is None
    assert attempt["build_id"] == build["build_id"]
    assert attempt["build_created_at"] == build["created_at"]
    assert attempt["runnable_at"] == datetime(2026, 11, 19, 12, 0, 0, 1)  # noqa: DTZ001 - UTC
    assert attempt["started_at"] == datetime(2015, 4, 23, 16, 55, 52)  # noqa: DTZ001 - UTC
    assert attempt["exit_status"] == -1
    assert attempt["priority"] == 5
    assert attempt["agent_id"] == UUID(identifier(7))
    assert attempt["agent_meta_data"] == ["queue=default", "os=linux"]
    assert attempt["retry_source_job_id"] == UUID(identifier(8))
    assert json.loads(attempt["matrix"]) == {"os": "linux"}
    assert attempt["concurrency_wait_time_ms"] == 1500.0


def test_any_text_reaches_duckdb_as_it_is() -> None:
    message = "🚀 \x00 ' \" \\ \u2028 é"
    (build,) = stored(rows(build_body(message=message)).builds)
    assert build["message"] == message


def test_an_empty_page_has_no_rows() -> None:
    page = rows()
    assert (len(page.builds), len(page.jobs), page.rejected) == (0, 0, [])


def test_an_unknown_pipeline_is_null() -> None:
    page = rows(
        build_body(), build_body(2), pipeline_of=lambda b: of_web(b) if b.number == 2 else None
    )
    assert [row["pipeline_id"] for row in stored(page.builds)] == [None, UUID(PIPELINE_ID)]


# What fits no column


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": "x" * 36}, "$.id"),
        ({"id": "0190a9de0000-7000-8000-000000000002-"}, "$.id"),
        ({"id": "0190a9de 0000 7000 8000 000000000002"}, "$.id"),
        ({"number": 10**30}, "$.number"),
        ({"url": "https://x/builds/2"}, "$.pipeline_slug"),
        ({"url": ""}, "$.pipeline_slug"),
        ({"creator": {"id": "-" * 36}}, "$.creator.id"),
        ({"jobs": [{"id": identifier(5)}, {"id": "g" * 36}]}, "$.jobs[*].id"),
        ({"jobs": [{"id": identifier(5), "exit_status": 2**31}]}, "$.jobs[*].exit_status"),
        ({"jobs": [{"id": identifier(5), "exit_status": 10**40}]}, "$.jobs[*].exit_status"),
        ({"jobs": [{"id": identifier(5), "cluster_id": "?" * 36}]}, "$.jobs[*].cluster_id"),
    ],
)
def test_what_fits_no_column_is_set_aside_alone(change: Json, path: str) -> None:
    page = rows(build_body(1), build_body(2) | change, build_body(3))
    assert [row["number"] for row in page.builds.to_pylist()] == [1, 3]
    assert [str(row["job_id"]) for row in stored(page.jobs)] == [identifier(1001), identifier(1003)]
    (build,) = page.rejected
    assert build.path == path
    assert build.error


def test_two_ids_that_are_wrong_by_turns_are_both_set_aside() -> None:
    long = "0190a9de000007000-8000-0000000000021"  # three dashes and 33 digits
    short = "0190a9de-0000-7000-8000-00000000-021"  # five dashes and 31 digits
    page = rows(build_body(1), build_body(2, id=long), build_body(3, id=short))
    assert [row["number"] for row in page.builds.to_pylist()] == [1]
    assert [build.build_id for build in page.rejected] == [long, short]


def test_a_rejected_build_becomes_a_row_whatever_is_known_of_it() -> None:
    known = RejectedBuild(identifier(1), "https://x", SYNCED_AT, "$.id", "wrong")
    beyond = datetime.fromisoformat("9999-12-31T23:59:59-10:00")
    table = rejected_rows(
        identifier(9),
        [
            known,
            RejectedBuild(None, "https://x", beyond, "$", "wrong"),
            RejectedBuild(None, None, None, "$", "wrong"),
        ],
        SYNCED_AT,
    )
    found = stored(table)
    assert [row["reference"] for row in found] == [identifier(1), "https://x", "unknown"]
    assert [row["created_day"] for row in found] == [date(2026, 11, 19), None, None]
    assert {row["organization_id"] for row in found} == {UUID(identifier(9))}
    assert len(rejected_rows(identifier(9), [], SYNCED_AT)) == 0


# What is kept of people and of secrets


def _secretive_build() -> dict[str, Json]:
    agent = {"id": identifier(3), "name": "a", "ip_address": SECRET, "access_token": SECRET}
    job = {
        "id": identifier(2),
        "type": "script",
        "env": {"A": SECRET},
        "agent": agent,
        "raw_log_url": SECRET,
        "log_url": SECRET,
    }
    provider = {"id": "github", "webhook_url": SECRET, "settings": {"token": SECRET}}
    pipeline = {"env": {"A": SECRET}, "configuration": SECRET, "provider": provider}
    return build_body(
        jobs=[job],
        env={"A": SECRET},
        pipeline=pipeline,
        creator={"id": identifier(4), "avatar_url": SECRET},
        pull_request={"id": "7", "repository": f"https://me:{SECRET}@github.com/acme/web.git"},
    )


@pytest.mark.parametrize("number", [1, "1"])
def test_no_secret_of_a_build_reaches_a_row(number: Json) -> None:
    page = rows(_secretive_build() | {"number": number})
    told = json.dumps(page.builds.to_pylist() + page.jobs.to_pylist(), default=str)
    assert SECRET not in told
    assert "https://github.com/acme/web.git" in told


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        (f"https://me:{SECRET}@github.com/acme/web.git", "https://github.com/acme/web.git"),
        (f"https://me:x@{SECRET}@github.com/acme/web.git", "https://github.com/acme/web.git"),
        (f"https://{SECRET}@github.com/acme/web.git", "https://github.com/acme/web.git"),
        (f"ssh://me:{SECRET}@host:22/acme/web.git", "ssh://host:22/acme/web.git"),
        ("git@github.com:acme/web.git", "git@github.com:acme/web.git"),
        ("https://github.com/acme/a@b.git", "https://github.com/acme/a@b.git"),
        (None, None),
        ("", None),
    ],
)
def test_no_secret_of_a_pipeline_reaches_a_row(
    repository: str | None, expected: str | None
) -> None:
    body = {
        "id": PIPELINE_ID,
        "slug": "web",
        "created_at": "2013-09-03 13:24:38 UTC",
        "repository": repository,
        "env": {"A": SECRET},
        "configuration": SECRET,
        "steps": [{"env": {"A": SECRET}}],
        "provider": {"id": "github", "webhook_url": SECRET, "settings": {"x": SECRET}},
    }
    pipelines = decode_list(json.dumps([body]).encode(), Pipeline)
    ids = {"organization_id": identifier(9)}
    (row,) = stored(record_rows(PIPELINES, pipelines, SYNCED_AT, Privacy(), **ids))
    assert SECRET not in json.dumps(row, default=str)
    assert row["repository"] == expected
    assert row["organization_id"] == UUID(identifier(9))
    assert row["provider"] == "github"


def test_a_pipeline_that_fits_no_column_is_named() -> None:
    body = {"id": "x" * 36, "slug": "web", "created_at": "2013-09-03 13:24:38 UTC"}
    pipelines = decode_list(json.dumps([body]).encode(), Pipeline)
    with pytest.raises(UnfitValueError, match=r"\$\.id"):
        record_rows(PIPELINES, pipelines, SYNCED_AT, Privacy())


def test_emails_are_hashed_with_the_key_alike_in_every_case() -> None:
    creator = {"id": identifier(4), "name": "Ada", "email": "Ada@Example.org"}
    author = {"name": "Ada", "email": "ada@example.org"}
    body = build_body(creator=creator, author=author)
    row = first(rows(body, privacy=Privacy(email_key=KEY)).builds)
    expected = hmac.new(KEY, b"ada@example.org", hashlib.sha256).hexdigest()
    assert row["creator_email"] == row["author_email"] == expected
    other = first(rows(body, privacy=Privacy(email_key=b"another key of ours")).builds)
    assert other["creator_email"] != expected


def test_emails_are_plain_without_a_key_and_null_where_there_is_none() -> None:
    creator = {"id": identifier(4), "email": "Ada@Example.org"}
    plain = first(rows(build_body(creator=creator)).builds)
    assert plain["creator_email"] == "Ada@Example.org"
    hashed = first(rows(build_body(), privacy=Privacy(email_key=KEY)).builds)
    assert hashed["creator_email"] is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (None, [("a", "1"), ("b", "2")]),
        (frozenset(), []),
        (frozenset({"b", "c"}), [("b", "2")]),
    ],
)
def test_meta_data_is_kept_as_set(
    keys: frozenset[str] | None, expected: list[tuple[str, str]]
) -> None:
    body = build_body(meta_data={"a": "1", "b": "2"})
    row = first(rows(body, privacy=Privacy(meta_data_keys=keys)).builds)
    assert row["meta_data"] == expected


# Recorded bodies


RECORDED = Path(__file__).parents[1] / "../shared/recorded"


@pytest.mark.skipif(not RECORDED.exists(), reason="no recordings beside it")
def test_recorded_builds_become_rows_one_for_one() -> None:
    text = (RECORDED / "segment-analytics-next/builds_page_clean.json").read_text()
    told = json.loads(text)
    page = build_rows(decode_builds(text.encode()), lambda _: None, SYNCED_AT, Privacy())
    assert page.rejected == []
    assert [str(row["build_id"]) for row in stored(page.builds)] == [b["id"] for b in told]
    jobs = stored(page.jobs)
    assert len(jobs) == 45
    assert [str(row["job_id"]) for row in jobs] == [j["id"] for b in told for j in b["jobs"]]
    for row, plain in zip(jobs, [j for b in told for j in b["jobs"]], strict=True):
        assert row["state"] == plain.get("state")
        for name in ("created_at", "scheduled_at", "runnable_at", "started_at", "finished_at"):
            at = plain.get(name)
            expected = datetime.fromisoformat(at).replace(tzinfo=None) if at else None
            assert row[name] == expected
