"""CSV files that people open in spreadsheets, safe whatever the names in them are."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

_FORMULA_STARTS = frozenset("=+-@")
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def write_rows(
    file: TextIO, rows: Iterable[Sequence[object]], *, is_all_quoted: bool = True
) -> None:
    """Write rows of CSV, with every cell quoted or, as Baton does it, where a cell needs it."""
    writer = csv.writer(
        file,
        quoting=csv.QUOTE_ALL if is_all_quoted else csv.QUOTE_MINIMAL,
        lineterminator="\n",
    )
    writer.writerows([as_text(value) for value in row] for row in rows)


def as_text(value: object) -> str:
    """Return the value as one line of text that no spreadsheet takes for a formula.

    Spreadsheets also read full-width signs as formulas, and some ignore leading blanks.
    """
    text = "" if value is None else _BREAKS.sub(" ", str(value))
    first = next((sign for sign in text if unicodedata.category(sign)[0] not in "CZ"), "")
    is_formula = unicodedata.normalize("NFKC", first)[:1] in _FORMULA_STARTS
    return f"'{text}" if first and is_formula else text
