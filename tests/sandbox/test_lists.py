"""The builds lists: order, filters, pages."""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import Request

from buildkite_assets.sandbox import Organization, Sandbox
from buildkite_assets.sandbox.model import Step

from .conftest import NOW, Api, StandingClock

ACME_BUILDS = "/organizations/acme/builds"


def test_builds_are_listed_newest_first_down_to_the_microsecond(
    api: Api, acme: Organization
) -> None:
    for microseconds in (5, 1, 3):
        acme.create_build("web", created_at=NOW + timedelta(microseconds=microseconds))
    assert api.numbers() == [1, 3, 2]


def test_builds_of_one_instant_are_ordered_by_id(api: Api, acme: Organization) -> None:
    for _ in range(5):
        acme.create_build("web", created_at=NOW)
    ids = [build["id"] for build in api.json(ACME_BUILDS)]
    assert ids == sorted(ids, reverse=True)


def test_all_three_lists_show_the_build(api: Api, acme: Organization) -> None:
    acme.add_pipeline("api")
    acme.create_build("web")
    acme.create_build("api")
    assert len(api.json("/builds")) == 2
    assert len(api.json(ACME_BUILDS)) == 2
    assert len(api.json("/organizations/acme/pipelines/web/builds")) == 1


def test_created_from_is_inclusive_and_created_to_exclusive(api: Api, acme: Organization) -> None:
    for seconds in range(4):
        acme.create_build("web", created_at=NOW + timedelta(seconds=seconds))
    assert api.numbers(created_from="2026-11-19T12:00:01Z", created_to="2026-11-19T12:00:03Z") == [
        3,
        2,
    ]


def test_windows_that_meet_show_every_build_once(api: Api, acme: Organization) -> None:
    for _ in range(3):
        acme.create_build("web", created_at=NOW)
    edge = "2026-11-19T12:00:00Z"
    assert api.numbers(created_to=edge) == []
    assert len(api.numbers(created_from=edge)) == 3


def test_finished_from_is_inclusive_and_leaves_out_open_builds(
    api: Api, acme: Organization, clock: StandingClock
) -> None:
    acme.create_build("web", state="running")
    clock.move(minutes=10)
    finished = acme.create_build("web", state="passed", created_at=NOW)
    assert finished.finished_at == NOW + timedelta(seconds=65)
    assert api.numbers(finished_from="2026-11-19T12:01:05Z") == [2]
    assert api.numbers(finished_from="2026-11-19T12:01:06Z") == []


@pytest.mark.parametrize("parameter", ["created_from", "created_to", "finished_from"])
def test_a_time_with_an_unencoded_plus_is_refused(api: Api, parameter: str) -> None:
    response = api.get(f"{ACME_BUILDS}?{parameter}=2026-11-19T12:00:00.950000+00:00")
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": parameter, "code": "invalid"}]
    assert api.get(ACME_BUILDS, **{parameter: "2026-11-19T12:00:00+00:00"}).status_code == 200


def test_states_are_filtered_one_or_many(api: Api, acme: Organization) -> None:
    for state in ("running", "passed", "failed", "failing", "scheduled", "creating"):
        acme.create_build("web", state=state)
    assert api.numbers(state="failed") == [3]
    assert sorted(api.numbers(**{"state[]": ["failed", "failing"]})) == [3, 4]


def test_finished_leaves_out_skipped_and_not_run(api: Api, acme: Organization) -> None:
    for state in ("passed", "failed", "canceled", "blocked", "skipped", "not_run", "running"):
        acme.create_build("web", state=state)
    assert sorted(api.numbers(state="finished")) == [1, 2, 3, 4]


def test_a_blocked_build_says_passed_and_is_found_as_blocked(api: Api, acme: Organization) -> None:
    acme.create_build("web", state="passed")
    acme.create_build("web", state="blocked")
    (build,) = api.json(ACME_BUILDS, state="blocked")
    assert (build["number"], build["state"], build["blocked"]) == (2, "passed", True)
    assert build["blocked_state"] == ""
    assert build["finished_at"] is not None


def test_an_unknown_state_is_refused(api: Api) -> None:
    assert api.get(ACME_BUILDS, state="green").status_code == 422


def test_branches_match_exactly_or_by_wildcard(api: Api, acme: Organization) -> None:
    for branch in ("main", "dev", "my-dev-branch"):
        acme.create_build("web", branch=branch)
    assert api.numbers(branch="dev") == [2]
    assert sorted(api.numbers(branch="*dev*")) == [2, 3]
    assert sorted(api.numbers(**{"branch[]": ["main", "dev"]})) == [1, 2]


def test_commit_creator_and_meta_data_are_filtered(api: Api, acme: Organization) -> None:
    user = acme.members[0].user
    acme.create_build("web", commit="a" * 40)
    acme.create_build("web", creator=user)
    acme.create_build("web", meta_data={"environment": "production", "x": "1"})
    assert api.numbers(commit="a" * 40) == [1]
    assert api.numbers(commit="aaaa") == []
    assert api.numbers(creator=user.id) == [2]
    assert api.numbers(**{"meta_data[environment]": "production"}) == [3]
    assert api.numbers(**{"meta_data[environment]": "staging"}) == []


def test_retried_jobs_are_hidden_unless_asked_for(api: Api, acme: Organization) -> None:
    build = acme.create_build("web", state="failed")
    acme.retry_job(build.jobs[0])
    assert [len(build["jobs"]) for build in api.json(ACME_BUILDS)] == [1]
    assert [len(b["jobs"]) for b in api.json(ACME_BUILDS, include_retried_jobs="true")] == [2]


def test_excluded_keys_are_absent(api: Api, acme: Organization) -> None:
    acme.create_build("web")
    (build,) = api.json(ACME_BUILDS, exclude_jobs="true", exclude_pipeline="true")
    assert not {"jobs", "pipeline"} & build.keys()
    (build,) = api.json(ACME_BUILDS)
    assert {"jobs", "pipeline"} <= build.keys()


def test_paused_queues_can_be_left_out(api: Api, acme: Organization) -> None:
    paused = acme.add_queue(acme.clusters[0], "slow")
    paused.dispatch_paused = True
    acme.create_build("web", jobs=[Step("script", key="a", queue_key="slow"), Step("script")])
    acme.create_build("web", jobs=[Step("script", key="a", queue_key="slow")])
    assert sorted(len(build["jobs"]) for build in api.json(ACME_BUILDS)) == [1, 2]
    shown = api.json(ACME_BUILDS, include_paused="false")
    assert [(build["number"], len(build["jobs"])) for build in shown] == [(1, 1)]


def test_pages_have_30_builds_and_never_more_than_100(api: Api, acme: Organization) -> None:
    for _ in range(120):
        acme.create_build("web", jobs=0)
    assert len(api.numbers()) == 30
    assert len(api.numbers(per_page=500)) == 100
    assert api.numbers(page=9) == []


def test_link_headers_look_like_the_recorded_ones(api: Api, acme: Organization) -> None:
    for _ in range(6):
        acme.create_build("web")
    base = f"{api.url}{ACME_BUILDS}"
    first = api.get(ACME_BUILDS, per_page=2, branch="main")
    assert first.headers["Link"] == (
        f'<{base}?branch=main&page=2&per_page=2>; rel="next", '
        f'<{base}?branch=main&page=3&per_page=2>; rel="last"'
    )
    second = api.get(first.links["next"]["url"])
    assert set(second.links) == {"first", "prev", "next", "last"}
    last = api.get(second.links["next"]["url"])
    assert last.headers["Link"] == f'<{base}?branch=main&page=3&per_page=2>; rel="last"'
    assert "Link" not in api.get(ACME_BUILDS).headers


def test_repeated_filters_stay_in_links(api: Api, acme: Organization) -> None:
    for state in ("running", "failed", "passed"):
        acme.create_build("web", state=state)
    first = api.get(ACME_BUILDS, **{"state[]": ["running", "failed"], "per_page": ["1"]})
    second = api.get(first.links["next"]["url"])
    assert sorted(build["number"] for build in (*first.json(), *second.json())) == [1, 2]


def test_deep_pages_are_refused(api: Api, sandbox: Sandbox, acme: Organization) -> None:
    sandbox.depth_limit = 4
    for _ in range(6):
        acme.create_build("web")
    assert len(api.numbers(page=2, per_page=2)) == 2
    response = api.get(ACME_BUILDS, page=3, per_page=2)
    assert response.status_code == 400
    assert response.json()["message"].startswith("Listing builds this deep is not supported.")


def test_a_hook_can_change_the_builds_between_pages(
    api: Api, sandbox: Sandbox, acme: Organization
) -> None:
    def create_another(_: Request) -> None:
        acme.create_build("web")

    acme.create_build("web", created_at=datetime(2026, 11, 1, tzinfo=UTC))
    sandbox.before_page = create_another
    assert api.numbers() == [2, 1]
    assert api.json("/organizations/acme/pipelines/web/builds/1")["number"] == 1
    assert len(acme.builds) == 2
