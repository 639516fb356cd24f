"""The header of a SQL file: what it tells, and how it fails."""

from pathlib import Path

import pytest

from buildkite_assets.derived_tables import DefinitionError, derived_tables, parse
from buildkite_assets.tables import Column
from buildkite_assets.warehouse.derive import in_order, inputs
from buildkite_assets.warehouse.queries import references

PATH = Path("sql/ci/build_sizes.sql")
TEXT = """\
/*
One row per build
that has jobs.

Waiters count too.

Key: build_id
Recomputed: by day
Personal: tags

Columns:
  build_id  UUID      Buildkite's id of the build.
  day       DATE      The UTC day of the build.
  tags      MAP(VARCHAR, BIGINT)  How many jobs,
                      by tag.
*/
SELECT 1
"""


def test_a_header_tells_grain_notes_key_columns_and_recomputation() -> None:
    table = parse(PATH, TEXT)
    assert table.name == "build_sizes"
    assert table.grain == "One row per build that has jobs."
    assert table.notes == "Waiters count too."
    assert table.key == ("build_id",)
    assert table.group == "build_details"
    assert table.is_daily
    assert table.query == "SELECT 1"
    assert table.columns[2] == Column(
        "tags", "MAP(VARCHAR, BIGINT)", "How many jobs, by tag.", is_name=True
    )
    assert [column.is_personal for column in table.columns] == [False, False, True]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "reason"),
    [
        ("/*\n", "", 1, "begins with its header"),
        ("*/\n", "", 1, "begins with its header"),
        ("One row per build", "Builds", 2, "One row per"),
        ("Key: build_id", "Key: build", 7, "none of the columns"),
        ("Key: build_id\n", "", 1, "begins with `Key:`"),
        ("by day", "daily", 8, "`by day` or `whole`"),
        ("  day       DATE ", "  date      DATE ", 8, "has a column `day`"),
        ("  build_id  UUID  ", "  build_id UUID ", 12, "two spaces"),
        ("  day       DATE", "  build_id  DATE", 13, "stands twice"),
        ("Personal: tags", "Personal: name", 11, "personal 'name' is none"),
    ],
)
def test_a_malformed_header_is_told_with_file_and_line(
    right: str, wrong: str, line: int, reason: str
) -> None:
    assert right in TEXT
    with pytest.raises(DefinitionError, match=f"build_sizes.sql:{line}: .*{reason}"):
        parse(PATH, TEXT.replace(right, wrong, 1))


def test_the_tables_that_a_query_reads_come_from_the_query() -> None:
    query = """
        WITH RECURSIVE own AS (SELECT * FROM builds AS b WHERE b.created_at > $from_day)
        SELECT * FROM own JOIN jobs USING (build_id)
        WHERE name IN (SELECT key FROM queues) AND x IN (SELECT unnest($tags::VARCHAR[]))
    """
    assert references(query).tables == {"builds", "jobs", "queues"}
    assert references(query).parameters == {"from_day", "tags"}


def test_a_table_that_nobody_declares_is_told() -> None:
    table = parse(PATH, TEXT.replace("SELECT 1", "FROM bulids"))
    with pytest.raises(DefinitionError, match="there is no table bulids"):
        in_order([table])


def test_a_table_by_day_cannot_stand_on_one_recomputed_whole() -> None:
    whole = parse(Path("sql/ci/all.sql"), TEXT.replace("by day", "whole"))
    with pytest.raises(DefinitionError, match="cannot read all"):
        in_order([whole, parse(PATH, TEXT.replace("SELECT 1", 'FROM "all"'))])


def test_each_table_comes_after_those_that_it_is_made_of() -> None:
    seen: set[str] = set()
    names = {table.name for table in derived_tables()}
    for table in in_order(derived_tables()):
        assert inputs(table) & names <= seen
        seen.add(table.name)
    assert seen == names


def test_durations_are_numbers_of_a_unit_that_their_name_tells() -> None:
    """Trap 19: percentiles refuse intervals, and nobody can sum what has no unit."""
    for table in derived_tables():
        for column in table.columns:
            assert "INTERVAL" not in column.type, f"{table.name}.{column.name}"
            if column.name.endswith(("_seconds", "_minutes", "_hours")):
                assert column.type == "DOUBLE", f"{table.name}.{column.name}"
