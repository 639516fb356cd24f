"""Recomputing derived tables: by day, whole, only what lags, never unsound."""

from datetime import date
from pathlib import Path

import pytest

from buildkite_assets.derived_tables import DefinitionError, DerivedTable, parse
from buildkite_assets.warehouse.derive import (
    Parameters,
    derive_days,
    derive_whole,
    lagging_days,
    lagging_whole,
    ranges,
)
from buildkite_assets.warehouse.errors import UnsoundRowsError

from .history import History

MONDAY, TUESDAY, WEDNESDAY = date(2026, 11, 2), date(2026, 11, 3), date(2026, 11, 4)

BRANCHES = """\
/*
One row per build: its branch.

Key: build_id
Recomputed: by day

Columns:
  build_id  UUID     Its id.
  day       DATE     The UTC day.
  branch    VARCHAR  Its branch.
*/
SELECT build_id, created_at::DATE AS day, branch
FROM builds
WHERE created_at >= $from_day AND created_at < $to_day
"""
COUNTS = """\
/*
One row per branch and pipeline's default branch.

Key: branch
Recomputed: whole

Columns:
  branch  VARCHAR  The branch.
  builds  BIGINT   How many builds it has.
  label   VARCHAR  From outside.
*/
SELECT branch, count(*) AS builds, $label::VARCHAR AS label
FROM branches
WHERE branch NOT IN (SELECT slug FROM pipelines)
GROUP BY ALL
"""


@pytest.fixture
def history() -> History:
    history = History()
    history.build(None, "2026-11-02 10:00", branch="main")
    history.build(None, "2026-11-02 23:59:59", branch="topic")
    history.build(None, "2026-11-03 00:00", branch="main")
    return history


def table(text: str, name: str) -> DerivedTable:
    return parse(Path(f"sql/ci/{name}.sql"), text)


BY_DAY, WHOLE = table(BRANCHES, "branches"), table(COUNTS, "counts")
TABLES = [BY_DAY, WHOLE]
LABEL: Parameters = {"label": "x"}


def derive(history: History, *days: date) -> bool:
    return derive_days(history.connection, BY_DAY, days, TABLES, LABEL)


def stored(history: History, name: str) -> list[tuple[object, ...]]:
    return history.connection.execute(f"FROM {name} ORDER BY ALL").fetchall()


def lagging(history: History, parameters: Parameters = LABEL) -> list[object]:
    by_day = lagging_days(history.connection, TABLES, parameters)
    whole = lagging_whole(history.connection, TABLES, parameters)
    return [*by_day.get(BY_DAY, []), *(each.name for each in whole)]


def test_only_the_days_asked_for_are_replaced(history: History) -> None:
    derive(history, MONDAY, TUESDAY)
    history.connection.execute("UPDATE builds SET branch = 'new'")
    derive(history, TUESDAY)
    assert [(row[1], row[2]) for row in stored(history, "branches")] == [
        (MONDAY, "main"),
        (MONDAY, "topic"),
        (TUESDAY, "new"),
    ]


def test_what_lags_is_what_was_not_made_of_the_present_builds(history: History) -> None:
    assert lagging(history) == [MONDAY, TUESDAY, "counts"]
    derive(history, MONDAY, TUESDAY)
    assert lagging(history) == ["counts"]
    derive_whole(history.connection, WHOLE, TABLES, LABEL)
    assert lagging(history) == []
    history.connection.execute(
        "UPDATE builds SET synced_at = synced_at + INTERVAL 1 HOUR WHERE created_at >= ?", [TUESDAY]
    )
    assert lagging(history) == [TUESDAY, "counts"]


def test_a_build_that_vanished_makes_its_day_lag(history: History) -> None:
    derive(history, MONDAY, TUESDAY)
    history.connection.execute("UPDATE builds SET absent_since = now() WHERE branch = 'topic'")
    assert lagging(history) == [MONDAY, "counts"]


def test_a_day_that_was_read_and_had_no_builds_is_derived_once(history: History) -> None:
    history.connection.execute("INSERT INTO sync_days (day) VALUES (?)", [WEDNESDAY])
    derive(history, MONDAY, TUESDAY)
    assert lagging(history)[0] == WEDNESDAY
    derive(history, WEDNESDAY)
    assert lagging(history) == ["counts"]


def test_a_table_made_of_a_lagging_one_lags_until_that_one_was_made_anew(history: History) -> None:
    derive(history, MONDAY, TUESDAY)
    history.connection.execute("UPDATE builds SET synced_at = synced_at + INTERVAL 1 HOUR")
    derive_whole(history.connection, WHOLE, TABLES, LABEL)
    derive(history, MONDAY, TUESDAY)
    assert lagging(history) == ["counts"]


def test_another_query_parameter_or_catalog_makes_a_table_lag(history: History) -> None:
    derive(history, MONDAY, TUESDAY)
    derive_whole(history.connection, WHOLE, TABLES, LABEL)
    assert lagging(history, {"label": "y"}) == ["counts"]
    other = table(BRANCHES.replace("AS day, branch", "AS day, upper(branch) AS branch"), "branches")
    assert lagging_days(history.connection, [other], LABEL) == {other: [MONDAY, TUESDAY]}
    history.pipeline("topic")
    assert lagging(history) == ["counts"]
    derive_whole(history.connection, WHOLE, TABLES, LABEL)
    history.connection.execute("UPDATE pipelines SET synced_at = now()")
    assert lagging(history) == []


def test_a_changed_column_set_recreates_the_table_and_all_its_days_lag(history: History) -> None:
    derive(history, MONDAY, TUESDAY)
    text = BRANCHES.replace("  branch    VARCHAR", "  name      VARCHAR")
    changed = table(text.replace("branch\nFROM", "branch AS name\nFROM"), "branches")
    tables = [changed, WHOLE]
    assert derive_days(history.connection, changed, [MONDAY], tables, LABEL)
    assert [row[1] for row in stored(history, "branches")] == [MONDAY, MONDAY]
    assert lagging_days(history.connection, tables, LABEL) == {changed: [TUESDAY]}
    assert not derive_days(history.connection, changed, [TUESDAY], tables, LABEL)
    assert len(stored(history, "branches")) == 3


def test_a_doubled_key_is_refused(history: History) -> None:
    doubled = table(BRANCHES.replace("FROM builds", "FROM builds, range(2)"), "branches")
    with pytest.raises(UnsoundRowsError, match="two rows"):
        derive_days(history.connection, doubled, [MONDAY], [doubled], {})


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("branch    VARCHAR", "branch    INTEGER", "says branch INTEGER, the query gives VARCHAR"),
        ("  branch    VARCHAR  Its branch.\n", "", "says branch is missing"),
        ("day, branch\n", "day\n", "the query gives nothing"),
    ],
)
def test_a_header_that_contradicts_its_query_is_refused(
    history: History, right: str, wrong: str, message: str
) -> None:
    assert right in BRANCHES
    wrong_table = table(BRANCHES.replace(right, wrong), "branches")
    with pytest.raises(DefinitionError, match=message):
        derive_days(history.connection, wrong_table, [MONDAY], [wrong_table], {})


def test_columns_and_tables_carry_their_meaning_as_comments(history: History) -> None:
    derive(history, MONDAY)
    comments = history.connection.execute(
        "SELECT comment FROM duckdb_columns() WHERE table_name = 'branches' ORDER BY column_index"
    ).fetchall()
    assert comments == [("Its id.",), ("The UTC day.",), ("Its branch.",)]


def test_ranges_are_unbroken_and_of_limited_length() -> None:
    days = [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3), date(2026, 1, 5)]
    assert list(ranges(days)) == [(days[0], days[2]), (days[3], days[3])]
    assert list(ranges(days, 2)) == [(days[0], days[1]), (days[2], days[2]), (days[3], days[3])]
