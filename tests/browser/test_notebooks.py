"""The notebooks as apps, as `make notebook` opens them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import CHROMIUM
from .looks import DESK, PHONE, SCHEMES, assert_readable, look
from .serving import serving_notebooks

_PATIENCE = 120_000


@pytest.fixture(scope="module")
def apps(month_file: Path) -> Iterator[str]:
    """Serve both notebooks; the address."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with serving_notebooks(month_file) as url:
        yield url


def assert_looks_well(page: Page) -> None:
    """Hold that a page is readable in light and dark, on a phone and on a desk."""
    for scheme in SCHEMES:
        for width in (PHONE, DESK):
            look(page, scheme, width)
            page.wait_for_function(
                "dark => document.body.classList.contains('dark') === dark"
                " || document.documentElement.classList.contains('dark') === dark",
                arg=scheme == "dark",
            )
            assert_readable(page, scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            expect(page.get_by_text("Traceback")).to_have_count(0)


def test_both_are_offered(page: Page, apps: str) -> None:
    page.goto(apps)
    for name in ("Ci Health", "Access Review"):
        expect(page.get_by_role("link", name=name)).to_be_visible(timeout=_PATIENCE)


def test_ci_health_shows_plots_and_follows_what_is_chosen(page: Page, apps: str) -> None:
    page.set_viewport_size({"width": DESK, "height": 9000})  # plots are drawn when in sight
    page.goto(f"{apps}/?file=ci_health.py")
    expect(page.get_by_role("heading", name="Ask more")).to_be_visible(timeout=_PATIENCE)
    expect(page.get_by_text("all pipelines, 2025-10-22 to 2025-11-20")).to_be_visible()
    expect(page.locator(".vega-embed canvas, .vega-embed svg.marks")).to_have_count(
        6, timeout=_PATIENCE
    )
    assert_looks_well(page)
    page.get_by_label("Pipeline", exact=True).select_option("web")
    expect(page.get_by_text("web, 2025-10-22 to 2025-11-20")).to_be_visible(timeout=_PATIENCE)


def test_the_access_review_shows_its_coverage_and_its_tables(page: Page, apps: str) -> None:
    page.set_viewport_size({"width": DESK, "height": 5000})
    page.goto(f"{apps}/?file=access_review.py")
    expect(page.get_by_text("Newest snapshot 2025-11-20 12:00 UTC")).to_be_visible(
        timeout=_PATIENCE
    )
    for title in ("Findings", "Effective access", "Unused access", "Changes"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible(timeout=_PATIENCE)
    expect(page.locator(".vega-embed canvas, .vega-embed svg.marks")).to_have_count(
        1, timeout=_PATIENCE
    )
    assert_looks_well(page)
