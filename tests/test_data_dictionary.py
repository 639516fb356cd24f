"""The data dictionary: current, and complete."""

from pathlib import Path

from buildkite_assets.data_dictionary import data_dictionary
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse, connect
from buildkite_assets.warehouse.derive import derive_whole

PAGE = Path(__file__).parents[1] / "docs/tables.md"


def test_the_page_is_what_make_docs_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == data_dictionary()


def test_every_table_and_column_of_a_published_file_is_on_the_page(tmp_path: Path) -> None:
    """Deriving one table creates all that are missing."""
    warehouse = Warehouse(tmp_path / "w.duckdb")
    parameters = Settings.from_environment({}).rules.parameters()
    [table] = [table for table in derived_tables() if table.name == "pipeline_daily"]
    with warehouse.transaction() as connection:
        derive_whole(connection, table, derived_tables(), parameters)
    warehouse.publish()
    with connect(warehouse.path) as connection:
        columns = connection.execute("""
            SELECT table_name, column_name FROM duckdb_columns()
            WHERE database_name = 'buildkite' AND table_name != 'warehouse_meta'
        """).fetchall()
    sections = data_dictionary().split("\n### ")[1:]
    page = {section.partition("\n")[0]: section for section in sections}
    assert {name for name, _ in columns} == set(page)
    assert [(t, c) for t, c in columns if f"| `{c}`" not in page[t]] == []
