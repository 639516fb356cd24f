"""The keys and forms of bodies."""

import json
import re
from typing import Any

from buildkite_assets.sandbox import Organization
from buildkite_assets.sandbox.model import Step

from .conftest import Api

ACME = "/organizations/acme"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
OLD_INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
SCRIPT_KEYS = (
    "id graphql_id type name step_key group_key step priority agent_query_rules state build_url "
    "web_url log_url raw_log_url artifacts_url command soft_failed exit_status signal "
    "signal_reason broken_reason artifact_paths created_at scheduled_at runnable_at "
    "concurrency_wait_time_ms started_at finished_at expired_at retried retried_in_job_id "
    "retries_count retry_source retry_type parallel_group_index parallel_group_total matrix "
    "agent retried_by cluster_id cluster_url cluster_queue_id cluster_queue_url"
)
MANUAL_KEYS = (
    "id graphql_id type label state step_key web_url unblocked_by unblocked_at unblockable "
    "unblock_url fields"
)
BUILD_KEYS = (
    "id graphql_id url web_url number state cancel_reason blocked blocked_state message commit "
    "branch tag env source author creator created_at scheduled_at started_at failing_at "
    "finished_at meta_data pull_request merge_queue rebuilt_from triggered_from pipeline jobs "
    "cluster_id cluster_url"
)


def all_builds(company: Api) -> list[dict[str, Any]]:
    """Return the newest builds with all attempts."""
    builds: list[dict[str, Any]] = []
    for page in (1, 2, 3, 4):
        builds += company.json("/builds", page=page, per_page=100, include_retried_jobs="true")
    return builds


def test_keys_come_in_buildkites_order(company: Api) -> None:
    builds = all_builds(company)
    assert {tuple(build) for build in builds} == {tuple(BUILD_KEYS.split())}
    jobs = {job["type"]: job for build in builds for job in build["jobs"]}
    assert list(jobs["script"]) == SCRIPT_KEYS.split()
    assert list(jobs["manual"]) == MANUAL_KEYS.split()
    assert list(jobs["waiter"]) == ["id", "graphql_id", "type"]
    assert {"async", "triggered_build"} <= jobs["trigger"].keys()


def test_instants_have_todays_form_except_for_pipelines(company: Api) -> None:
    for build in all_builds(company):
        assert INSTANT.fullmatch(build["created_at"])
        assert OLD_INSTANT.fullmatch(build["pipeline"]["created_at"])


def test_jobs_are_as_large_as_real_ones(company: Api) -> None:
    sizes = [
        len(json.dumps(job, separators=(",", ":")))
        for build in all_builds(company)
        for job in build["jobs"]
        if job["type"] == "script" and job["agent"]
    ]
    assert 2800 < sum(sizes) / len(sizes) < 3800


def test_secrets_are_recognisable_wherever_buildkite_has_some(api: Api, acme: Organization) -> None:
    acme.create_build("web", state="passed")
    (build,) = api.json("/builds")
    pipeline = build["pipeline"]
    for secret in (
        build["env"]["BUILD_TOKEN"],
        pipeline["env"]["DEPLOY_KEY"],
        pipeline["configuration"],
        pipeline["steps"][0]["env"]["STEP_TOKEN"],
        pipeline["provider"]["webhook_url"],
    ):
        assert "sandbox-secret-" in secret
    assert build["jobs"][0]["agent"]["ip_address"].startswith("203.0.113.")


def test_jobs_are_paged_by_cursor_with_all_attempts(api: Api, acme: Organization) -> None:
    build = acme.create_build("web", state="failed", jobs=5)
    acme.retry_job(build.jobs[4])
    path = f"{ACME}/pipelines/web/builds/1/jobs"
    first = api.json(path, per_page=4)
    second = api.json(first["links"]["next"])
    assert [len(page["items"]) for page in (first, second)] == [4, 2]
    assert "next" not in second["links"]
    listed = [job["id"] for job in (*first["items"], *second["items"])]
    assert listed == [job.id for job in build.jobs]
    assert api.json(second["links"]["prev"])["items"] == first["items"]
    assert len(api.json(path, include_retried_jobs="false")["items"]) == 5


def test_jobs_are_filtered_by_state_step_and_group(api: Api, acme: Organization) -> None:
    steps = [Step("script", key="a", group_key="one"), Step("script", key="b")]
    build = acme.create_build("web", jobs=steps)
    acme.start_job(build.jobs[1])
    path = f"{ACME}/pipelines/web/builds/1/jobs"

    def keys(**query: str) -> list[str]:
        return [job["step_key"] for job in api.json(path, **query)["items"]]

    assert keys(**{"state[]": "running"}) == ["b"]
    assert keys(step_key="a") == ["a"]
    assert keys(group_key="one") == ["a"]


def test_wrong_job_queries_are_refused(api: Api, acme: Organization) -> None:
    acme.create_build("web")
    path = f"{ACME}/pipelines/web/builds/1/jobs"
    for query in ({"per_page": 101}, {"per_page": 0}, {"state[]": "green"}, {"after": "x"}):
        assert api.get(path, **query).status_code == 400


def test_catalog_bodies_have_their_keys(company: Api) -> None:
    pipelines = company.json(f"{ACME}/pipelines")
    assert len(pipelines) == 9
    assert [pipeline["slug"] for pipeline in pipelines if pipeline["archived_at"]] == ["legacy"]
    assert any(pipeline["cluster_id"] is None for pipeline in pipelines)
    assert any(pipeline["default_branch"] is None for pipeline in pipelines)
    (found,) = company.json(f"{ACME}/pipelines", name="mobile")
    assert company.json(f"{ACME}/pipelines/mobile")["id"] == found["id"]
    clusters = company.json(f"{ACME}/clusters")
    assert [cluster["name"] for cluster in clusters] == ["Linux", "Apple"]
    queues = company.json(f"{ACME}/clusters/{clusters[1]['id']}/queues")
    assert [queue["key"] for queue in queues] == ["default", "macos"]
    assert company.json(f"{ACME}/clusters/{clusters[0]['id']}") == clusters[0]
    assert len(company.json(f"{ACME}/agents", per_page=100)) > 40
    assert company.json(ACME) == company.json("/organizations")[0]
    assert company.json("/user")["id"] == company.sandbox.tokens.administrator.user.id


def test_one_build_counts_its_jobs_and_can_leave_some_out(api: Api, acme: Organization) -> None:
    acme.create_build("web", state="failed", jobs=3)
    path = f"{ACME}/pipelines/web/builds/1"
    body = api.json(path, **{"job_states[]": "failed"})
    assert len(body["jobs"]) == 1
    assert body["job_state_counts"] == {"total": 3, "states": {"passed": 2, "failed": 1}}
    assert "jobs" not in api.json(path, exclude_jobs="true")
