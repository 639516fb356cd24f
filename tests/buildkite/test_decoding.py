"""From bodies to records: all that is clear is read, what is not is set aside and told."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.buildkite.decoding import (
    BuildPage,
    RejectedBuild,
    decode_builds,
    decode_list,
    decode_one,
    mend_text,
)
from buildkite_assets.buildkite.records import (
    AccessToken,
    Author,
    Build,
    Cluster,
    Job,
    Organization,
    Person,
    Pipeline,
    Queue,
)

Json = Any
"""A JSON value; tests look into it without declaring its form."""

RECORDED = Path(__file__).parents[2] / "../shared/recorded"
needs_recordings = pytest.mark.skipif(not RECORDED.exists(), reason="no recordings beside it")


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
        "jobs": [job_body(1000 + number)],
    } | changes


def job_body(number: int, **changes: Json) -> dict[str, Json]:
    """A script job."""
    return {"id": identifier(number), "type": "script", "state": "passed"} | changes


def decode(*builds: Json) -> BuildPage:
    """Decode a page of these builds."""
    return decode_builds(json.dumps(builds).encode())


def only(*builds: Json) -> Build:
    """Decode a page of one build that must be readable."""
    page = decode(*builds)
    assert not page.rejected
    (build,) = page.builds
    return build


def rejected(body: Json) -> RejectedBuild:
    """Decode a page with this build between two good ones, of which nothing may be lost."""
    page = decode(build_body(1), body, build_body(3))
    assert [build.number for build in page.builds] == [1, 3]
    (build,) = page.rejected
    assert len(page) == 3
    return build


# Recorded bodies


def recorded_lists() -> Iterator[tuple[str, str]]:
    """Every recorded list of builds, as file and JSON text."""
    yield "segment", (RECORDED / "segment-analytics-next/builds_page_clean.json").read_text()
    for folder in ("buildkiterb-vcr", "shopify-buildkit-vcr"):
        for path in sorted((RECORDED / folder).glob("*build*.json")):
            for number, call in enumerate(json.loads(path.read_text())):
                body = call["response"]["body"]
                text = body if isinstance(body, str) else json.dumps(body)
                builds = json.loads(text)
                if isinstance(builds, dict):
                    builds = [builds]
                if builds and all("jobs" in build for build in builds):
                    yield f"{path.stem} {number}", json.dumps(builds)


@needs_recordings
def test_every_recorded_build_is_read_with_every_job() -> None:
    lists = dict(recorded_lists())
    assert len(lists) >= 5
    for name, text in lists.items():
        page = decode_builds(text.encode())
        told = json.loads(text)
        assert page.rejected == [], name
        assert [build.id for build in page.builds] == [build["id"] for build in told], name
        for build, plain in zip(page.builds, told, strict=True):
            assert_same(build, plain)
            assert [job.id for job in build.jobs] == [job["id"] for job in plain["jobs"]]
            for job, plain_job in zip(build.jobs, plain["jobs"], strict=True):
                assert_same(job, plain_job)


def assert_same(record: msgspec.Struct, plain: dict[str, Json]) -> None:
    """Hold that every field of the record is what plain JSON says, however deep."""
    for field in msgspec.structs.fields(record):
        value, told = getattr(record, field.name), plain.get(field.encode_name)
        if field.name == "jobs":
            continue
        if isinstance(value, datetime):
            assert value == instant(str(told)), field.name
        elif isinstance(value, msgspec.Raw):
            assert json.loads(bytes(value)) == told, field.name
        elif isinstance(value, msgspec.Struct):
            assert_same(value, told or {})
        else:
            assert value == told, field.name


def instant(text: str) -> datetime:
    """Both of Buildkite's formats, read by the standard library."""
    if text.endswith(" UTC"):
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    return datetime.fromisoformat(text)


@needs_recordings
@pytest.mark.parametrize(
    ("file", "record"),
    [
        ("buildkiterb-vcr/pipeline_list.json", Pipeline),
        ("buildkiterb-vcr/cluster_list.json", Cluster),
        ("buildkiterb-vcr/cluster_queue_list.json", Queue),
        ("shopify-buildkit-vcr/pipelines.json", Pipeline),
        ("shopify-buildkit-vcr/organizations.json", Organization),
    ],
)
def test_every_recorded_catalog_is_read(file: str, record: type[msgspec.Struct]) -> None:
    count = 0
    for call in json.loads((RECORDED / file).read_text()):
        body = call["response"]["body"]
        text = body if isinstance(body, str) else json.dumps(body)
        records: list[Json] = decode_list(text.encode(), record)
        assert [item.id for item in records] == [item["id"] for item in json.loads(text)]
        count += len(records)
    assert count > 0


# Instants


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-23T07:44:34.264Z", datetime(2026, 3, 23, 7, 44, 34, 264_000, UTC)),
        ("2026-03-23T07:44:34.264123Z", datetime(2026, 3, 23, 7, 44, 34, 264_123, UTC)),
        ("2026-03-23T07:44:34Z", datetime(2026, 3, 23, 7, 44, 34, 0, UTC)),
        ("2026-03-23T07:44:34+05:30", datetime(2026, 3, 23, 2, 14, 34, 0, UTC)),
        ("2026-03-22T23:44:34.5-08:00", datetime(2026, 3, 23, 7, 44, 34, 500_000, UTC)),
        ("2015-04-23 16:55:52 UTC", datetime(2015, 4, 23, 16, 55, 52, 0, UTC)),
        ("2023-08-23 02:29:53.260933 UTC", datetime(2023, 8, 23, 2, 29, 53, 260_933, UTC)),
        ("2015-04-23 16:55:52", datetime(2015, 4, 23, 16, 55, 52, 0, UTC)),
    ],
)
def test_instants_are_read_in_both_formats(text: str, expected: datetime) -> None:
    """Trap 15: old pipelines and tokens have `… UTC` where builds have ISO 8601."""
    build = only(build_body(created_at=text, jobs=[job_body(2, started_at=text)]))
    assert build.created_at == expected
    assert build.jobs[0].started_at == expected
    assert (
        decode_one(
            json.dumps({"uuid": "x", "scopes": [], "created_at": text}).encode(), AccessToken
        ).created_at
        == expected
    )


@given(
    st.integers(0, 4 * 10**15),
    st.integers(-14 * 60, 14 * 60),
)
@settings(max_examples=50, deadline=None)
def test_an_instant_is_exact_in_every_zone(microseconds: int, minutes: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    text = at.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    assert only(build_body(created_at=text)).created_at == at


@pytest.mark.parametrize("value", ["yesterday", "", "2026-13-01T00:00:00Z", {}, [], True, None])
def test_what_is_no_instant_sets_the_build_aside(value: Json) -> None:
    build = rejected(build_body(2, created_at=value))
    assert (build.build_id, build.created_at) == (identifier(2), None)
    assert build.path == "$.created_at"


# Text


def test_emoji_and_every_other_character_are_kept() -> None:
    message = '🚀 \x00 \\ud83d \\\\ " é ﷽ \u2028 \x7f'
    assert only(build_body(message=message)).message == message


def test_lone_surrogates_are_replaced_and_pairs_kept() -> None:
    body = json.dumps([build_body(message="SWAP")]).replace(
        "SWAP", r"a\ud83d b\ude00 c\ud83d\ude00 d\\ud83d \uD83D\uD83D\uDE00"
    )
    (build,) = decode_builds(body.encode()).builds
    assert build.message == "a\ufffd b\ufffd c😀 d\\ud83d \ufffd😀"


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    body = json.dumps([build_body(message="caf_"), build_body(2)]).encode()
    page = decode_builds(body.replace(b"caf_", b"caf\xe9"))
    assert [build.message for build in page.builds] == ["caf\ufffd", None]


def test_a_body_cut_within_a_character_is_not_mended_into_a_whole_one() -> None:
    body = json.dumps([build_body(message="é")], ensure_ascii=False).encode()
    with pytest.raises(msgspec.DecodeError):
        decode_builds(body[: body.index(b"\xa9")])


@given(st.text(st.characters(exclude_categories=())))
@settings(max_examples=100, deadline=None)
def test_any_text_survives_but_for_its_lone_surrogates(text: str) -> None:
    body = json.dumps([text]).encode()
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert json.loads(mend_text(body)) == [expected]


# What is odd but clear


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"number": "12"}, "number", 12),
        ({"number": 12.0}, "number", 12),
        ({"blocked": "true"}, "blocked", True),
        ({"blocked": None}, "blocked", None),
        ({"meta_data": None}, "meta_data", None),
        ({"meta_data": {"a": 1, "b": True, "c": None, "d": {"e": ["é"]}, "f": "g"}}, "meta_data",
         {"a": "1", "b": "true", "c": None, "d": '{"e":["é"]}', "f": "g"}),
        ({"author": None}, "commit_author", None),
        ({"author": "Ada <a@b.c>"}, "commit_author", Author(name="Ada <a@b.c>")),
        ({"author": {"username": "ada", "name": "Ada", "email": "a@b.c"}}, "commit_author",
         Author(username="ada", name="Ada", email="a@b.c")),
        ({"creator": None}, "creator", None),
        ({"creator": {}}, "creator", Person()),
        ({"pull_request": None}, "pull_request", None),
        ({"a_key_of_tomorrow": {"x": [1, "2", None]}}, "number", 1),
        ({"state": "a_state_of_tomorrow"}, "state", "a_state_of_tomorrow"),
        ({"url": "https://x/pipelines/caf%C3%A9/builds/1"}, "pipeline_slug", "café"),
    ],
)  # fmt: skip
def test_what_is_odd_but_clear_is_read(change: Json, field: str, expected: object) -> None:
    assert getattr(only(build_body() | change), field) == expected


@pytest.mark.parametrize("identity", [7, "7"])
def test_a_pull_requests_number_is_text_or_a_number(identity: Json) -> None:
    labels = ["bug", {"name": "ui", "color": "red"}]
    request = {"id": identity, "base": "main", "labels": labels}
    pull_request = only(build_body(pull_request=request)).pull_request
    assert pull_request is not None
    assert (pull_request.number, pull_request.label_names) == ("7", ["bug", "ui"])


def test_an_empty_pull_request_is_one_without_a_number() -> None:
    pull_request = only(build_body(pull_request={})).pull_request
    assert pull_request is not None
    assert (pull_request.number, pull_request.label_names) == (None, None)


def test_each_kind_of_job_has_the_keys_it_has() -> None:
    jobs: list[Json] = [
        {"id": identifier(1), "type": "waiter"},
        {"id": identifier(2), "type": "manual", "label": "Release?", "unblocked_by": None},
        {"id": identifier(3), "type": "trigger", "async": True, "triggered_build": None},
        {"id": identifier(4), "type": "of_tomorrow", "news": {}},
        job_body(5, exit_status="-1", signal=9, matrix={"os": "linux"}, agent=None, step=None),
    ]
    decoded = only(build_body(jobs=jobs)).jobs
    assert [job.type for job in decoded] == [job["type"] for job in jobs]
    assert [job.display_name for job in decoded] == [None, "Release?", None, None, None]
    assert decoded[2].is_async is True
    last: Job = decoded[4]
    assert (last.exit_status, last.signal_name, last.matrix_json) == (-1, "9", '{"os":"linux"}')


def test_a_matrix_is_kept_as_sent_on_both_ways() -> None:
    matrices = [{"os": "linux"}, "linux", ["a"], None]
    jobs = [job_body(10 + n, matrix=matrix) for n, matrix in enumerate(matrices)]
    for number in (1, "1"):
        texts = [job.matrix_json for job in only(build_body(jobs=jobs) | {"number": number}).jobs]
        assert texts[3] is None
        assert [json.loads(text) for text in texts[:3] if text] == matrices[:3]


# What is set aside


@pytest.mark.parametrize(
    ("change", "path", "error"),
    [
        ({"id": None}, "$.id", "Expected `str`, got `null`"),
        ({"id": 7}, "$.id", "Expected `str`, got `int`"),
        ({"id": "short"}, "$.id", "length >= 36"),
        ({"number": "one"}, "$.number", "Expected `int`"),
        ({"number": None}, "$.number", "Expected `int`"),
        ({"number": 1.5}, "$.number", "Expected `int`"),
        ({"state": 5}, "$.state", "Expected `str`, got `int`"),
        ({"jobs": None}, "$.jobs", "Expected `array`, got `null`"),
        ({"jobs": {}}, "$.jobs", "Expected `array`, got `object`"),
        ({"jobs": [None]}, "$.jobs[0]", "Expected `object`, got `null`"),
        ({"jobs": [job_body(7), job_body(8, agent="me")]}, "$.jobs[1].agent", "Expected `object"),
        ({"jobs": [job_body(7, agent={"meta_data": "q=1"})]}, "$.jobs[0].agent.meta_data", "arr"),
        ({"creator": "Ada"}, "$.creator", "Expected `object | null`, got `str`"),
        ({"meta_data": ["a"]}, "$.meta_data", "Expected `object | null`, got `array`"),
        ({"pull_request": {"labels": [None]}}, "$.pull_request.labels[0]", "Expected"),
        ({"started_at": 5e99}, "$.started_at", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_set_aside_with_its_place(
    change: Json, path: str, error: str
) -> None:
    build = rejected(build_body(2) | change)
    assert build.path == path
    assert error in build.error
    assert build.url == build_body(2)["url"]


@pytest.mark.parametrize("key", ["id", "url", "number", "state", "created_at", "jobs"])
def test_a_build_without_a_key_that_it_needs_is_set_aside(key: str) -> None:
    body = build_body(2)
    del body[key]
    build = rejected(body)
    assert build.error == f"Object missing required field `{key}`"
    assert build.build_id == (None if key == "id" else identifier(2))


@pytest.mark.parametrize("value", [None, 5, "a build", [], True])
def test_what_is_no_build_at_all_is_set_aside(value: Json) -> None:
    build = rejected(value)
    assert (build.build_id, build.url, build.created_at) == (None, None, None)
    assert build.path == "$"


@pytest.mark.parametrize("number", ["1e999", "9" * 5000])
def test_a_number_beyond_all_bounds_costs_no_other_build(number: str) -> None:
    job = job_body(7, concurrency_wait_time_ms="SWAP")
    text = json.dumps([build_body(1), build_body(2, jobs=[job]), build_body(3)])
    page = decode_builds(text.replace('"SWAP"', number).encode())
    assert [build.number for build in page.builds] == [1, 3]
    assert [(r.build_id, r.path) for r in page.rejected] == [
        (identifier(2), "$.jobs[0].concurrency_wait_time_ms")
    ]


def test_an_error_repeats_nothing_of_the_body() -> None:
    secret = "hunter2"
    for change in ({"number": secret}, {"creator": secret}, {"created_at": secret}):
        build = rejected(build_body(2) | change | {"env": {"TOKEN": secret}})
        assert secret not in repr(build)


def test_a_build_that_comes_twice_counts_once_as_it_came_last() -> None:
    page = decode(build_body(1, state="running"), build_body(2), build_body(1, state="passed"))
    assert {build.number: build.state for build in page.builds} == {1: "passed", 2: "passed"}
    assert page.rejected == []


def test_a_job_that_stands_in_two_builds_sets_the_later_one_aside() -> None:
    page = decode(build_body(1), build_body(2, jobs=[job_body(5), job_body(1001)]), build_body(3))
    assert [build.number for build in page.builds] == [1, 3]
    (build,) = page.rejected
    assert (build.build_id, build.path) == (identifier(2), "$.jobs[1].id")
    assert build.error == f"the job {identifier(1001)} stands twice on the page"


def test_a_job_that_stands_twice_in_a_build_sets_that_aside() -> None:
    build = rejected(build_body(2, jobs=[job_body(5), job_body(6), job_body(5)]))
    assert build.path == "$.jobs[0].id"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[", b"null", b"[1", b'{"message": "No"}', b"<html>"]
)
def test_what_is_no_list_is_no_page(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_builds(body)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "number", "name", "jobs", "x"]), inner),
        max_leaves=5,
    ),
    st.sampled_from(list(build_body())),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_value_anywhere_costs_another_build(value: Json, key: str) -> None:
    page = decode(build_body(1), build_body(2) | {key: value}, build_body(3))
    # Unless it has become the same build as another: then it is that one's later copy.
    assert {build.number for build in page.builds} >= {1, 3}
    assert len(page) == 3


# Where a page ends


def test_the_oldest_build_of_a_page_counts_those_set_aside() -> None:
    page = decode(
        build_body(1, created_at="2026-11-19T12:00:05Z"),
        build_body(2, created_at="2026-11-19T13:00:03+01:00") | {"number": "odd"},
    )
    day = datetime(2026, 11, 19, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
    assert page.oldest_within(*day) == datetime(2026, 11, 19, 12, 0, 3, tzinfo=UTC)
    assert page.ids == {identifier(1), identifier(2)}


def test_a_build_outside_the_window_does_not_move_its_end() -> None:
    page = decode(
        build_body(1, created_at="1970-01-01T00:00:00Z"),
        build_body(2, created_at="2026-11-19T12:00:05Z"),
        build_body(3, created_at="9999-12-31T23:59:59-10:00"),
    )
    day = datetime(2026, 11, 19, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
    assert page.oldest_within(*day) == datetime(2026, 11, 19, 12, 0, 5, tzinfo=UTC)
    assert page.oldest_within(day[1], day[1] + timedelta(days=1)) is None
