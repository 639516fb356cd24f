"""Which fields of builds and jobs are known, and what is told of those that are not."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from buildkite_assets.buildkite.left_out import LEFT_OUT, UnknownField, look_into_builds
from buildkite_assets.sandbox import Sandbox

RECORDED = Path(__file__).parents[2] / "../shared/recorded"
URL = "https://buildkite.com/acme/web/builds/1"


def unknown(*builds: object) -> list[UnknownField]:
    looked_into = look_into_builds(json.dumps(builds).encode())
    assert looked_into.builds == len(builds)
    return looked_into.unknown


def test_the_sandbox_has_no_unknown_field_but_that_of_single_builds() -> None:
    acme = Sandbox.company(days=3, builds_per_day=60).organization("acme")
    bodies = list(acme.truth_builds())
    kinds = {job["type"] for body in bodies for job in body["jobs"]}
    assert kinds == {"script", "manual", "waiter", "trigger"}
    assert look_into_builds(msgspec.json.encode(bodies)).unknown == []


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded responses are not here")
@pytest.mark.parametrize(
    "file",
    [
        "segment-analytics-next/builds_page_clean.json",
        "buildkiterb-vcr/build_list_org.json",
        "shopify-buildkit-vcr/organization_builds.json",
        "shopify-buildkit-vcr/pipeline_builds.json",
    ],
)
def test_what_buildkite_really_sent_has_no_unknown_field(file: str) -> None:
    recorded: Any = json.loads((RECORDED / file).read_text())
    bodies = recorded[0]["response"]["body"] if "response" in recorded[0] else recorded
    assert bodies
    assert unknown(*bodies) == []


def test_an_unknown_field_is_told_at_every_level() -> None:
    found = unknown(
        {"web_url": URL, "new": "secret", "author": {"new": 1}, "creator": {"new": [1]}},
        {
            "pull_request": {"labels": ["plain", {"name": "x", "color": "red"}]},
            "jobs": [{"id": 1}, {"agent": {"new": True}, "step": {"new": {"secret": 1}}}],
        },
    )
    assert found == [
        UnknownField("author.new", "number", URL),
        UnknownField("creator.new", "array", URL),
        UnknownField("jobs[].agent.new", "boolean", None),
        UnknownField("jobs[].step.new", "object", None),
        UnknownField("new", "string", URL),
        UnknownField("pull_request.labels[].color", "string", None),
    ]
    assert "secret" not in str(found)


def test_a_type_is_told_where_any_build_has_a_value() -> None:
    other = f"{URL}2"
    found = unknown({"web_url": URL, "new": None}, {"web_url": other, "new": 1.5})
    assert found == [UnknownField("new", "number", other)]
    assert unknown({"new": None}) == [UnknownField("new", "null", None)]


def test_what_is_free_to_have_any_key_is_not_looked_into() -> None:
    free = {"a key of someone's own": "x"}
    assert (
        unknown({"env": free, "meta_data": free, "pipeline": free, "jobs": [{"matrix": free}]})
        == []
    )


def test_a_key_that_is_no_word_is_not_repeated() -> None:
    [field] = unknown({"bkua_secret of someone": 1})
    assert field.path == "(a key that is no word)"


@pytest.mark.parametrize("body", [b"[]", b"[null, 3, []]", b'[{"jobs": null, "author": "Ada"}]'])
def test_odd_bodies_have_no_unknown_field(body: bytes) -> None:
    assert look_into_builds(body).unknown == []


def test_no_field_is_both_kept_and_left_out() -> None:
    for record, names in LEFT_OUT.items():
        kept = {field.encode_name for field in msgspec.structs.fields(record)}
        assert not (names & kept) - {"url", "web_url"}, record
