"""The header of a check's SQL file: what it tells, and how it fails."""

from pathlib import Path

import pytest

from buildkite_assets.checks.files import FOLDER, check_files, parse
from buildkite_assets.derived_tables import DefinitionError, derived_tables
from buildkite_assets.tables import JOBS

PATH = FOLDER / "jobs_are_odd.sql"
TEXT = """\
/*
No job is odd.

Odd jobs cost more.

Asset: jobs
Severity: error
Blocks: yes
Runs: by the hour
Needs: sync_days, builds
When it fails: look at them,
  one by one.
*/
SELECT 1
"""


def test_a_header_tells_what_must_hold_and_what_to_do() -> None:
    file = parse(PATH, TEXT)
    assert file.table is JOBS
    assert file.statement == "No job is odd.\n\nOdd jobs cost more."
    assert file.is_error
    assert file.is_blocking
    assert file.is_hourly
    assert file.needs == ("sync_days", "builds")
    assert file.remedy == "look at them, one by one."
    assert file.query == "SELECT 1"


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("/*\n", "", "begins with its header"),
        ("*/\n", "", "begins with its header"),
        ("No job is odd.\n\nOdd jobs cost more.\n", "", "says what must hold"),
        ("Severity: error\n", "", "has the lines Asset, Severity"),
        ("Needs: sync_days, builds", "Needs:", "has the lines Asset, Severity"),
        ("Runs: by the hour", "Costs: nothing", "has the lines Asset, Severity"),
        ("Asset: jobs", "Asset: job", "there is no table 'job'"),
        ("Needs: sync_days", "Needs: sync_day", "there is no table 'sync_day'"),
        ("Severity: error", "Severity: fatal", "Severity is warn or error"),
        ("Severity: error", "Severity: warn", "only an error can block"),
        ("Blocks: yes", "Blocks: maybe", "Blocks is no or yes"),
        ("by the hour", "daily", "Runs is with its asset or by the hour"),
    ],
)
def test_a_malformed_header_is_told_with_its_file(right: str, wrong: str, reason: str) -> None:
    assert right in TEXT
    with pytest.raises(DefinitionError, match=f"jobs_are_odd.sql: .*{reason}"):
        parse(PATH, TEXT.replace(right, wrong, 1))


def test_checks_and_derived_tables_are_kept_apart() -> None:
    names = {file.path.stem for file in check_files()}
    assert names
    assert names == {path.stem for path in FOLDER.glob("*.sql")}
    assert not names & {table.name for table in derived_tables()}


def test_every_sql_file_is_a_check_or_a_derived_table() -> None:
    files = {Path(path) for path in FOLDER.parent.rglob("*.sql")}
    known = {file.path for file in check_files()} | {table.path for table in derived_tables()}
    assert files == known
