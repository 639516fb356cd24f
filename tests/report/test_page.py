"""The report: one page that shows what the notebook shows, and asks nobody for anything."""

import re
from html.parser import HTMLParser
from pathlib import Path

import altair as alt
import polars as pl
import pytest

from buildkite_assets.figures import Figure
from buildkite_assets.figures.theme import finished
from buildkite_assets.report import ci_health
from buildkite_assets.report.headlines import headlines
from buildkite_assets.report.listing import Cell, Listing
from buildkite_assets.report.opening import opened
from buildkite_assets.report.page import DAYS, render
from buildkite_assets.report.scope import Scope, narrow, newest_days
from buildkite_assets.warehouse import Connection, Warehouse

from .conftest import HARM, settings_of

_NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
_ALONE = {"meta", "br", "hr"}


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in _ALONE:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that ends at once, as SVG has them."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Hold that what ends is what began last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Gather text."""
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(month_file: Path) -> str:
    return render(settings_of(month_file))


@pytest.fixture(scope="module")
def harmful_page(harmful: Path) -> str:
    return render(settings_of(harmful))


def test_it_shows_what_the_notebook_shows(page: str, month_file: Path) -> None:
    with opened(settings_of(month_file)) as connection:
        narrow(connection, newest_days(connection, DAYS))
        shown = headlines(connection)
        listings = ci_health.listings(connection)
    text = Elements(page).text
    for headline in shown:
        assert f"{headline.name}\n{headline.value}\n{headline.basis}" in text
    for listing in listings:
        assert listing.caption in text
        for cells in listing.cells():
            assert "\n".join(cell.text for cell in cells) in text


def test_it_says_how_current_it_is_and_whose_it_is(page: str) -> None:
    text = Elements(page).text
    assert "CI health of acme" in text
    assert "acme: synced 2025-11-20 12:00 UTC; newest build" in text
    assert "30 days of builds, 2025-10-22 to 2025-11-20 (UTC) · as of " in text
    assert "invented" not in text


def test_tables_that_lag_are_named(month_file: Path) -> None:
    other_rules = settings_of(month_file).from_environment({"BUILDKITE_WAREHOUSE": str(month_file)})
    text = Elements(render(other_rules)).text
    assert "Behind what was synced, until the next sync recomputes them: agent_cost_daily" in text


def test_elements_say_what_they_are(page: str) -> None:
    elements = Elements(page)
    assert [attributes["lang"] for attributes in elements.named("html")] == ["en"]
    assert len(elements.named("h1")) == 1
    tables = len(elements.named("table"))
    assert tables == 10
    assert len(elements.named("caption")) == tables
    assert {attributes.get("scope") for attributes in elements.named("th")} == {"col", "row"}
    assert len(elements.named("figcaption")) == len(elements.named("figure")) == 6
    drawings = [a for a in elements.named("div") if a.get("role") == "img"]
    assert all(drawing["aria-label"] for drawing in drawings)
    assert not any("aria-label" in mark for mark in elements.named("path"))
    ids = [attributes["id"] for _, attributes in elements.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements.elements:
        assert attributes.get("aria-labelledby", ids[0]) in ids


@pytest.mark.parametrize("name", ["page", "harmful_page"])
def test_nothing_in_it_runs_or_asks_for_anything(name: str, request: pytest.FixtureRequest) -> None:
    elements = Elements(request.getfixturevalue(name))
    kinds = {tag for tag, _ in elements.elements}
    assert not kinds & {"script", "img", "image", "link", "iframe", "object", "use", "form"}
    for tag, attributes in elements.elements:
        for attribute, value in attributes.items():
            assert not attribute.startswith("on")
            assert attribute not in {"src", "xlink:href", "srcset", "action"}
            if value and "://" in value and tag != "a":
                assert value in _NAMESPACES
    # A legend's gradient is one of the page's own.
    assert set(re.findall(r"url\(.", request.getfixturevalue(name))) == {"url(#"}
    [policy] = [a["content"] for a in elements.named("meta") if "http-equiv" in a]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_links_lead_to_the_builds_that_they_name(page: str, month_file: Path) -> None:
    links = Elements(page).named("a")
    with opened(settings_of(month_file)) as connection:
        known = connection.execute(
            "SELECT web_url FROM builds UNION SELECT web_url FROM pipelines"
        ).fetchall()
    assert len(links) > 30
    assert {(link["href"],) for link in links} <= set(known)
    assert {link["rel"] for link in links} == {"noreferrer"}


@pytest.mark.parametrize("address", ["javascript:alert(1)", "http://x.example", "//x.example", ""])
def test_an_address_that_is_none_of_the_web_is_no_link(address: str) -> None:
    listing = Listing(
        title="t",
        caption="c",
        headings={"build_number": "Build"},
        rows=pl.DataFrame({"build_number": [7], "build_url": [address]}),
        if_empty="",
        links={"build_number": "build_url"},
    )
    assert list(listing.cells()) == [[Cell("7", None)]]


def test_names_are_text_whatever_is_in_them(harmful_page: str) -> None:
    assert "<img" not in harmful_page
    text = Elements(harmful_page).text
    assert f"CI health of acme{HARM}" in text
    assert f"web{HARM}" in text
    assert f"e2e{HARM}" in text


def test_of_an_empty_warehouse_there_is_a_page_that_says_so(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.publish()
    text = Elements(render(settings_of(warehouse.path))).text
    assert "CI health of no organization yet" in text
    assert "No organization was synced yet." in text
    assert "No default branch was red." in text
    assert "no data yet" in text


def test_a_figure_that_cannot_be_drawn_is_a_sentence_on_the_page(
    month_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawable = ci_health.figures

    def with_an_abort(connection: Connection, scope: Scope) -> list[Figure]:
        rows = alt.Chart(pl.DataFrame({"label": ["\x00"]})).mark_text().encode(text="label:N")
        return [finished(rows, "Cannot be drawn", "of one row"), *drawable(connection, scope)]

    monkeypatch.setattr(ci_health, "figures", with_an_abort)
    elements = Elements(render(settings_of(month_file)))
    assert "Cannot be drawn" in elements.text
    assert "This figure could not be drawn; the rest of the page is not affected." in elements.text
    assert len(elements.named("figure")) == 7
    assert len([a for a in elements.named("div") if a.get("role") == "img"]) == 2 * 6
