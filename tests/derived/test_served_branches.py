"""Default branches as a sync over HTTP tells of them, while time passes."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from buildkite_assets.report.headlines import headlines
from buildkite_assets.report.scope import narrow, newest_days
from buildkite_assets.rules import BranchHealth, Rules
from buildkite_assets.sandbox.model import Build, Step
from buildkite_assets.warehouse import connect
from tests.served_history import ServedHistory, served_history

FRIDAY = datetime(2026, 10, 30, 18, tzinfo=UTC)
UPLOAD = Step("script", name=":pipeline: Upload", command="buildkite-agent pipeline upload")
TEST = Step("script", name="Test", key="test", command="make test")
DAY = 86_400
OVERLAP = 120


@pytest.fixture
def history(tmp_path: Path) -> Iterator[ServedHistory]:
    with served_history(tmp_path, FRIDAY) as history:
        yield history


def build(history: ServedHistory, state: str, minutes: float, **details: object) -> Build:
    """Create a build of main now, and let it end so much later."""
    created = history.acme.create_build("web", state="running", **details)  # type: ignore[arg-type]
    history.clock.move(minutes=minutes)
    end(history, created, state)
    return created


def end(history: ServedHistory, running: Build, state: str) -> None:
    for job in running.jobs:
        if job.finished_at is None:
            history.acme.finish_job(job, state)
    history.acme.finish_build(running)


def naive(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None)


def test_the_days_of_a_midnight_change_have_24_and_25_hours(history: ServedHistory) -> None:
    """In Havana clocks go back on Sunday, 1 November 2026, at 1 o'clock, to midnight."""
    history.rules = Rules(time_zone="America/Havana")
    build(history, "passed", 10)
    history.sync(days=4)
    days = dict(history.rows("SELECT local_day, known_seconds FROM branch_health_daily"))
    assert (days[date(2026, 10, 31)], days[date(2026, 11, 1)]) == (DAY, DAY + 3600)
    assert sum(days.values()) == 4 * DAY


def test_a_newer_build_that_passed_leaves_main_green(history: ServedHistory) -> None:
    """The older one runs on for 8 minutes, and then fails."""
    older = history.acme.create_build("web", state="running")
    history.clock.move(minutes=2)
    build(history, "passed", 10)
    history.clock.move(minutes=8)
    end(history, older, "failed")
    history.sync(hours=1)
    assert history.rows("FROM branch_incidents") == []
    assert history.rows("""
        SELECT last_state, red_seconds, failed_builds, passed_builds FROM branch_health_daily
    """) == [("green", 0, 1, 1)]


@pytest.mark.parametrize("is_seen", [True, False])
def test_three_red_days_stay_when_a_late_retry_passes(
    history: ServedHistory, *, is_seen: bool
) -> None:
    """Whether or not syncs saw the build while it was red, and while it was retried."""
    broken = build(history, "failed", 10)
    red_at = naive(history.clock())
    if is_seen:
        history.sync(minutes=10)
        assert history.rows("SELECT red_at, ended_by FROM branch_incidents") == [(red_at, None)]
    history.clock.now = red_at.replace(tzinfo=UTC) + timedelta(days=3)
    again = history.acme.retry_job(broken.jobs[0], by=history.user)
    history.acme.start_job(again)
    if is_seen:
        history.sync()
        assert history.rows("SELECT red_at, is_open FROM branch_incidents") == [(red_at, True)]
    history.clock.move(minutes=10)
    end(history, broken, "passed")
    history.sync(hours=1)
    assert history.rows("""
        SELECT red_at, red_seconds, ended_by, is_open, red_builds, is_same_commit
        FROM branch_incidents
    """) == [(red_at, 3 * DAY + 600, "retry", False, 1, True)]
    assert sum(history.rows("SELECT red_seconds FROM branch_health_daily")) == 3 * DAY + 600
    seen = history.rows("SELECT old FROM build_changes WHERE field = 'finished_at' AND old > ''")
    assert seen == [f"{red_at}"] * is_seen


def test_a_failed_build_that_becomes_passed_without_a_retry_was_red(history: ServedHistory) -> None:
    """A trigger step follows its build: where that is retried, no attempt of the parent tells."""
    broken = build(history, "failed", 10)
    red_at = naive(history.clock())
    history.sync(minutes=10)
    history.clock.move(days=1)
    broken.finished_at = None
    broken.jobs[0].finished_at = None
    end(history, broken, "passed")
    green_at = naive(history.clock())
    history.sync(hours=1)
    rows = history.rows("SELECT red_at, green_at, ended_by FROM branch_incidents")
    assert rows == [(red_at, green_at, "retry")]


def test_a_red_weekend_on_which_nothing_happens_lasts_until_the_last_sync(
    history: ServedHistory,
) -> None:
    """Red since Friday 18:10; every sync finds nothing new, and the incident grows."""
    build(history, "failed", 10)
    history.sync(minutes=10)
    for hours in (1, 26, 24):
        history.sync(hours=hours)
        # Every change is known up to the feed's read point; of a new day, up to its full read.
        overlap = OVERLAP if hours == 1 else 0
        seconds = (history.clock() - FRIDAY).total_seconds() - 600 - overlap
        assert history.rows("SELECT red_seconds FROM branch_incidents") == [seconds]
        assert sum(history.rows("SELECT red_seconds FROM branch_health_daily")) == seconds
    assert max(history.rows("SELECT local_day FROM branch_health_daily")) == date(2026, 11, 1)


@pytest.mark.parametrize("days", [1, 2, 30])
def test_the_report_shows_no_negative_time_of_a_quiet_red_main(
    history: ServedHistory, days: int
) -> None:
    """Red for 20 days without a build: the newest day, two and thirty days are red throughout."""
    build(history, "failed", 10)
    history.sync(days=20)
    with connect(history.path) as connection:
        narrow(connection, newest_days(connection, days))
        [red] = [each for each in headlines(connection) if each.name == "Main red"]
    assert red.value == {1: "18 h 10 min", 2: "1 d 18 h", 30: "20 d 0 h"}[days]


def test_a_build_that_only_uploads_its_pipeline_is_no_verdict(history: ServedHistory) -> None:
    """It takes 10 s and passes while main is red; 10 min less 70 ms is the only time to green.

    The same job is part of every build that tests something.
    """
    build(history, "passed", 10, jobs=[UPLOAD, TEST])
    red_at = naive(history.clock() + timedelta(minutes=20))
    build(history, "failed", 20, jobs=[UPLOAD, TEST])
    build(history, "passed", 1 / 6, jobs=[UPLOAD])
    history.sync(hours=1)
    assert history.rows("SELECT is_verdict FROM build_runs ORDER BY number") == [True, True, False]
    assert history.rows("SELECT red_at, is_open FROM branch_incidents") == [(red_at, True)]
    assert history.rows("""
        SELECT builds, passed_builds, verdicts, success_rate, green_builds, green_p50_seconds
        FROM pipeline_daily
    """) == [(3, 2, 2, 0.5, 1, 599.93)]
    weeks = history.rows("""
        SELECT verdicts, success_rate, ended_builds, canceled_rate, green_builds
        FROM pipeline_weekly
        UNION ALL
        SELECT verdicts, success_rate, ended_builds, canceled_rate, green_builds
        FROM team_ci_weekly
    """)
    assert weeks == [(2, 0.5, 3, 0, 1)] * 2
    build(history, "failed", 1, jobs=[UPLOAD])
    history.sync(hours=1)
    assert history.rows("SELECT is_verdict FROM build_runs WHERE number = 4") == [True]


def test_schedules_turn_no_branch_if_the_rules_ignore_them(history: ServedHistory) -> None:
    build(history, "passed", 10, source="webhook")
    build(history, "failed", 10, source="schedule")
    history.sync(hours=1)
    assert len(history.rows("FROM branch_incidents")) == 1
    history.rules = Rules(branch_health=BranchHealth(("schedule",)))
    history.derive()
    assert history.rows("FROM branch_incidents") == []
    assert history.rows("SELECT last_state, verdicts FROM branch_health_daily") == [("green", 1)]
