"""How the notebooks show figures, listings and plots."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import TypeVar

import marimo as mo
import polars as pl

from buildkite_assets.figures import Figure
from buildkite_assets.report.listing import Headline, Listing, address

T = TypeVar("T")

_TEXT = "#82878f"
"""Readable on white and on near black: marimo's themes leave text among the data black."""
_NO_CHOICE = "--"
"""An option that marimo keeps for itself."""
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:1rem;margin:0"


def cards(headlines: Sequence[Headline]) -> mo.Html:
    """Figures in large letters, each with what it stands on, as many in a row as there is room."""
    shown = "".join(
        f"<div><dt>{escape(each.name)}</dt>"
        f'<dd style="margin:0;font-size:1.5rem;font-weight:600">{escape(each.value)}</dd>'
        f'<dd style="margin:0;font-size:.8rem;opacity:.75">{escape(each.basis)}</dd></div>'
        for each in headlines
    )
    return mo.Html(f'<dl style="{_GRID}">{shown}</dl>')


def options(everything: str, named: Mapping[str, T]) -> dict[str, T | None]:
    """Return a dropdown's options: everything, then each by its name, whatever that is."""
    taken = {everything, _NO_CHOICE}
    return {everything: None} | {
        f'"{name}"' if name in taken else name: value for name, value in named.items()
    }


def table(listing: Listing) -> mo.Html:
    """A listing with its title and its caption; numbers sort as numbers.

    Text is shown as HTML of our own: marimo loads the picture behind an address that is a cell.
    """
    headed, formats = listing.headed(), listing.formats()
    texts = [name for name, kind in headed.schema.items() if kind == pl.String]
    shown = {name: partial(_text, formats[name]) if name in formats else _link for name in texts}
    rows = mo.ui.table(
        headed,
        format_mapping={**formats, **shown},
        selection=None,
        show_column_summaries=False,
        show_data_types=False,
        show_download=False,
    )
    title, caption = mo.md(f"## {listing.title}"), mo.md(listing.caption)
    return mo.vstack([title, caption, rows if listing.rows.height else mo.md(listing.if_empty)])


def plot(figure: Figure) -> mo.Html:
    """A figure that scrolls on a phone, without the menu that would send it to a web editor."""
    bare = figure.properties(
        background="transparent", usermeta={"embedOptions": {"actions": False}}
    ).configure_text(color=_TEXT)
    return mo.as_html(bare).style({"overflow-x": "auto", "max-width": "100%"})


def _text(said: Callable[[object], str], value: object) -> mo.Html:
    return mo.Html(f"<span>{escape(said(value))}</span>")


def _link(value: object) -> mo.Html:
    leads_to = escape(address(value) or "")
    shown = f'<a href="{leads_to}" target="_blank" rel="noreferrer">{leads_to}</a>'
    return mo.Html(shown if leads_to else "<span></span>")
