"""Figures and tables as data: what they say, and what they stand on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

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


LONGEST_LISTING = 15
"""How many rows a table shows at most that could have any number of them."""


class Cell(NamedTuple):
    """One value of a listing as text; `address` is where it leads, if anywhere."""

    text: str
    address: str | None


@dataclass(frozen=True)
class Listing:
    """A table for people.

    Attributes:
        title: what it lists.
        caption: what a row is, and what its figures stand on.
        headings: of each column to show its heading, in order.
        rows: the columns by their names, which end in their units.
        if_empty: what to say where there are no rows.
        links: for each column whose values are links, the column with their addresses.
    """

    title: str
    caption: str
    headings: Mapping[str, str]
    rows: pl.DataFrame
    if_empty: str
    links: Mapping[str, str] = field(default_factory=dict)

    def headed(self) -> pl.DataFrame:
        """The columns to show, under their headings; addresses follow in columns of their own."""
        addresses = {
            address: f"{self.headings[column]} at Buildkite"
            for column, address in self.links.items()
        }
        return self.rows.select(*self.headings, *addresses).rename({**self.headings, **addresses})

    def formats(self) -> dict[str, Callable[[object], str]]:
        """How the values under each heading are said."""
        return {heading: partial(cell, column) for column, heading in self.headings.items()}

    def cells(self) -> Iterator[list[Cell]]:
        """The rows as text, with the addresses of what is linked."""
        for row in self.rows.iter_rows(named=True):
            yield [
                Cell(cell(column, row[column]), address(row.get(self.links.get(column, ""))))
                for column in self.headings
            ]


def address(value: object) -> str | None:
    """Return the value if it is an address of the web; anything else is no link."""
    is_address = isinstance(value, str) and value.startswith("https://")
    return str(value) if is_address else None
