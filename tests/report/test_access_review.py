"""The tables of the access review, and what it says where something was not collected."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from buildkite_assets.report import access_review
from buildkite_assets.report.listing import Listing
from buildkite_assets.report.opening import opened
from buildkite_assets.warehouse import Connection, Warehouse

from .conftest import settings_of

LISTINGS: list[Callable[[Connection], Listing]] = [
    access_review.effective_access,
    access_review.unused_access,
    access_review.findings,
    access_review.changes,
]
each_listing = pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.__name__)


@pytest.fixture
def acme(month: Connection) -> Connection:
    """Return the month narrowed to its organization."""
    [organization_id] = access_review.organizations(month).values()
    access_review.narrow_to_organization(month, organization_id)
    return month


@each_listing
def test_a_listing_has_a_row_for_each_of_its_table(
    acme: Connection, listing: Callable[[Connection], Listing]
) -> None:
    tables = {
        "effective_access": "effective_pipeline_access",
        "findings": "access_findings",
        "changes": "access_changes",
        "unused_access": "pipeline_access_usage WHERE access_rank > 1 AND is_never_used",
    }
    rows = acme.sql(f"FROM {tables[listing.__name__]}").pl().height
    table = listing(acme)
    assert table.rows.height == rows > 0
    assert all(len(cells) == len(table.headings) for cells in table.cells())


def test_every_path_to_a_level_is_named(acme: Connection) -> None:
    rows = access_review.effective_access(acme).rows.to_dicts()
    several = [row["paths"] for row in rows if row["paths"].count(", ")]
    assert several
    assert any(row["paths"].startswith("administrator (MANAGE_BUILD_AND_READ)") for row in rows)


def test_findings_begin_with_the_most_severe_open_ones(acme: Connection) -> None:
    rows = access_review.findings(acme).rows
    assert rows.select("status", "severity").row(0) == ("open", "high")
    assert "not_evaluated" in rows["status"]


def test_coverage_names_whose_snapshot_it_is_and_how_many_there_are(acme: Connection) -> None:
    sentence, is_whole = access_review.coverage(acme)
    assert is_whole
    assert sentence.startswith("Newest snapshot 2025-11-20 12:00 UTC, taken with the token of ")
    assert "who is an administrator: 39 members (all); 8 teams (secret ones too);" in sentence
    assert sentence.endswith("History has 2 snapshots, since 2025-11-20 11:00 UTC.")


def test_what_a_token_may_not_list_is_not_evaluated(month_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    shutil.copyfile(month_file, path)
    with duckdb.connect(path) as connection:
        connection.execute(
            "UPDATE access_syncs SET is_administrator = false, sees_all_members = false, "
            "sees_all_teams = false, teams = NULL, team_pipelines = NULL"
        )
    with opened(settings_of(path)) as connection:
        sentence, is_whole = access_review.coverage(connection)
    assert not is_whole
    assert "who is not an administrator: 39 members (those that it may see); " in sentence
    assert "teams not evaluated, as the token may not list them" in sentence


def test_without_a_snapshot_nothing_is_evaluated(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.publish()
    with opened(settings_of(warehouse.path)) as connection:
        assert access_review.organizations(connection) == {}
        assert access_review.coverage(connection) == (
            "Not evaluated: no snapshot of access was taken yet.",
            False,
        )
        assert all(listing(connection).rows.is_empty() for listing in LISTINGS)


def test_another_organizations_people_are_out_of_sight(month_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    shutil.copyfile(month_file, path)
    with duckdb.connect(path) as connection:
        connection.execute("""
            INSERT INTO organizations BY NAME
            SELECT * REPLACE (uuid() AS organization_id, 'other' AS slug) FROM organizations
        """)
    with opened(settings_of(path)) as connection:
        organizations = access_review.organizations(connection)
        assert list(organizations) == ["acme", "other"]
        access_review.narrow_to_organization(connection, organizations["other"])
        assert access_review.coverage(connection)[0].startswith("Not evaluated")
        assert all(listing(connection).rows.is_empty() for listing in LISTINGS)
