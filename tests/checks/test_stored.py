"""The checks of stored data: what makes each fail, and that it passes otherwise."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import dagster as dg
import pytest

from buildkite_assets.checks.files import check_files
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.tables import (
    ACCESS_SYNCS,
    ACCESS_TABLES,
    BUILD_CHANGES,
    BUILDS,
    CATALOG_HISTORIES,
    CATALOG_TABLES,
    JOBS,
    LATE_CHANGES,
    REJECTED_BUILDS,
    SYNC_DAYS,
    SYNC_FEEDS,
    TABLES,
    Table,
    history_of,
)
from buildkite_assets.warehouse.schema import create_table
from tests.derived.history import DAY, ORGANIZATION, History

from .evaluating import (
    STORED_CHECKS,
    evaluate,
    feed,
    is_evaluated,
    metadata,
    organization,
    read_days,
)

NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
WEEKS_LATER = NOON + timedelta(days=20)
MISSING = UUID(int=9)


@pytest.fixture
def history() -> History:
    history = History()
    organization(history)
    read_days(history, DAY, DAY)
    return history


def fails(result: dg.AssetCheckResult, *shown: object) -> bool:
    """Whether it failed with these and no other rows, one shown for each."""
    assert is_evaluated(result)
    told = metadata(result)
    assert told["rows"] == len(shown)
    for value in shown:
        assert str(value) in str(told["preview"])
    assert "What to do: " in (result.description or "") or result.passed
    return not result.passed


def passes(result: dg.AssetCheckResult) -> bool:
    return result.passed and is_evaluated(result)


_VALUES = {"UUID": MISSING, "VARCHAR": "some", "TIMESTAMP": NOON, "DATE": DAY}


def insert_twice(history: History, table: Table) -> None:
    """Have two rows with the same key."""
    types = {column.name: column.type for column in table.columns}
    names = ", ".join(table.key)
    marks = ", ".join("?" for _ in table.key)
    for _ in range(2):
        history.connection.execute(
            f"INSERT INTO {table.name} ({names}) VALUES ({marks})",  # noqa: S608
            [_VALUES[types[name]] for name in table.key],
        )


TABLES_OF_ASSETS = [
    *((table, table) for table in (*CATALOG_TABLES, BUILDS, JOBS, BUILD_CHANGES, LATE_CHANGES)),
    (ACCESS_SYNCS, ACCESS_SYNCS),
    *((history, table) for table, history in CATALOG_HISTORIES.items()),
    *((history_of(table), table) for table in ACCESS_TABLES),
    *((table, BUILD_CHANGES) for table in (REJECTED_BUILDS, SYNC_DAYS, SYNC_FEEDS)),
]


@pytest.mark.parametrize(
    ("table", "asset"), TABLES_OF_ASSETS, ids=[table.name for table, _ in TABLES_OF_ASSETS]
)
def test_a_key_that_stands_twice_is_an_error(table: Table, asset: Table, history: History) -> None:
    assert passes(evaluate(history, "unique_key", table=asset.name))
    insert_twice(history, table)
    result = evaluate(history, "unique_key", table=asset.name)
    is_present_twice = asset in ACCESS_TABLES
    assert fails(result, *[table.name] * (2 if is_present_twice else 1))
    assert result.severity == dg.AssetCheckSeverity.ERROR


def test_two_present_states_of_one_thing_are_told(history: History) -> None:
    for month in (10, 11):
        history.connection.execute(
            "INSERT INTO teams_history (organization_id, team_id, valid_from) VALUES (?, ?, ?)",
            [ORGANIZATION, MISSING, datetime(2026, month, 1)],  # noqa: DTZ001 - as stored
        )
    assert fails(evaluate(history, "unique_key", table="teams"), MISSING)


def test_a_job_without_its_build_or_in_another_day_is_an_error_that_blocks(
    history: History,
) -> None:
    build = history.build(history.pipeline(), "10:00")
    history.job(build)
    assert passes(evaluate(history, "jobs_have_builds"))

    astray = history.job(build, build_created_at="2026-11-03 10:00")
    result = evaluate(history, "jobs_have_builds")
    assert fails(result, astray)
    assert result.severity == dg.AssetCheckSeverity.ERROR

    orphan = history.job(build)
    history.connection.execute("UPDATE jobs SET build_id = ? WHERE job_id = ?", [MISSING, orphan])
    assert fails(evaluate(history, "jobs_have_builds"), astray, orphan)


def test_a_build_of_no_known_pipeline_is_told(history: History) -> None:
    pipeline = history.pipeline()
    history.build(pipeline, "10:00")
    assert passes(evaluate(history, "builds_have_pipelines"))

    history.build(None, "10:01", web_url="nameless")
    history.build(MISSING, "10:02", web_url="dangling")
    result = evaluate(history, "builds_have_pipelines")
    assert fails(result, "nameless", "dangling")
    assert result.severity == dg.AssetCheckSeverity.WARN


def test_a_build_of_a_deleted_pipeline_is_in_order(history: History) -> None:
    pipeline = history.pipeline()
    history.build(pipeline, "10:00")
    history.connection.execute("UPDATE pipelines SET absent_since = now()::TIMESTAMP")
    history.build(None, "10:01", absent_since="11:00")
    assert passes(evaluate(history, "builds_have_pipelines"))


def test_without_any_pipeline_their_builds_are_not_judged(history: History) -> None:
    history.build(None, "10:00")
    assert not is_evaluated(evaluate(history, "builds_have_pipelines"))


def test_a_retry_that_leads_nowhere_is_told_in_either_direction(history: History) -> None:
    pipeline = history.pipeline()
    build, other = history.build(pipeline, "10:00"), history.build(pipeline, "11:00")
    first = history.job(build, retried=True)
    second = history.job(build, retry_source_job_id=first)
    history.retry(first, second)
    assert passes(evaluate(history, "retries_lead_to_attempts"))

    forward = history.job(build, retried=True, retried_in_job_id=MISSING)
    backward = history.job(build, retry_source_job_id=MISSING)
    astray = history.job(other, retry_source_job_id=first)
    assert fails(evaluate(history, "retries_lead_to_attempts"), forward, backward, astray)


def test_an_attempt_that_vanished_is_still_an_attempt(history: History) -> None:
    build = history.build(history.pipeline(), "10:00")
    gone = history.job(build, absent_since="11:00")
    history.job(build, retry_source_job_id=gone)
    assert passes(evaluate(history, "retries_lead_to_attempts"))


def test_a_build_that_finishes_before_it_starts_is_told_unless_it_runs_again(
    history: History,
) -> None:
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", started_at="10:01", finished_at="10:01")
    history.build(pipeline, "10:00", "canceled", finished_at="10:01")
    history.build(pipeline, "10:00", "running", started_at="12:00", finished_at="11:00")
    assert passes(evaluate(history, "builds_finish_after_start"))
    history.build(pipeline, "10:00", started_at="10:02", finished_at="10:01", web_url="negative")
    assert fails(evaluate(history, "builds_finish_after_start"), "negative")


def test_a_job_that_finishes_before_it_starts_is_told(history: History) -> None:
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "test", "10:00", "10:01", "10:01")
    history.job(build, "test", "10:00", None, "10:01", "canceled")
    assert passes(evaluate(history, "jobs_finish_after_start"))
    history.job(build, "test", "10:00", "10:02", "10:01", web_url="negative")
    assert fails(evaluate(history, "jobs_finish_after_start"), "negative")


def test_a_rejected_build_is_told(history: History) -> None:
    assert passes(evaluate(history, "no_rejected_builds"))
    history.connection.execute(
        "INSERT INTO rejected_builds VALUES (?, 'id', 'its url', ?, '$.number', 'odd', ?)",
        [ORGANIZATION, DAY, NOON],
    )
    result = evaluate(history, "no_rejected_builds")
    assert fails(result, "its url")
    assert result.severity == dg.AssetCheckSeverity.WARN


def test_a_late_change_is_an_error_for_30_days(history: History) -> None:
    assert not is_evaluated(evaluate(history, "no_late_changes"))
    feed(history, NOON)
    assert passes(evaluate(history, "no_late_changes"))
    history.connection.execute(
        "INSERT INTO late_changes (build_id, day, field, noticed_at) VALUES (?, ?, 'state', ?)",
        [MISSING, DAY, NOON],
    )
    result = evaluate(history, "no_late_changes", now=NOON + timedelta(days=30))
    assert fails(result, MISSING)
    assert result.severity == dg.AssetCheckSeverity.ERROR
    later = NOON + timedelta(days=30, seconds=1)
    assert passes(evaluate(history, "no_late_changes", now=later))


def test_days_that_no_read_and_no_feed_made_known_are_missing(history: History) -> None:
    read_days(history, DAY + timedelta(days=3), DAY + timedelta(days=4))
    missing = [DAY + timedelta(days=1), DAY + timedelta(days=2)]
    assert fails(evaluate(history, "no_missing_days"), *missing)
    read_days(history, missing[0], missing[1])
    assert passes(evaluate(history, "no_missing_days"))


def test_a_day_that_began_after_the_first_feed_is_not_missing(history: History) -> None:
    """The day of the first feed is: the feed follows only days that were known to it."""
    feed(history, NOON + timedelta(days=2))
    feed(history, NOON + timedelta(days=5))
    missing = [DAY + timedelta(days=1), DAY + timedelta(days=2)]
    assert fails(evaluate(history, "no_missing_days"), *missing)


def test_a_day_that_was_never_read_to_its_end_is_told_two_days_later(history: History) -> None:
    next_day = DAY + timedelta(days=1)
    read_days(history, next_day, next_day, early=True)
    soon, later = NOON + timedelta(days=3), NOON + timedelta(days=4)
    assert passes(evaluate(history, "old_days_are_final", now=soon))
    assert fails(evaluate(history, "old_days_are_final", now=later), next_day)
    feed(history, NOON + timedelta(days=2))
    assert passes(evaluate(history, "old_days_are_final", now=later))


def test_a_day_that_lacks_columns_after_an_upgrade_is_told(history: History) -> None:
    history.connection.execute("UPDATE sync_days SET is_to_read_again = true")
    assert fails(evaluate(history, "old_days_are_final", now=WEEKS_LATER), DAY)


@pytest.mark.parametrize("state", ["running", "a state that nobody knows"])
def test_a_build_that_is_open_after_a_week_is_told(history: History, state: str) -> None:
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", state)
    history.build(pipeline, "10:00", "blocked", blocked=True)
    history.build(pipeline, "10:00", "running", absent_since="11:00")
    week = timedelta(days=7)
    assert passes(evaluate(history, "old_days_are_final", now=NOON + week))
    assert fails(evaluate(history, "old_days_are_final", now=WEEKS_LATER), DAY)
    history.connection.execute("UPDATE pipelines SET absent_since = now()::TIMESTAMP")
    assert passes(evaluate(history, "old_days_are_final", now=WEEKS_LATER))


def access_sync(history: History, at: str, *, members: bool, teams: bool) -> None:
    """Take a snapshot that saw all members, or all teams, or not."""
    history.connection.execute(
        "INSERT INTO access_syncs (organization_id, started_at, is_administrator, "
        "sees_all_members, sees_all_teams) VALUES (?, ?, ?, ?, ?)",
        [ORGANIZATION, at, members and teams, members, teams],
    )


def test_the_last_snapshot_of_access_must_have_seen_all(history: History) -> None:
    assert not is_evaluated(evaluate(history, "access_is_seen_whole"))
    access_sync(history, "2026-11-01", members=True, teams=False)
    assert fails(evaluate(history, "access_is_seen_whole"), "2026-11-01")
    access_sync(history, "2026-11-02", members=True, teams=True)
    assert passes(evaluate(history, "access_is_seen_whole"))
    access_sync(history, "2026-11-03", members=False, teams=False)
    result = evaluate(history, "access_is_seen_whole")
    assert fails(result, "2026-11-03")
    assert result.severity == dg.AssetCheckSeverity.WARN


def test_an_access_level_that_nobody_knows_is_told(history: History) -> None:
    assert not is_evaluated(evaluate(history, "access_levels_are_known"))
    access_sync(history, "2026-11-01", members=True, teams=True)
    team, pipeline = history.team("deployers"), history.pipeline("release")
    for rank in (1, 2, 3):
        history.grant(team, history.pipeline(f"known-{rank}"), rank)
    history.grant(team, pipeline, None, gone="2026-11-02 00:00")
    assert passes(evaluate(history, "access_levels_are_known"))
    history.grant(team, pipeline, None, seen="2026-11-03 00:00")
    result = evaluate(history, "access_levels_are_known")
    assert fails(result, pipeline)
    assert "| READ " in str(metadata(result)["preview"])
    assert result.severity == dg.AssetCheckSeverity.WARN


def test_a_grant_of_what_is_not_there_is_an_error(history: History) -> None:
    assert not is_evaluated(evaluate(history, "no_dangling_grants"))
    team, user = UUID(int=11), UUID(int=12)
    access_sync(history, "2026-11-01", members=True, teams=True)
    history.connection.execute(
        "INSERT INTO teams_history (organization_id, team_id, valid_from) VALUES (?, ?, ?)",
        [ORGANIZATION, team, NOON],
    )
    history.connection.execute(
        "INSERT INTO team_members_history (organization_id, team_id, user_id, role, valid_from) "
        "VALUES (?, ?, ?, 'MEMBER', ?)",
        [ORGANIZATION, team, user, NOON],
    )
    history.derive("resources", "entitlements", "grants")
    assert passes(evaluate(history, "no_dangling_grants"))
    history.connection.execute("DELETE FROM entitlements WHERE slug = 'member'")
    history.connection.execute("DELETE FROM resources WHERE resource_type_id = 'user'")
    result = evaluate(history, "no_dangling_grants")
    assert fails(result, f"team:{team}:member", f"user:{user}")
    assert result.severity == dg.AssetCheckSeverity.ERROR


def test_what_was_never_read_is_not_evaluated() -> None:
    history = History()
    evaluated = [
        f"{check.table.name}.{check.name}"
        for check in STORED_CHECKS
        if check.name != "unique_key"
        and is_evaluated(evaluate(history, check.name, table=check.table.name))
    ]
    assert evaluated == []


def test_only_that_blocks_which_would_make_derived_tables_wrong() -> None:
    queries = "\n".join(table.query for table in derived_tables())
    blocking = {(check.table.name, check.name) for check in STORED_CHECKS if check.is_blocking}
    read = {
        table.name
        for _, table in TABLES_OF_ASSETS
        if re.search(rf"\b(FROM|JOIN) {table.name}(_history)?\b", queries)
    }
    assert {"builds", "jobs", "pipelines", "team_members"} <= read
    assert "late_changes" not in read
    assert blocking == {(name, "unique_key") for name in read} | {("jobs", "jobs_have_builds")}


def test_no_check_shows_an_email_address_or_a_name() -> None:
    """What a failed check shows goes to Dagster, where the setting for e-mails has no say."""
    history = History()
    for table in derived_tables():
        create_table(history.connection, table)
    columns_of_tables = [column for table in (*TABLES, *ACCESS_TABLES) for column in table.columns]
    # A job has a `name` too, which is no person's.
    personal = {column.name for column in columns_of_tables if column.is_personal} - {"name"}
    assert {"creator_email", "author_name", "old", "new"} <= personal
    for file in check_files():
        columns = history.connection.execute(
            file.query, {"now": NOON} if "$now" in file.query else {}
        ).description
        assert columns
        assert not {name for name, *_ in columns} & personal, file.path
