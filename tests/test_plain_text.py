"""Text from outside on one line: what is replaced, and what stays."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkite_assets.plain_text import BREAKS, REPLACEMENT, UNSAFE, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\ufffd[31mred"),
        ("a\x00b\x7fc\x9bd", "a\ufffdb\ufffdc\ufffdd"),
        ("a\ufffeb\uffffc\U0001fffed\ufdd0", "a\ufffdb\ufffdc\ufffdd\ufffd"),
        ("user\u202egnp.exe\u2066", "user\ufffdgnp.exe\ufffd"),
        ("two\r\n\tlines\u2028more", "two lines more"),
        ("half \ud83d", "half ?"),
        ("Grüße 👩‍🚀 :rocket: [/bold] שלום", "Grüße 👩‍🚀 :rocket: [/bold] שלום"),
    ],
)
def test_what_acts_on_its_reader_is_replaced_and_the_rest_stays(text: str, shown: str) -> None:
    assert one_line(text) == shown


@given(st.text())
def test_polars_replaces_what_python_replaces(text: str) -> None:
    replaced = pl.Series([text]).str.replace_all(BREAKS, " ").str.replace_all(UNSAFE, REPLACEMENT)
    assert replaced.to_list() == [one_line(text)]
