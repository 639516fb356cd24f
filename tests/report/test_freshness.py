"""How current the warehouse is, as people are told."""

import shutil
from datetime import date, datetime
from pathlib import Path

import duckdb

from buildkite_assets.report.freshness import Freshness, freshness, lagging_tables
from buildkite_assets.report.opening import opened
from buildkite_assets.rules import Rules
from buildkite_assets.warehouse import Connection, Warehouse
from buildkite_assets.warehouse.coverage import Span

from .conftest import settings_of

KNOWN = Freshness(
    organization="acme",
    span=Span(
        first_day=date(2025, 10, 21),
        last_day=date(2025, 11, 20),
        missing_days=[],
        synced_at=datetime(2025, 11, 20, 12),  # noqa: DTZ001 - as the tables have them
    ),
    newest_build_at=datetime(2025, 11, 20, 11, 30),  # noqa: DTZ001
    open_builds=2,
)


def test_the_month_is_current_and_whole(month: Connection) -> None:
    [acme] = freshness(month)
    [(newest, still_open)] = month.execute(
        "SELECT max(created_at), count(*) FILTER (is_open) FROM build_runs"
    ).fetchall()
    assert (acme.organization, acme.newest_build_at, acme.open_builds) == (
        "acme",
        newest,
        still_open,
    )
    assert acme.span
    assert f"{acme.span.synced_at:%Y-%m-%d %H:%M}" == "2025-11-20 12:00"
    assert (acme.span.first_day, acme.span.last_day) == (date(2025, 10, 21), date(2025, 11, 20))
    assert acme.span.missing_days == []


def test_days_that_were_not_read_and_tables_that_lag_are_told(
    month_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.duckdb"
    shutil.copyfile(month_file, path)
    settings = settings_of(path)
    with opened(settings) as connection:
        assert lagging_tables(connection, settings.rules.parameters()) == []
    with duckdb.connect(path) as connection:
        connection.execute("DELETE FROM sync_days WHERE day IN ('2025-11-02', '2025-11-03')")
        connection.execute("UPDATE builds SET synced_at = synced_at + INTERVAL 1 HOUR")
        connection.execute("DELETE FROM derived_days WHERE table_name = 'flaky_steps'")
    with opened(settings) as connection:
        [acme] = freshness(connection)
        assert "2 days missing" in acme.sentence()
        lagging = lagging_tables(connection, settings.rules.parameters())
        assert {"build_runs", "flaky_steps"} <= set(lagging)
        assert lagging == sorted(set(lagging))


def test_other_rules_than_those_of_the_sync_make_tables_lag(month: Connection) -> None:
    assert "agent_cost_daily" in lagging_tables(month, Rules(currency="EUR").parameters())


def test_an_organization_of_which_nothing_was_read_is_told_as_such(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with warehouse.transaction() as connection:
        connection.execute(
            "INSERT INTO organizations BY NAME SELECT uuid() AS organization_id, 'acme' AS slug, "
            "'Acme' AS name, current_localtimestamp() AS synced_at"
        )
    warehouse.publish()
    with opened(settings_of(warehouse.path)) as connection:
        [acme] = freshness(connection)
        assert lagging_tables(connection, Rules().parameters()) == []
    assert acme.sentence() == "acme: no builds were synced yet."


def test_a_sentence_has_ages_only_where_it_is_read_at_once() -> None:
    assert KNOWN.sentence() == (
        "acme: synced 2025-11-20 12:00 UTC; newest build 2025-11-20 11:30 UTC; days known from "
        "2025-10-21 to 2025-11-20, none missing; 2 builds still open."
    )
    later = datetime(2025, 11, 20, 12, 5)  # noqa: DTZ001
    assert "synced 2025-11-20 12:00 UTC, 5 min 0 s ago; newest build" in KNOWN.sentence(later)
