"""The lineage of columns, told by the SQL of derived tables."""

from dataclasses import replace

import dagster as dg
import pytest

from buildkite_assets.assets.lineage import column_lineage
from buildkite_assets.definitions import definitions
from buildkite_assets.derived_tables import DerivedTable, derived_tables
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings

TABLES = {table.name: table for table in derived_tables()}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def sources(table: str, column: str) -> set[str]:
    """The columns that a column is computed from, as `asset.column`."""
    deps = column_lineage(TABLES[table]).deps_by_column.get(column, [])
    return {f"{dep.asset_key.path[-1]}.{dep.column_name}" for dep in deps}


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[dg.AssetKey, dg.AssetSpec]:
    path = tmp_path_factory.mktemp("lineage") / "w.duckdb"
    session = Session(Settings.from_environment({"BUILDKITE_WAREHOUSE": str(path)}))
    return {spec.key: spec for spec in definitions(session).resolve_all_asset_specs()}


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("pipeline_daily", "agent_hours", {"build_runs.agent_seconds"}),
        # verdicts that passed, of all verdicts
        ("pipeline_daily", "success_rate", {"build_runs.outcome", "build_runs.is_verdict"}),
        ("pipeline_daily", "local_day", {"build_runs.created_at"}),
        # the present slug, else the one when read
        ("build_runs", "pipeline_slug", {"pipelines.slug", "builds.pipeline_slug"}),
        ("build_runs", "agent_seconds", {"job_runs.agent_seconds"}),
        ("build_runs", "active_seconds", {"build_active_periods.seconds"}),
        # Present and history of team members are one asset.
        ("pipeline_access_usage", "access_level", {"effective_pipeline_access.access_level"}),
        (
            "access_changes",
            "team_id",
            {"teams.team_id", "team_members.team_id", "team_pipelines.team_id"},
        ),
        # all rows count, whatever is in them
        ("pipeline_daily", "builds", set()),
    ],
)
def test_a_column_comes_from_what_its_values_are_computed_from(
    table: str, column: str, expected: set[str]
) -> None:
    assert sources(table, column) == expected


@each_table
def test_lineage_names_columns_that_the_assets_before_it_have(
    table: DerivedTable, specs: dict[dg.AssetKey, dg.AssetSpec]
) -> None:
    spec = specs[dg.AssetKey(["buildkite", table.name])]
    lineage = spec.metadata["dagster/column_lineage"]
    before = {dep.asset_key for dep in spec.deps}
    assert lineage.deps_by_column.keys() <= {column.name for column in table.columns}
    for deps in lineage.deps_by_column.values():
        for dep in deps:
            assert dep.asset_key in before
            schema = specs[dep.asset_key].metadata["dagster/column_schema"]
            assert dep.column_name in {column.name for column in schema.columns}


@each_table
def test_every_id_and_instant_has_a_lineage(table: DerivedTable) -> None:
    lineage = column_lineage(table).deps_by_column
    for column in table.columns:
        if column.type in {"UUID", "TIMESTAMP"}:
            assert lineage[column.name], column.name


def test_a_query_that_only_duckdb_understands_has_no_lineage_and_breaks_nothing() -> None:
    query = "SELECT builds FROM pipeline_daily WHERE x'AB'::BLOB IS NOT NULL"
    assert column_lineage(replace(TABLES["pipeline_daily"], query=query)).deps_by_column == {}
