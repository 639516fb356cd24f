"""The checks of what the passing of time breaks: the last sync's age, and tables left behind."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import dagster as dg
import pytest

from tests.derived.history import DAY, ORGANIZATION, History

from .evaluating import evaluate, feed, is_evaluated, metadata, organization, read_days

NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)


def hours(number: float) -> datetime:
    """So many hours after the last sync."""
    return NOON + timedelta(hours=number)


@pytest.fixture
def history() -> History:
    history = History()
    organization(history)
    return history


def test_an_old_sync_fails_however_new_the_builds_are(history: History) -> None:
    read_days(history, DAY, DAY, early=True)
    history.build(history.pipeline(), "11:30")
    result = evaluate(history, "synced_lately", now=hours(26))
    assert result.passed
    assert metadata(result)["last_sync_age_hours"] == 26
    assert metadata(result)["newest_build_age_hours"] == 26.5

    result = evaluate(history, "synced_lately", now=hours(26.1))
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert "26.1 hours ago" in (result.description or "")


def test_nothing_built_is_not_nothing_synced(history: History) -> None:
    read_days(history, DAY, DAY, early=True)
    result = evaluate(history, "synced_lately", now=hours(1))
    assert result.passed
    assert "newest_build_age_hours" not in metadata(result)

    history.build(history.pipeline(), f"{DAY - timedelta(days=30)} 13:00")
    result = evaluate(history, "synced_lately", now=hours(1))
    assert result.passed
    assert metadata(result)["last_sync_age_hours"] == 1
    assert metadata(result)["newest_build_age_hours"] == 30 * 24


def test_a_feed_is_a_sync_and_an_old_day_read_again_is_none(history: History) -> None:
    read_days(history, DAY, DAY, early=True)
    feed(history, hours(10))
    assert metadata(evaluate(history, "synced_lately", now=hours(11)))["last_sync_age_hours"] == 1
    history.connection.execute(
        "INSERT INTO sync_days (organization_id, day, read_at) VALUES (?, ?, ?)",
        [ORGANIZATION, DAY - timedelta(days=9), hours(40).replace(tzinfo=None)],
    )
    assert not evaluate(history, "synced_lately", now=hours(41)).passed


def test_a_sync_in_the_future_is_not_a_late_one_but_a_wrong_clock(history: History) -> None:
    read_days(history, DAY, DAY, early=True)
    feed(history, hours(2))
    assert evaluate(history, "synced_lately", now=hours(1.6)).passed
    result = evaluate(history, "synced_lately", now=hours(1))
    assert not result.passed
    assert "a clock was wrong" in (result.description or "")


def test_each_organization_has_to_be_synced(history: History) -> None:
    other = UUID(int=2)
    history.connection.execute(
        "INSERT INTO organizations (organization_id, slug) VALUES (?, 'other')", [other]
    )
    read_days(history, DAY, DAY, early=True)
    for organization_id, at in ((ORGANIZATION, hours(40)), (other, hours(1))):
        history.connection.execute(
            "INSERT INTO sync_days (organization_id, day, read_at) VALUES (?, ?, ?)",
            [organization_id, at.date(), at.replace(tzinfo=None)],
        )
    result = evaluate(history, "synced_lately", now=hours(41))
    assert not result.passed
    assert metadata(result)["last_sync_age_hours"] == 40


def test_an_organization_of_which_nothing_was_ever_read_is_told(history: History) -> None:
    read_days(history, DAY, DAY, early=True)
    history.connection.execute("UPDATE organizations SET synced_at = '2026-11-02 11:00'")
    history.connection.execute(
        "INSERT INTO organizations (organization_id, slug, synced_at) "
        "VALUES (?, 'left', '2026-11-01 11:00'), (?, 'new', '2026-11-02 11:00')",
        [UUID(int=2), UUID(int=3)],
    )
    result = evaluate(history, "synced_lately", now=hours(1))
    assert not result.passed
    assert "ever read of new." in (result.description or ""), "not of what is no longer listed"
    assert metadata(result)["last_sync_age_hours"] == 1

    history.connection.execute("DELETE FROM sync_days")
    assert not is_evaluated(evaluate(history, "synced_lately", now=hours(1)))


def caught_up(history: History, table: str, now: datetime) -> dg.AssetCheckResult:
    result = evaluate(history, "caught_up", table=table, now=now)
    assert is_evaluated(result)
    return result


@pytest.fixture
def derived(history: History) -> History:
    """Two days of builds from which a daily table and a whole one were made at noon."""
    pipeline = history.pipeline()
    read_days(history, DAY - timedelta(days=1), DAY, early=True)
    for day in (DAY - timedelta(days=1), DAY):
        history.build(pipeline, f"{day} 10:00", synced_at=f"{DAY} 11:00")
    history.derive("pipeline_daily")
    made_at(history, NOON)
    return history


def made_at(history: History, at: datetime) -> None:
    history.connection.execute("UPDATE derived_days SET derived_at = ?", [at.replace(tzinfo=None)])


def test_what_is_made_of_its_inputs_has_caught_up(derived: History) -> None:
    for table in ("build_runs", "pipeline_daily"):
        result = caught_up(derived, table, hours(1000))
        assert result.passed
        assert metadata(result)["lagging"] == 0


def test_a_day_lags_since_its_builds_changed_and_what_is_made_of_it_too(derived: History) -> None:
    changed = hours(100)
    derived.connection.execute(
        "UPDATE builds SET synced_at = ? WHERE created_at::DATE = ?",
        [changed.replace(tzinfo=None), DAY],
    )
    for table, days in (("build_runs", [DAY.isoformat()]), ("pipeline_daily", None)):
        result = caught_up(derived, table, hours(100.9))
        assert result.passed, "what has just changed is about to be followed"
        assert metadata(result)["lagging"] == 1
        result = caught_up(derived, table, hours(101.1))
        assert not result.passed
        assert result.severity == dg.AssetCheckSeverity.WARN
        assert metadata(result)["lags_since"] == changed.timestamp()
        assert metadata(result).get("days") == days


def test_only_what_takes_the_time_from_feeds_lags_since_a_feed(derived: History) -> None:
    """Made at noon; 100 hours later a feed found nothing, 200 hours later a build changed."""
    derived.derive("open_builds")
    made_at(derived, NOON)
    feed(derived, hours(100))
    assert caught_up(derived, "open_builds", hours(100.9)).passed
    late = caught_up(derived, "open_builds", hours(101.1))
    assert not late.passed
    assert metadata(late)["lags_since"] == hours(100).timestamp()
    assert metadata(caught_up(derived, "pipeline_daily", hours(1000)))["lagging"] == 0

    derived.connection.execute("UPDATE builds SET synced_at = ?", [hours(200).replace(tzinfo=None)])
    assert caught_up(derived, "pipeline_daily", hours(200.9)).passed


def test_an_age_is_never_negative_where_buildkites_clock_is_ahead(history: History) -> None:
    read_days(history, DAY, DAY, early=True)
    history.build(history.pipeline(), "11:59")
    result = evaluate(history, "synced_lately", now=hours(-0.5))
    assert result.passed
    assert "ended 0.0 hours ago" in (result.description or "")
    assert metadata(result)["last_sync_age_hours"] == 0
    assert metadata(result)["newest_build_age_hours"] == 0


def test_a_day_that_goes_on_changing_lags_since_its_first_change(derived: History) -> None:
    next_day = DAY + timedelta(days=1)
    derived.build(None, f"{DAY} 11:00", synced_at=f"{next_day} 00:00")
    derived.build(None, f"{DAY} 11:30", synced_at=f"{next_day} 13:00")
    result = caught_up(derived, "build_runs", hours(25.5))
    assert not result.passed
    assert metadata(result)["lags_since"] == hours(12).timestamp()


def test_a_table_whose_query_or_rules_changed_lags_since_it_was_made(derived: History) -> None:
    derived.connection.execute("UPDATE derived_days SET fingerprint = 'of another query'")
    result = caught_up(derived, "build_runs", hours(2))
    assert not result.passed
    assert metadata(result)["late"] == 2
    assert metadata(result)["lags_since"] == NOON.timestamp()


def test_a_table_that_was_never_made_lags_since_there_are_builds(derived: History) -> None:
    result = caught_up(derived, "job_retry_chains", hours(2))
    assert not result.passed
    assert metadata(result)["late"] == 2


def test_access_is_followed_where_no_builds_were_read(history: History) -> None:
    table = "effective_pipeline_access"
    assert not is_evaluated(evaluate(history, "caught_up", table=table))
    history.connection.execute(
        "INSERT INTO access_syncs (organization_id, started_at) VALUES (?, ?)",
        [ORGANIZATION, NOON.replace(tzinfo=None)],
    )
    result = caught_up(history, table, hours(2))
    assert not result.passed
    assert metadata(result)["lags_since"] == NOON.timestamp()

    history.derive(table)
    made_at(history, hours(2))
    assert caught_up(history, table, hours(1000)).passed
