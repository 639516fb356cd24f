"""The history of pipelines, clusters and queues: a state from the first listing that shows it."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.buildkite.records import Pipeline
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rows import Privacy, record_rows
from buildkite_assets.rules import Rules
from buildkite_assets.tables import CATALOG_HISTORIES, PIPELINES
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.derive import derive_days, in_order, lagging_days
from buildkite_assets.warehouse.merge import mark_absent_records, merge_records
from buildkite_assets.warehouse.schema import upgrade

from .build_pages import ORGANIZATION_ID, PIPELINE_ID, Page, Seen, at, build_id, merge

State = tuple[str, str | None]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a transaction in an empty warehouse."""
    with duckdb.connect() as connection:
        connection.begin()
        upgrade(connection)
        yield connection


def listing(minute: float, **branches: str | None) -> pa.Table:
    """One pipeline as listed at this minute: its slug with its default branch."""
    [state] = branches.items()
    return rows_of(minute, {PIPELINE_ID: state})


def rows_of(minute: float, states: dict[str, State]) -> pa.Table:
    """Pipelines by id as listed at this minute, each with slug and default branch."""
    records = [
        msgspec.convert(
            {
                "id": pipeline_id,
                "slug": slug,
                "default_branch": branch,
                "created_at": "2026-01-01T00:00:00Z",
                "tags": ["ci", slug],
            },
            Pipeline,
            strict=False,
        )
        for pipeline_id, (slug, branch) in states.items()
    ]
    return record_rows(PIPELINES, records, at(minute), Privacy(), organization_id=ORGANIZATION_ID)


def lose(connection: duckdb.DuckDBPyConnection, minute: float, *present: pa.Table) -> None:
    """Have a complete list that began at this minute lack all but what is present."""
    mark_absent_records(connection, PIPELINES, ORGANIZATION_ID, present, at(minute))


def spans(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None, int, int | None]]:
    """The states of the one pipeline: slug, branch, and the minutes from which to which."""
    return connection.execute("""
        SELECT slug, default_branch, date_diff('minute', TIMESTAMP '2026-03-01', valid_from),
            date_diff('minute', TIMESTAMP '2026-03-01', valid_to)
        FROM pipelines_history ORDER BY valid_from
    """).fetchall()


def test_a_state_lasts_until_a_listing_shows_another_and_may_come_back(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    for minute, branch in ((1, "master"), (2, "master"), (3, "main"), (4, "master"), (5, None)):
        merge_records(connection, PIPELINES, listing(minute, web=branch))
    assert spans(connection) == [
        ("web", "master", 1, 3),
        ("web", "main", 3, 4),
        ("web", "master", 4, 5),
        ("web", None, 5, None),
    ]


def test_a_listing_that_arrives_late_changes_nothing(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    merge_records(connection, PIPELINES, listing(1, web="master"))
    merge_records(connection, PIPELINES, listing(5, web="main"))
    merge_records(connection, PIPELINES, listing(3, old="develop"))
    assert spans(connection) == [("web", "master", 1, 5), ("web", "main", 5, None)]


def test_a_listing_from_before_a_complete_one_does_not_bring_back_what_that_lacks(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """A backfill commits the listing that it began with after another run has seen the deletion."""
    merge_records(connection, PIPELINES, listing(1, web="main"))
    lose(connection, 5)
    for minute in (1, 3):
        merge_records(connection, PIPELINES, listing(minute, web="main"))
    assert spans(connection) == [("web", "main", 1, 5)]
    absent = connection.execute("SELECT absent_since FROM pipelines").fetchall()
    assert absent == [(at(5).replace(tzinfo=None),)]


def test_of_two_states_at_one_instant_the_later_one_counts(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    merge_records(connection, PIPELINES, listing(1, web="main"))
    merge_records(connection, PIPELINES, listing(2, web="master"))
    merge_records(connection, PIPELINES, listing(2, site="master"))
    assert spans(connection) == [("web", "main", 1, 2), ("site", "master", 2, None)]


def test_what_is_gone_ends_and_begins_again_when_it_is_back(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    merge_records(connection, PIPELINES, listing(1, web="main"))
    lose(connection, 3)
    lose(connection, 4)
    merge_records(connection, PIPELINES, listing(6, web="main"))
    assert spans(connection) == [("web", "main", 1, 3), ("web", "main", 6, None)]


def test_a_slug_that_another_pipeline_takes_over_stands_under_both_ids(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    merge_records(connection, PIPELINES, listing(1, web="master"))
    later = rows_of(3, {build_id(2): ("web", "main")})
    merge_records(connection, PIPELINES, later)
    lose(connection, 3, later)
    assert connection.execute(
        "SELECT pipeline_id::VARCHAR, slug, default_branch, valid_to IS NULL "
        "FROM pipelines_history ORDER BY valid_from"
    ).fetchall() == [(PIPELINE_ID, "web", "master", False), (build_id(2), "web", "main", True)]


def test_what_no_attribute_tells_leaves_the_history_as_it_is(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """Tables made of it stay current: neither the time of a listing nor a description counts."""
    merge_records(connection, PIPELINES, listing(1, web=None))
    before = connection.execute("FROM pipelines_history").fetchall()
    later = listing(9, web=None)
    described = later.set_column(
        later.schema.get_field_index("description"), "description", pa.array(["new"])
    )
    merge_records(connection, PIPELINES, described)
    assert connection.execute("FROM pipelines_history").fetchall() == before
    assert connection.execute("SELECT description FROM pipelines").fetchall() == [("new",)]


LISTINGS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.dictionaries(
            st.sampled_from([build_id(1), build_id(2)]),
            st.tuples(st.sampled_from(["web", "api"]), st.sampled_from(["main", "master", None])),
        ),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(LISTINGS)
def test_at_any_time_the_state_is_that_of_the_newest_listing_by_then(
    listings: list[tuple[int, dict[str, State], bool]],
) -> None:
    """Listings arrive in any order. A model keeps, for each pipeline, what was so minute by minute.

    What a listing says of a pipeline, also that it is gone, is used unless something newer is known
    of it; of two at one time the later one to arrive counts, a listed state before a missing one.
    """
    told: dict[str, dict[int, State | None]] = {}
    with duckdb.connect(config={"threads": 1}) as connection:
        upgrade(connection)
        for minute, states, is_complete in listings:
            rows = rows_of(minute, states)
            merge_records(connection, PIPELINES, rows)
            for pipeline_id, state in states.items():
                known = told.setdefault(pipeline_id, {})
                if minute >= max(known, default=0):
                    known[minute] = state
            if is_complete:
                lose(connection, minute, rows)
                for pipeline_id in told.keys() - states.keys():
                    known = told[pipeline_id]
                    if minute > max(known) and known[max(known)] is not None:
                        known[minute] = None
        for minute in range(8):
            found = connection.execute(
                """
                SELECT pipeline_id::VARCHAR, (slug, default_branch) FROM pipelines_history
                WHERE valid_from <= $at AND (valid_to IS NULL OR valid_to > $at)
                """,
                {"at": at(minute).replace(tzinfo=None)},
            ).fetchall()
            expected = {
                pipeline_id: then
                for pipeline_id, known in told.items()
                if (past := [each for each in known if each <= minute])
                and (then := known[max(past)]) is not None
            }
            assert len(found) == len(expected)
            assert dict(found) == expected
        empty = connection.execute("FROM pipelines_history WHERE valid_from >= valid_to")
        assert empty.fetchall() == []


def test_an_older_file_gets_the_history_from_its_present_rows(tmp_path: Path) -> None:
    """A table that was made before the upgrade of a later version would still be current."""
    tables = [table for table in in_order(derived_tables()) if table.is_daily]
    day, parameters = date(2026, 3, 1), Rules().parameters()
    warehouse = Warehouse(tmp_path / "w.duckdb")
    with warehouse.transaction() as connection:
        merge_records(connection, PIPELINES, listing(1, web="main"))
        merge_records(connection, PIPELINES, rows_of(1, {build_id(2): ("gone", "main")}))
        lose(connection, 2, listing(2, web="main"))
        merge(connection, tmp_path, Page(1, [Seen(1, "passed", [1])]))
        for table in tables:
            derive_days(connection, table, [day], derived_tables(), parameters)
        before = connection.execute("FROM pipelines_history ORDER BY slug").fetchall()
        for history in CATALOG_HISTORIES.values():
            connection.execute(f"DROP TABLE {history.name}")
        connection.execute("UPDATE warehouse_meta SET schema_version = 2")
    for _ in range(2):
        with warehouse.transaction() as connection:
            assert connection.execute("FROM pipelines_history ORDER BY slug").fetchall() == before
            assert lagging_days(connection, derived_tables(), parameters) == {}
    assert [row[-2:] for row in before] == [
        (datetime(2026, 3, 1, 0, 1), datetime(2026, 3, 1, 0, 2)),  # noqa: DTZ001 - as stored
        (at(1).replace(tzinfo=None), None),
    ]
    with warehouse.transaction() as connection:
        merge_records(connection, PIPELINES, listing(9, web="main"))
        assert connection.execute("FROM pipelines_history ORDER BY slug").fetchall() == before
        assert lagging_days(connection, derived_tables(), parameters) == {}
