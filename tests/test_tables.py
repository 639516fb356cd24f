"""What the declarations of tables promise, to people and to other rooms."""

import re

import msgspec
import pytest

from buildkite_assets.buildkite.records import (
    Build,
    Cluster,
    Job,
    Organization,
    Pipeline,
    Queue,
)
from buildkite_assets.tables import (
    BUILDS,
    CATALOG_TABLES,
    CLUSTERS,
    JOBS,
    ORGANIZATIONS,
    PIPELINES,
    QUEUES,
    TABLES,
    Table,
)

REQUIRED = {
    "organizations": "organization_id slug name created_at",
    "pipelines": "pipeline_id organization_id slug name default_branch archived_at created_at",
    "builds": "build_id organization_id pipeline_id pipeline_slug number state blocked branch "
    "commit message source creator_id creator_email created_at scheduled_at started_at failing_at "
    "finished_at rebuilt_from_build_id pull_request_id synced_at absent_since",
    "jobs": "job_id build_id organization_id type name step_key group_key state exit_status "
    "soft_failed retried retried_in_job_id retries_count retry_type agent_id agent_name "
    "agent_query_rules cluster_id queue_id parallel_group_index parallel_group_total created_at "
    "scheduled_at runnable_at started_at finished_at synced_at absent_since",
}

RECORDS: dict[str, type[msgspec.Struct]] = {
    ORGANIZATIONS.name: Organization,
    PIPELINES.name: Pipeline,
    CLUSTERS.name: Cluster,
    QUEUES.name: Queue,
    BUILDS.name: Build,
    JOBS.name: Job,
}

_SENSITIVE = re.compile(r"(^|_)(env|ip|webhook|secret|password|configuration|steps)($|_)|token$")

every_table = pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])


def test_each_table_stands_once() -> None:
    names = [table.name for table in TABLES]
    assert len(set(names)) == len(names)
    assert set(CATALOG_TABLES) <= set(TABLES)


@pytest.mark.parametrize("name", REQUIRED)
def test_the_columns_that_notebooks_rely_on_are_there(name: str) -> None:
    (table,) = [table for table in TABLES if table.name == name]
    assert set(REQUIRED[name].split()) <= {column.name for column in table.columns}


@every_table
def test_a_table_says_what_a_row_and_each_column_is(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert table.grain.startswith("One row per ")
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    for column in table.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert column.meaning.endswith((".", "…"))
        assert "\n" not in column.meaning


@every_table
def test_names_tell_the_type(table: Table) -> None:
    for column in table.columns:
        if column.name.endswith("_at"):
            assert column.type == "TIMESTAMP", column.name
        if column.name.startswith("is_"):
            assert column.type == "BOOLEAN", column.name
        if column.name.endswith("_email"):
            assert column.is_email, column.name


@every_table
def test_nothing_sensitive_has_a_column(table: Table) -> None:
    for column in table.columns:
        assert not _SENSITIVE.search(column.name), column.name
        assert not _SENSITIVE.search(column.path or ""), column.path


@pytest.mark.parametrize("name", RECORDS)
def test_every_path_leads_to_a_field_of_the_record(name: str) -> None:
    (table,) = [table for table in TABLES if table.name == name]
    record = RECORDS[name]
    for column in table.record_columns:
        first = (column.path or "").split(".")[0]
        assert first in record.__struct_fields__ or hasattr(record, first), column.path
