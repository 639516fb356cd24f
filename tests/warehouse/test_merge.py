"""Newer replaces older, nothing is doubled, and what is gone is marked."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.buildkite.decoding import RejectedBuild
from buildkite_assets.buildkite.records import Cluster
from buildkite_assets.rows import Privacy, record_rows
from buildkite_assets.tables import CLUSTERS
from buildkite_assets.warehouse.merge import (
    BuildWindow,
    count_builds,
    mark_absent_builds,
    mark_absent_records,
    merge_records,
)
from buildkite_assets.warehouse.schema import upgrade

from .build_pages import (
    MIDNIGHT,
    ORGANIZATION_ID,
    PIPELINE_ID,
    Page,
    Seen,
    at,
    build_id,
    merge,
    stored_builds,
    stored_jobs,
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a transaction in an empty warehouse."""
    with duckdb.connect() as connection:
        connection.begin()
        upgrade(connection)
        yield connection


def day_read(minute: float, *, visible: str = PIPELINE_ID) -> BuildWindow:
    """A full read of the day that began at this minute."""
    return BuildWindow(
        organization_id=ORGANIZATION_ID,
        created_from=MIDNIGHT,
        created_to=MIDNIGHT + timedelta(days=1),
        read_at=at(minute),
        visible_pipeline_ids=frozenset({visible}),
    )


def rejected(number: int) -> RejectedBuild:
    """A build that could not be read, whose id could."""
    return RejectedBuild(build_id(number), None, at(number / 60), "$.number", "Expected `int`")


def references(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Which builds are noted as unreadable."""
    rows = connection.execute("SELECT reference FROM rejected_builds ORDER BY 1").fetchall()
    return [reference for (reference,) in rows]


# Builds and jobs


def test_newer_replaces_older(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1, "running", [1])]))
    merge(connection, tmp_path, Page(2, [Seen(1, "passed", [1, 2])]))
    assert stored_builds(connection) == {1: ("passed", False)}
    assert stored_jobs(connection) == {(1, 1): False, (1, 2): False}


def test_older_never_replaces_newer(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    merge(connection, tmp_path, Page(2, [Seen(1, "passed", [1, 2])]))
    merge(connection, tmp_path, Page(1, [Seen(1, "running", [1]), Seen(2, "failed")]))
    assert stored_builds(connection) == {1: ("passed", False), 2: ("failed", False)}
    assert stored_jobs(connection) == {(1, 1): False, (1, 2): False}


def test_of_a_build_on_two_pages_the_later_copy_counts(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(
        connection,
        tmp_path,
        Page(1, [Seen(2, "running"), Seen(1, "running", [1, 2])]),
        Page(1, [Seen(1, "passed", [1, 3])]),
    )
    assert stored_builds(connection) == {1: ("passed", False), 2: ("running", False)}
    assert stored_jobs(connection) == {(1, 1): False, (1, 3): False}


def test_of_a_build_twice_on_one_page_one_copy_counts(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1, "passed", [1, 2]), Seen(1, "passed", [1, 2])]))
    assert stored_builds(connection) == {1: ("passed", False)}
    assert stored_jobs(connection) == {(1, 1): False, (1, 2): False}


def test_an_attempt_that_is_gone_is_marked_until_it_is_seen_again(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1, jobs=[1, 2])]))
    merge(connection, tmp_path, Page(2, [Seen(1, jobs=[2])]))
    assert stored_jobs(connection) == {(1, 1): True, (1, 2): False}
    [(since,)] = connection.execute(
        "SELECT absent_since FROM jobs WHERE absent_since IS NOT NULL"
    ).fetchall()
    assert since == datetime(2026, 3, 1, 0, 2)  # noqa: DTZ001 - UTC without saying so
    merge(connection, tmp_path, Page(3, [Seen(1, jobs=[1, 2])]))
    assert stored_jobs(connection) == {(1, 1): False, (1, 2): False}


def test_a_read_without_builds_is_no_trouble(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1))
    assert stored_builds(connection) == {}


def test_the_pipeline_is_kept_when_the_token_can_no_longer_tell_it(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1)]))
    merge(connection, tmp_path, Page(2, [Seen(1, "passed"), Seen(2)]), pipeline_id=None)
    rows = connection.execute(
        "SELECT number, pipeline_id::VARCHAR, state FROM builds ORDER BY 1"
    ).fetchall()
    assert rows == [(1, PIPELINE_ID, "passed"), (2, None, "running")]


SEEN = st.builds(
    Seen,
    number=st.integers(1, 3),
    state=st.sampled_from(["running", "passed", "failed"]),
    jobs=st.sets(st.integers(1, 3), max_size=3).map(sorted),
)
READS = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.lists(SEEN, max_size=3), min_size=1, max_size=3)),
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(reads=READS)
def test_any_reads_in_any_order_leave_the_newest_copy_of_each_build(
    reads: list[tuple[int, list[list[Seen]]]],
) -> None:
    newest: dict[int, tuple[int, Seen]] = {}
    jobs: dict[tuple[int, int], bool] = {}
    with duckdb.connect() as connection, TemporaryDirectory() as folder:
        connection.begin()
        upgrade(connection)
        for minute, pages in reads:
            unique = [list({seen.number: seen for seen in page}.values()) for page in pages]
            merge(connection, Path(folder), *(Page(minute, page) for page in unique))
            last = {seen.number: seen for page in unique for seen in page}
            for number, seen in last.items():
                if number in newest and newest[number][0] > minute:
                    continue
                newest[number] = minute, seen
                known = {key: True for key in jobs if key[0] == number}
                jobs |= known | {(number, job): False for job in seen.jobs}
        assert stored_builds(connection) == {n: (s.state, False) for n, (_, s) in newest.items()}
        assert stored_jobs(connection) == jobs


# Builds that are gone


def test_a_build_that_a_full_read_no_longer_has_is_marked_with_its_jobs(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1, jobs=[1]), Seen(2, jobs=[1])]))
    merge(connection, tmp_path, Page(5, [Seen(2, jobs=[1])]))
    mark_absent_builds(connection, day_read(5))
    assert stored_builds(connection) == {1: ("running", True), 2: ("running", False)}
    assert stored_jobs(connection) == {(1, 1): True, (2, 1): False}
    assert count_builds(connection, day_read(5)) == (1, 1)


def test_the_mark_keeps_its_first_time_and_goes_when_the_build_is_back(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1, jobs=[1])]))
    for minute in (5, 9):
        merge(connection, tmp_path, Page(minute))
        mark_absent_builds(connection, day_read(minute))
    [(since,)] = connection.execute("SELECT absent_since FROM builds").fetchall()
    assert since == datetime(2026, 3, 1, 0, 5)  # noqa: DTZ001 - UTC without saying so
    merge(connection, tmp_path, Page(10, [Seen(1, jobs=[1])]))
    mark_absent_builds(connection, day_read(10))
    assert stored_builds(connection) == {1: ("running", False)}
    assert stored_jobs(connection) == {(1, 1): False}


def test_builds_of_pipelines_that_the_token_does_not_see_are_left_alone(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1)]))
    merge(connection, tmp_path, Page(1, [Seen(2)]), pipeline_id=None)
    merge(connection, tmp_path, Page(5))
    mark_absent_builds(connection, day_read(5, visible=build_id(99)))
    assert stored_builds(connection) == {1: ("running", False), 2: ("running", False)}


def test_a_build_that_was_stored_after_the_read_began_is_left_alone(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(6, [Seen(1)]))
    merge(connection, tmp_path, Page(5))
    mark_absent_builds(connection, day_read(5))
    assert stored_builds(connection) == {1: ("running", False)}


def test_an_older_copy_of_a_build_still_shows_that_it_is_there(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(5, [Seen(1)]))
    merge(connection, tmp_path, Page(4, [Seen(1)]))
    mark_absent_builds(connection, day_read(6))
    assert stored_builds(connection) == {1: ("running", False)}


def test_builds_of_other_days_and_organizations_are_left_alone(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1)]))
    merge(connection, tmp_path, Page(5))
    tomorrow = MIDNIGHT + timedelta(days=1)
    window = day_read(5)
    mark_absent_builds(
        connection,
        replace(window, created_from=tomorrow, created_to=tomorrow + timedelta(days=1)),
    )
    mark_absent_builds(connection, replace(window, organization_id=build_id(77)))
    assert stored_builds(connection) == {1: ("running", False)}


# Builds that cannot be read


def test_a_build_that_cannot_be_read_is_noted_and_keeps_what_is_known_of_it(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, [Seen(1, "passed", [1])]))
    merge(connection, tmp_path, Page(5, rejected=[rejected(1)]))
    mark_absent_builds(connection, day_read(5))
    assert stored_builds(connection) == {1: ("passed", False)}
    assert stored_jobs(connection) == {(1, 1): False}
    assert connection.execute(
        "SELECT reference, path, error, created_day::VARCHAR FROM rejected_builds"
    ).fetchall() == [(build_id(1), "$.number", "Expected `int`", "2026-03-01")]


def test_a_build_is_noted_once_however_often_it_cannot_be_read(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(1, rejected=[rejected(1), rejected(1)]))
    merge(connection, tmp_path, Page(2, rejected=[rejected(1)]))
    assert references(connection) == [build_id(1)]


def test_the_note_goes_when_the_build_can_be_read(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    merge(connection, tmp_path, Page(2, rejected=[rejected(1), rejected(2)]))
    merge(connection, tmp_path, Page(1, [Seen(1)]))
    assert references(connection) == [build_id(1), build_id(2)]
    merge(connection, tmp_path, Page(3, [Seen(1)]))
    assert references(connection) == [build_id(2)]


def test_a_note_whose_build_has_no_readable_id_goes_with_the_next_full_read(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    without_id = RejectedBuild(None, "https://…/builds/1", at(0), "$.id", "too short")
    other_day = replace(without_id, url="https://…/builds/2", created_at=at(24 * 60))
    merge(connection, tmp_path, Page(1, rejected=[without_id, other_day]))
    mark_absent_builds(connection, day_read(1))
    assert references(connection) == ["https://…/builds/1", "https://…/builds/2"]
    merge(connection, tmp_path, Page(5, [Seen(1)]))
    mark_absent_builds(connection, day_read(5))
    assert references(connection) == ["https://…/builds/2"]


# Catalog tables


def cluster_rows(minute: float, *clusters: tuple[int, str]) -> pa.Table:
    """Clusters by number and name, as listed at this minute."""
    records = [msgspec.convert({"id": build_id(n), "name": name}, Cluster) for n, name in clusters]
    return record_rows(CLUSTERS, records, at(minute), Privacy(), organization_id=ORGANIZATION_ID)


def stored_clusters(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, bool]]:
    """The names of clusters, and whether each is marked as absent."""
    return connection.execute(
        "SELECT name, absent_since IS NOT NULL FROM clusters ORDER BY cluster_id"
    ).fetchall()


def test_records_are_replaced_by_newer_ones_alone(connection: duckdb.DuckDBPyConnection) -> None:
    merge_records(connection, CLUSTERS, cluster_rows(2, (1, "one"), (2, "two")))
    merge_records(connection, CLUSTERS, cluster_rows(3, (1, "ONE")))
    merge_records(connection, CLUSTERS, cluster_rows(1, (2, "old")))
    assert stored_clusters(connection) == [("ONE", False), ("two", False)]


def test_a_record_listed_twice_is_stored_once(connection: duckdb.DuckDBPyConnection) -> None:
    merge_records(connection, CLUSTERS, cluster_rows(1, (1, "one"), (1, "one")))
    assert stored_clusters(connection) == [("one", False)]


def test_a_record_that_a_complete_list_lacks_is_marked_until_it_is_back(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    merge_records(connection, CLUSTERS, cluster_rows(1, (1, "one"), (2, "two")))
    later = cluster_rows(5, (2, "two"))
    merge_records(connection, CLUSTERS, later)
    mark_absent_records(connection, CLUSTERS, ORGANIZATION_ID, [later], at(5))
    assert stored_clusters(connection) == [("one", True), ("two", False)]
    merge_records(connection, CLUSTERS, cluster_rows(6, (1, "one")))
    assert stored_clusters(connection) == [("one", False), ("two", False)]


def test_an_empty_list_marks_all_of_that_organization(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    merge_records(connection, CLUSTERS, cluster_rows(1, (1, "one")))
    mark_absent_records(connection, CLUSTERS, build_id(77), [], at(5))
    assert stored_clusters(connection) == [("one", False)]
    mark_absent_records(connection, CLUSTERS, ORGANIZATION_ID, [], datetime(2026, 3, 2, tzinfo=UTC))
    assert stored_clusters(connection) == [("one", True)]
