"""How the notebooks show figures, listings and plots."""

from collections.abc import Sequence
from html import escape

import marimo as mo

from buildkite_assets.figures import Figure
from buildkite_assets.report.listing import Headline, Listing

_TEXT = "#82878f"
"""Readable on white and on near black: marimo's themes leave text among the data black."""
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


def table(listing: Listing) -> mo.Html:
    """A listing with its title and its caption; numbers sort as numbers."""
    rows = mo.ui.table(
        listing.headed(),
        format_mapping={**listing.formats()},
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
