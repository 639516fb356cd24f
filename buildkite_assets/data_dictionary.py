"""The data dictionary, `docs/tables.md`: every table and column, from the same declarations.

`make docs` writes it; a test holds that it is current.
"""

from collections.abc import Iterator

from buildkite_assets.derived_tables import FOLDER, DerivedTable, derived_tables
from buildkite_assets.tables import (
    ACCESS_SYNCS,
    ACCESS_TABLES,
    BUILD_CHANGES,
    BUILDS,
    CATALOG_HISTORIES,
    CATALOG_TABLES,
    JOBS,
    LATE_CHANGES,
    LEDGER_TABLES,
    Table,
    history_of,
)

_INTRODUCTION = """\
# Tables

Every table of the published file, written by `make docs` from the declarations that also fill the
comments in DuckDB and the descriptions in Dagster. Ids are `UUID`, instants `TIMESTAMP` in UTC,
durations `DOUBLE` seconds unless their name has another unit. Columns of the key are marked `*`.
One more table, `warehouse_meta`, holds the version of the schema and the first day.
"""

_SOURCES: dict[str, tuple[Table, ...]] = {
    "Catalog": (*CATALOG_TABLES, *CATALOG_HISTORIES.values()),
    "Builds": (BUILDS, JOBS, BUILD_CHANGES, LATE_CHANGES),
    "Access": (
        ACCESS_SYNCS,
        *(each for table in ACCESS_TABLES for each in (table, history_of(table))),
    ),
    "The warehouse's own notes": LEDGER_TABLES,
}


def data_dictionary() -> str:
    """The dictionary as Markdown: an index, then one section per table."""
    derived: dict[str, list[DerivedTable]] = {}
    for table in derived_tables():
        derived.setdefault(f"Derived: {table.group.replace('_', ' ')}", []).append(table)
    chapters = {**_SOURCES, **derived}
    parts = [_INTRODUCTION]
    for chapter, tables in chapters.items():
        links = ", ".join(f"[`{table.name}`](#{table.name})" for table in tables)
        parts.append(f"- **{chapter}**: {links}")
    for chapter, tables in chapters.items():
        parts.append(f"\n## {chapter}")
        parts += ["\n".join(_section(table)) for table in tables]
    return "\n".join(parts) + "\n"


def _section(table: Table) -> Iterator[str]:
    yield f"\n### {table.name}\n"
    yield table.grain
    if isinstance(table, DerivedTable):
        if table.notes:
            yield f"\n{table.notes}"
        recomputed = "by UTC day of the builds" if table.is_daily else "whole"
        path = table.path.relative_to(FOLDER.parents[1]).as_posix()
        yield f"\nRecomputed {recomputed} by [{path}](../{path})."
    yield "\n| column | type | meaning |\n|---|---|---|"
    for column in table.columns:
        name = f"`{column.name}`{' *' if column.name in table.key else ''}"
        yield f"| {name} | {column.type} | {_cell(column.meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(data_dictionary(), end="")  # noqa: T201 - `make docs` writes it into the file
