"""The company's month: the same again and again, and with a story in it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from buildkite_assets.sandbox import Sandbox

from .conftest import NOW, Api, StandingClock

BERLIN = ZoneInfo("Europe/Berlin")
Bodies = dict[str, dict[str, Any]]


def at(text: str) -> datetime:
    """Return an instant of a body."""
    return datetime.fromisoformat(text)


def company_at(now: datetime, *, days: int = 10, seed: int = 1) -> Sandbox:
    """Return a company as it stands at an instant."""
    return Sandbox.company(seed=seed, clock=StandingClock(now), days=days, builds_per_day=40)


def truth(sandbox: Sandbox) -> Bodies:
    """Return all builds of acme by their ids, without what counts a pipeline's present."""
    builds = {build["id"]: build for build in sandbox.organization("acme").truth_builds()}
    for build in builds.values():
        build["pipeline"] = build["pipeline"]["id"]
    return builds


@pytest.fixture(scope="module")
def month() -> list[dict[str, Any]]:
    """Return all builds of a month, oldest first."""
    sandbox = Sandbox.company(clock=StandingClock(NOW))
    return list(sandbox.organization("acme").truth_builds())


def scripts(builds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all script jobs."""
    return [job for build in builds for job in build["jobs"] if job["type"] == "script"]


def test_two_starts_agree() -> None:
    assert truth(company_at(NOW)) == truth(company_at(NOW))


def test_another_seed_is_another_history() -> None:
    assert not truth(company_at(NOW)).keys() & truth(company_at(NOW, seed=2)).keys()


def test_a_late_start_and_one_that_lived_through_agree_on_the_same_days() -> None:
    clock = StandingClock(NOW - timedelta(days=9, hours=5))
    lived = Sandbox.company(clock=clock, days=10, builds_per_day=40)
    while clock.now < NOW:
        clock.now = min(NOW, clock.now + timedelta(hours=7, minutes=13))
        lived.advance()
    late = truth(company_at(NOW, days=6))
    first_day = (NOW - timedelta(days=6)).date().isoformat()
    same_days = {
        uuid: build for uuid, build in truth(lived).items() if build["created_at"] >= first_day
    }
    assert len(late) > 150
    assert same_days == late


def test_nothing_lies_ahead_of_the_clock(month: list[dict[str, Any]]) -> None:
    for build in month:
        for record in (build, *build["jobs"]):
            for key in ("created_at", "runnable_at", "started_at", "finished_at"):
                assert not record.get(key) or at(record[key]) <= NOW


def test_times_are_in_order_and_finished_builds_have_an_end(month: list[dict[str, Any]]) -> None:
    for build in month:
        if build["state"] in ("passed", "failed", "canceled"):
            assert at(build["finished_at"]) >= at(build["started_at"] or build["created_at"])
        if build["state"] in ("running", "failing", "scheduled", "skipped", "not_run"):
            assert build["finished_at"] is None
    for job in scripts(month):
        instants = [job[key] for key in ("runnable_at", "started_at", "finished_at") if job[key]]
        assert instants == sorted(instants)


def test_numbers_are_unique_and_rise_with_time(month: list[dict[str, Any]]) -> None:
    for slug in ("web", "api", "deploy"):
        own = [build for build in month if build["pipeline"]["slug"] == slug]
        assert all(older["number"] < newer["number"] for older, newer in pairwise(own))


def test_time_brings_new_builds_and_late_changes() -> None:
    clock = StandingClock(NOW)
    sandbox = Sandbox.company(clock=clock, days=10)
    before = truth(sandbox)
    clock.move(days=2)
    after = truth(sandbox)
    assert len(after) > len(before) + 100
    finished = [build for build in before.values() if build["finished_at"]]
    changed = [build for build in finished if after[build["id"]] != build]
    assert any(build["blocked"] for build in changed)
    assert any(build["state"] == "failed" for build in changed)
    assert all(build["created_at"] == after[build["id"]]["created_at"] for build in changed)


def test_requests_move_the_scenario_on() -> None:
    clock = StandingClock(NOW)
    with_server = Sandbox.company(clock=clock, days=1, builds_per_day=40)
    count = len(with_server.organization("acme").builds)
    clock.move(hours=6)
    assert len(with_server.organization("acme").builds) > count


def test_the_company_works_on_when_pipelines_are_renamed_or_deleted() -> None:
    clock = StandingClock(NOW)
    sandbox = Sandbox.company(clock=clock, days=2, builds_per_day=60)
    acme = sandbox.organization("acme")
    acme.delete_pipeline("api")
    acme.rename_pipeline("web", slug="website")
    clock.move(days=2)
    builds = sandbox.organization("acme").builds
    assert "api" not in {build.pipeline.slug for build in builds}
    new = {build.pipeline.slug for build in builds if build.created_at > NOW}
    assert "website" in new
    assert "web" not in new


def test_all_kinds_of_builds_and_jobs_occur(month: list[dict[str, Any]]) -> None:
    assert {build["source"] for build in month} == {
        *("webhook", "ui", "api", "schedule", "trigger_job")
    }
    states = Counter(build["state"] for build in month)
    assert {"passed", "failed", "canceled", "skipped", "not_run"} <= states.keys()
    assert any(build["blocked"] for build in month)
    assert any(build["creator"] is None and build["author"] for build in month)
    assert any(isinstance(build["author"], str) for build in month)
    assert any(build["pull_request"] for build in month)
    assert any(build["rebuilt_from"] for build in month)
    assert any(build["merge_queue"] for build in month)
    assert any(build["meta_data"].get("app:production:deployed") == "true" for build in month)
    children = [build for build in month if build["source"] == "trigger_job"]
    assert all(child["triggered_from"] for child in children)
    jobs = scripts(month)
    job_states = {job["state"] for job in jobs}
    assert {"passed", "failed", "timed_out", "expired", "broken", "blocked"} <= job_states
    assert any(job["soft_failed"] for job in jobs)
    assert any(job["matrix"] for job in jobs)
    assert any(job["parallel_group_total"] for job in jobs)
    assert any(job["exit_status"] == -1 and job["signal_reason"] == "agent_stop" for job in jobs)
    assert {job["retry_type"] for job in jobs} == {None, "manual", "automatic"}
    assert any(job["name"] == "" for job in jobs)


def test_there_are_quiet_weekends_and_busy_noons(month: list[dict[str, Any]]) -> None:
    days = Counter(at(build["created_at"]).date() for build in month)
    weekdays = [count for day, count in days.items() if day.weekday() < 5 and day < NOW.date()]
    weekends = [count for day, count in days.items() if day.weekday() >= 5]
    assert 120 < median(weekdays) < 200
    assert max(weekends) < median(weekdays) / 3
    hours = Counter(at(build["created_at"]).astimezone(BERLIN).hour for build in month)
    assert hours[12] > 5 * hours[3]


def test_the_end_to_end_step_of_web_is_flaky(month: list[dict[str, Any]]) -> None:
    attempts = {
        job["id"]: job
        for build in month
        if build["pipeline"]["slug"] == "web"
        for job in build["jobs"]
        if job["type"] == "script" and job["step_key"] == "e2e"
    }
    failed = [job for job in attempts.values() if job["state"] == "failed" and job["retried"]]
    passed_next = [job for job in failed if attempts[job["retried_in_job_id"]]["state"] == "passed"]
    assert len(failed) > 0.15 * len(attempts)
    assert len(passed_next) > 0.7 * len(failed)


def test_the_macos_queue_is_starved_at_noon(month: list[dict[str, Any]]) -> None:
    waits: dict[bool, list[float]] = {True: [], False: []}
    for job in scripts(month):
        if job["agent_query_rules"] == ["queue=macos"] and job["started_at"]:
            runnable_at = at(job["runnable_at"])
            is_noon = runnable_at.astimezone(BERLIN).hour in (12, 13)
            waits[is_noon].append((at(job["started_at"]) - runnable_at).total_seconds())
    assert len(waits[True]) > 50
    assert min(waits[True]) > 1200
    assert max(waits[False]) < 300


def test_the_main_branch_of_api_was_red_for_two_days(month: list[dict[str, Any]]) -> None:
    main = sorted(
        (build["finished_at"], build["state"])
        for build in month
        if build["pipeline"]["slug"] == "api"
        and build["branch"] == "main"
        and build["state"] in ("passed", "failed")
    )
    red: list[float] = []
    since = None
    for finished_at, state in main:
        if state == "failed":
            since = since or finished_at
        elif since:
            red.append((at(finished_at) - at(since)).total_seconds() / 3600)
            since = None
    assert 36 < max(red) < 60
    assert sum(hours > 12 for hours in red) in (1, 2)  # it recurs after 28 days, this is a month
    assert len(red) <= 2


def test_the_story_is_there_whatever_the_month() -> None:
    for weeks in range(4):
        now = datetime(2026, 6, 1, 12, tzinfo=UTC) + timedelta(weeks=weeks)
        builds = company_at(now, days=30).organization("acme").builds
        red_days = {
            build.created_at.date()
            for build in builds
            if build.pipeline.slug == "api" and build.branch == "main" and build.state == "failed"
        }
        assert len(red_days) >= 2


def test_pages_of_the_company_hold_the_truth(company: Api) -> None:
    seen: list[dict[str, Any]] = []
    url = "/builds?per_page=100&include_retried_jobs=true&exclude_pipeline=true"
    while url:
        response = company.get(url)
        seen += response.json()
        url = response.links.get("next", {}).get("url", "")
    truth = {build["id"]: build for build in company.sandbox.organization("acme").truth_builds()}
    assert len(seen) == len(truth)
    for build in seen:
        assert build == {key: value for key, value in truth[build["id"]].items() if key in build}
