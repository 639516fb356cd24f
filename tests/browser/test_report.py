"""The report, opened as a file."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from buildkite_assets.report.page import render
from tests.report.conftest import settings_of

from .looks import PHONE, Scheme, assert_readable, each_look, look


@pytest.fixture(scope="module")
def report(month_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "acme-ci-report.html"
    path.write_text(render(settings_of(month_file)))
    return path


@each_look
def test_it_is_readable_and_asks_nobody(
    page: Page, report: Path, scheme: Scheme, width: int
) -> None:
    look(page, scheme, width)
    page.goto(report.as_uri())
    expect(page).to_have_title("CI health of acme")
    expect(page.get_by_role("heading", name="When main was red")).to_be_visible()
    assert_readable(page, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown, hidden = (".narrow", ".wide") if width == PHONE else (".wide", ".narrow")
    assert page.locator(f"{shown} > svg").count() == 6
    for drawing in page.locator(f"{shown} > svg").all():
        expect(drawing).to_be_visible()
        # Drawn for this width: letters keep their size.
        assert drawing.evaluate(
            "e => e.getBoundingClientRect().width / e.viewBox.baseVal.width"
        ) > (0.95)
    for drawing in page.locator(f"{hidden} > svg").all():
        expect(drawing).to_be_hidden()


def test_a_wide_table_scrolls_by_itself(page: Page, report: Path) -> None:
    look(page, "light", PHONE)
    page.goto(report.as_uri())
    region = page.get_by_role("region", name="Failing steps").last
    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    region.focus()
    expect(region).to_be_focused()
