"""A glance at a table: what it shows, where it links, and that text from outside stays text."""

import re
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.tables import (
    BUILD_CHANGES,
    BUILDS,
    LATE_CHANGES,
    ORGANIZATION_MEMBERS,
    PIPELINES,
    TABLES,
    TEAM_MEMBERS,
)
from buildkite_assets.warehouse.preview import as_markdown, markdown_text, preview
from tests.derived.history import DAY, History


def history(slug: str = "web", url: str = "https://buildkite.com/acme/web") -> History:
    """One pipeline with a build on each of two days."""
    made = History()
    pipeline = made.pipeline(slug)
    made.connection.execute("UPDATE pipelines SET web_url = ?", [url])
    made.build(pipeline, "10:00", number=7, branch="main")
    made.build(pipeline, "2026-11-03 10:00", number=8, branch="fix")
    return made


def test_pipelines_and_builds_link_to_their_pages() -> None:
    connection = history().connection
    assert "| [web](https://buildkite.com/acme/web) |" in preview(connection, PIPELINES)
    lines = preview(connection, BUILDS).split("\n")
    assert lines[0].startswith("| pipeline_slug | number | state |")
    assert lines[2].startswith(
        "| [web](https://buildkite.com/acme/web) "
        "| [8](https://buildkite.com/acme/web/builds/8) | passed |"
    )
    assert len(lines) == 4


def test_a_day_shows_its_own_rows() -> None:
    lines = preview(history().connection, BUILDS, DAY).split("\n")
    assert len(lines) == 3
    assert "builds/7" in lines[2]
    assert len(preview(history().connection, BUILDS, date(2026, 1, 1)).split("\n")) == 2


def test_every_table_has_a_glance_also_when_it_is_empty() -> None:
    empty = History().derive(*(table.name for table in derived_tables()))
    for table in (*TABLES, *derived_tables()):
        heading, line, *rows = preview(empty.connection, table).split("\n")
        assert heading.count("|") == line.count("|")
        assert rows == [] or table.name in {"derived_days", "resource_types"}


def test_text_from_outside_is_neither_link_nor_picture_nor_cell() -> None:
    made = history("![x](https://evil.example/p.png)|<img src=x>\n`a`")
    cell = preview(made.connection, PIPELINES).split("\n")[2].split(" | ")[0]
    assert cell == (
        "| [`![x](https://evil.example/p.png) <img sr…`](https://buildkite.com/acme/web)"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web", "web"),
        ("not_run", "not_run"),
        ("release-train 2", "release-train 2"),
        ("2026-11-02 10:00:00", "2026-11-02 10:00:00"),
        ("last sync (UTC)", "last sync (UTC)"),
        ("", ""),
        ("![](https://a.example/p.png)", "`![](https://a.example/p.png)`"),
        ("https://a.example", "`https://a.example`"),
        ("www.a.example", "`www.a.example`"),
        ("me@a.example", "`me@a.example`"),
        ("<img src=x>", "`<img src=x>`"),
        ("__init__", "`__init__`"),
        ("a` ![](x) `b|c\nd", "`a' ![](x) 'b c d`"),
        ("\x1b[31mred\u202e", "`\ufffd[31mred\ufffd`"),
        ("x" * 30, "x" * 20 + "…"),
        ("[" * 30, "`" + "[" * 20 + "…`"),
    ],
)
def test_text_that_could_be_markdown_is_code(text: str, shown: str) -> None:
    assert markdown_text(text, 20 if len(text) == 30 else 200) == shown


@given(st.text())
def test_text_is_one_cell_of_plain_words_or_of_closed_code(text: str) -> None:
    shown = markdown_text(text, 40)
    assert not set(shown) & {"|", "\n", "\r"}
    if shown.startswith("`"):
        assert shown.endswith("`")
        assert shown.count("`") == 2
    else:
        assert re.fullmatch(r"[\w .:+()-]*…?", shown)
        assert "www." not in shown


def test_a_table_of_rows_has_no_markdown_of_their_values_and_headings() -> None:
    rows = pl.DataFrame(
        {"![](//a.example), 1": ["[x](//a.example)" + "y" * 300, None], "n": [1, 2]}
    )
    heading, line, first, second = as_markdown(rows).split("\n")
    assert heading == "| `![](//a.example), 1` | n |"
    assert line == "| --- | --- |"
    assert first == "| `[x](//a.example)" + "y" * 184 + "…` | 1 |"
    assert second == "| null | 2 |"


def test_an_address_that_is_none_is_no_link() -> None:
    for url in ("javascript:alert(1)", "https://x.example/) ![](https://evil.example", "", " "):
        shown = preview(history(url=url).connection, PIPELINES)
        assert shown.split("\n")[2].startswith("| web |")


def test_people_are_shown_without_their_addresses_and_ids_only_where_no_slug_tells() -> None:
    connection = History().connection
    members = preview(connection, ORGANIZATION_MEMBERS).split("\n")[0]
    assert "email" not in members
    assert "user_id" in preview(connection, TEAM_MEMBERS).split("\n")[0]
    assert "_id" not in preview(connection, BUILDS).split("\n")[0]
    for table in (BUILD_CHANGES, LATE_CHANGES):
        changes = preview(connection, table).split("\n")[0].strip("| ").split(" | ")
        assert "field" in changes
        assert not {"old", "new"} & set(changes), "they may be a person's name"
