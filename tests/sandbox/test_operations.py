"""Operations on builds, as they show in the bodies."""

from datetime import timedelta

import pytest

from buildkite_assets.sandbox import Organization
from buildkite_assets.sandbox.model import Step

from .conftest import NOW, Api, Body, StandingClock

WEB = "/organizations/acme/pipelines/web"
RELEASE = [
    Step("script", name="Build", key="build"),
    Step("waiter"),
    Step("manual", name="Release?", key="release"),
    Step("script", name="Deploy", key="deploy"),
]


def read(api: Api, number: int = 1) -> Body:
    """Return a build with all attempts."""
    return api.json(f"{WEB}/builds/{number}", include_retried_jobs="true")


@pytest.mark.parametrize(
    ("state", "shown", "job_states"),
    [
        ("creating", "creating", {"scheduled"}),
        ("scheduled", "scheduled", {"scheduled"}),
        ("running", "running", {"running"}),
        ("failing", "failing", {"running", "failed"}),
        ("passed", "passed", {"passed"}),
        ("failed", "failed", {"passed", "failed"}),
        ("canceled", "canceled", {"canceled"}),
        ("skipped", "skipped", {"skipped"}),
        ("not_run", "not_run", {"skipped"}),
    ],
)
def test_a_build_can_be_created_in_any_state(
    api: Api, acme: Organization, state: str, shown: str, job_states: set[str]
) -> None:
    acme.create_build("web", state=state, jobs=3, created_at=NOW - timedelta(hours=1))
    build = read(api)
    assert build["state"] == shown
    assert {job["state"] for job in build["jobs"]} == job_states
    is_finished = state in ("passed", "failed", "canceled")
    assert (build["finished_at"] is not None) == is_finished
    assert build["job_state_counts"]["total"] == 3


def test_nothing_happens_later_than_now(api: Api, acme: Organization) -> None:
    acme.create_build("web", state="passed")
    assert read(api)["finished_at"] == "2026-11-19T12:00:00.000Z"


def test_a_build_goes_from_scheduled_to_passed(
    api: Api, acme: Organization, clock: StandingClock
) -> None:
    build = acme.create_build("web")
    clock.move(seconds=10)
    acme.start_job(build.jobs[0])
    assert read(api)["state"] == "running"
    clock.move(seconds=50)
    acme.finish_job(build.jobs[0])
    acme.finish_build(build)
    body = read(api)
    assert (body["state"], body["jobs"][0]["exit_status"]) == ("passed", 0)
    assert body["created_at"] == "2026-11-19T12:00:00.000Z"
    assert body["jobs"][0]["started_at"] == "2026-11-19T12:00:10.000Z"
    assert body["finished_at"] == "2026-11-19T12:01:00.000Z"


def test_each_queue_has_its_own_agents_whatever_its_key(api: Api, acme: Organization) -> None:
    mac = acme.add_cluster("Mac")
    acme.add_agents("default", 2, queue=mac.queues[0])
    acme.add_pipeline("mac", cluster=mac)
    agents = []
    for pipeline in ("web", "mac"):
        build = acme.create_build(pipeline, state="passed")
        [job] = api.json(f"/organizations/acme/pipelines/{pipeline}/builds/{build.number}")["jobs"]
        assert job["agent"]["cluster_queue_url"] == job["cluster_queue_url"]
        agents.append(job["agent"]["id"])
    assert len(set(agents)) == 2
    assert len(api.json("/organizations/acme/agents")) == 4 + 2


@pytest.mark.parametrize(("key", "rules"), [(None, []), ("", ["queue="])])
def test_a_job_that_asks_for_no_queue_names_its_cluster_alone(
    api: Api, acme: Organization, key: str | None, rules: list[str]
) -> None:
    acme.create_build("web", jobs=[Step("script", queue_key=key)])
    [job] = read(api)["jobs"]
    assert job["agent_query_rules"] == rules
    assert job["cluster_id"] == acme.clusters[0].id
    assert (job["cluster_queue_id"], job["cluster_queue_url"]) == (None, None)


def test_a_hard_failure_makes_a_build_failing_and_a_soft_one_does_not(
    api: Api, acme: Organization
) -> None:
    build = acme.create_build("web", state="running", jobs=2)
    acme.finish_job(build.jobs[0], "failed", soft_failed=True, exit_status=7)
    assert read(api)["state"] == "running"
    assert read(api)["jobs"][0]["exit_status"] == 7
    acme.finish_job(build.jobs[1], "failed")
    assert read(api)["state"] == "failing"
    assert read(api)["failing_at"] is not None


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_retry_reopens_the_build_and_links_both_attempts(
    api: Api, acme: Organization, clock: StandingClock, *, by_hand: bool
) -> None:
    user = acme.members[0].user
    build = acme.create_build("web", state="failed", created_at=NOW - timedelta(hours=1))
    before = read(api)
    attempt = acme.retry_job(build.jobs[0], by=user if by_hand else None)
    body = read(api)
    old, new = body["jobs"]
    retry_type = "manual" if by_hand else "automatic"
    assert (body["state"], body["finished_at"]) == ("running", None)
    assert body["started_at"] > before["started_at"]
    assert body["created_at"] == before["created_at"]
    assert (old["retried"], old["retried_in_job_id"]) == (True, new["id"])
    assert old["retry_type"] == retry_type
    assert (old["retried_by"] or {}).get("id") == (user.id if by_hand else None)
    assert (new["retried"], new["retries_count"], new["retry_type"]) == (False, 1, None)
    assert new["retry_source"] == {"job_id": old["id"], "retry_type": retry_type}
    assert new["created_at"] > old["created_at"]
    clock.move(minutes=1)
    acme.start_job(attempt)
    acme.finish_job(attempt)
    acme.finish_build(build)
    assert read(api)["state"] == "passed"
    assert read(api)["failing_at"] == before["failing_at"]
    with pytest.raises(ValueError, match="already"):
        acme.retry_job(build.jobs[0])


def test_lifting_a_block_lets_the_build_go_on(
    api: Api, acme: Organization, clock: StandingClock
) -> None:
    user = acme.members[1].user
    build = acme.create_build("web", jobs=RELEASE)
    acme.start_job(build.job("build"))
    acme.finish_job(build.job("build"))
    acme.finish_build(build)
    body = read(api)
    assert (body["state"], body["blocked"]) == ("passed", True)
    assert [job.get("state") for job in body["jobs"]] == ["passed", None, "blocked", "blocked"]
    clock.move(days=3)
    acme.unblock_job(build.job("release"), by=user)
    body = read(api)
    assert (body["state"], body["blocked"], body["finished_at"]) == ("running", False, None)
    assert body["jobs"][2]["unblocked_by"]["id"] == user.id
    assert body["jobs"][2]["unblocked_at"] == "2026-11-22T12:00:00.000Z"
    assert body["jobs"][3]["state"] == "scheduled"
    with pytest.raises(ValueError, match="does not block"):
        acme.unblock_job(build.job("release"), by=user)


def test_a_failed_build_with_a_block_is_not_blocked(api: Api, acme: Organization) -> None:
    build = acme.create_build("web", jobs=RELEASE)
    acme.start_job(build.job("build"))
    acme.finish_job(build.job("build"), "failed")
    acme.finish_build(build)
    body = read(api)
    assert (body["state"], body["blocked"]) == ("failed", False)
    assert body["jobs"][2]["state"] == "blocked"


def test_canceling_ends_what_has_not_finished(api: Api, acme: Organization) -> None:
    build = acme.create_build("web", state="running", jobs=2)
    acme.finish_job(build.jobs[0])
    acme.cancel_build(build, reason="No longer needed")
    body = read(api)
    assert (body["state"], body["cancel_reason"]) == ("canceled", "No longer needed")
    assert [job["state"] for job in body["jobs"]] == ["passed", "canceled"]
    assert body["jobs"][1]["signal_reason"] == "cancel"


def test_a_rebuild_repeats_the_commit(api: Api, acme: Organization) -> None:
    build = acme.create_build("web", state="failed", jobs=2)
    acme.retry_job(build.jobs[1])
    acme.rebuild(build, by=acme.members[0].user)
    body = read(api, 2)
    assert body["commit"] == build.commit
    assert body["rebuilt_from"]["id"] == build.id
    assert len(body["jobs"]) == 2


def test_a_trigger_job_and_its_build_know_each_other(api: Api, acme: Organization) -> None:
    acme.add_pipeline("deploy")
    parent = acme.create_build("web", jobs=[Step("trigger", name="Go", triggers="deploy")])
    child = acme.create_build("deploy", source="trigger_job")
    acme.trigger_build(parent.jobs[0], child)
    (job,) = read(api)["jobs"]
    assert job["triggered_build"]["id"] == child.id
    body = api.json("/organizations/acme/pipelines/deploy/builds/1")
    assert body["triggered_from"] == {
        "build_id": parent.id,
        "build_number": 1,
        "build_pipeline_slug": "web",
    }


def test_deleted_builds_and_pipelines_are_gone(api: Api, acme: Organization) -> None:
    first = acme.create_build("web")
    acme.create_build("web")
    acme.delete_build(first)
    assert api.numbers() == [2]
    assert api.get(f"{WEB}/builds/1").json() == {"message": "No build found"}
    old = acme.pipeline("web")
    acme.delete_pipeline("web")
    assert api.numbers() == []
    assert api.get(WEB).json() == {"message": "No pipeline found"}
    assert acme.add_pipeline("web").id != old.id


def test_renaming_a_pipeline_changes_its_addresses(api: Api, acme: Organization) -> None:
    acme.create_build("web")
    (before,) = api.json("/builds")
    acme.rename_pipeline("web", slug="website", name="Website")
    (build,) = api.json("/builds")
    assert build["id"] == before["id"]
    assert "/pipelines/website/builds/1" in build["url"]
    assert "/pipelines/website/builds/1" in build["jobs"][0]["build_url"]


def test_renaming_a_person_shows_in_jobs_already_rendered(api: Api, acme: Organization) -> None:
    user = acme.members[0].user
    build = acme.create_build("web", state="failed")
    acme.retry_job(build.jobs[0], by=user)
    api.json("/builds", include_retried_jobs="true")
    acme.rename_user(user, "New Name")
    (shown,) = api.json("/builds", include_retried_jobs="true")
    assert shown["jobs"][0]["retried_by"]["name"] == "New Name"


def test_the_truth_is_what_the_api_says(api: Api, acme: Organization) -> None:
    for state in ("passed", "failed", "blocked", "running"):
        acme.create_build("web", state=state, jobs=3)
    acme.retry_job(acme.builds[1].jobs[0])
    listed = api.json("/builds", include_retried_jobs="true")
    truth = sorted(acme.truth_builds(), key=lambda build: build["number"], reverse=True)
    assert sorted(listed, key=lambda build: build["number"], reverse=True) == truth
    assert api.json("/organizations/acme/pipelines") == acme.truth_pipelines()
    assert api.json("/organizations/acme/members") == acme.truth_members()
    assert api.json("/organizations/acme/clusters") == acme.truth_clusters()
    cluster = acme.clusters[0].id
    assert api.json(f"/organizations/acme/clusters/{cluster}/queues") == acme.truth_queues()


def test_the_same_operations_give_the_same_ids(acme: Organization, clock: StandingClock) -> None:
    build = acme.create_build("web", jobs=2)
    acme.delete_build(build)
    again = acme.create_build("web", jobs=2, number=1, created_at=clock())
    assert [build.id, *(job.id for job in build.jobs)] == [again.id, *(j.id for j in again.jobs)]
    with pytest.raises(ValueError, match="already has"):
        acme.create_build("web", number=1)
