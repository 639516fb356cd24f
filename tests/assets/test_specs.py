"""What the UI tells of an asset before it was ever materialized."""

from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dg.AssetSpec]:
    folder = tmp_path_factory.mktemp("a folder")
    session = Session(Settings.from_environment({"BUILDKITE_WAREHOUSE": f"{folder}/w.duckdb"}))
    found = definitions(session).resolve_all_asset_specs()
    return {spec.key.path[-1]: spec for spec in found}


def test_each_asset_links_to_the_files_that_make_it(specs: dict[str, dg.AssetSpec]) -> None:
    derived = {table.name for table in derived_tables()}
    for name, spec in specs.items():
        references = spec.metadata["dagster/code_references"].code_references
        files = [Path(reference.file_path) for reference in references]
        assert all(file.is_file() for file in files)
        suffixes = [".sql", ".py"] if name in derived else [".py"]
        assert [file.suffix for file in files] == suffixes
        assert name not in derived or files[0].stem == name


def test_each_asset_says_in_which_file_its_table_is(specs: dict[str, dg.AssetSpec]) -> None:
    assert "ci_report" in specs
    for spec in (spec for name, spec in specs.items() if name != "ci_report"):
        uri = spec.metadata["dagster/uri"]
        assert uri.startswith("file:///")
        assert uri.endswith("/a%20folder0/w.duckdb")


def test_a_column_is_nullable_where_its_meaning_says_so(specs: dict[str, dg.AssetSpec]) -> None:
    """Also within a key: builds of a pipeline that is not known have days, too."""
    schema = specs["pipeline_daily"].metadata["dagster/column_schema"]
    nullable = {column.name: column.constraints.nullable for column in schema.columns}
    assert nullable["pipeline_id"]
    assert not nullable["pipeline_slug"]
    assert not nullable["local_day"]
    assert nullable["success_rate"]


def test_groups_lead_from_what_is_listed_to_what_is_made_of_it(
    specs: dict[str, dg.AssetSpec],
) -> None:
    groups = {name: spec.group_name for name, spec in specs.items()}
    assert groups["pipelines"] == "catalog"
    assert groups["jobs"] == "builds"
    assert groups["job_runs"] == "build_details"
    assert groups["pipeline_daily"] == "metrics"
    assert groups["team_members"] == "access"
    assert groups["access_changes"] == "access_review"
