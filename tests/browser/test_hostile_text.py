"""Names that are addresses of pictures, Markdown and HTML, in a real browser: all of it is text."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Page, expect

from buildkite_assets.report.page import render
from tests.report.conftest import settings_of

from .conftest import CHROMIUM
from .serving import serving_notebooks

NAME = "https://harm.example/{}.png"
SLUG = "![{}](https://harm.example/p.png)<img src=https://harm.example/p.png onerror=alert(1)>"
_PATIENCE = 120_000


@pytest.fixture(scope="module")
def harmful(month_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the month in which people and steps are called like pictures."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    path = tmp_path_factory.mktemp("harm") / "w.duckdb"
    shutil.copyfile(month_file, path)
    with duckdb.connect(path) as connection:
        texts = connection.execute("""
            SELECT table_name, column_name
            FROM duckdb_columns() JOIN duckdb_tables() USING (table_name)
            WHERE data_type = 'VARCHAR' AND column_name IN (
                'pipeline_slug', 'slug', 'step', 'queue', 'application', 'name', 'email', 'evidence'
            ) AND (table_name, column_name) != ('organizations', 'slug')
        """).fetchall()
        for table, column in texts:
            harm = SLUG if "slug" in column else NAME
            connection.execute(
                f'UPDATE {table} SET "{column}" = format(?, "{column}")',  # noqa: S608 - our names
                [harm],
            )
    return path


@pytest.fixture(scope="module")
def apps(harmful: Path) -> Iterator[str]:
    """Serve both notebooks; the address."""
    with serving_notebooks(harmful) as url:
        yield url


def test_the_report_loads_nothing(page: Page, harmful: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(settings_of(harmful)))
    page.goto(path.as_uri())
    expect(page.get_by_text(SLUG.format("web"), exact=True).first).to_be_visible()


def test_ci_health_loads_nothing(page: Page, apps: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 9000})
    page.goto(f"{apps}/?file=ci_health.py")
    expect(page.get_by_role("heading", name="Ask more")).to_be_visible(timeout=_PATIENCE)
    expect(page.locator(".vega-embed canvas, .vega-embed svg.marks")).to_have_count(
        6, timeout=_PATIENCE
    )
    expect(page.get_by_role("cell", name=NAME.format("")[:21]).first).to_be_visible()
    page.get_by_label("Pipeline", exact=True).select_option(SLUG.format("web"))
    expect(page.get_by_text(f"{SLUG.format('web')}, 2025-10-22 to")).to_be_visible(
        timeout=_PATIENCE
    )


def test_the_access_review_loads_nothing(page: Page, apps: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 5000})
    page.goto(f"{apps}/?file=access_review.py")
    expect(page.get_by_role("heading", name="Changes", exact=True)).to_be_visible(timeout=_PATIENCE)
    expect(page.get_by_role("cell", name=NAME.format("")[:21]).first).to_be_visible()
