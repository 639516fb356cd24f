"""CSV files that hold anything people can write, as the readers of spreadsheets see them."""

import csv
import io
import unicodedata
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkite_assets.export.spreadsheets import as_text, write_rows

_WIDE_EQUALS, _WIDE_AT = "\uff1d", "\uff20"
_SIGNS = st.sampled_from(
    [*"=+-@\uff1d\uff0b\uff0d\uff20\ufe62\r\n\t ,;\"'|\u200b\ufeff\u2028\x00\x85"]
)
names = st.text(st.one_of(_SIGNS, st.characters(codec="utf-8")), max_size=12)
rows = st.lists(st.lists(names, min_size=3, max_size=3), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("Ada", "Ada"),
        ("=1+1", "'=1+1"),
        ("\n=1+1", "' =1+1"),
        ("\r=1+1", "' =1+1"),
        (" \t=1+1", "'  =1+1"),
        (f"{_WIDE_EQUALS}1+1", f"'{_WIDE_EQUALS}1+1"),
        (f"{_WIDE_AT}SUM(A1)", f"'{_WIDE_AT}SUM(A1)"),
        ("\u200b=1+1", "'\u200b=1+1"),
        ("Ada\r=cmd|' /C calc'!A0", "Ada =cmd|' /C calc'!A0"),
        ("", ""),
        (None, ""),
        (-3, "'-3"),
    ],
)
def test_a_cell_is_one_line_and_no_formula(name: object, cell: str) -> None:
    assert as_text(name) == cell


@pytest.mark.parametrize("is_all_quoted", [True, False])
@given(rows=rows)
def test_every_reader_sees_the_same_cells_and_none_begins_a_formula(
    rows: list[list[str]], *, is_all_quoted: bool
) -> None:
    file = io.StringIO(newline="")
    header = ["one", "two", "three"]
    write_rows(file, [header, *rows], is_all_quoted=is_all_quoted)
    text = file.getvalue()
    expected = [[as_text(name) for name in row] for row in rows]
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == expected
    assert text.count("\n") == len(rows) + 1
    read = pd.read_csv(
        io.BytesIO(text.encode()), dtype=str, keep_default_na=False, skip_blank_lines=False
    )
    assert read.to_numpy().tolist() == expected
    for cell in (cell for row in expected for cell in row):
        visible = [sign for sign in cell if unicodedata.category(sign)[0] not in "CZ"]
        assert unicodedata.normalize("NFKC", "".join(visible[:1]))[:1] not in set("=+-@")


def test_duckdb_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    names = ['Ada "the first"', "Bo, Junior", "=1+1", "line\r\nbreak", f"{_WIDE_EQUALS}2"]
    with path.open("w", newline="", encoding="utf-8") as file:
        write_rows(file, [["name"], *([name] for name in names)])
    read = duckdb.execute(
        "FROM read_csv(?, header = true, all_varchar = true)", [str(path)]
    ).fetchall()
    assert [name for (name,) in read] == [as_text(name) for name in names]
