"""Figures and tables as data: what they say, and what they stand on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import polars as pl

from buildkite_assets.report.wording import cell


@dataclass(frozen=True)
class Headline:
    """One figure in large letters.

    Attributes:
        name: what it is.
        value: in words; a dash where it cannot be computed.
        basis: what it stands on, with the n.
    """

    name: str
    value: str
    basis: str


@dataclass(frozen=True)
class Listing:
    """A table for people.

    Attributes:
        title: what it lists.
        caption: what a row is, and what its figures stand on.
        headings: of each column to show its heading, in order.
        rows: the columns by their names, which end in their units.
        if_empty: what to say where there are no rows.
    """

    title: str
    caption: str
    headings: Mapping[str, str]
    rows: pl.DataFrame
    if_empty: str

    def headed(self) -> pl.DataFrame:
        """The columns to show, under their headings."""
        return self.rows.select(self.headings.keys()).rename(dict(self.headings))

    def formats(self) -> dict[str, Callable[[object], str]]:
        """How the values under each heading are said."""
        return {heading: partial(cell, column) for column, heading in self.headings.items()}

    def cells(self) -> Iterator[list[str]]:
        """The rows as text."""
        for row in self.rows.select(self.headings.keys()).iter_rows(named=True):
            yield [cell(column, value) for column, value in row.items()]
